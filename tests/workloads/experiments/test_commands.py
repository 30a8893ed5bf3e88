"""`esteira experiment`, as a person and as a program use it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from esteira import session
from esteira.cli import app
from tests.workloads.conftest import local
from tests.workloads.experiments.test_results import Log
from workloads import gcp
from workloads.experiments.assignment import assign
from workloads.experiments.experiment import Experiment
from workloads.experiments.store import OBJECT
from workloads.features.query import FeatureQuery
from workloads.prediction_log.tables import log_table
from workloads.product import Product


@pytest.fixture
def versions(
    january: Product, challenge: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[str, str]]:
    """Two versions of the model; the commands run against the tests' cloud."""
    from google.cloud import bigquery

    monkeypatch.setattr(session, "connect", lambda *_: None)
    made = challenge("one-arm").version, challenge("other-arm", noise=0.3).version
    log, table = Log(january), log_table(january)
    client = gcp.bigquery_client()
    fields = [bigquery.SchemaField.from_api_repr(one) for one in table.columns]
    client.delete_table(log.table, not_found_ok=True)
    client.create_table(bigquery.Table(log.table, schema=fields))
    yield made
    client.delete_table(log.table)
    bucket = gcp.storage_client().bucket(f"{gcp.project()}-{january.name}-models")
    if (blob := bucket.get_blob(OBJECT)) is not None:
        blob.delete()


def run(*words: str) -> dict[str, Any]:
    ended = CliRunner().invoke(app, ["experiment", *words, "--json"])
    assert ended.exit_code == 0, ended.output or ended.exception
    return json.loads(ended.stdout)


def test_an_experiment_from_start_to_verdict(january: Product, versions: tuple[str, str]) -> None:
    started = run(
        *("start", "flight-delay", "--share", "50", "--metric", "correct", "--effect", "0.2"),
        *("--champion", versions[0], "--challenger", versions[1], "--minimum-keys", "100"),
        *("--labels-since", "2013-01-02", "--elsewhere"),
    )
    assert started["name"] == f"v{versions[0]}-v{versions[1]}"
    assert started["needed_keys_at_most"] > 200
    experiment = msgspec.convert(
        {name: started[name] for name in Experiment.__struct_fields__}, Experiment
    )
    log = Log(january)
    moment = (experiment.counted_since + timedelta(milliseconds=1)).isoformat()
    for row in FeatureQuery(january).run(local(2), local(4)).to_pylist():
        variant = assign(row["flight_id"], experiment)
        # The challenger is always right, the champion always wrong.
        answer = row["late"] == (variant == "challenger")
        log.add(
            *(row["flight_id"], variant),
            entity=row["flight_id"],
            answer=answer,
            predicted_at=moment,
            model_version=versions[variant == "challenger"],
        )
    log.write()

    early = run("status", "flight-delay")
    assert early["analysis"]["verdict"] == "too early"
    assert early["results"]["champion"]["awaited"] > 100  # a day has to pass

    later = _status_in(january, experiment, timedelta(days=2))
    assert later.verdict == "challenger"
    assert later.gain == 1

    assert run("ramp", "flight-delay", "75")["share"] == 75
    stopped = run("stop", "flight-delay", "--why", "decided")
    assert [one["what"] for one in stopped["changes"]] == [
        "started with share 50",
        "share from 50 to 75",
        "stopped: decided",
    ]
    assert run("stop", "flight-delay") == stopped


def _status_in(product: Product, experiment: Experiment, wait: timedelta) -> Any:
    from workloads.experiments.analysis import analyse
    from workloads.experiments.results import results

    found = results(product, experiment, datetime.now(UTC) + wait)
    return analyse(experiment, found.champion.totals, found.challenger.totals)


def test_what_cannot_be_done_exits_with_one_message(
    january: Product, versions: tuple[str, str]
) -> None:
    for words in (
        ["status", "flight-delay"],
        ["ramp", "flight-delay", "50"],
        ["start", "flight-delay", "--champion", versions[0], "--challenger", "999", "--elsewhere"],
    ):
        ended = CliRunner().invoke(app, ["experiment", *words])
        assert ended.exit_code == 1

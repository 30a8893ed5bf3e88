"""`esteira train`: which rows it takes where none are named, and who executes it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from typer.testing import CliRunner

from esteira import model_commands
from esteira.cli import app
from workloads import product
from workloads.training import runners
from workloads.training.registration import Registration
from workloads.training.run import Runner, TrainingRun

Submitted = list[tuple[TrainingRun, Runner]]


@pytest.fixture
def submitted(monkeypatch: pytest.MonkeyPatch) -> Submitted:
    made: Submitted = []
    outputs = {
        "training": {"image": "training@sha256:1", "service_account": "train@p"},
        "endpoint": {"serving_image": "serving@sha256:1"},
    }

    def submit(run: TrainingRun, runner: Runner, **_: Any) -> Registration:
        made.append((run, runner))
        from workloads.manifest import Score

        metrics = {run.product.gate.metric: Score(value=0.7, low=0.6, high=0.8)}
        return Registration(
            model="m", version="7", run=run.name, uri="gs://m", metrics=metrics, baseline=metrics
        )

    monkeypatch.setattr(model_commands, "outputs_of", lambda stack, name: outputs)
    monkeypatch.setattr(runners, "submit", submit)
    return made


def test_without_dates_it_reads_what_the_products_retraining_plans(submitted: Submitted) -> None:
    ended = CliRunner().invoke(app, ["train", "flight-delay", "--json"])

    assert ended.exit_code == 0, ended.output
    assert json.loads(ended.stdout)["version"] == "7"
    ((run, runner),) = submitted
    plan = product.load("flight-delay").retraining
    assert plan is not None
    assert runner is Runner.VERTEX
    assert (run.end - run.start, run.end - run.split) == (plan.history, plan.holdout)
    age = datetime.now(UTC) - run.end
    maturity = run.product.label.maturity
    assert maturity <= age < maturity + timedelta(days=1, minutes=1)


def test_with_dates_and_a_runner_it_takes_those(submitted: Submitted) -> None:
    words = ["--start", "2013-01-01", "--split", "2013-03-21", "--end", "2013-04-01"]

    ended = CliRunner().invoke(app, ["train", "flight-delay", *words, "--runner", "kubeflow"])

    assert ended.exit_code == 0, ended.output
    ((run, runner),) = submitted
    assert runner is Runner.KUBEFLOW
    assert (run.start, run.split) == (
        datetime(2013, 1, 1, tzinfo=UTC),
        datetime(2013, 3, 21, tzinfo=UTC),
    )


def test_some_dates_are_no_dates(submitted: Submitted) -> None:
    ended = CliRunner().invoke(app, ["train", "flight-delay", "--start", "2013-01-01"])

    assert ended.exit_code == 1
    assert "--split, --end is missing" in " ".join(ended.output.split())
    assert submitted == []

"""Training tells MLflow how a run goes, and goes on where it cannot."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

import pytest

from tests.workloads.conftest import IMAGES, PROJECT, Trained
from tests.workloads.registry.conftest import START, register
from workloads import gcp
from workloads.product import Product
from workloads.registry import CHALLENGER, Registry
from workloads.tracking.client import Mlflow
from workloads.tracking.run_log import RunLog
from workloads.training import steps, submit
from workloads.training.registration import REGISTRATION, Registration, run_folder
from workloads.training.run import TrainingRun

NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def run(mirrored: Product, tracking_server: str) -> TrainingRun:
    return TrainingRun(
        product=mirrored,
        start=START,
        split=START + timedelta(days=5),
        end=START + timedelta(days=7),
        training_image="image",
        serving_image="image",
        name="followed",
        code_version="abc123",
        tracking=tracking_server,
    )


def logged(run: TrainingRun, server: str) -> dict[str, Any]:
    found = RunLog(Mlflow(server), run.product).active(run.name)
    assert found is not None
    return found


def tags(found: dict[str, Any]) -> dict[str, str]:
    return {one["key"]: one["value"] for one in found["data"]["tags"]}


class TestFollowing:
    @pytest.fixture(autouse=True)
    def pipeline(self, run: TrainingRun, monkeypatch: pytest.MonkeyPatch) -> None:
        """A pipeline that succeeds at once; its registration lies where it should."""
        monkeypatch.setattr(submit, "_job", lambda _: None)
        monkeypatch.setattr(submit, "_follow", lambda *_: None)
        registration = Registration(
            model="m", version="1", run=run.name, uri="gs://b/f", metrics={}, baseline={}
        )
        run_folder(run.product, run.name).write_json(REGISTRATION, registration)

    def test_a_run_under_way_is_shown(self, run: TrainingRun) -> None:
        submit.submit(run)

        found = logged(run, run.tracking)
        assert found["info"]["status"] == "RUNNING"
        assert tags(found)["esteira.rows"] == f"{START.isoformat()} to {run.end.isoformat()}"
        assert tags(found)["mlflow.source.git.commit"] == "abc123"

    def test_a_run_that_fails_says_why(
        self, run: TrainingRun, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: object) -> None:
            raise submit.TrainingFailed("step validate: no rows")

        monkeypatch.setattr(submit, "_follow", fail)

        with pytest.raises(submit.TrainingFailed):
            submit.submit(run)

        found = logged(run, run.tracking)
        assert found["info"]["status"] == "FAILED"
        assert tags(found)["esteira.failure"] == "step validate: no rows"

    def test_it_goes_on_where_mlflow_is_down(
        self, run: TrainingRun, caplog: pytest.LogCaptureFixture
    ) -> None:
        untold = dataclasses.replace(run, tracking=NOWHERE)

        assert submit.submit(untold).version == "1"

        assert "MLflow does not show how run followed goes" in caplog.text

    def test_who_follows_logs_what_the_steps_could_not(
        self, run: TrainingRun, tracking_server: str
    ) -> None:
        """As on Google Cloud, where steps run outside the network that MLflow takes calls from."""
        register(Registry(run.product, NOWHERE), run.name, 1)

        submit.submit(run)

        assert logged(run, tracking_server)["info"]["status"] == "FINISHED"
        mirror = Registry(run.product, tracking_server).mirror()
        assert mirror is not None
        assert mirror.differences() == []


def test_what_the_pipeline_registers_is_logged_with_all_its_evidence(
    january: Product,
    trained: Trained,
    tracking_server: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The step points its own process at MLflow; this one is to forget it.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    context = steps.Context(january.name, PROJECT, gcp.location(), tracking_server)

    number = steps.register(context, trained.run.name, f"{IMAGES}/serving:test", None)

    registry = Registry(january, tracking_server)
    version = registry.get(number)
    assert CHALLENGER in version.aliases
    found = logged(trained.run, tracking_server)
    metrics = {one["key"]: one["value"] for one in found["data"]["metrics"]}
    parameters = {one["key"]: one["value"] for one in found["data"]["params"]}
    for name, score in version.manifest().metrics.items():
        assert metrics[name] == score.value
        assert (metrics[f"{name}_low"], metrics[f"{name}_high"]) == (score.low, score.high)
    assert any(name.startswith("slice/origin/") for name in metrics)
    assert parameters["model.model__max_iter"] == "200"
    assert parameters["model.model__learning_rate"] == "0.05"
    assert parameters["holdout.sha256"] == version.manifest().holdout.sha256
    server, place = Mlflow(tracking_server), found["info"]["artifact_uri"]
    for name in version.folder.listed():
        assert server.download(place, name) == version.folder.read(name), name
    mirror = registry.mirror()
    assert mirror is not None
    # Versions of other tests, which were never logged, differ as they should.
    assert not [one for one in mirror.differences() if one.version == number]

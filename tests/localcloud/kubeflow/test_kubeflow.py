"""Kubeflow Pipelines on this machine, driven by `kfp.Client`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import httpx
import kfp_server_api
import pytest
from kfp import client

from tests.localcloud.conftest import RestProcess, wait_until
from tests.localcloud.vertex import pipelines
from tests.localcloud.vertex.pipelines import compiled

ROOT = "gs://pipelines/root"
ENDED = {"SUCCEEDED", "FAILED", "CANCELED"}


@pytest.fixture
def server(rest_process: Callable[[str], RestProcess]) -> RestProcess:
    return rest_process("kubeflow")


@pytest.fixture
def kubeflow(server: RestProcess, monkeypatch: pytest.MonkeyPatch) -> client.Client:
    # A person's own settings of kfp are none of the test's.
    monkeypatch.setattr(client.Client, "_LOCAL_KFP_CONTEXT", "/nowhere/context.json")
    return client.Client(host=server.url)


def ended(kubeflow: client.Client, run: str) -> kfp_server_api.V2beta1Run:
    wait_until(lambda: kubeflow.get_run(run).state in ENDED, 60)
    return kubeflow.get_run(run)


def states(run: kfp_server_api.V2beta1Run) -> dict[str, str]:
    return {one.display_name: one.state for one in run.run_details.task_details}


class TestPipelines:
    def test_a_pipeline_has_versions_and_is_found_by_name(
        self, kubeflow: client.Client, tmp_path: Path
    ) -> None:
        path = compiled(pipelines.failing, tmp_path)

        made = kubeflow.upload_pipeline(path, pipeline_name="flights")
        second = kubeflow.upload_pipeline_version(path, "two", pipeline_name="flights")

        assert kubeflow.get_pipeline_id("flights") == made.pipeline_id
        assert kubeflow.get_pipeline(made.pipeline_id).display_name == "flights"
        versions = kubeflow.list_pipeline_versions(made.pipeline_id).pipeline_versions
        assert [one.display_name for one in versions] == ["flights", "two"]
        read = kubeflow.get_pipeline_version(made.pipeline_id, second.pipeline_version_id)
        assert read.pipeline_spec["pipelineInfo"]["name"] == "failing"
        with pytest.raises(kfp_server_api.ApiException, match="already exists") as refused:
            kubeflow.upload_pipeline(path, pipeline_name="flights")
        assert refused.value.status == 409
        with pytest.raises(kfp_server_api.ApiException, match="it has 2 versions"):
            kubeflow.delete_pipeline(made.pipeline_id)
        for one in versions:
            kubeflow.delete_pipeline_version(made.pipeline_id, one.pipeline_version_id)
        kubeflow.delete_pipeline(made.pipeline_id)
        assert kubeflow.get_pipeline_id("flights") is None

    def test_what_was_not_compiled_by_kfp_is_refused(
        self, kubeflow: client.Client, tmp_path: Path
    ) -> None:
        path = tmp_path / "pipeline.yaml"
        path.write_text("kind: Workflow\n")

        with pytest.raises(kfp_server_api.ApiException, match="compile it with kfp") as refused:
            kubeflow.upload_pipeline(str(path), pipeline_name="argo")

        assert refused.value.status == 400


class TestRuns:
    def test_a_run_of_a_version_shows_its_tasks_and_why_one_failed(
        self, kubeflow: client.Client, tmp_path: Path
    ) -> None:
        made = kubeflow.upload_pipeline(compiled(pipelines.failing, tmp_path))
        (version,) = kubeflow.list_pipeline_versions(made.pipeline_id).pipeline_versions
        experiment = kubeflow.create_experiment("nightly")

        run = kubeflow.run_pipeline(
            experiment.experiment_id,
            "first",
            params={"message": "no rows"},
            pipeline_id=made.pipeline_id,
            version_id=version.pipeline_version_id,
            pipeline_root=ROOT,
        )
        last = ended(kubeflow, run.run_id)

        assert last.state == "FAILED"
        assert "FAILED" in states(last).values()
        (failed,) = [
            one
            for one in last.run_details.task_details
            if one.error and one.display_name != "failing"
        ]
        assert "about to fail" in failed.error.message
        assert last.finished_at >= last.created_at
        assert last.pipeline_version_reference.pipeline_version_id == version.pipeline_version_id
        filters = {"predicates": [{"operation": 1, "key": "state", "stringValue": "FAILED"}]}
        found = kubeflow.list_runs(
            experiment_id=experiment.experiment_id, filter=json.dumps(filters)
        )
        assert [one.run_id for one in found.runs] == [run.run_id]
        assert not kubeflow.list_runs(experiment_id=_default(kubeflow)).runs
        kubeflow.delete_run(run.run_id)
        with pytest.raises(kfp_server_api.ApiException) as gone:
            kubeflow.get_run(run.run_id)
        assert gone.value.status == 404

    def test_a_run_survives_kill_9_and_can_be_terminated(
        self, server: RestProcess, kubeflow: client.Client, tmp_path: Path
    ) -> None:
        gate = tmp_path / "gate"
        started = Path(f"{gate}.started")
        run = kubeflow.create_run_from_pipeline_package(
            compiled(pipelines.waiting, tmp_path),
            {"file": str(gate)},
            run_name="patient",
            pipeline_root=ROOT,
        ).run_id
        wait_until(started.exists, 30)
        assert states(kubeflow.get_run(run))["wait-for"] == "RUNNING"
        with pytest.raises(kfp_server_api.ApiException, match="terminate it first"):
            kubeflow.delete_run(run)

        server.kill()
        server.start()
        wait_until(lambda: started.read_text() == "started\n" * 2, 30)
        kubeflow.terminate_run(run)

        assert ended(kubeflow, run).state == "CANCELED"
        assert kubeflow.get_run(run).experiment_id == _default(kubeflow)
        with pytest.raises(kfp_server_api.ApiException, match="it is CANCELED already"):
            kubeflow.terminate_run(run)

    def test_what_cannot_be_run_is_refused_before_it_begins(
        self, server: RestProcess, kubeflow: client.Client, tmp_path: Path
    ) -> None:
        path = compiled(pipelines.waiting, tmp_path)
        for root, parameters, said in (
            ("minio://mlpipeline", {"file": "x"}, "give a gs:// folder"),
            (ROOT, {"fiel": "x"}, "no parameter fiel"),
            (ROOT, {}, "no default value"),
        ):
            with pytest.raises(kfp_server_api.ApiException, match=said) as refused:
                kubeflow.run_pipeline(
                    _default(kubeflow),
                    "no",
                    pipeline_package_path=path,
                    params=parameters,
                    pipeline_root=root,
                )
            assert refused.value.status == 400
        assert not kubeflow.list_runs().runs

        misspelt = httpx.post(f"{server.url}/apis/v2beta1/runs", json={"dispay_name": "no"})
        assert misspelt.status_code == 400
        assert "unknown field dispay_name of V2beta1Run" in misspelt.json()["error"]
        with pytest.raises(kfp_server_api.ApiException, match="does not implement") as missing:
            kubeflow.list_recurring_runs()
        assert missing.value.status == 501


def test_experiments_are_made_once_and_listed_in_pages(kubeflow: client.Client) -> None:
    made = [kubeflow.create_experiment(f"experiment {one}").experiment_id for one in range(3)]

    assert kubeflow.create_experiment("experiment 1").experiment_id == made[1]
    first = kubeflow.list_experiments(page_size=3, sort_by="display_name desc")
    assert [one.display_name for one in first.experiments] == [
        f"experiment {one}" for one in (2, 1, 0)
    ]
    rest = kubeflow.list_experiments(
        page_size=3, sort_by="display_name desc", page_token=first.next_page_token
    )
    assert [one.display_name for one in rest.experiments] == ["Default"]
    kubeflow.archive_experiment(made[0])
    assert kubeflow.get_experiment(made[0]).storage_state == "ARCHIVED"
    kubeflow.delete_experiment(made[0])
    with pytest.raises(ValueError, match="No experiment is found"):
        kubeflow.get_experiment(experiment_name="experiment 0")
    with pytest.raises(kfp_server_api.ApiException, match="is none of"):
        kubeflow.list_experiments(sort_by="colour")


def _default(kubeflow: client.Client) -> str:
    return kubeflow.get_experiment(experiment_name="Default").experiment_id

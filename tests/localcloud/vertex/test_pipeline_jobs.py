"""Pipeline jobs: real compiled pipelines, run by the local cloud, watched with Google's own SDK."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from google.api_core import exceptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import aiplatform, storage
from google.cloud.aiplatform_v1 import PipelineState, PipelineTaskDetail

from localcloud.images import Images

from . import pipelines
from .conftest import LOCATION, PROJECT, Cloud, until

State = PipelineTaskDetail.State
ROOT = "gs://models/pipelines"
PARENT = f"projects/{PROJECT}/locations/{LOCATION}"


def job(pipeline: Any, folder: Path, job_id: str | None = None, **parameters: Any) -> Any:
    return aiplatform.PipelineJob(
        display_name=pipeline.name,
        template_path=pipelines.compiled(pipeline, folder),
        pipeline_root=ROOT,
        job_id=job_id,
        parameter_values=parameters,
        labels={"product": "flight-delay"},
    )


def finished(submitted: Any) -> Any:
    """The job once it has ended; the SDK's own `wait` looks only every five seconds."""
    until(submitted.done, f"{submitted.job_id} to end")
    return submitted


def tasks(submitted: Any) -> dict[str, Any]:
    return {detail.task_name: detail for detail in submitted.task_details}


@pytest.fixture
def bucket() -> storage.Bucket:
    client = storage.Client(project=PROJECT, credentials=AnonymousCredentials())
    return client.bucket("models")


class TestSuccess:
    def test_run_blocks_until_the_pipeline_has_succeeded(
        self, tmp_path: Path, bucket: storage.Bucket
    ) -> None:
        submitted = job(pipelines.training, tmp_path, rows=5)
        submitted.run()
        assert submitted.state == PipelineState.PIPELINE_STATE_SUCCEEDED
        details = tasks(submitted)
        assert {name: detail.state for name, detail in details.items()} == {
            "training": State.SUCCEEDED,
            "extract": State.SUCCEEDED,
            "train": State.SUCCEEDED,
        }
        assert details["extract"].end_time <= details["train"].start_time
        # Artifacts lie where their URIs say, and steps saw those URIs.
        model = details["train"].outputs["model"].artifacts[0]
        assert model.uri.startswith(f"{ROOT}/")
        assert details["train"].execution.metadata["output:Output"] == model.uri
        name = model.uri.removeprefix("gs://models/")
        assert bucket.blob(f"{name}/model.txt").download_as_text() == "10"
        metrics = details["train"].outputs["metrics"].artifacts[0]
        assert dict(metrics.metadata) == {"total": 10}
        assert metrics.schema_title == "system.Metrics"
        data = details["train"].inputs["data"].artifacts[0]
        assert data.uri == details["extract"].outputs["data"].artifacts[0].uri

    def test_loops_conditions_and_collected_results(self, tmp_path: Path) -> None:
        submitted = job(pipelines.branching, tmp_path, numbers=[1, 2, 3])
        submitted.submit()
        details = finished(submitted).task_details
        assert submitted.state == PipelineState.PIPELINE_STATE_SUCCEEDED
        squares = [
            one.execution.metadata["output:Output"] for one in details if one.task_name == "square"
        ]
        assert sorted(squares) == [1, 4, 9]
        assert tasks(submitted)["total"].execution.metadata["output:Output"] == 14
        assert tasks(submitted)["surroundings"].state == State.SKIPPED

    def test_an_imported_artifact_is_fetched(self, tmp_path: Path, bucket: storage.Bucket) -> None:
        bucket.blob("given/data.txt").upload_from_string("4\n5\n")
        submitted = job(pipelines.importing, tmp_path, uri="gs://models/given/data.txt")
        submitted.submit()
        metrics = tasks(finished(submitted))["train"].outputs["metrics"].artifacts[0]
        assert dict(metrics.metadata) == {"total": 9}

    def test_steps_reach_the_local_cloud_and_know_their_project(
        self, cloud: Cloud, tmp_path: Path
    ) -> None:
        submitted = job(pipelines.looking, tmp_path)
        submitted.submit()
        seen = tasks(finished(submitted))["surroundings"].execution.metadata["output:Output"]
        assert seen["STORAGE_EMULATOR_HOST"] == cloud.endpoints.url("storage")
        assert seen["PUBSUB_EMULATOR_HOST"] == cloud.endpoints.address("pubsub")
        assert seen["GOOGLE_CLOUD_PROJECT"] == PROJECT
        # Threads that wait keep no processor from whatever else runs here.
        assert seen["OMP_WAIT_POLICY"] == "PASSIVE"
        # kfp leaves a folder there for each step.
        temporary = Path(seen["TMPDIR"])
        assert temporary.is_relative_to(cloud.home.path.resolve())
        until(lambda: not temporary.exists(), "the job to be cleared away")

    def test_a_step_runs_in_its_images_folder_and_environment(
        self, cloud: Cloud, tmp_path: Path
    ) -> None:
        (tmp_path / "Dockerfile").write_text(
            "FROM python:3.13\nWORKDIR /app\nENV FLAVOUR_HOST=plum\nCOPY . /app\n"
            'ENTRYPOINT ["python"]\n'
        )
        image = f"{LOCATION}-docker.pkg.dev/{PROJECT}/esteira/training:1"
        Images(cloud.home).build(image, tmp_path / "Dockerfile", tmp_path)
        path = Path(pipelines.compiled(pipelines.looking, tmp_path))
        path.write_text(path.read_text().replace("python:3.13", image))
        submitted = aiplatform.PipelineJob(
            display_name="image", template_path=str(path), pipeline_root=ROOT
        )
        submitted.submit()
        seen = tasks(finished(submitted))["surroundings"].execution.metadata["output:Output"]
        assert seen["FLAVOUR_HOST"] == "plum"


class TestFailure:
    def test_the_failing_task_is_named_with_its_last_words(self, tmp_path: Path) -> None:
        submitted = job(pipelines.failing, tmp_path, message="no such table")
        submitted.submit()
        assert finished(submitted).state == PipelineState.PIPELINE_STATE_FAILED
        assert "The failed tasks are: [fail]" in submitted.gca_resource.error.message
        details = tasks(submitted)
        assert details["fail"].state == State.FAILED
        assert "about to fail" in details["fail"].error.message
        assert "ValueError: no such table" in details["fail"].error.message
        assert details["square"].state == State.NOT_TRIGGERED
        with pytest.raises(RuntimeError, match="no such table"):
            submitted.wait()

    def test_an_image_of_ours_that_nobody_built_fails_its_task(self, tmp_path: Path) -> None:
        path = Path(pipelines.compiled(pipelines.looking, tmp_path))
        missing = f"{LOCATION}-docker.pkg.dev/{PROJECT}/esteira/missing:1"
        path.write_text(path.read_text().replace("python:3.13", missing))
        submitted = aiplatform.PipelineJob(
            display_name="missing", template_path=str(path), pipeline_root=ROOT
        )
        submitted.submit()
        assert finished(submitted).state == PipelineState.PIPELINE_STATE_FAILED
        assert f"Image '{missing}' not found." in submitted.gca_resource.error.message


class TestDoor:
    """What is wrong is refused when it is submitted, not when it runs."""

    def test_an_id_is_taken_once(self, tmp_path: Path) -> None:
        job(pipelines.looking, tmp_path, job_id="taken").submit()
        with pytest.raises(exceptions.Conflict):
            job(pipelines.looking, tmp_path, job_id="taken").submit()

    @pytest.mark.parametrize(
        ("parameters", "reason"),
        [
            ({"row": 1}, "has no parameter row; it has rows"),
            ({"rows": "many"}, "'rows' is a NUMBER_INTEGER, got 'many'"),
            ({"rows": 1.5}, "'rows' is a NUMBER_INTEGER, got 1.5"),
        ],
    )
    def test_parameters_are_checked(
        self, cloud: Cloud, tmp_path: Path, parameters: dict[str, Any], reason: str
    ) -> None:
        refused = self.submit(cloud, self.spec(pipelines.training, tmp_path), parameters)
        assert reason in refused["message"]
        assert refused["status"] == "INVALID_ARGUMENT"

    def test_a_parameter_without_default_is_required(self, cloud: Cloud, tmp_path: Path) -> None:
        refused = self.submit(cloud, self.spec(pipelines.failing, tmp_path), {})
        assert "'message' has no default value" in refused["message"]

    def test_a_container_component_is_refused(self, cloud: Cloud, tmp_path: Path) -> None:
        spec = self.spec(pipelines.looking, tmp_path)
        (executor,) = spec["deploymentSpec"]["executors"].values()
        executor["container"] = {"image": "alpine", "command": ["echo", "hello"]}
        refused = self.submit(cloud, spec, {})
        assert refused["status"] == "UNIMPLEMENTED"
        assert "container component (image 'alpine')" in refused["message"]

    def test_a_pipeline_root_is_required(self, cloud: Cloud, tmp_path: Path) -> None:
        spec = self.spec(pipelines.looking, tmp_path)
        body = {"pipelineSpec": spec, "runtimeConfig": {"parameterValues": {}}}
        answer = requests.post(f"{cloud.url}/v1/{PARENT}/pipelineJobs", json=body)
        assert "gcs_output_directory" in answer.json()["error"]["message"]

    @staticmethod
    def spec(pipeline: Any, folder: Path) -> dict[str, Any]:
        return yaml.safe_load(Path(pipelines.compiled(pipeline, folder)).read_text())

    @staticmethod
    def submit(cloud: Cloud, spec: dict[str, Any], parameters: dict[str, Any]) -> dict[str, Any]:
        config = {"gcsOutputDirectory": ROOT, "parameterValues": parameters}
        body = {"pipelineSpec": spec, "runtimeConfig": config}
        answer = requests.post(f"{cloud.url}/v1/{PARENT}/pipelineJobs", json=body)
        assert not answer.ok
        return answer.json()["error"]


class TestLife:
    def test_a_running_job_shows_its_progress_and_can_be_cancelled(self, tmp_path: Path) -> None:
        gate = tmp_path / "gate"
        submitted = job(pipelines.waiting, tmp_path, file=str(gate))
        submitted.submit()
        until(Path(f"{gate}.started").exists, "the step to start")
        assert submitted.state == PipelineState.PIPELINE_STATE_RUNNING
        assert tasks(submitted)["wait-for"].state == State.RUNNING
        with pytest.raises(exceptions.BadRequest, match="cancel it first"):
            submitted.delete()
        submitted.cancel()
        assert finished(submitted).state == PipelineState.PIPELINE_STATE_CANCELLED
        assert tasks(submitted)["wait-for"].state == State.CANCELLED
        with pytest.raises(exceptions.BadRequest, match="final state"):
            submitted.cancel()
        submitted.delete()
        with pytest.raises(exceptions.NotFound):
            aiplatform.PipelineJob.get(submitted.resource_name)

    def test_a_job_cut_by_kill_9_starts_again_and_succeeds(
        self, cloud: Cloud, tmp_path: Path
    ) -> None:
        gate = tmp_path / "gate"
        started = Path(f"{gate}.started")
        submitted = job(pipelines.waiting, tmp_path, file=str(gate))
        submitted.submit()
        until(started.exists, "the step to start")
        cloud.kill("rest")
        cloud.start("rest")
        until(lambda: started.read_text() == "started\n" * 2, "the step to start again")
        gate.touch()
        assert finished(submitted).state == PipelineState.PIPELINE_STATE_SUCCEEDED
        assert [detail.task_name for detail in submitted.task_details] == ["waiting", "wait-for"]

    def test_jobs_are_listed_by_label_state_and_name(self, tmp_path: Path) -> None:
        submitted = job(pipelines.looking, tmp_path, job_id="listed")
        submitted.submit()
        finished(submitted)
        wanted = (
            'labels.product="flight-delay" AND state="PIPELINE_STATE_SUCCEEDED" '
            'AND pipeline_name="looking" AND pipeline_job_user_id="listed"'
        )
        (found,) = aiplatform.PipelineJob.list(filter=wanted, enable_simple_view=True)
        assert found.name == "listed"


class TestSchedules:
    """What fires, and when, is in test_schedules.py."""

    def test_a_schedule_is_paused_and_resumed(self, cloud: Cloud, tmp_path: Path) -> None:
        schedule = job(pipelines.looking, tmp_path).create_schedule(
            cron="0 3 * * *", display_name="nightly"
        )
        schedule.pause()
        assert self.state(cloud, schedule) == "PAUSED"
        schedule.resume()
        assert self.state(cloud, schedule) == "ACTIVE"
        schedule.update(cron="30 4 * * *")
        shown = requests.get(f"{cloud.url}/v1/{schedule.resource_name}").json()
        assert shown["nextRunTime"].partition("T")[2].startswith("04:30:00")
        listed = aiplatform.PipelineJobSchedule.list(filter="display_name=nightly")
        assert [one.name for one in listed] == [schedule.name]
        schedule.delete()
        with pytest.raises(exceptions.NotFound):
            aiplatform.PipelineJobSchedule.get(schedule.resource_name)

    @pytest.mark.parametrize("cron", ["daily", "* * * * * *", "61 * * * *", "TZ=Mars/1 0 0 * * *"])
    def test_a_wrong_cron_is_refused(self, tmp_path: Path, cron: str) -> None:
        with pytest.raises(exceptions.BadRequest, match="Invalid cron"):
            job(pipelines.looking, tmp_path).create_schedule(cron=cron, display_name="wrong")

    @staticmethod
    def state(cloud: Cloud, schedule: Any) -> str:
        return requests.get(f"{cloud.url}/v1/{schedule.resource_name}").json()["state"]

"""Submit a training run to Vertex AI Pipelines and follow it to its end."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from workloads import gcp
from workloads.artifacts import Folder
from workloads.product import Product
from workloads.training.registration import REGISTRATION, Registration, run_folder
from workloads.training.run import TrainingRun, code_version

if TYPE_CHECKING:
    from workloads.tracking.run_log import RunLog

log = logging.getLogger(__name__)

_POLL_SECONDS: Final = 1.0
# The pipeline's own node in the list of tasks, not a step.
_ROOT_SUFFIX: Final = "-training"


class TrainingFailed(Exception):
    """A pipeline job ended without a model. Says which step failed and why."""


@dataclass(frozen=True, kw_only=True)
class StepProgress:
    """A step has changed its state."""

    step: str
    state: str
    """`RUNNING`, `SUCCEEDED`, `FAILED`, …, as Vertex AI calls them."""
    seconds: float
    """Since the run was submitted."""


Progress = Callable[[StepProgress], None]


def new_run(
    product: Product,
    *,
    start: datetime,
    split: datetime,
    end: datetime,
    training_image: str,
    serving_image: str,
    service_account: str = "",
) -> TrainingRun:
    """A run of this code, named after the product and the second.

    It is logged to the MLflow that the environment names.
    """
    now = datetime.now(UTC)
    return TrainingRun(
        product=product,
        start=start,
        split=split,
        end=end,
        training_image=training_image,
        serving_image=serving_image,
        name=f"{product.name}-{now:%Y%m%d-%H%M%S}-{now.microsecond // 1000:03d}",
        code_version=code_version(),
        service_account=service_account,
        tracking=gcp.tracking_address(),
    )


def submit(run: TrainingRun, *, on_progress: Progress = lambda _: None) -> Registration:
    """Compile, submit, follow; returns the registered version.

    Submitting a run of the same name again follows the job that is there.

    Args:
        on_progress: called at each change of a step's state.

    Raises:
        TrainingFailed: the job failed or was cancelled.
    """
    job = _job(run)
    return followed(run, lambda: _follow(job, on_progress))


def followed(run: TrainingRun, follow: Callable[[], None]) -> Registration:
    """Follow a run that was submitted, whoever executes it; returns the registered version.

    Args:
        follow: returns when the last step has succeeded.

    Raises:
        TrainingFailed: `follow` did.
    """
    _tell_mlflow(run, lambda runs: runs.begin(run))
    try:
        follow()
    except TrainingFailed as error:
        why = str(error)
        _tell_mlflow(run, lambda runs: runs.fail(run.name, why))
        raise
    _catch_up(run)
    return run_folder(run.product, run.name).read_json(REGISTRATION, Registration)


def _tell_mlflow(run: TrainingRun, tell: Callable[[RunLog], None]) -> None:
    """Training does not depend on it: what the last step registers is logged by that step."""
    from workloads.tracking.client import Mlflow, TrackingFailed
    from workloads.tracking.run_log import RunLog

    if not run.tracking:
        return
    try:
        tell(RunLog(Mlflow(run.tracking), run.product))
    except TrackingFailed as error:
        log.warning("MLflow does not show how run %s goes: %s", run.name, error)


def _catch_up(run: TrainingRun) -> None:
    """The steps of a pipeline may not reach MLflow, which takes calls from this network only."""
    from workloads.registry import Registry
    from workloads.tracking.client import TrackingFailed

    mirror = Registry(run.product, run.tracking).mirror()
    try:
        if mirror is not None and mirror.pending():
            mirror.mend()
    except TrackingFailed as error:
        log.warning("MLflow is behind the registry of %s: %s", run.product.name, error)


def _job(run: TrainingRun) -> Any:
    from google.api_core.exceptions import AlreadyExists, Conflict

    from workloads.training.pipeline import compile_pipeline

    sdk = gcp.vertex()
    with tempfile.TemporaryDirectory() as folder:
        path = compile_pipeline(run.product, run.training_image, Path(folder) / "pipeline.yaml")
        job = sdk.PipelineJob(
            display_name=f"{run.product.name}-training",
            template_path=str(path),
            job_id=run.name,
            pipeline_root=Folder.of(run.product, "pipelines").uri,
            parameter_values={
                "project": gcp.project(),
                "location": gcp.location(),
                **run.parameters(),
            },
            enable_caching=False,
            labels={"product": run.product.name},
        )
    try:
        job.submit(service_account=run.service_account or None)
    except (AlreadyExists, Conflict):
        return sdk.PipelineJob.get(run.name)
    return job


def _follow(job: Any, on_progress: Progress) -> None:
    from google.cloud.aiplatform_v1.types import PipelineState

    ended = {
        PipelineState.PIPELINE_STATE_SUCCEEDED,
        PipelineState.PIPELINE_STATE_FAILED,
        PipelineState.PIPELINE_STATE_CANCELLED,
        PipelineState.PIPELINE_STATE_PAUSED,
    }
    begun = time.monotonic()
    states: dict[str, str] = {}
    while True:
        # Reading `state` asks the service; what else the job holds comes with the same answer.
        state = job.state
        tasks = list(job.gca_resource.job_detail.task_details)
        for task in sorted(tasks, key=lambda one: str(one.start_time)):
            name = task.task_name
            if name.endswith(_ROOT_SUFFIX):
                continue
            if states.get(name) != task.state.name:
                states[name] = task.state.name
                on_progress(
                    StepProgress(step=name, state=task.state.name, seconds=time.monotonic() - begun)
                )
        if state in ended:
            break
        time.sleep(_POLL_SECONDS)
    if state != PipelineState.PIPELINE_STATE_SUCCEEDED:
        reasons = [
            f"step {one.task_name}: {one.error.message}"
            for one in tasks
            if one.error.message and not one.task_name.endswith(_ROOT_SUFFIX)
        ]
        message = "; ".join(reasons) or job.gca_resource.error.message or "no step says why"
        raise TrainingFailed(f"{job.resource_name} ended as {state.name}: {message}")

"""Submit a training run to Kubeflow Pipelines and follow it to its end.

The pipeline is the one that Vertex AI gets, compiled by the same call and given the same
parameters; what comes out is the same version in the same registry. The steps act as the
Kubernetes service account that Kubeflow runs them as, which Workload Identity makes the product's
training account.
"""

from __future__ import annotations

import json
import logging
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from workloads import gcp
from workloads.artifacts import Folder
from workloads.training.registration import Registration
from workloads.training.run import TrainingRun
from workloads.training.submit import Progress, StepProgress, TrainingFailed, followed

if TYPE_CHECKING:
    from kfp import client

log = logging.getLogger(__name__)

_POLL_SECONDS: Final = 1.0
_ENDED: Final = frozenset({"SUCCEEDED", "SKIPPED", "FAILED", "CANCELED", "PAUSED"})
_EQUALS: Final = 1
"""Of the operations of a filter's predicate."""


def submit(run: TrainingRun, *, on_progress: Progress = lambda _: None) -> Registration:
    """Compile, submit, follow; returns the registered version.

    Submitting a run of the same name again follows the run that is there.

    Args:
        on_progress: called at each change of a step's state.

    Raises:
        TrainingFailed: the run failed or was cancelled.
        workloads.gcp.NoKubeflow: its address is not known.
    """
    kubeflow = gcp.kubeflow()
    with tempfile.TemporaryDirectory() as folder:
        from workloads.training.pipeline import compile_pipeline

        path = compile_pipeline(run.product, run.training_image, Path(folder) / "pipeline.yaml")
        steps = frozenset(yaml.safe_load(path.read_text())["root"]["dag"]["tasks"])
        number = _found(kubeflow, run) or _started(kubeflow, run, path)
    return followed(run, lambda: _follow(kubeflow, number, steps, on_progress))


def _experiment(kubeflow: client.Client, run: TrainingRun) -> str:
    made: Any = kubeflow.create_experiment(f"{run.product.name}-training")
    return str(made.experiment_id)


def _found(kubeflow: client.Client, run: TrainingRun) -> str | None:
    """The id of a run of this name. Kubeflow itself lets a name be given twice."""
    named = {"operation": _EQUALS, "key": "display_name", "stringValue": run.name}
    found: Any = kubeflow.list_runs(
        experiment_id=_experiment(kubeflow, run), filter=json.dumps({"predicates": [named]})
    )
    return str(found.runs[0].run_id) if found.runs else None


def _started(kubeflow: client.Client, run: TrainingRun, path: Path) -> str:
    started: Any = kubeflow.run_pipeline(
        _experiment(kubeflow, run),
        run.name,
        pipeline_package_path=str(path),
        params={"project": gcp.project(), "location": gcp.location(), **run.parameters()},
        pipeline_root=Folder.of(run.product, "pipelines").uri,
        enable_caching=False,
    )
    return str(started.run_id)


def _follow(
    kubeflow: client.Client, number: str, steps: frozenset[str], on_progress: Progress
) -> None:
    begun = time.monotonic()
    states: dict[str, str] = {}
    while True:
        run: Any = kubeflow.get_run(number)
        tasks = _tasks(run, steps)
        for task in tasks:
            name, state = task.display_name, task.state
            # A task that waits is not told of: Kubeflow knows of it only when it begins.
            if state not in (None, "PENDING", states.get(name)):
                states[name] = state
                on_progress(StepProgress(step=name, state=state, seconds=time.monotonic() - begun))
        if run.state in _ENDED:
            break
        time.sleep(_POLL_SECONDS)
    if run.state != "SUCCEEDED":
        reasons = [f"step {one.display_name}: {one.error.message}" for one in tasks if one.error]
        message = "; ".join(reasons) or (run.error and run.error.message) or "no step says why"
        raise TrainingFailed(f"run {number} of Kubeflow ended as {run.state}: {message}")


def _tasks(run: Any, steps: frozenset[str]) -> list[Any]:
    """What the details say of the pipeline's own steps, in the order in which they began.

    On a cluster the details hold the drivers and the executors of each step too.
    """
    details = (run.run_details.task_details if run.run_details else None) or []
    own = [one for one in details if one.display_name in steps]
    return sorted(own, key=lambda one: str(one.start_time or one.create_time))

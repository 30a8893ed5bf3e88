"""Who executes a training run: Vertex AI Pipelines, or Kubeflow Pipelines on a cluster."""

from __future__ import annotations

from workloads.training.registration import Registration
from workloads.training.run import Runner, TrainingRun
from workloads.training.submit import Progress


def submit(
    run: TrainingRun, runner: Runner = Runner.VERTEX, *, on_progress: Progress = lambda _: None
) -> Registration:
    """Compile, submit, follow; returns the registered version.

    Submitting a run of the same name again follows the one that is there.

    Args:
        on_progress: called at each change of a step's state.

    Raises:
        TrainingFailed: the run failed or was cancelled.
        workloads.gcp.NoKubeflow: Kubeflow was asked for, and its address is not known.
    """
    if runner is Runner.KUBEFLOW:
        from workloads.training import kubeflow

        return kubeflow.submit(run, on_progress=on_progress)
    from workloads.training import submit as vertex

    return vertex.submit(run, on_progress=on_progress)

"""One pipeline, two runners: what Vertex AI is given, Kubeflow is given, and the same comes out."""

from __future__ import annotations

import dataclasses
from datetime import datetime
from typing import Any

import pytest
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

from workloads import gcp
from workloads.product import Product
from workloads.registry import CHALLENGER, Registry
from workloads.training.run import Runner, TrainingRun
from workloads.training.runners import submit
from workloads.training.submit import StepProgress, TrainingFailed

STEPS = ["extract", "validate", "train", "evaluate", "register"]


def vertex_job(run: TrainingRun) -> dict[str, Any]:
    return gcp.vertex().PipelineJob.get(run.name).to_dict()


def kubeflow_runs(run: TrainingRun) -> list[Any]:
    client = gcp.kubeflow()
    experiment = client.get_experiment(experiment_name=f"{run.product.name}-training")
    found = client.list_runs(experiment_id=experiment.experiment_id, page_size=100).runs or []
    return [one for one in found if one.display_name == run.name]


def parsed(spec: dict[str, Any]) -> Any:
    """A compiled pipeline; as JSON an empty default can be written or left out."""
    return json_format.ParseDict(spec, pipeline_spec_pb2.PipelineSpec())


def test_kubeflow_gets_the_pipeline_that_vertex_got_and_a_failure_says_why(trained) -> None:
    empty = dataclasses.replace(
        trained.run,
        name="no-rows-on-kubeflow",
        start=datetime.fromisoformat("2012-01-01T00:00+00:00"),
        split=datetime.fromisoformat("2012-02-01T00:00+00:00"),
        end=datetime.fromisoformat("2012-03-01T00:00+00:00"),
    )
    progress: list[StepProgress] = []

    with pytest.raises(TrainingFailed, match=r"ended as FAILED: step validate[\s\S]*0 rows with"):
        submit(empty, Runner.KUBEFLOW, on_progress=progress.append)

    assert [one.step for one in progress if one.state == "SUCCEEDED"] == ["extract"]
    (run,) = kubeflow_runs(empty)
    job = vertex_job(trained.run)
    assert parsed(run.pipeline_spec) == parsed(job["pipelineSpec"])
    given = job["runtimeConfig"]
    assert run.runtime_config.pipeline_root == given["gcsOutputDirectory"]
    assert set(run.runtime_config.parameters) == set(given["parameterValues"])
    # A person who asks again, or a job that was killed, follows what is there.
    with pytest.raises(TrainingFailed, match="ended as FAILED"):
        submit(empty, Runner.KUBEFLOW)
    assert len(kubeflow_runs(empty)) == 1


@pytest.mark.long
def test_both_runners_make_the_same_model_of_the_same_rows(january: Product, trained) -> None:
    run = dataclasses.replace(trained.run, name="on-kubeflow")
    progress: list[StepProgress] = []

    registered = submit(run, Runner.KUBEFLOW, on_progress=progress.append)

    assert [one.step for one in progress if one.state == "SUCCEEDED"] == STEPS
    registry = Registry(january)
    ours, theirs = (
        registry.get(one).manifest() for one in (registered.version, trained.registration.version)
    )
    assert registered.version != trained.registration.version
    assert ours.model_sha256 == theirs.model_sha256
    assert ours.training.sha256 == theirs.training.sha256
    assert registered.metrics == trained.registration.metrics
    assert registry.get(CHALLENGER).number == registered.version


def test_without_an_address_it_is_refused_and_says_what_to_set(
    trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KFP_API_ENDPOINT")
    with pytest.raises(gcp.NoKubeflow, match="set KFP_API_ENDPOINT"):
        submit(trained.run, Runner.KUBEFLOW)

    monkeypatch.setenv("KFP_API_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(gcp.NoKubeflow, match=r"127\.0\.0\.1:9 does not answer"):
        submit(trained.run, Runner.KUBEFLOW)

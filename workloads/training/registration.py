"""A model enters the registry: artefacts in its folder, a version of the product's one model."""

from __future__ import annotations

import hashlib
from typing import Any, Final

import msgspec

from workloads import gcp, model_card
from workloads.artifacts import Folder
from workloads.features import store
from workloads.manifest import (
    ANSWERS_PROFILE,
    EVALUATION,
    EXAMPLES,
    MANIFEST,
    METRICS,
    MODEL,
    PLOTS,
    PROFILE,
    Manifest,
    Score,
)
from workloads.prediction_log.tables import topic
from workloads.product import Product, Task
from workloads.registry import CHALLENGER, SHA256, Registry, Version
from workloads.training.data import Extract
from workloads.training.evaluation import Evaluated
from workloads.training.report import report

REGISTRATION: Final = "registration.json"
PREDICT_ROUTE: Final = "/predict"
HEALTH_ROUTE: Final = "/health"
PORT: Final = 8080
_METRICS_SCHEMA: Final = (
    "gs://google-cloud-aiplatform/schema/modelevaluation/{task}_metrics_1.0.0.yaml"
)
_METRICS_NAMES: Final = {
    Task.CLASSIFICATION: {"auRoc": "roc_auc", "auPrc": "pr_auc", "logLoss": "log_loss"},
    Task.REGRESSION: {"meanAbsoluteError": "mae", "rootMeanSquaredError": "rmse"},
}
"""How the schemas spell our metrics; of those they do not know, the artefacts tell."""
# A label holds 63 characters; a SHA-256 has 64.
_LABEL: Final = 63


class Registration(msgspec.Struct, frozen=True, kw_only=True):
    """The version that a run registered, and what was found of it."""

    model: str
    """Resource name, without the version."""
    version: str
    run: str
    uri: str
    """The artefact folder."""
    metrics: dict[str, Score]
    baseline: dict[str, Score]


def write_artifacts(
    product: Product,
    run: str,
    model: bytes,
    parts: Extract,
    evaluated: Evaluated,
    code_version: str,
) -> Manifest:
    """Write everything that goes beside a model; the manifest last, since it vouches for them."""
    evaluation = evaluated.evaluation
    folder = run_folder(product, run)
    request = product.features.request
    manifest = Manifest(
        product=product.name,
        run=run,
        contract=request.NAME,
        contract_version=request.VERSION,
        features=request.__struct_fields__,
        label=product.label.column,
        model_sha256=hashlib.sha256(model).hexdigest(),
        task=product.task,
        threshold=evaluation.threshold,
        interval=None if evaluation.coverage is None else evaluation.coverage.quantiles,
        training=parts.training,
        holdout=parts.holdout,
        metrics=evaluation.metrics,
        baseline=evaluation.baseline,
        code_version=code_version,
        noise=evaluation.noise,
    )
    folder.write(MODEL, model, "application/octet-stream")
    folder.write_json(METRICS, evaluation)
    folder.write(EVALUATION, report(product, evaluation, parts), "text/markdown; charset=utf-8")
    folder.write_json(PROFILE, evaluated.profile)
    folder.write_json(ANSWERS_PROFILE, evaluated.answers_profile)
    folder.write_json(EXAMPLES, evaluated.examples)
    for name, plot in evaluated.plots.items():
        folder.write(f"{PLOTS}/{name}", plot, "image/svg+xml")
    folder.write_json(MANIFEST, manifest)
    return manifest


def run_folder(product: Product, run: str) -> Folder:
    """The artefact folder of a pipeline run."""
    return Folder.of(product, "versions", run)


def register(product: Product, manifest: Manifest, serving_image: str) -> Registration:
    """Make a version of the product's model, `challenger` from now on. Repeatable: a run has one.

    Args:
        serving_image: the container that serves it, by digest where there is one.
    """
    registry = Registry(product)
    folder = run_folder(product, manifest.run)
    with registry.writing(f"register {manifest.run}"):
        version = _add(registry, manifest, folder, serving_image)
        _import_evaluation(version, manifest)
        registry.move(CHALLENGER, version)
        model_card.write(product, registry.record(version.number))
    registration = Registration(
        model=registry.name,
        version=version.number,
        run=manifest.run,
        uri=folder.uri,
        metrics=manifest.metrics,
        baseline=manifest.baseline,
    )
    folder.write_json(REGISTRATION, registration)
    return registration


def _add(registry: Registry, manifest: Manifest, folder: Folder, serving_image: str) -> Version:
    product = registry.product
    metric = product.gate.metric
    score, base = manifest.metrics[metric], manifest.baseline[metric]
    return registry.add(
        manifest.run,
        description=product.title,
        version_description=(
            f"{metric} {score.value:.4f} ({score.low:.4f} to {score.high:.4f}), baseline "
            f"{base.value:.4f}, on {manifest.holdout.rows} rows; code {manifest.code_version}; "
            f"data {manifest.training.sha256[:12]}"
        ),
        artifact_uri=folder.uri,
        serving_container_image_uri=serving_image,
        serving_container_predict_route=PREDICT_ROUTE,
        serving_container_health_route=HEALTH_ROUTE,
        serving_container_ports=[PORT],
        # The registry says which bytes were registered, whatever the bucket says later.
        serving_container_environment_variables={
            "PRODUCT": product.name,
            SHA256: manifest.model_sha256,
            # Servers log there what they answer; see workloads/prediction_log.
            "PREDICTION_TOPIC": f"projects/{gcp.project()}/topics/{topic(product)}",
            # Where the product's features are online, its endpoint takes an entity alone.
            **({"ONLINE_FEATURES": "true"} if store.served(product) else {}),
        },
        labels={
            "product": product.name,
            "run": manifest.run[:_LABEL],
            "contract": f"{manifest.contract}-v{manifest.contract_version}"[:_LABEL],
            "code-version": manifest.code_version[:_LABEL],
            "training-data": manifest.training.sha256[:_LABEL],
            "holdout-data": manifest.holdout.sha256[:_LABEL],
            **{
                name.replace("_", "-"): f"{one.value:.4f}".replace(".", "-")
                for name, one in manifest.metrics.items()
            },
        },
    )


def _import_evaluation(version: Version, manifest: Manifest) -> None:
    """Show the metrics in the registry itself, once."""
    from google.cloud import aiplatform_v1
    from google.protobuf import json_format, struct_pb2

    model: Any = version.model
    client: Any = model.api_client.select_version("v1")
    parent = f"{model.resource_name.partition('@')[0]}@{version.number}"
    if any(True for _ in client.list_model_evaluations(parent=parent)):
        return
    document = {
        theirs: manifest.metrics[ours].value
        for theirs, ours in _METRICS_NAMES[manifest.task].items()
    }
    client.import_model_evaluation(
        parent=parent,
        model_evaluation=aiplatform_v1.ModelEvaluation(
            display_name=manifest.run,
            metrics_schema_uri=_METRICS_SCHEMA.format(task=manifest.task.value),
            metrics=json_format.ParseDict(document, struct_pb2.Value()),
        ),
    )

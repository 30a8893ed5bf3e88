"""The runs of a product's experiment in MLflow: begun with the pipeline, published from the bucket.

All that is logged of a model is read from its artefact folder, which the pipeline has written and
its manifest vouches for. So it can be logged at any later time as well, and twice is once.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from workloads import gcp
from workloads.artifacts import ArtifactNotFound
from workloads.manifest import EVALUATION, MANIFEST, METRICS, MODEL, Data, Manifest
from workloads.product import Product
from workloads.scoring import ModelRefused, verify
from workloads.tracking.client import Document, Mlflow, TrackingFailed, TrackingRefused
from workloads.tracking.guard import KINDS

if TYPE_CHECKING:
    from workloads.registry import Recorded
    from workloads.training.run import TrainingRun

RUN: Final = "esteira.run"
"""The tag by which a run of MLflow is found: the name of the pipeline run."""
_FAILURE: Final = "esteira.failure"
_JOB: Final = "esteira.pipeline_job"
_ROWS: Final = "esteira.rows"
_COMMIT: Final = "mlflow.source.git.commit"
_CONTEXT: Final = "mlflow.data.context"
# MLflow takes no other character in the name of a metric.
_FOREIGN: Final = re.compile(r"[^A-Za-z0-9_./ -]")
# MLflow's limit; the whole hash is among the parameters.
_DIGEST: Final = 36


class Unpublishable(TrackingFailed):
    """What lies in a version's folder is missing, or is not what was registered."""


class RunLog:
    """The experiment of one product, which has its name.

    Every method raises `TrackingFailed` where MLflow does not do as asked.
    """

    def __init__(self, server: Mlflow, product: Product) -> None:
        self._server = server
        self._product = product
        self._known: str | None = None

    def begin(self, run: TrainingRun) -> None:
        """Show a pipeline run as under way. Repeatable."""
        if self._find(run.name) is None:
            made = self._create(run.name)
            rows = f"{run.start.isoformat()} to {run.end.isoformat()}"
            tags = {_ROWS: rows, _COMMIT: run.code_version}
            self._server.log(made["info"]["run_id"], parameters={}, metrics={}, tags=tags, at=0)

    def fail(self, name: str, why: str) -> None:
        """Show a pipeline run as failed."""
        found = self._find(name) or self._create(name)
        run_id = found["info"]["run_id"]
        self._server.log(run_id, parameters={}, metrics={}, tags={_FAILURE: why}, at=0)
        self._end(run_id, "FAILED")

    def active(self, name: str) -> Document | None:
        """The run of a pipeline run; none if there is none, or somebody has deleted it."""
        found = self._find(name)
        if found is None or found["info"].get("lifecycle_stage") == "deleted":
            return None
        return found

    def publish(self, version: Recorded) -> Document:
        """Log all that the folder of a version holds; returns MLflow's `info` of the run.

        Raises:
            Unpublishable: the folder does not hold what was registered.
        """
        try:
            return self._publish(version)
        except (ArtifactNotFound, ModelRefused, msgspec.DecodeError) as error:
            raise Unpublishable(
                f"version {version.number} of {self._product.name} cannot be shown in MLflow: "
                f"{error}"
            ) from error

    def digest(self, version: Recorded) -> str:
        """Of everything that lies beside a version now."""
        listed = json.dumps(_published(version), sort_keys=True)
        return hashlib.sha256(listed.encode()).hexdigest()[:16]

    def _publish(self, version: Recorded) -> Document:
        folder = version.folder
        manifest = folder.read_json(MANIFEST, Manifest)
        evaluation = folder.read_json(METRICS, dict[str, Any])
        model = verify(folder.read(MODEL), version.sha256, f"{folder.uri}/{MODEL}")
        if manifest.model_sha256 != version.sha256:
            raise ModelRefused(
                f"{folder.uri}/{MANIFEST} vouches for {manifest.model_sha256}, the registry for "
                f"{version.sha256}"
            )
        created = int(version.created.timestamp() * 1000)
        info = (self._revived(version.run) or self._create(version.run, created))["info"]
        run_id, place = str(info["run_id"]), str(info["artifact_uri"])
        self._server.log(
            run_id,
            parameters={**_parameters(manifest, version), **_hyperparameters(model)},
            metrics=_metrics(manifest, evaluation, self._product.gate.metric),
            tags=_tags(manifest, folder.read(EVALUATION).decode()),
            at=created,
        )
        self._server.call(
            "POST",
            "runs/log-inputs",
            {
                "run_id": run_id,
                "datasets": [
                    _dataset(self._product, "training", manifest.training),
                    _dataset(self._product, "holdout", manifest.holdout),
                ],
            },
        )
        for name in _published(version):
            content = model if name == MODEL else folder.read(name)
            self._server.upload(place, name, content)
        self._end(run_id, "FINISHED", created)
        return info

    def _end(self, run_id: str, status: str, at: int | None = None) -> None:
        ended = {} if at is None else {"end_time": at}
        self._server.call("POST", "runs/update", {"run_id": run_id, "status": status, **ended})

    def _revived(self, name: str) -> Document | None:
        found = self._find(name)
        if found is not None and found["info"].get("lifecycle_stage") == "deleted":
            self._server.call("POST", "runs/restore", {"run_id": found["info"]["run_id"]})
        return found

    def _find(self, name: str) -> Document | None:
        asked = {
            "experiment_ids": [self._experiment()],
            "filter": f"tags.`{RUN}` = '{name}'",
            "run_view_type": "ALL",
            # Two that began at once have made two: the first is the one.
            "order_by": ["attributes.start_time ASC"],
        }
        found = list(self._server.pages("POST", "runs/search", asked, "runs"))
        found.sort(key=lambda one: one["info"].get("lifecycle_stage") == "deleted")
        return found[0] if found else None

    def _create(self, name: str, at: int | None = None) -> Document:
        tags = {
            RUN: name,
            "mlflow.source.type": "JOB",
            "mlflow.source.name": _job(name),
            _JOB: _job(name),
            "mlflow.user": self._product.owner,
        }
        made = self._server.call(
            "POST",
            "runs/create",
            {
                "experiment_id": self._experiment(),
                "run_name": name,
                "start_time": _now() if at is None else at,
                "tags": [{"key": key, "value": value} for key, value in tags.items()],
            },
        )
        return made["run"]

    def _experiment(self) -> str:
        if self._known is None:
            self._known = self._made_experiment()
        return self._known

    def _made_experiment(self) -> str:
        name = self._product.name
        for _ in range(2):
            found = self._server.find("experiments/get-by-name", {"experiment_name": name})
            if found is not None:
                experiment = found["experiment"]
                if experiment.get("lifecycle_stage") == "deleted":
                    same = {"experiment_id": experiment["experiment_id"]}
                    self._server.call("POST", "experiments/restore", same)
                return str(experiment["experiment_id"])
            try:
                made = self._server.call("POST", "experiments/create", {"name": name})
            except TrackingRefused as refused:
                # Another run has just made it.
                if refused.code != "RESOURCE_ALREADY_EXISTS":
                    raise
            else:
                return str(made["experiment_id"])
        raise TrackingFailed(f"MLflow neither has an experiment {name!r} nor lets one be made")


def _now() -> int:
    from datetime import UTC, datetime

    return int(datetime.now(UTC).timestamp() * 1000)


def _job(run: str) -> str:
    return f"projects/{gcp.project()}/locations/{gcp.location()}/pipelineJobs/{run}"


def _published(version: Recorded) -> dict[str, str]:
    """The files beside a version that MLflow takes, with a checksum of each."""
    return {
        name: checksum
        for name, checksum in version.folder.listed().items()
        if name.endswith(tuple(KINDS))
    }


def _parameters(manifest: Manifest, version: Recorded) -> dict[str, str]:
    known: dict[str, str] = {
        "task": manifest.task.value,
        "label": manifest.label,
        "contract": f"{manifest.contract} v{manifest.contract_version}",
        "features": ", ".join(manifest.features),
        "serving_image": version.image,
    }
    if manifest.threshold is not None:
        known["threshold"] = repr(manifest.threshold)
    if manifest.interval is not None:
        known["interval"] = "{} to {}".format(*manifest.interval)
    for name, data in (("training", manifest.training), ("holdout", manifest.holdout)):
        known[f"{name}.rows"] = str(data.rows)
        known[f"{name}.start"] = data.start.isoformat()
        known[f"{name}.end"] = data.end.isoformat()
        known[f"{name}.sha256"] = data.sha256
        known[f"{name}.uri"] = data.uri
    return known


def _hyperparameters(model: bytes) -> dict[str, str]:
    """What the model was fitted with, which the export writes into the graph."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime has no common class for what it raises
        raise ModelRefused(f"it is no graph that ONNX Runtime loads: {error}") from error
    return {
        f"model.{key}": value
        for key, value in sorted(session.get_modelmeta().custom_metadata_map.items())
    }


def _metrics(
    manifest: Manifest, evaluation: Mapping[str, Any], gate_metric: str
) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, score in manifest.metrics.items():
        found[name] = score.value
        found[f"{name}_low"], found[f"{name}_high"] = score.low, score.high
    found |= {f"{name}_baseline": one.value for name, one in manifest.baseline.items()}
    if calibration := evaluation.get("calibration"):
        found["calibration_error"] = float(calibration["error"])
    for one in evaluation.get("slices", []):
        found[f"slice/{one['column']}/{one['value']}/{gate_metric}"] = float(one["score"])
    return {
        _FOREIGN.sub("_", name)[:250]: value
        for name, value in found.items()
        if math.isfinite(value)
    }


def _tags(manifest: Manifest, report: str) -> dict[str, str]:
    return {
        _COMMIT: manifest.code_version,
        "mlflow.note.content": report,
        "model.sha256": manifest.model_sha256,
    }


def _dataset(product: Product, context: str, data: Data) -> Document:
    return {
        "tags": [{"key": _CONTEXT, "value": context}],
        "dataset": {
            "name": f"{product.name} {context}",
            "digest": data.sha256[:_DIGEST],
            "source_type": "gs",
            "source": json.dumps({"uri": data.uri, "sha256": data.sha256}),
            "profile": json.dumps(
                {
                    "num_rows": data.rows,
                    "start": data.start.isoformat(),
                    "end": data.end.isoformat(),
                }
            ),
        },
    }

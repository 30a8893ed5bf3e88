"""What the components of the pipeline do, once they run: artefacts in, artefacts out.

Large things pass between steps as objects in the product's bucket, whose `gs://` address a kfp
artefact carries, so the lineage that Vertex AI shows leads to what was really used.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec

from workloads import product as products
from workloads.artifacts import Folder
from workloads.manifest import MANIFEST, MODEL, Data, Manifest
from workloads.product import Product
from workloads.scoring import verify

_DATA: Final = "data"
_SHA256: Final = "sha256"


@dataclass(frozen=True)
class Context:
    """Where a step runs. A pipeline job's containers know no project by themselves."""

    name: str
    project: str
    location: str
    tracking: str = ""

    def __post_init__(self) -> None:
        os.environ["GOOGLE_CLOUD_PROJECT"] = self.project
        os.environ["GOOGLE_CLOUD_LOCATION"] = self.location
        os.environ["MLFLOW_TRACKING_URI"] = self.tracking

    @property
    def product(self) -> Product:
        return products.load(self.name)


def extract(
    context: Context, start: str, split: str, end: str, training: Any, holdout: Any
) -> None:
    """Freeze both parts of the split; `training` and `holdout` are kfp datasets to fill in."""
    from workloads.training import data

    parts = data.extract(
        context.product,
        *(datetime.fromisoformat(instant) for instant in (start, split, end)),
    )
    for artifact, part in ((training, parts.training), (holdout, parts.holdout)):
        artifact.uri = part.uri
        artifact.metadata[_DATA] = msgspec.json.encode(part).decode()
        artifact.metadata["rows"] = part.rows
    print(f"{parts.training.rows} rows to learn from, {parts.holdout.rows} held out")  # noqa: T201


def validate(context: Context, training: Any, holdout: Any) -> str:
    """What was validated, as JSON."""
    from workloads.training import data

    return msgspec.json.encode(data.validate(context.product, _parts(training, holdout))).decode()


def train(context: Context, run: str, training: Any, holdout: Any, model: Any) -> None:
    """Write the graph of a run; `model` is a kfp model to fill in."""
    from workloads.training.fitting import fit_and_export
    from workloads.training.registration import run_folder

    product = context.product
    content = fit_and_export(product, _parts(training, holdout))
    folder = run_folder(product, run)
    folder.write(MODEL, content, "application/octet-stream")
    model.uri = folder.uri
    model.metadata[_SHA256] = hashlib.sha256(content).hexdigest()
    model.metadata["framework"] = "onnx"


def evaluate(
    context: Context,
    run: str,
    code_version: str,
    training: Any,
    holdout: Any,
    model: Any,
    scores: Any,
) -> None:
    """Write all that goes beside the graph; `scores` are kfp metrics to fill in."""
    from workloads.training import evaluation
    from workloads.training.registration import write_artifacts

    product, parts = context.product, _parts(training, holdout)
    content = verify(Folder(model.uri).read(MODEL), model.metadata[_SHA256], f"{model.uri}/{MODEL}")
    evaluated = evaluation.evaluate(product, content, parts)
    manifest = write_artifacts(product, run, content, parts, evaluated, code_version)
    for name, score in manifest.metrics.items():
        scores.log_metric(name, score.value)
        scores.log_metric(f"{name}_baseline", manifest.baseline[name].value)


def register(context: Context, run: str, serving_image: str, scores: Any) -> str:
    """The number of the version that the run now has."""
    from workloads.training import registration

    del scores  # it orders the steps; the scores themselves are in the manifest
    product = context.product
    manifest = registration.run_folder(product, run).read_json(MANIFEST, Manifest)
    return registration.register(product, manifest, serving_image).version


def _parts(training: Any, holdout: Any) -> Any:
    from workloads.training.data import Extract

    def part(artifact: Any) -> Data:
        return msgspec.json.decode(artifact.metadata[_DATA], type=Data)

    return Extract(training=part(training), holdout=part(holdout))

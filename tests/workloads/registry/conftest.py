"""A product whose versions are made here in a second, on the local Vertex AI, and MLflow beside."""

from __future__ import annotations

import dataclasses
import hashlib
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from tests.workloads.conftest import IMAGES, LocalCloud
from workloads import gcp
from workloads.artifacts import Folder
from workloads.manifest import (
    EVALUATION,
    MANIFEST,
    METRICS,
    MODEL,
    PLOTS,
    PROFILE,
    Data,
    Manifest,
    Score,
)
from workloads.product import Product
from workloads.registry import SHA256, Registry, Version

START = datetime(2013, 1, 1, tzinfo=UTC)


def graph(seed: int) -> bytes:
    """A small ONNX graph, another for each seed."""
    from onnx import TensorProto, helper

    one = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 1])
    two = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])
    nodes = [helper.make_node("Identity", ["x"], ["y"])]
    model = helper.make_model(
        helper.make_graph(nodes, f"g{seed}", [one], [two]),
        opset_imports=[helper.make_opsetid("", 21)],
        ir_version=10,
    )
    helper.set_model_props(model, {"max_iter": "200", "seed": str(seed)})
    return model.SerializeToString()


def write_folder(product: Product, run: str, seed: int) -> Manifest:
    """What the pipeline leaves beside a model."""
    folder = Folder.of(product, "versions", run)
    content = graph(seed)
    data = Data(
        uri=f"gs://snapshots/{seed}.parquet",
        sha256=hashlib.sha256(b"%d" % seed).hexdigest(),
        rows=1000,
        start=START,
        end=START + timedelta(days=10),
    )
    score = Score(value=0.7 + seed / 100, low=0.68, high=0.75)
    base = Score(value=0.5, low=0.5, high=0.5)
    manifest = Manifest(
        product=product.name,
        run=run,
        contract="flight_features",
        contract_version=1,
        features=("distance", "carrier"),
        label="late",
        model_sha256=hashlib.sha256(content).hexdigest(),
        threshold=0.25,
        training=data,
        holdout=data,
        metrics={"roc_auc": score},
        baseline={"roc_auc": base},
        code_version="abc123",
    )
    evaluation = {
        "rows": 1000,
        "label_mean": 0.2,
        "threshold": 0.25,
        "metrics": {"roc_auc": score},
        "baseline": {"roc_auc": base},
        "calibration": {
            "error": 0.013,
            "bins": [
                {"rows": 500, "predicted": 0.1, "observed": 0.12},
                {"rows": 500, "predicted": 0.4, "observed": 0.38},
            ],
        },
        "slices": [
            {"column": "origin", "value": "JFK", "rows": 400, "label_mean": 0.2, "score": 0.71}
        ],
    }
    folder.write(MODEL, content, "application/octet-stream")
    folder.write_json(METRICS, evaluation)
    folder.write(EVALUATION, "# Evaluation\n", "text/markdown")
    folder.write_json(PROFILE, {"distance": {"rows": 1000}})
    folder.write(f"{PLOTS}/roc.svg", "<svg/>", "image/svg+xml")
    folder.write_json(MANIFEST, manifest)
    return manifest


def register(registry: Registry, run: str, seed: int = 0) -> Version:
    """A version as the pipeline makes it."""
    manifest = write_folder(registry.product, run, seed)
    return registry.add(
        run,
        artifact_uri=Folder.of(registry.product, "versions", run).uri,
        serving_container_image_uri=f"{IMAGES}/serving:test",
        serving_container_environment_variables={SHA256: manifest.model_sha256},
        labels={"run": run},
        version_description=f"made by {run}",
    )


@pytest.fixture
def mirrored(cloud: LocalCloud, product: Product) -> Product:
    """A product of its own for each test, without versions."""
    del cloud
    one = dataclasses.replace(product, name=f"mirrored-{uuid.uuid4().hex[:8]}")
    gcp.storage_client().create_bucket(Folder.of(one, "x").uri.split("/")[2])
    return one


@pytest.fixture
def registry(mirrored: Product, tracking_server: str) -> Registry:
    """Its registry, with MLflow beside."""
    return Registry(mirrored, tracking_server)


Add = Callable[..., Version]


@pytest.fixture
def add(registry: Registry) -> Add:
    """Registers a version: `add("run-name", seed=1)`."""

    def one(run: str, seed: int = 0) -> Version:
        return register(registry, run, seed)

    return one

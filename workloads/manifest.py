"""What lies beside a model and says what it is: the manifest of an artefact folder."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import msgspec

MODEL: Final = "model.onnx"
MANIFEST: Final = "manifest.json"
METRICS: Final = "metrics.json"
EVALUATION: Final = "evaluation.md"
PROFILE: Final = "profile.json"
EXAMPLES: Final = "examples.json"


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """A score with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


class Data(msgspec.Struct, frozen=True, kw_only=True):
    """Frozen rows: a snapshot and the range of event times it holds, [start, end)."""

    uri: str
    sha256: str
    rows: int
    start: datetime
    end: datetime


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """One model: what it is, what it learned from, how good it was found."""

    product: str
    run: str
    """The pipeline run that made it; names its artefact folder."""
    contract: str
    contract_version: int
    features: tuple[str, ...]
    """The inputs of the graph, in the order of the contract."""
    label: str
    model_sha256: str
    threshold: float
    """The probability from which the answer is yes."""
    training: Data
    holdout: Data
    metrics: dict[str, Score]
    """On the hold-out."""
    baseline: dict[str, Score]
    """On the hold-out, of always predicting the base rate of the training rows."""
    code_version: str


class Example(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the hold-out and what the model said of it, to test a deployment with."""

    instance: dict[str, str | int | float | bool | None]
    probability: float

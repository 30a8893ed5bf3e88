"""What lies beside a model and says what it is: the manifest of an artefact folder."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import msgspec

from workloads.product import Task

MODEL: Final = "model.onnx"
MANIFEST: Final = "manifest.json"
METRICS: Final = "metrics.json"
EVALUATION: Final = "evaluation.md"
PLOTS: Final = "plots"
"""The folder of the drawings of the evaluation."""
PROFILE: Final = "profile.json"
ANSWERS_PROFILE: Final = "profile-answers.json"
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


class Noise(msgspec.Struct, frozen=True, kw_only=True):
    """How far the seed of a training alone moves the gate's metric on the hold-out."""

    reruns: int
    """Trainings with other seeds, beside the model's own."""
    deviation: float
    """Standard deviation of the metric between all of them."""


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
    task: Task = Task.CLASSIFICATION
    threshold: float | None = None
    """The probability from which the answer of a classification is yes; None for a regression."""
    interval: tuple[float, float] | None = None
    """The quantiles that a regression's bounds stand for; None for a classification."""
    training: Data
    holdout: Data
    metrics: dict[str, Score]
    """On the hold-out."""
    baseline: dict[str, Score]
    """On the hold-out, of answering every row alike: with the base rate of the training rows, or
    with their median and quantiles."""
    code_version: str
    noise: Noise | None = None
    """Of its training; None where the product has no reruns made."""

    @property
    def answered(self) -> dict[str, str]:
        """Which field of an answer in JSON holds which number: its name, and that of `Answers`."""
        if self.task is Task.CLASSIFICATION:
            return {"probability": "value"}
        return {self.label: "value", "lower": "lower", "upper": "upper"}


class Example(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the hold-out and what the model said of it, to test a deployment with."""

    instance: dict[str, str | int | float | bool | None]
    value: float
    """The probability of yes, or the number predicted."""
    lower: float | None = None
    upper: float | None = None
    """The interval of a regression."""

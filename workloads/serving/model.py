"""The model of a server: fetched, verified, loaded once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from workloads import product as products
from workloads.artifacts import ArtifactNotFound, Folder
from workloads.contracts import Contract
from workloads.manifest import MANIFEST, MODEL, Manifest
from workloads.scoring import ModelRefused, Scorer, verify
from workloads.serving.batching import Predicted
from workloads.serving.settings import ServingSettings

_REGISTRATION: Final = "registration.json"
"""Lies beside a model that was registered; `workloads/training/registration.py` writes it."""


class NoNumber(Exception):
    """The model computes no number for a row: its arithmetic overflows, or is not defined."""


class _Registered(msgspec.Struct, frozen=True):
    """The part of a registration that a server wants."""

    version: str


class ServedModel:
    """A verified model and how its answers read."""

    def __init__(
        self, manifest: Manifest, scorer: Scorer, request: type[Contract], version: str = ""
    ) -> None:
        self.manifest = manifest
        self.request = request
        self.version = version
        """Its number in the Model Registry; empty where nobody said."""
        self._scorer = scorer

    @classmethod
    def load(cls, settings: ServingSettings) -> ServedModel:
        """Fetch the artefacts and load the model, if it is the one that was registered.

        Raises:
            ModelRefused: product, contract or hash differ; the message says which.
            ArtifactNotFound: the folder holds no manifest or no model.
        """
        product = products.load(settings.product)
        request = product.features.request
        folder = Folder(settings.aip_storage_uri.rstrip("/"))
        manifest = folder.read_json(MANIFEST, Manifest)
        for what, found, expected in (
            ("product", manifest.product, product.name),
            ("task", manifest.task.value, product.task.value),
            ("contract", manifest.contract, request.NAME),
            ("contract version", manifest.contract_version, request.VERSION),
        ):
            if found != expected:
                raise ModelRefused(
                    f"{folder.uri}/{MANIFEST}: {what} is {found!r}; this server takes {expected!r}"
                )
        # The registry's word, where it was given, outranks a file that lies beside the model.
        sha256 = settings.model_sha256 or manifest.model_sha256
        content = verify(folder.read(MODEL), sha256, f"{folder.uri}/{MODEL}")
        version = settings.model_version or _version(folder)
        return cls(manifest, Scorer(content, request, product.task), request, version)

    def score(self, rows: Sequence[Contract]) -> Predicted:
        """What the model says of each row, as plain numbers.

        Raises:
            NoNumber: for some row; JSON, and whoever reads it, has no other word for that than
                none.
        """
        answers = self._scorer.rows(rows)
        value = _numbers(answers.value.tolist())
        if answers.lower is None or answers.upper is None:
            return Predicted(value)
        return Predicted(value, _numbers(answers.lower.tolist()), _numbers(answers.upper.tolist()))

    def answers(self, predicted: Predicted) -> list[dict[str, Any]]:
        """What callers are told of each row.

        A classification's answer has the probability, and yes or no under the label's name; a
        regression's the number under the label's name, and the bounds of its interval.
        """
        manifest = self.manifest
        threshold, label, run = manifest.threshold, manifest.label, manifest.run
        if predicted.lower is not None and predicted.upper is not None:
            columns = (predicted.value, predicted.lower, predicted.upper)
            return [
                {label: value, "lower": lower, "upper": upper, "model": run}
                for value, lower, upper in zip(*columns, strict=True)
            ]
        return [
            {
                "probability": probability,
                label: threshold is not None and probability >= threshold,
                "model": run,
            }
            for probability in predicted.value
        ]


def _numbers(values: list[float]) -> list[float]:
    """The same values, if each is a number."""
    total = sum(values)
    # The sum of numbers that are none is none either; one look at it is cheaper than one at each.
    if total - total != 0:
        for row, value in enumerate(values):
            if not math.isfinite(value):
                raise NoNumber(f"the model says {value} of row {row}")
    return values


def _version(folder: Folder) -> str:
    """The version that the model's registration wrote down beside it, if it did."""
    try:
        return folder.read_json(_REGISTRATION, _Registered).version
    except (ArtifactNotFound, msgspec.DecodeError):
        return ""

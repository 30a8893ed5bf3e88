"""What the prediction log is told of each request."""

from __future__ import annotations

import time

from workloads.prediction_log.contract import CHAMPION, Variant
from workloads.prediction_log.publisher import Entry, Publisher
from workloads.serving.batching import Predicted
from workloads.serving.models import Chooser, Chosen
from workloads.serving.request import Question


class Recorder:
    """Hands over what was answered; returns at once, and costs nothing where nothing is logged."""

    def __init__(self, publisher: Publisher, models: Chooser) -> None:
        self._publisher = publisher
        self._models = models

    def answered(
        self,
        chosen: Chosen,
        question: Question,
        predicted: Predicted | None,
        status: int,
        began: float,
    ) -> None:
        """The rows of a request that came before a model.

        Args:
            chosen: the model.
            question: the rows.
            predicted: what the model said; none where it failed.
            status: of the answer.
            began: when the request came, by `time.perf_counter`.
        """
        if not self._publisher.on:
            return
        model, given = chosen.model, question.parameters
        variant: Variant = chosen.variant
        if given is not None and given.variant is not None:
            variant = given.variant
        self._publisher.add(
            Entry(
                at=time.time(),
                model_version=model.version,
                model_run=model.manifest.run,
                variant=variant,
                status=status,
                latency_ms=(time.perf_counter() - began) * 1000,
                rows=question.rows,
                value=None if predicted is None else predicted.value,
                lower=None if predicted is None else predicted.lower,
                upper=None if predicted is None else predicted.upper,
                threshold=model.manifest.threshold,
                key=None if given is None else given.key,
                entities=None if given is None else given.entities,
            )
        )

    def refused(self, status: int, began: float) -> None:
        """A request of which no row came before a model; it is in the log as one row."""
        if not self._publisher.on:
            return
        chosen = self._models.choose(None)
        self._publisher.add(
            Entry(
                at=time.time(),
                model_version="" if chosen is None else chosen.model.version,
                model_run="" if chosen is None else chosen.model.manifest.run,
                variant=CHAMPION if chosen is None else chosen.variant,
                status=status,
                latency_ms=(time.perf_counter() - began) * 1000,
            )
        )

"""The experiments of a product: one JSON object in its bucket, replaced as a whole.

Each replacement names the generation that it was made from, so of two people who change an
experiment at once, one begins again from what the other wrote; and whoever reads sees one of the
two, never a mixture. There is nothing to repair after a kill.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import msgspec

from workloads import gcp
from workloads.experiments.experiment import Change, Document, Experiment, InvalidExperiment
from workloads.product import Product

if TYPE_CHECKING:
    from google.cloud import storage

OBJECT: Final = "experiments/experiments.json"
_ATTEMPTS: Final = 8


class AlreadyRunning(Exception):
    """Another experiment of the product runs; a key can be in one arm of one of them only."""


class NoExperiment(LookupError):
    """The product has no experiment, or none that runs."""


class Contended(RuntimeError):
    """Others changed the object each time that this was about to."""


class Experiments:
    """The experiments of one product."""

    def __init__(self, product: Product) -> None:
        self.product = product

    @property
    def _bucket(self) -> storage.Bucket:
        return gcp.storage_client().bucket(f"{gcp.project()}-{self.product.name}-models")

    @property
    def uri(self) -> str:
        """Where they are kept."""
        return f"gs://{gcp.project()}-{self.product.name}-models/{OBJECT}"

    def read(self) -> Document:
        """All experiments; an empty document before the first."""
        return self.read_newer(-1)[0]

    def read_newer(self, generation: int) -> tuple[Document, int]:
        """What was written since a generation, with its own; `generation` again if nothing was.

        Args:
            generation: As an earlier call gave it; -1 at first, 0 where there was no object.
        """
        from google.api_core.exceptions import NotFound

        while True:
            blob = self._bucket.get_blob(OBJECT)
            found = 0 if blob is None else int(blob.generation or 0)
            if blob is None or found == generation:
                return Document(), found
            try:
                content = blob.download_as_bytes(if_generation_match=found)
            except NotFound:  # replaced in between; Cloud Storage says 404 for a generation gone
                continue
            return msgspec.json.decode(content, type=Document), found

    def start(self, experiment: Experiment) -> Experiment:
        """Begin an experiment. Again with the same definition: the one that runs already.

        Raises:
            InvalidExperiment: the metric is of another task, or the name was used before.
            AlreadyRunning: another one runs.
        """
        experiment.fits(self.product)

        def begun(document: Document) -> Document:
            if document.running is not None:
                if _same(document.running, experiment):
                    return document
                raise AlreadyRunning(
                    f"experiment {document.running.name} of {self.product.name} runs since "
                    f"{document.running.started_at:%Y-%m-%d %H:%M} UTC; stop it first: "
                    f"`esteira experiment stop {self.product.name}`"
                )
            if experiment.name in {one.name for one in document.ended}:
                raise InvalidExperiment(
                    f"name is {experiment.name!r}, which an earlier experiment of "
                    f"{self.product.name} had: the same keys would be its challenger's again; "
                    "choose another"
                )
            return msgspec.structs.replace(document, running=experiment)

        running = self._change(begun).running
        assert running is not None
        return running

    def ramp(self, share: float, by: str) -> Experiment:
        """Give the challenger another share; rows are counted anew from then on.

        Raises:
            NoExperiment: none runs.
            InvalidExperiment: the share is smaller. Keys would return to the champion, and with
                them those who have met the challenger already.
        """

        def ramped(document: Document) -> Document:
            running = self._running(document)
            if share == running.share:
                return document
            if share < running.share:
                raise InvalidExperiment(
                    f"share is {share:g}; allowed: above {running.share:g}, as it is now: a "
                    "smaller one returns keys to the champion that have met the challenger. Stop "
                    "the experiment, and start another"
                )
            now = datetime.now(UTC)
            what = f"share from {running.share:g} to {share:g}"
            changed = msgspec.structs.replace(
                running,
                share=share,
                counted_since=now,
                changes=(*running.changes, Change(at=now, by=by, what=what)),
            )
            return msgspec.structs.replace(document, running=changed)

        return self._running(self._change(ramped))

    def stop(self, by: str, why: str = "") -> Experiment:
        """End the experiment that runs; where none does, the last that did, as it ended.

        Raises:
            NoExperiment: there was never one.
        """

        def stopped(document: Document) -> Document:
            if document.running is None:
                return document
            now = datetime.now(UTC)
            what = f"stopped: {why}" if why else "stopped"
            ended = msgspec.structs.replace(
                document.running,
                ended_at=now,
                changes=(*document.running.changes, Change(at=now, by=by, what=what)),
            )
            return Document(ended=(*document.ended, ended))

        latest = self._change(stopped).latest
        if latest is None:
            raise NoExperiment(f"{self.product.name} has had no experiment")
        return latest

    def latest(self) -> Experiment:
        """The one that runs, else the last that did.

        Raises:
            NoExperiment: there was never one.
        """
        latest = self.read().latest
        if latest is None:
            raise NoExperiment(
                f"{self.product.name} has had no experiment; "
                f"`esteira experiment start {self.product.name}`"
            )
        return latest

    def _running(self, document: Document) -> Experiment:
        if document.running is None:
            raise NoExperiment(f"no experiment of {self.product.name} runs")
        return document.running

    def _change(self, change: Callable[[Document], Document]) -> Document:
        from google.api_core.exceptions import PreconditionFailed

        for _ in range(_ATTEMPTS):
            before, generation = self.read_newer(-1)
            after = change(before)
            if after is before:
                return before
            content = msgspec.json.format(msgspec.json.encode(after))
            try:
                self._bucket.blob(OBJECT).upload_from_string(
                    content, content_type="application/json", if_generation_match=generation
                )
            except PreconditionFailed:
                continue
            return after
        raise Contended(
            f"{self.uri} was changed by others {_ATTEMPTS} times in a row; try again in a moment"
        )


def _same(running: Experiment, asked: Experiment) -> bool:
    """Whether one is asked for that runs; when and by whom it was begun is no part of it."""
    return running == msgspec.structs.replace(
        asked,
        started_at=running.started_at,
        counted_since=running.counted_since,
        changes=running.changes,
    )

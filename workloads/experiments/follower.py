"""What a server knows of the experiment that runs: read anew now and then, never in a request."""

from __future__ import annotations

import logging
import threading
from typing import Final

from workloads.experiments.assignment import CHAMPION, Arm, assign
from workloads.experiments.experiment import Experiment
from workloads.experiments.store import Experiments
from workloads.product import Product

INTERVAL: Final = 5.0
"""Seconds between two looks; one look is one metadata request."""

log: Final = logging.getLogger("esteira.experiments")


class Follower:
    """Follows the experiments of a product.

    Reading `experiment` costs an attribute. While Cloud Storage does not answer, the last known
    definition holds: a key keeps its arm.
    """

    def __init__(self, product: Product, *, interval: float = INTERVAL) -> None:
        self._experiments = Experiments(product)
        self._interval = interval
        self._generation = -1
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self.experiment: Experiment | None = None
        """The one that runs, as it was last seen."""

    def refresh(self) -> None:
        """Look now. A failure is logged and changes nothing."""
        try:
            document, generation = self._experiments.read_newer(self._generation)
        except Exception:
            log.exception("the experiments cannot be read; those last known hold")
            return
        if generation != self._generation:
            self.experiment, self._generation = document.running, generation

    def start(self) -> None:
        """Look once, then every `interval` seconds in a thread of its own."""
        self.refresh()
        self._thread = threading.Thread(target=self._follow, name="experiments", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def assign(self, key: str | None) -> Arm:
        """The arm of a key now; without a key or an experiment, the champion's."""
        experiment = self.experiment
        if experiment is None or key is None:
            return CHAMPION
        return assign(key, experiment)

    def _follow(self) -> None:
        while not self._stopping.wait(self._interval):
            self.refresh()

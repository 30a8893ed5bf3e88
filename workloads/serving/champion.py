"""The models that are released, found by alias and followed as the alias moves."""

from __future__ import annotations

import logging
import threading
import time
from typing import Final, Protocol

from workloads import product as products
from workloads.prediction_log.contract import CHALLENGER
from workloads.registry import Registry
from workloads.serving.model import ServedModel
from workloads.serving.models import Chosen
from workloads.serving.settings import ServingSettings

log = logging.getLogger(__name__)

EXPERIMENT_SECONDS: Final = 2
"""Age at which the answer of the registry is asked anew when an experiment began or ended."""


class Running(Protocol):
    """An experiment that runs."""

    @property
    def challenger(self) -> str:
        """The number of the version that some of the keys meet."""
        ...


class Arms(Protocol):
    """What is known of a product's experiments; `workloads.experiments.follower` fulfils it."""

    @property
    def experiment(self) -> Running | None:
        """The one that runs."""
        ...

    def assign(self, key: str | None) -> str:
        """`champion` or `challenger`."""
        ...


class Champion:
    """The verified model of the version that has `settings.model_alias` now, and while an
    experiment runs, that of its challenger.

    Requests never wait for the registry: whoever comes when its answer is old is served what is
    there, and one thread looks again meanwhile. What goes wrong while looking is logged, and the
    model that was there goes on answering.

    Args:
        settings: of the server.
        arms: tells of experiments; none: there are none.
    """

    def __init__(self, settings: ServingSettings, arms: Arms | None = None) -> None:
        self._settings = settings
        self._arms = arms
        self._registry: Registry | None = None
        self._model: ServedModel | None = None
        self._challenger: ServedModel | None = None
        self._fault: str | None = None
        self._looked: float | None = None
        self._looking = threading.Lock()

    def choose(self, key: str | None) -> Chosen | None:
        """The model that answers whoever has this key; none while no version has the alias."""
        model, challenger = self.current(), self._challenger
        if model is None:
            return None
        arms = self._arms
        if challenger is not None and arms is not None and arms.assign(key) == CHALLENGER:
            running = arms.experiment
            # Where another experiment has begun meanwhile, its challenger is not loaded yet.
            if running is not None and running.challenger == challenger.version:
                return Chosen(challenger, "challenger")
        return Chosen(model, self._settings.variant)

    def all(self) -> list[Chosen]:
        """The models that answer somebody."""
        model, challenger = self._model, self._challenger
        found = [] if model is None else [Chosen(model, self._settings.variant)]
        if challenger is not None:
            found.append(Chosen(challenger, "challenger"))
        return found

    def starting(self) -> bool:
        """Whether the registry has not answered yet."""
        return self._looked is None

    def fault(self) -> str | None:
        """Why there is no model although a version has the alias."""
        return self._fault

    def current(self) -> ServedModel | None:
        """The model that answers now; none while no version has the alias."""
        looked = self._looked
        if looked is None:
            return self._model
        allowed = self._settings.model_refresh_seconds
        if self._wanted() != self._challenger_number():
            # An experiment has begun or ended.
            allowed = min(allowed, EXPERIMENT_SECONDS)
        if time.monotonic() - looked > allowed and self._looking.acquire(blocking=False):
            threading.Thread(target=self._look_and_release, name="look", daemon=True).start()
        return self._model

    def look(self) -> None:
        """Ask the registry now, and load what it says."""
        with self._looking:
            self._look()

    def _look_and_release(self) -> None:
        try:
            self._look()
        finally:
            self._looking.release()

    def _wanted(self) -> str:
        """The number of the challenger of the experiment that runs; empty without one."""
        running = None if self._arms is None else self._arms.experiment
        return "" if running is None else running.challenger

    def _challenger_number(self) -> str:
        return "" if self._challenger is None else self._challenger.version

    def _look(self) -> None:
        alias = self._settings.model_alias
        try:
            self._look_for_champion(alias)
            self._look_for_challenger()
        except Exception as error:
            # Whatever it is, it must not take a model away that answers.
            self._fault = f"the version that is {alias} could not be loaded: {error}"
            log.exception("the version that is %s could not be loaded", alias)
        finally:
            self._looked = time.monotonic()

    def _look_for_champion(self, alias: str) -> None:
        version = self._found(alias)
        if version is None:
            if self._model is not None:
                log.warning("no version is %s any more; nothing is served", alias)
            self._model, self._fault = None, None
            return
        if self._model is None or version[0] != self._model.version:
            self._model = self._load(*version)
            log.info("serving version %s, run %s", version[0], self._model.manifest.run)
        self._fault = None

    def _look_for_challenger(self) -> None:
        wanted = self._wanted()
        if wanted == self._challenger_number():
            return
        if not wanted:
            log.info("no experiment runs any more")
            self._challenger = None
            return
        version = self._found(wanted)
        if version is None:
            log.error("version %s, the challenger of the experiment, is not there", wanted)
            return
        self._challenger = self._load(*version)
        log.info("version %s answers its keys of the experiment", wanted)

    def _found(self, version: str) -> tuple[str, str] | None:
        """Number and folder of the version of an alias or number."""
        if self._registry is None:
            self._registry = Registry(products.load(self._settings.product))
        found = self._registry.find(version)
        return None if found is None else (found.number, found.folder.uri)

    def _load(self, number: str, folder: str) -> ServedModel:
        change = {"aip_storage_uri": folder, "model_version": number, "model_sha256": ""}
        return ServedModel.load(self._settings.model_copy(update=change))

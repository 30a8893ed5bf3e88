"""The model that is released, found by its alias and followed as the alias moves."""

from __future__ import annotations

import logging
import threading
import time

from workloads import product as products
from workloads.registry import Registry
from workloads.serving.model import ServedModel
from workloads.serving.settings import ServingSettings

log = logging.getLogger(__name__)


class Champion:
    """The verified model of the version that has `settings.model_alias` now.

    Requests never wait for the registry: whoever comes when its answer is old is served what is
    there, and one thread looks again meanwhile. What goes wrong while looking is logged, and the
    model that was there goes on answering.
    """

    def __init__(self, settings: ServingSettings) -> None:
        self._settings = settings
        self._registry = Registry(products.load(settings.product))
        self._model: ServedModel | None = None
        self._version = ""
        self._looked = 0.0
        self._looking = threading.Lock()

    def current(self) -> ServedModel | None:
        """The model that answers now; none while no version has the alias."""
        age = time.monotonic() - self._looked
        if age > self._settings.model_refresh_seconds and self._looking.acquire(blocking=False):
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

    def _look(self) -> None:
        alias = self._settings.model_alias
        try:
            version = self._registry.find(alias)
            if version is None:
                if self._model is not None:
                    log.warning("no version is %s any more; nothing is served", alias)
                self._model, self._version = None, ""
                return
            if version.number == self._version:
                return
            folder = self._settings.model_copy(update={"aip_storage_uri": version.folder.uri})
            model = ServedModel.load(folder)
            self._model, self._version = model, version.number
            log.info("serving version %s, run %s", version.number, model.manifest.run)
        except Exception:
            # Whatever it is, it must not take a model away that answers.
            log.exception("the version that is %s could not be loaded", alias)
        finally:
            self._looked = time.monotonic()

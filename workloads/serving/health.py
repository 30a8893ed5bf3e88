"""How a server fares, so that starting, ready, idle and broken are told apart."""

from __future__ import annotations

from typing import Any

import msgspec

from workloads.product import Product
from workloads.serving import answers, v2
from workloads.serving.answers import Answer
from workloads.serving.batching import FAILURES, Batcher
from workloads.serving.models import Chooser, Chosen
from workloads.serving.request import shown


class Health:
    """Answers those who ask how the server fares, and which model it has.

    - alive, 200: it runs, with a model or without; 503 once it is broken for good.
    - ready, 200: it answers. 503 says why it does not: the model is being loaded, none is released,
      it cannot be loaded, it fails at every row, or the server is ending.
    """

    def __init__(self, product: Product, models: Chooser, batcher: Batcher) -> None:
        self.ending = False
        """Whether callers are told to go elsewhere."""
        self._product = product
        self._models = models
        self._batcher = batcher

    def live(self) -> Answer:
        """Whether it runs: whoever started it starts another where it does not."""
        return self._live(_json({"status": "alive"}))

    def open_live(self) -> Answer:
        """The same in the words of the Open Inference Protocol."""
        return self._live(_json({"live": True}))

    def _live(self, alive: Answer) -> Answer:
        if self._batcher.failures >= FAILURES:
            why = f"{self._batcher.failures} calls failed one after another"
            return answers.broken(self._product.name, why)
        return alive

    def ready(self) -> Answer:
        """Whether it answers."""
        if self.ending:
            return answers.ending()
        if self._batcher.failures >= FAILURES:
            return self.live()
        chosen = self._models.choose(None)
        if chosen is None:
            return self.no_model()
        return _json({"status": "ready", "model": chosen.model.manifest.run})

    def open_ready(self, version: str | None = None) -> Answer:
        """The same in the words of the Open Inference Protocol; of one version, if it is named."""
        found = self.ready()
        if found.status != 200:
            return found
        if version is not None and self.find(version) is None:
            return self.not_served(version)
        return _json({"name": self._product.name, "ready": True})

    def find(self, version: str) -> Chosen | None:
        """The model of a version, if it answers anybody."""
        found = (one for one in self._models.all() if version and one.model.version == version)
        return next(found, None)

    def not_served(self, version: str) -> Answer:
        """It is not the version of any model that answers."""
        return answers.not_served(shown(version), self._versions())

    def _versions(self) -> list[str]:
        return [one.model.version for one in self._models.all() if one.model.version]

    def no_model(self) -> Answer:
        """Why no model answers."""
        if self._models.starting():
            return answers.starting(self._product.name)
        fault = self._models.fault()
        if fault is not None:
            return answers.broken(self._product.name, fault)
        return answers.nothing_released(self._product.name)

    def server(self) -> Answer:
        """What the Open Inference Protocol wants to know of a server."""
        contract = self._product.features.request
        version = f"{contract.NAME} v{contract.VERSION}"
        return _json({"name": "esteira", "version": version, "extensions": []})

    def model(self, version: str | None = None) -> Answer:
        """What it wants to know of a model; of one version, if it is named."""
        chosen = self._models.choose(None)
        if chosen is None:
            return self.no_model()
        if version is not None and (chosen := self.find(version)) is None:
            return self.not_served(version)
        product, manifest = self._product, chosen.model.manifest
        return _json(
            v2.metadata(manifest, product.name, self._versions(), product.features.request)
        )


def _json(document: Any) -> Answer:
    return Answer(200, msgspec.json.encode(document))

"""What is being written to the registries, kept in the product's bucket until both have it.

An intent that lies there with nobody at work says that MLflow may be behind Vertex AI. It holds no
more than when and what: whoever finds it compares the two registries themselves.
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Final

import msgspec

from workloads.artifacts import ArtifactNotFound, Folder
from workloads.product import Product

_FOLDER: Final = "registry"


class Intent(msgspec.Struct, frozen=True, kw_only=True):
    """One write, begun and not known to have ended."""

    id: str
    what: str
    begun: datetime


class Intents:
    """The intents of one product."""

    def __init__(self, product: Product) -> None:
        self._folder = Folder.of(product, _FOLDER)

    def keep(self, what: str) -> Intent:
        """Write an intent down."""
        intent = Intent(id=uuid.uuid4().hex, what=what, begun=datetime.now(UTC))
        self._folder.write_json(f"{intent.id}.json", intent)
        return intent

    def all(self) -> list[Intent]:
        """Those that lie there, oldest first."""
        found: list[Intent] = []
        for name in self._folder.listed():
            try:
                found.append(self._folder.read_json(name, Intent))
            except ArtifactNotFound:
                # Whoever kept it has ended meanwhile.
                continue
        return sorted(found, key=lambda one: one.begun)

    def clear(self, intents: list[Intent]) -> None:
        """Take intents away. Repeatable."""
        for one in intents:
            self._folder.remove(f"{one.id}.json")

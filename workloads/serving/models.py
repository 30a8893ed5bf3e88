"""Which model answers whom."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from workloads.prediction_log.contract import CHAMPION, Variant
from workloads.serving.model import ServedModel

type Models = Callable[[], ServedModel | None]
"""The model that answers now; none while nothing is released."""


class Chosen(NamedTuple):
    """The model that answers a request, and the part that it plays."""

    model: ServedModel
    variant: Variant


class Chooser(Protocol):
    """Says which model answers. Asked on the path of every request: it never waits."""

    def choose(self, key: str | None) -> Chosen | None:
        """The model that answers whoever has this key; none while there is none."""
        ...

    def all(self) -> list[Chosen]:
        """The models that answer somebody."""
        ...

    def starting(self) -> bool:
        """Whether nobody knows yet which model it is."""
        ...

    def fault(self) -> str | None:
        """Why there is no model although there should be one."""
        ...


class Given:
    """The one model that a server was started for: none until it is loaded."""

    def __init__(self, variant: Variant = CHAMPION) -> None:
        self._variant: Variant = variant
        self._chosen: Chosen | None = None

    def load(self, model: ServedModel) -> None:
        """From now on it answers everybody."""
        self._chosen = Chosen(model, self._variant)

    def choose(self, key: str | None) -> Chosen | None:
        """The one model, whatever the key."""
        del key
        return self._chosen

    def all(self) -> list[Chosen]:
        """The one model."""
        return [] if self._chosen is None else [self._chosen]

    def starting(self) -> bool:
        """Whether it is being loaded."""
        return self._chosen is None

    def fault(self) -> str | None:
        """None: a server that cannot load its one model ends."""
        return None


class One:
    """One model answers everybody, found anew for each."""

    def __init__(self, models: Models, variant: Variant = CHAMPION) -> None:
        self._models = models
        self._variant: Variant = variant

    def choose(self, key: str | None) -> Chosen | None:
        """The one model, whatever the key."""
        del key
        model = self._models()
        return None if model is None else Chosen(model, self._variant)

    def all(self) -> list[Chosen]:
        """The one model."""
        chosen = self.choose(None)
        return [] if chosen is None else [chosen]

    def starting(self) -> bool:
        """Never: whoever finds none knows that there is none."""
        return False

    def fault(self) -> str | None:
        """None: whoever finds none knows that there is none."""
        return None

"""Composes whole stacks under the provider's own Check, without an engine."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pulumi
import pytest

from localcloud.provider.inprocess import ProviderMocks
from stacks.program import program


@dataclass
class Composed:
    """What the program declared and exported."""

    mocks: ProviderMocks
    outputs: dict[str, Any] = field(default_factory=dict)

    def inputs(self, token: str, name: str) -> dict[str, Any]:
        """The checked inputs of one resource."""
        found = [one for one in self.mocks.find(token) if one.name == name]
        assert len(found) == 1, f"{token} {name}: {[one.name for one in self.mocks.find(token)]}"
        return found[0].inputs


type Compose = Callable[[dict[str, str]], Composed]


@pytest.fixture(scope="session")
def compose() -> Compose:
    """Runs the program with the given configuration, keys without their namespace.

    Each configuration runs once, and what it declares is only looked at.
    """
    done: dict[str, Composed] = {}

    def cached(configuration: dict[str, str]) -> Composed:
        key = json.dumps(configuration, sort_keys=True)
        if key not in done:
            done[key] = _compose(configuration)
        return done[key]

    return cached


@pytest.fixture
def compose_anew() -> Compose:
    """The same, run each time."""
    return _compose


def _compose(configuration: dict[str, str]) -> Composed:
    composed = Composed(ProviderMocks())
    pulumi.runtime.set_mocks(composed.mocks, project="esteira", stack="test")
    pulumi.runtime.set_all_config({f"esteira:{key}": value for key, value in configuration.items()})

    def export(name: str, value: Any) -> None:
        def keep(known: Any) -> None:
            composed.outputs[name] = known

        pulumi.Output.from_input(value).apply(keep)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pulumi, "export", export)
        pulumi.runtime.test(program)()
    return composed

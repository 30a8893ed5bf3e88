"""Composes whole stacks under the provider's own Check, without an engine."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pulumi
import pytest
from pulumi.runtime.mocks import MockResourceArgs

from localcloud.provider.inprocess import ProviderMocks
from stacks.program import program


class Mocks(ProviderMocks):
    """Gives an image a digest: in memory the provider builds none."""

    def new_resource(self, args: MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        made, outputs = super().new_resource(args)
        if args.typ == "docker:index/image:Image":
            repository = outputs["imageName"].rpartition(":")[0]
            outputs.setdefault("repoDigest", f"{repository}@sha256:{'0' * 64}")
        return made, outputs


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


@pytest.fixture
def compose(monkeypatch: pytest.MonkeyPatch) -> Compose:
    """Runs the program with the given configuration, keys without their namespace."""
    return _composer(monkeypatch)


@pytest.fixture(scope="module")
def compose_once() -> Iterator[Compose]:
    """The same for a whole module: each configuration runs once, and is only looked at."""
    done: dict[str, Composed] = {}
    with pytest.MonkeyPatch.context() as patch:
        run = _composer(patch)

        def cached(configuration: dict[str, str]) -> Composed:
            key = json.dumps(configuration, sort_keys=True)
            if key not in done:
                done[key] = run(configuration)
            return done[key]

        yield cached


def _composer(monkeypatch: pytest.MonkeyPatch) -> Compose:
    def run(configuration: dict[str, str]) -> Composed:
        composed = Composed(Mocks())
        pulumi.runtime.set_mocks(composed.mocks, project="esteira", stack="test")
        pulumi.runtime.set_all_config(
            {f"esteira:{key}": value for key, value in configuration.items()}
        )

        def export(name: str, value: Any) -> None:
            def keep(known: Any) -> None:
                composed.outputs[name] = known

            pulumi.Output.from_input(value).apply(keep)

        monkeypatch.setattr(pulumi, "export", export)
        pulumi.runtime.test(program)()
        return composed

    return run

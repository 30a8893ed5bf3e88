"""The plan of a program, of this checkout or of another, as a preview without credentials makes it.

As a module of its own process it plans another checkout: that one's `stacks`, `components` and
`workloads`, driven and validated by what is here, so that only the programs differ:

    python -m esteira.review.planned --checkout FOLDER --to FILE STACK
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from pulumi.automation import EngineEvent, OpType
from pulumi.automation.events import StepEventStateMetadata

from esteira.engine import policies
from esteira.engine.policies import Finding
from esteira.engine.stack import opened
from esteira.paths import ROOT

OUTPUTS_SCHEMA: Final = "stacks/outputs.schema.json"


@dataclass(frozen=True, kw_only=True)
class Serving:
    """What a product's endpoint runs on. Pulumi does not see it: releases deploy the models."""

    machine_type: str
    min_replicas: int
    max_replicas: int


@dataclass(kw_only=True)
class Planned:
    """A program's plan, before anything is made of it."""

    digest: dict[str, Any]
    outputs: dict[str, Any] = field(default_factory=dict)
    """The stack's outputs, as far as they are known."""
    old_outputs: dict[str, Any] = field(default_factory=dict)
    """Those that the state has."""
    outputs_schema: dict[str, Any] = field(default_factory=dict)
    """The committed JSON Schema of the output `esteira`."""
    serving: dict[str, Serving] = field(default_factory=dict)
    """By product."""

    def as_dict(self) -> dict[str, Any]:
        """For the process that asked."""
        return asdict(self)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Planned:
        """What another process planned."""
        serving = {name: Serving(**one) for name, one in document["serving"].items()}
        return cls(**{**document, "serving": serving})


class Events:
    """Keeps what a preview says beside its digest: outputs and the policies' findings.

    Pass it as `on_event`.
    """

    def __init__(self) -> None:
        self.outputs: dict[str, Any] = {}
        self.old_outputs: dict[str, Any] = {}
        self.findings: list[Finding] = []
        self.unchanged: list[dict[str, Any]] = []
        """Steps of the resources that stay as they are; the digest leaves them out."""

    def __call__(self, event: EngineEvent) -> None:
        """Take in one event of the engine."""
        if event.policy_event is not None:
            self.findings.append(policies.finding(event.policy_event))
        elif event.resource_pre_event is not None:
            metadata = event.resource_pre_event.metadata
            if metadata.op == OpType.SAME:
                self.unchanged.append(
                    {
                        "op": "same",
                        "urn": metadata.urn,
                        "oldState": _state(metadata.old),
                        "newState": _state(metadata.new),
                    }
                )
        elif event.res_outputs_event is not None:
            metadata = event.res_outputs_event.metadata
            if metadata.type == "pulumi:pulumi:Stack":
                self.outputs = dict((metadata.new and metadata.new.outputs) or self.outputs)
                self.old_outputs = dict((metadata.old and metadata.old.outputs) or self.old_outputs)


def _state(metadata: StepEventStateMetadata | None) -> dict[str, Any] | None:
    if metadata is None:
        return None
    return {
        name: getattr(metadata, name)
        for name in ("type", "custom", "inputs", "outputs", "parent", "provider", "protect")
    }


def plan(
    stack: str,
    *,
    offline: bool,
    judged: bool,
    progress: Callable[[str], None],
    checkout: Path = ROOT,
) -> tuple[Planned, list[Finding]]:
    """Preview a stack; its plan, and what policies have to say of it.

    Raises:
        UnknownStack: the checkout has no settings file of that name.
        EngineFailed: the program or the engine failed.
    """
    events = Events()
    with opened(stack, offline=offline, progress=progress, checkout=checkout) as opening:
        digest = opening.plan(events, judged=judged)
    schema = checkout / OUTPUTS_SCHEMA
    found = Planned(
        digest={**digest, "steps": [*digest.get("steps", []), *events.unchanged]},
        outputs=events.outputs,
        old_outputs=events.old_outputs,
        outputs_schema=json.loads(schema.read_text()) if schema.is_file() else {},
        serving=_serving(),
    )
    return found, events.findings


def _serving() -> dict[str, Serving]:
    """What each product of the imported checkout declares for its endpoint."""
    from workloads import product as products

    return {
        name: Serving(
            machine_type=one.machine_type,
            min_replicas=one.min_replicas,
            max_replicas=one.max_replicas,
        )
        for name in products.names()
        for one in [products.load(name).serving]
    }


@contextlib.contextmanager
def _imported_from(checkout: Path) -> Iterator[None]:
    """Import the program's packages from a checkout, and nothing else from there."""
    for name in ("stacks", "components", "workloads"):
        assert name not in sys.modules, f"{name} was imported before its checkout was known"
    # This folder's own packages are imported by now, and their modules are found through them.
    import localcloud  # noqa: F401

    sys.path.insert(0, str(checkout))
    try:
        yield
        import stacks

        found = Path(stacks.__file__ or "").resolve()
        assert found.is_relative_to(checkout.resolve()), f"{found} is not of {checkout}"
    finally:
        sys.path.remove(str(checkout))


def main() -> None:
    """Plan another checkout and write the plan as JSON."""
    parser = argparse.ArgumentParser(prog="python -m esteira.review.planned")
    parser.add_argument("--checkout", type=Path, required=True)
    parser.add_argument("--to", type=Path, required=True)
    parser.add_argument("stack")
    words = parser.parse_args()
    checkout: Path = words.checkout.resolve()
    os.chdir(checkout)
    with _imported_from(checkout):
        found, _ = plan(
            words.stack, offline=True, judged=False, progress=lambda _: None, checkout=checkout
        )
    words.to.write_text(json.dumps(found.as_dict()))


if __name__ == "__main__":
    main()

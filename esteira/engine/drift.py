"""What is no longer as the stack's state says, as the preview of a refresh tells it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

from pulumi.automation import EngineEvent
from pulumi.automation.events import StepEventMetadata

_KINDS: Final = {"update": "changed", "delete": "missing"}


@dataclass(frozen=True, kw_only=True)
class Drifted:
    """A resource that someone or something else than this program has changed."""

    urn: str
    type: str
    """Pulumi's type token, such as `gcp:storage/bucket:Bucket`."""
    name: str
    kind: str
    """`changed`, or `missing` where it is gone."""
    properties: tuple[str, ...]
    """Which properties differ. Their values are not shown: one of them may be a secret."""

    def as_dict(self) -> dict[str, Any]:
        """For a program."""
        return asdict(self)

    def __str__(self) -> str:
        what = f": {', '.join(self.properties)}" if self.properties else ""
        return f"{self.kind} {self.type} {self.name}{what}"


class DriftReport:
    """Gathers what drifted from a refresh's events. Pass it on as `on_event`."""

    def __init__(self) -> None:
        self._found: dict[str, Drifted] = {}

    @property
    def found(self) -> list[Drifted]:
        """What drifted, in the order of its urns."""
        return [self._found[urn] for urn in sorted(self._found)]

    def __call__(self, event: EngineEvent) -> None:
        """Take in one event of the engine."""
        if event.res_outputs_event is None:
            return
        step = event.res_outputs_event.metadata
        kind = _KINDS.get(str(getattr(step.op, "value", step.op)))
        if kind is not None:
            self._found[step.urn] = Drifted(
                urn=step.urn,
                type=step.type,
                name=step.urn.rpartition("::")[2],
                kind=kind,
                properties=_differing(step) if kind == "changed" else (),
            )


def _differing(step: StepEventMetadata) -> tuple[str, ...]:
    """The properties that the engine names, or else those whose outputs differ."""
    if step.detailed_diff:
        return tuple(sorted(step.detailed_diff))
    before = (step.old.outputs if step.old else None) or {}
    after = (step.new.outputs if step.new else None) or {}
    names = {name for name in {*before, *after} if before.get(name) != after.get(name)}
    return tuple(sorted(names))

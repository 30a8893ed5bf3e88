"""What a preview plans, out of Pulumi's digest: resources, and what becomes of each."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from esteira.review.values import cleaned

PLATFORM: Final = "platform"
"""What belongs to no product."""
_STACK: Final = "pulumi:pulumi:Stack"
_PROVIDER: Final = "pulumi:providers:"


class Kind(StrEnum):
    """What becomes of a resource, the most drastic first."""

    DELETE = "delete"
    REPLACE = "replace"
    UPDATE = "update"
    CREATE = "create"


@dataclass(frozen=True, kw_only=True)
class Resource:
    """One resource that a provider manages."""

    urn: str
    type: str
    """Pulumi's token, such as `gcp:pubsub/topic:Topic`."""
    name: str
    inputs: Mapping[str, Any]
    component: str = ""
    """The outermost component that it belongs to, `EventStream flight-delay-flights`."""
    product: str = PLATFORM
    protect: bool = False
    ignored: tuple[str, ...] = ()
    """Properties whose changes are ignored on purpose."""
    dependencies: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By property, the URNs of the resources that its value comes from."""

    @property
    def title(self) -> str:
        """`pubsub.Topic` of `gcp:pubsub/topic:Topic`."""
        package, _, rest = self.type.partition(":")
        module, _, name = rest.rpartition(":")
        module = module.partition("/")[0]
        prefix = package if module == "index" else module
        return f"{prefix}.{name}" if prefix else name


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One property that changes."""

    path: str
    """`labels.team`, `containers[0].image`."""
    old: Any = None
    new: Any = None
    replaces: bool = False
    """Whether it needs a new resource."""
    moved: tuple[str, ...] = ()
    """For a value that is not known before or after: the resources it newly comes from."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """What becomes of one resource."""

    kind: Kind
    old: Resource | None = None
    new: Resource | None = None
    differences: tuple[Difference, ...] = ()

    @property
    def resource(self) -> Resource:
        """As it will be, or as it was if it goes."""
        found = self.new or self.old
        assert found is not None
        return found

    @property
    def reasons(self) -> tuple[str, ...]:
        """The properties that force a new resource."""
        return tuple(one.path for one in self.differences if one.replaces)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a preview found."""

    resources: Mapping[str, Resource]
    """By URN, as they will be."""
    changes: tuple[Change, ...]
    """As the engine sees them, with the state that it has."""
    before: Mapping[str, Resource]
    """By URN, as they are by that state."""


def read(digest: Mapping[str, Any], root: Path) -> Plan:
    """The plan in a preview's digest (`pulumi preview --json`).

    Args:
        digest: Pulumi's own.
        root: The checkout that the program lies in; its path is shown nowhere.
    """
    steps = [step for step in digest.get("steps", []) if step.get("urn")]
    after, before = _Reader(steps, "newState", root), _Reader(steps, "oldState", root)
    resources, old = after.resources(), before.resources()
    kinds: dict[str, set[str]] = {}
    detailed: dict[str, Mapping[str, Any]] = {}
    for step in steps:
        kinds.setdefault(step["urn"], set()).add(step["op"])
        if step.get("detailedDiff"):
            detailed[step["urn"]] = step["detailedDiff"]
    changes = [
        _change(kind, old.get(urn), resources.get(urn), detailed.get(urn), before.outputs(urn))
        for urn, operations in kinds.items()
        if (kind := _kind(operations)) and (urn in resources or urn in old)
    ]
    gone = {one.resource.urn for one in changes if one.kind is Kind.DELETE}
    return Plan(
        resources={urn: one for urn, one in resources.items() if urn not in gone},
        changes=ordered(one for one in changes if not _idle(one)),
        before=old,
    )


def ordered(changes: Iterable[Change]) -> tuple[Change, ...]:
    """By product, component, kind and URN; the platform's own last."""
    ranks = {kind: rank for rank, kind in enumerate(Kind)}
    return tuple(
        sorted(
            changes,
            key=lambda one: (
                one.resource.product == PLATFORM,
                one.resource.product,
                one.resource.component,
                ranks[one.kind],
                one.resource.urn,
            ),
        )
    )


def is_resource(token: str) -> bool:
    """Whether a provider makes it, which it does neither of components nor of providers."""
    return not token.startswith((_STACK, _PROVIDER)) and ":" in token


def _idle(change: Change) -> bool:
    return change.kind is Kind.UPDATE and not change.differences


def _kind(operations: set[str]) -> Kind | None:
    if operations & {"replace", "create-replacement", "delete-replaced", "import-replacement"}:
        return Kind.REPLACE
    for operation, kind in (
        ("create", Kind.CREATE),
        ("import", Kind.CREATE),
        ("update", Kind.UPDATE),
        ("delete", Kind.DELETE),
    ):
        if operation in operations:
            return kind
    return None


def _change(
    kind: Kind,
    old: Resource | None,
    new: Resource | None,
    detailed: Mapping[str, Any] | None,
    outputs: Mapping[str, Any],
) -> Change:
    if kind is Kind.DELETE:
        new = None
    elif kind is Kind.CREATE:
        old = None
    if old is None or new is None:
        return Change(kind=kind, old=old, new=new)
    if detailed is None:
        # Imported here: the rules need the SDK, which takes a second that most plans can spare.
        from esteira.review.compare import differences

        found = differences(old, new)
    else:
        found = tuple(
            Difference(
                path=path,
                old=_at(outputs if not one.get("inputDiff", True) else old.inputs, path, outputs),
                new=_at(new.inputs, path, {}),
                replaces=str(one.get("kind", "")).endswith("-replace"),
            )
            for path, one in sorted(detailed.items())
        )
    return Change(kind=kind, old=old, new=new, differences=found)


_STEP: Final = re.compile(r'\["((?:[^"\\]|\\.)*)"\]|\[(\d+)\]|([^.\[\]]+)')


def _at(values: Mapping[str, Any], path: str, otherwise: Mapping[str, Any]) -> Any:
    """The value at a property path, of the first of two documents that has one."""
    for document in (values, otherwise):
        at: Any = document
        for quoted, index, plain in _STEP.findall(path):
            key = quoted or plain
            if index and isinstance(at, list) and int(index) < len(at):
                at = at[int(index)]
            elif key and isinstance(at, Mapping):
                at = at.get(key)
            else:
                at = None
        if at is not None:
            return at
    return None


class _Reader:
    """The states of one side of a digest's steps."""

    def __init__(self, steps: Iterable[Mapping[str, Any]], side: str, root: Path) -> None:
        self._states: dict[str, Mapping[str, Any]] = {
            step["urn"]: step[side] for step in steps if step.get(side)
        }
        self._root = root

    def resources(self) -> dict[str, Resource]:
        return {
            urn: self._resource(urn, state)
            for urn, state in sorted(self._states.items())
            if state.get("custom") and is_resource(state["type"])
        }

    def outputs(self, urn: str) -> Mapping[str, Any]:
        state = self._states.get(urn, {})
        return cleaned(
            state.get("outputs") or {}, self._root, state.get("additionalSecretOutputs") or ()
        )

    def _resource(self, urn: str, state: Mapping[str, Any]) -> Resource:
        inputs = cleaned(
            state.get("inputs") or {}, self._root, state.get("additionalSecretOutputs") or ()
        )
        return Resource(
            urn=urn,
            type=state["type"],
            name=urn.rpartition("::")[2],
            inputs=inputs,
            component=self._component(state),
            product=self._product(state, inputs),
            protect=bool(state.get("protect")),
            ignored=tuple(state.get("ignoreChanges") or ()),
            dependencies={
                name: tuple(sorted(urns))
                for name, urns in (state.get("propertyDependencies") or {}).items()
                if urns
            },
        )

    def _component(self, state: Mapping[str, Any]) -> str:
        found = ""
        parent = state.get("parent") or ""
        # A state that an operation on parts of a stack left has parents that no step speaks of.
        while parent and "pulumi:pulumi:Stack" not in parent.split("::")[2]:
            kind = parent.split("::")[2].rpartition("$")[2]
            found = f"{kind.rpartition(':')[2]} {parent.rpartition('::')[2]}"
            parent = (self._states.get(parent) or {}).get("parent") or ""
        return found

    def _product(self, state: Mapping[str, Any], inputs: Mapping[str, Any]) -> str:
        labels = inputs.get("labels")
        if isinstance(labels, Mapping) and isinstance(labels.get("product"), str):
            return labels["product"]
        provider = (state.get("provider") or "").rpartition("::")[0]
        defaults = (self._states.get(provider) or {}).get("inputs", {}).get("defaultLabels")
        if isinstance(defaults, str):
            try:
                defaults = json.loads(defaults)
            except ValueError:
                return PLATFORM
        return defaults.get("product", PLATFORM) if isinstance(defaults, Mapping) else PLATFORM

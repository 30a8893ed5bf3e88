"""What becomes of the outputs that data teams read."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from esteira.review.values import shown, unknown_in

_ALIKE: Final = 0.6
"""From which likeness of two names one may stand for the other; difflib's own default."""


@dataclass(frozen=True, kw_only=True)
class OutputChange:
    """An output that a reader no longer finds, or finds something else in."""

    name: str
    breaks: bool
    """Whether a program that reads it fails."""
    what: str
    instead: str = ""
    """What to read from now on; empty if nothing takes its place."""


def changes(
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    old_schema: Mapping[str, Any],
    new_schema: Mapping[str, Any],
) -> tuple[OutputChange, ...]:
    """What readers of the outputs have to know.

    Args:
        before, after: The outputs of the stack, as far as they are known, cleaned.
        old_schema, new_schema: JSON Schemas of the output `esteira`; empty where not known.
    """
    old, new = dict(before), dict(after)
    if not unknown_in(old.get("esteira")) and not unknown_in(new.get("esteira")):
        old |= _fields(old.get("esteira"))
        new |= _fields(new.get("esteira"))
    old.pop("esteira", None)
    new.pop("esteira", None)
    found = list(_of_schema(old_schema, new_schema))
    if "esteira" in before and "esteira" not in after:
        found.append(OutputChange(name="esteira", breaks=True, what="the whole output is gone"))
    for name in sorted(old.keys() - new.keys()):
        instead = _successor(name, old[name], {k: new[k] for k in new.keys() - old.keys()})
        found.append(
            OutputChange(
                name=name,
                breaks=True,
                what="renamed" if instead else "removed",
                instead=instead,
            )
        )
    for name in sorted(old.keys() & new.keys()):
        if old[name] != new[name] and not unknown_in(old[name]) and not unknown_in(new[name]):
            what = f"was {shown(old[name])}, becomes {shown(new[name])}"
            found.append(OutputChange(name=name, breaks=False, what=what))
    return tuple(sorted(found, key=lambda one: (not one.breaks, one.name)))


def _fields(document: Any, prefix: str = "esteira") -> dict[str, Any]:
    if not isinstance(document, Mapping):
        return {prefix: document}
    flat: dict[str, Any] = {}
    for key, value in document.items():
        flat |= _fields(value, f"{prefix}.{key}")
    return flat


def _of_schema(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterable[OutputChange]:
    """Changes of the output `esteira` as a whole, whose values a preview seldom knows."""
    from stacks.outputs import incompatibilities

    if not old or not new:
        return
    version, now = _version(old), _version(new)
    if version != now:
        yield OutputChange(
            name="esteira",
            breaks=True,
            what=f"version {version} becomes {now}",
            instead=f"version {now}",
        )
    before, after = _parts(old), _parts(new)
    # Of another version, what differs is still what its readers have to learn.
    told = incompatibilities({**old, "properties": _unversioned(old)},
                             {**new, "properties": _unversioned(new)})  # fmt: skip
    for line in told:
        field, _, what = line.partition(" ")
        part, _, name = field.partition(".")
        added = after.get(part, {}).keys() - before.get(part, {}).keys()
        removed = what == "was removed"
        instead = _successor(name, None, dict.fromkeys(added)) if removed else ""
        yield OutputChange(
            name=f"esteira: {field}",
            breaks=True,
            what=("renamed" if instead else "removed") if removed else what,
            instead=f"{part}.{instead}" if instead else "",
        )


def _unversioned(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {**schema["properties"], "version": {"type": "integer"}}


def _version(schema: Mapping[str, Any]) -> Any:
    return schema.get("properties", {}).get("version", {}).get("const")


def _parts(schema: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    parts = {"Outputs": schema, **schema.get("$defs", {})}
    return {title: part.get("properties", {}) for title, part in parts.items()}


def _successor(name: str, value: Any, added: Mapping[str, Any]) -> str:
    """Which of the new outputs takes the place of one that is gone."""
    if value is not None and not unknown_in(value):
        same = sorted(key for key, one in added.items() if one == value)
        if same:
            return same[0]
    alike = difflib.get_close_matches(name, sorted(added), n=1, cutoff=_ALIKE)
    return alike[0] if alike else ""

"""A changed property as the lines of a diff: nested paths, and JSON read as what it means."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from esteira.review.plan import Change, Difference
from esteira.review.values import Hidden, shown, visible
from localcloud.provider.values import UNKNOWN

_LONGEST: Final = 300
"""Characters of a value on one line; the rest is counted."""
_MOST: Final = 60
"""Lines of one resource; the rest is counted."""
_MISSING: Final = object()


def lines(change: Change) -> list[str]:
    """What changes of one resource, each property with its old and its new value."""
    found: list[str] = []
    for one in change.differences:
        if one.replaces:
            found.append(f"! {visible(one.path)} forces a replacement")
        found += _of(one)
    if len(found) > _MOST:
        found = [*found[:_MOST], f"  … {len(found) - _MOST} more lines"]
    return found


def _of(one: Difference) -> list[str]:
    if one.moved:
        return [
            f"-{one.path}: known after it is made",
            f"+{one.path}: known after it is made, from {', '.join(one.moved)}",
        ]
    if isinstance(one.old, Hidden) or isinstance(one.new, Hidden):
        return _hidden(one)
    old, new = (_MISSING if side is None else _meaning(side) for side in (one.old, one.new))
    return [line for path, a, b in _walk(one.path, old, new) for line in _pair(path, a, b)]


def _hidden(one: Difference) -> list[str]:
    if one.old is None:
        return [f"+{one.path}: [secret]"]
    if one.new is None:
        return [f"-{one.path}: [secret]"]
    return [f"-{one.path}: [secret]", f"+{one.path}: [secret, another value]"]


def _meaning(value: Any) -> Any:
    """A text that is a JSON object or list, as that."""
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _walk(path: str, old: Any, new: Any) -> Iterator[tuple[str, Any, Any]]:
    if old is not _MISSING and new is not _MISSING and old == new:
        return
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted({*old, *new}, key=str):
            yield from _walk(f"{path}.{key}", old.get(key, _MISSING), new.get(key, _MISSING))
    elif isinstance(old, list) and isinstance(new, list):
        yield from _lists(path, old, new)
    else:
        yield path, old, new


def _lists(path: str, old: list[Any], new: list[Any]) -> Iterator[tuple[str, Any, Any]]:
    """Entries that have names, such as columns, are matched by name and not by place."""
    key = _key(old, new)
    if key is not None:
        before = {str(one[key]): one for one in old}
        after = {str(one[key]): one for one in new}
        for name in dict.fromkeys([*before, *after]):
            yield from _walk(
                f"{path}[{name}]", before.get(name, _MISSING), after.get(name, _MISSING)
            )
        if before == after:
            yield f"{path} (their order)", list(before), list(after)
        return
    if all(not isinstance(one, Mapping | list) for one in [*old, *new]):
        # Of plain values, what came and what went says more than which place each has.
        gone = [one for one in old if one not in new]
        come = [one for one in new if one not in old]
        if not gone and not come:
            yield f"{path} (their order)", old, new
        for one in gone:
            yield f"{path}[]", one, _MISSING
        for one in come:
            yield f"{path}[]", _MISSING, one
        return
    for index in range(max(len(old), len(new))):
        yield from _walk(
            f"{path}[{index}]",
            old[index] if index < len(old) else _MISSING,
            new[index] if index < len(new) else _MISSING,
        )


def _key(old: Sequence[Any], new: Sequence[Any]) -> str | None:
    for key in ("name", "title", "displayName"):
        for side in (old, new):
            names = [one.get(key) if isinstance(one, Mapping) else None for one in side]
            if None in names or len(set(map(str, names))) < len(names):
                break
        else:
            return key
    return None


def _pair(path: str, old: Any, new: Any) -> Iterator[str]:
    if all(isinstance(one, str) and "\n" in one for one in (old, new)):
        yield f"  {visible(path)}:"
        for line in difflib.unified_diff(old.splitlines(), new.splitlines(), n=1, lineterm=""):
            if not line.startswith(("---", "+++", "@@")):
                yield f"{line[0]}  {_short(visible(line[1:]))}"
        return
    if old is not _MISSING:
        yield f"-{visible(path)}: {_short(_shown(old))}"
    if new is not _MISSING:
        yield f"+{visible(path)}: {_short(_shown(new))}"


def _shown(value: Any) -> str:
    return "known after it is made" if value is UNKNOWN else shown(value)


def _short(text: str) -> str:
    if len(text) <= _LONGEST:
        return text
    return f"{text[:_LONGEST]}… ({len(text) - _LONGEST} more characters)"

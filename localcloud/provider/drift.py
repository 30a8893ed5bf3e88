"""The service's truth against what was known: outputs after a read, and inputs that moved.

A service returns more than was asked for (defaults, normal forms). Only what an input asked for,
and what changed since the last time, is drift.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from localcloud.provider.diff import same
from localcloud.provider.schema import Resource


def merged(known: Mapping[str, Any], truth: Mapping[str, Any]) -> dict[str, Any]:
    """Outputs: what was known, with the service's truth over it, in the known spelling."""
    result = dict(known)
    for name, value in truth.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = _spelled(known.get(name), value)
    return result


def _spelled(known: Any, value: Any) -> Any:
    """The value, written as it was known where it means the same."""
    if known is not None and same(known, value):
        return known
    if isinstance(known, Mapping) and isinstance(value, Mapping):
        return {key: _spelled(known.get(key), item) for key, item in value.items()}
    if isinstance(known, list) and isinstance(value, list) and len(known) == len(value):
        return [_spelled(*pair) for pair in zip(known, value, strict=True)]
    return value


def drifted(
    resource: Resource,
    inputs: Mapping[str, Any],
    before: Mapping[str, Any],
    now: Mapping[str, Any],
    truth: Mapping[str, Any],
) -> dict[str, Any]:
    """The inputs that would lead to what is there now.

    Args:
        resource: the schema.
        inputs: the inputs of the last deployment.
        before: the outputs of the last deployment.
        now: the outputs now.
        truth: what the service said; a property that is not in it cannot have moved.
    """
    moved = dict(inputs)
    for name in truth:
        if name not in resource.inputs:
            continue
        if name in inputs:
            if name not in now:
                if not _empty(inputs[name]):
                    del moved[name]
            else:
                moved[name] = _as_asked(inputs[name], now[name])
        elif not _empty(now.get(name)) and not same(now.get(name), before.get(name)):
            moved[name] = now[name]
    return moved


def _as_asked(asked: Any, now: Any) -> Any:
    """The present value seen through what was asked: parts that nobody asked for left out."""
    if same(asked, now):
        return asked
    if isinstance(asked, Mapping) and isinstance(now, Mapping):
        kept = {key: _as_asked(asked[key], now[key]) for key in asked if key in now}
        return kept | {key: asked[key] for key in asked if key not in now and _empty(asked[key])}
    if isinstance(asked, list) and isinstance(now, list) and len(asked) == len(now):
        return [_as_asked(*pair) for pair in zip(asked, now, strict=True)]
    return now


def imported(
    resource: Resource,
    now: Mapping[str, Any],
    base: Mapping[str, Any],
    usual: Mapping[str, Any],
) -> dict[str, Any]:
    """Inputs for something that no deployment made: all that is not a default."""
    return {
        name: value
        for name, value in now.items()
        if name in resource.inputs
        and not _empty(value)
        and (resource.inputs[name].required or not same(value, base.get(name)))
        and (resource.inputs[name].required or not same(value, usual.get(name)))
    }


def _empty(value: Any) -> bool:
    return value in (None, "", False, 0) or value in ([], {})

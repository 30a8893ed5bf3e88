"""Judge a resource's inputs by the SDK's types: unknown, missing, wrong type, not allowed.

What pulumi-gcp would take is taken: a number written as a string and the like is converted, as its
bridge does, and an empty string passes for an unset enum.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from localcloud.provider.schema import Property, Resource, Shape, properties
from localcloud.provider.values import UNKNOWN, Asset, Path, Secret

DEFAULTS: Final = "__defaults"
"""Where pulumi's bridge notes which inputs it filled in itself."""

_MANY: Final = 14
_BOOLEANS: Final = {"true": True, "false": False, "1": True, "0": False}


@dataclass(frozen=True)
class Failure:
    """One input that is wrong: where, and what is wrong with what came and what is allowed."""

    property: str
    reason: str

    def __str__(self) -> str:
        return f"{self.property}: {self.reason}" if self.property else self.reason


def check(resource: Resource, inputs: Mapping[str, Any]) -> tuple[dict[str, Any], list[Failure]]:
    """The inputs with scalars converted to their types, and everything that is wrong with them."""
    judge = _Judge()
    own = {key: value for key, value in inputs.items() if not key.startswith("__")}
    checked = judge.fields(resource.inputs, own, (), open=resource.open)
    hidden = {key: value for key, value in inputs.items() if key.startswith("__")}
    return {**checked, **hidden}, judge.failures


def check_fields(
    allowed: Mapping[str, Property], values: Mapping[str, Any]
) -> tuple[dict[str, Any], list[Failure]]:
    """The same for a bare set of properties, such as a provider's configuration."""
    judge = _Judge()
    return judge.fields(allowed, values, ()), judge.failures


def dotted(path: Path) -> str:
    """`schema.fields[0].name`, as Pulumi writes a property path."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif re.fullmatch(r"[A-Za-z_$][\w$]*", part):
            text += f".{part}" if text else part
        else:
            text += f'["{part}"]'
    return text


class _Judge:
    """Walks values beside their shapes and gathers failures."""

    def __init__(self) -> None:
        self.failures: list[Failure] = []
        self._secret = False

    def fail(self, path: Path, reason: str) -> None:
        self.failures.append(Failure(dotted(path), reason))

    def fields(
        self,
        allowed: Mapping[str, Property],
        values: Mapping[str, Any],
        path: Path,
        *,
        open: bool = False,  # noqa: A002 - the schema's own word
    ) -> dict[str, Any]:
        checked: dict[str, Any] = {}
        for name, value in values.items():
            known = allowed.get(name)
            if known is not None:
                checked[name] = self.value(known.shape, value, (*path, name), known)
            elif open:
                checked[name] = value
            else:
                self.fail((*path, name), _unknown(name, allowed))
        for name, known in allowed.items():
            if known.required and checked.get(name) is None and name not in values:
                self.fail((*path, name), f"missing required property; it is {known.shape.words()}")
        return checked

    def value(self, shape: Shape, value: Any, path: Path, known: Property | None) -> Any:
        if isinstance(value, Secret):
            outer, self._secret = self._secret, True
            try:
                return Secret(self.value(shape, value.value, path, known))
            finally:
                self._secret = outer
        if value is UNKNOWN or value is None or shape.kind == "any":
            return value
        match shape.kind:
            case "object":
                return self._object(shape, value, path)
            case "array":
                return self._array(shape, value, path, known)
            case "map":
                return self._map(shape, value, path)
            case "asset":
                if not isinstance(value, Asset):
                    self._wrong(shape, value, path)
                return value
            case "union":
                return self._union(shape, value, path, known)
            case _:
                return self._scalar(shape, value, path, known)

    def _object(self, shape: Shape, value: Any, path: Path) -> Any:
        if not isinstance(value, Mapping) or shape.cls is None:
            self._wrong(shape, value, path)
            return value
        return self.fields(properties(shape.cls), value, path)

    def _array(self, shape: Shape, value: Any, path: Path, known: Property | None) -> Any:
        if not isinstance(value, list) or shape.item is None:
            self._wrong(shape, value, path)
            return value
        return [
            self.value(shape.item, item, (*path, index), known) for index, item in enumerate(value)
        ]

    def _map(self, shape: Shape, value: Any, path: Path) -> Any:
        if not isinstance(value, Mapping) or shape.item is None:
            self._wrong(shape, value, path)
            return value
        return {
            key: self.value(shape.item, item, (*path, key), None) for key, item in value.items()
        }

    def _union(self, shape: Shape, value: Any, path: Path, known: Property | None) -> Any:
        best: list[Failure] | None = None
        for option in shape.options:
            trial = _Judge()
            trial._secret = self._secret
            checked = trial.value(option, value, path, known)
            if not trial.failures and (option.kind != "string" or isinstance(value, str)):
                return checked
            if best is None or len(trial.failures) < len(best):
                best = trial.failures
        if any(_fits(option, value) for option in shape.options):
            self.failures.extend(best or [])
        else:
            self._wrong(shape, value, path)
        return value

    def _scalar(self, shape: Shape, value: Any, path: Path, known: Property | None) -> Any:
        try:
            converted = _convert(shape, value)
        except ValueError:
            self._wrong(shape, value, path)
            return value
        allowed = shape.enum or (known.allowed if known else ())
        if allowed and converted != "" and not _listed(converted, allowed):
            near = difflib.get_close_matches(str(converted), allowed, 1, 0.6)
            hint = f"; did you mean {near[0]!r}?" if near and not self._secret else ""
            self.fail(path, f"{self._show(value)} is not one of {', '.join(allowed)}{hint}")
        return converted

    def _wrong(self, shape: Shape, value: Any, path: Path) -> None:
        self.fail(path, f"expected {shape.words()}, got {self._show(value)}")

    def _show(self, value: Any) -> str:
        if self._secret:
            return "a secret value"
        if isinstance(value, Mapping):
            return "an object with " + (", ".join(map(str, value)) or "no keys")
        if isinstance(value, list):
            return f"a list of {len(value)}"
        if isinstance(value, Asset):
            return "an archive" if value.archive else "an asset"
        text = repr(value) if isinstance(value, str) else str(value)
        return text if len(text) <= 120 else f"{text[:117]}..."


def _unknown(name: str, allowed: Mapping[str, Property]) -> str:
    spelled = {known.python_name: known for known in allowed.values()} | dict(allowed)
    near = difflib.get_close_matches(name, spelled, 1, 0.6)
    if near:
        meant = spelled[near[0]]
        python = f" ({meant.python_name} in Python)" if meant.python_name != meant.name else ""
        return f"unknown property; did you mean {meant.name!r}{python}?"
    listed = sorted(allowed)
    if len(listed) > _MANY:
        return f"unknown property; allowed are {', '.join(listed[:_MANY])} and others"
    return f"unknown property; allowed are {', '.join(listed) or 'none'}"


def _listed(value: Any, allowed: Sequence[str]) -> bool:
    spelled = str(value).lower() if isinstance(value, bool) else str(value)
    return spelled in allowed


def _fits(shape: Shape, value: Any) -> bool:
    """Whether the value is at least of the shape's outer kind."""
    if isinstance(value, Mapping):
        return shape.kind in ("object", "map")
    if isinstance(value, list):
        return shape.kind == "array"
    return shape.kind not in ("object", "map", "array")


def _convert(shape: Shape, value: Any) -> Any:
    """A scalar as its type, converted where pulumi's bridge would.

    Raises:
        ValueError: there is no such conversion.
    """
    if isinstance(value, Mapping | list | Asset):
        raise ValueError
    match shape.kind:
        case "string":
            if isinstance(value, bool):
                return str(value).lower()
            return value if isinstance(value, str) else f"{value}"
        case "boolean":
            if isinstance(value, bool):
                return value
            return _BOOLEANS[value] if value in _BOOLEANS else _refuse()
        case "integer":
            if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
                raise ValueError
            return int(value)
        case _:
            if isinstance(value, bool):
                raise ValueError
            return value if isinstance(value, int | float) else float(value)


def _refuse() -> Any:
    raise ValueError

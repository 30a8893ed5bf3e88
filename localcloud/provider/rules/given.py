"""The inputs that rules judge: found by path, shown unless they are secret."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from localcloud.provider.check import Failure, dotted
from localcloud.provider.values import UNKNOWN, Path

_STEP: Final = re.compile(r"[^.\[\]]+|\[\]")
_LONGEST: Final = 120


@dataclass(frozen=True)
class Given:
    """Checked inputs of one resource, without their wrappings."""

    token: str
    values: Mapping[str, Any]
    hidden: frozenset[Path] = frozenset()
    """The paths whose values are secret, so that no message shows them."""

    def at(self, path: str) -> Iterator[tuple[Path, Any]]:
        """Each value at a path, such as `allows[].ports[]`; those unknown or left out are not.

        `[]` stands for every item of a list, `*` for every value of a map.
        """
        yield from _found(self.values, tuple(_STEP.findall(path)), ())

    def one(self, path: str) -> Any:
        """The value at a path without lists; None where there is none or it is unknown."""
        return next((value for _, value in self.at(path)), None)

    def refuse(self, path: Path, value: Any, why: str) -> Failure:
        """A failure that shows the value, then says why it is refused."""
        return Failure(dotted(path), f"{self.shown(path, value)} {why}")

    def hides(self, path: Path) -> bool:
        """Whether something at, above or below a path is secret."""
        return any(
            path[: len(secret)] == secret or secret[: len(path)] == path for secret in self.hidden
        )

    def shown(self, path: Path, value: Any) -> str:
        """The value as a message may show it."""
        if self.hides(path):
            return "a secret value"
        text = repr(value) if isinstance(value, str) else str(value)
        return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _found(value: Any, steps: tuple[str, ...], path: Path) -> Iterator[tuple[Path, Any]]:
    if value is None or value is UNKNOWN:
        return
    if not steps:
        yield path, value
        return
    step, rest = steps[0], steps[1:]
    if step == "[]":
        if isinstance(value, list):
            for index, item in enumerate(value):
                yield from _found(item, rest, (*path, index))
    elif isinstance(value, Mapping):
        for name in value if step == "*" else (step,):
            yield from _found(value.get(name), rest, (*path, name))


def present(values: Mapping[str, Any], name: str) -> bool:
    """Whether a property is set to something: nothing, an empty text and False are not."""
    value = values.get(name)
    return value is not None and value is not UNKNOWN and value not in ("", False, [])


def possible(values: Mapping[str, Any], name: str) -> bool:
    """Whether a property is set or may turn out to be."""
    return values.get(name) is not None

"""Rules that the SDK's docstrings state in the fixed wordings of pulumi-gcp's generated documents,
and forms that go by a property's name.

A wording is read only where it is unambiguous; each docstring is read once, when a value of its
property is first judged.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from localcloud.provider.check import Failure, dotted
from localcloud.provider.rules import forms
from localcloud.provider.rules.given import Given, possible, present
from localcloud.provider.schema import Property, Resource, Shape, properties
from localcloud.provider.values import UNKNOWN, Path

_NUMBER: Final = r"[`+]?(-?\d[\d,]*(?:\.\d+)?)`?"
_RANGES: Final = tuple(
    re.compile(wording)
    for wording in (
        rf"[Mm]ust be (?:in )?between {_NUMBER}(?:\([^)]*\))? (?:and|-) {_NUMBER}(?!\d|\s*\(octal)",
        rf"[Ii]nteger (?:value )?between {_NUMBER} and {_NUMBER}",
        rf"[Mm]ust be from {_NUMBER} to {_NUMBER}",
        rf"[Nn]umber must be in the range {_NUMBER} to {_NUMBER}",
        rf"^Port number [^.]*\. Must be in the range {_NUMBER} to {_NUMBER}",
        rf"must be in (?:the range )?\[{_NUMBER}, {_NUMBER}\]",
        rf"greater than or equal to {_NUMBER} \w+ and less than or equal to {_NUMBER}",
        rf"[Mm]inimum value (?:for this field )?is {_NUMBER} and the maximum value is {_NUMBER}",
        rf"[Mm]inimum value is {_NUMBER}\. Maximum value is {_NUMBER}\.",
        rf"The value can be from {_NUMBER} to {_NUMBER}",
    )
)
_LEAST: Final = (
    re.compile(rf"[Mm]inimum value is {_NUMBER}(?=[ .])"),
    re.compile(rf"[Mm]ust be (?:>=|greater than or equal to) {_NUMBER}(?=[ .]|$)"),
    re.compile(rf"Can be set to {_NUMBER} or greater"),
)
_ABOVE: Final = re.compile(rf"[Mm]ust be greater than {_NUMBER}\.?$")
# Zero switches some of them off whatever their range, and the documents say so in passing.
_ZERO_TOO: Final = re.compile(r"set to 0|\b0 disables|or 0\.0 to disable|[Ii]f 0 or not set")
_LENGTHS: Final = (
    re.compile(r"[Tt]he maximum length is ([\d,]+) characters"),
    re.compile(r"[Mm]aximum length of ([\d,]+) characters"),
    re.compile(r"[Cc]an(?:not|'t)? be (?:longer than|at most) ([\d,]+) characters"),
    re.compile(r"[Ll]imited to ([\d,]+) (?:Unicode )?characters"),
    re.compile(r"[Cc]annot exceed ([\d,]+) characters"),
    re.compile(r"must be less than or equal to ([\d,]+) UTF-8 bytes", re.I),
)
_DURATION: Final = re.compile(
    r"[Aa] duration in seconds with up to nine fractional digits, (?:terminated by|ending with) 's'"
)
_TIMESTAMP: Final = re.compile(r"[Aa] timestamp (?:in|set in) RFC ?3339")
_SECONDS: Final = re.compile(r"-?\d{1,12}(?:\.\d{1,9})?s")
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:[Zz]|[+-]\d\d:\d\d)")

_NAMES: Final = r"((?:the )?[`\w.]+(?:,? (?:or|and) [`\w.]+|, [`\w.]+)*(?:,? (?:or|and) [`\w.]+)?)"
_ONE: Final = re.compile(
    rf"(?:[Oo]nly|Exactly) one of {_NAMES}(?: fields?)? (?:can|must|may|should) be "
)
_CONFLICTS: Final = re.compile(rf"Conflicts with {_NAMES}\.")
_EXCLUSIVE: Final = re.compile(rf"{_NAMES}(?: fields)? are mutually exclusive")
_SELF_EXCLUSIVE: Final = re.compile(rf"field is mutually exclusive with {_NAMES}\.")
# What any of these wordings has, so that most docstrings need no search.
_HINTS: Final = ("one of", "one\n", "onflicts with", "onflicts\n", "utually")
_ANY: Final = re.compile(rf"[Aa]t least one of {_NAMES} must be (?:set|specified|provided)")


@dataclass(frozen=True)
class Limits:
    """What a docstring says of one property's values; bounds are inclusive unless `above`."""

    low: float | None = None
    high: float | None = None
    above: bool = False
    zero: bool = False
    longest: int | None = None
    duration: bool = False
    timestamp: bool = False

    def wrong(self, value: Any) -> str | None:
        """Why the value is refused, None where it is taken."""
        if isinstance(value, bool) or value == "":
            return None
        if isinstance(value, int | float):
            return self._number(value)
        if not isinstance(value, str):
            return None
        if self.longest is not None and len(value) > self.longest:
            return f"has {len(value)} characters; at most {self.longest} are allowed"
        if self.duration and not _SECONDS.fullmatch(value):
            return "is no duration; write seconds followed by `s`, such as '600s'"
        if self.timestamp and not _TIME.fullmatch(value):
            return "is no time; write it by RFC 3339, such as '2027-01-31T15:00:00Z'"
        return None

    def _number(self, value: float) -> str | None:
        if self.zero and value == 0:
            return None
        low = self.low is None or value > self.low or (value == self.low and not self.above)
        if low and (self.high is None or value <= self.high):
            return None
        return f"is out of range; it must be {self.words()}"

    def words(self) -> str:
        """The range as a person would say it."""
        if self.high is None:
            return f"{'greater than' if self.above else 'at least'} {_shown(self.low)}"
        if self.low is None:
            return f"at most {_shown(self.high)}"
        return f"from {_shown(self.low)} to {_shown(self.high)}"


@dataclass(frozen=True)
class Group:
    """Sibling properties of which at most one, or at least one, may be given."""

    names: tuple[str, ...]
    needed: bool
    """At least one is needed; otherwise at most one is allowed."""


_BY_TOKEN: Final[dict[str, tuple[Group, ...]]] = {}


def judge(resource: Resource, given: Given) -> list[Failure]:
    """What the docstrings of the type's properties refuse."""
    if resource.package != "gcp":
        return []
    groups = _BY_TOKEN.get(resource.token)
    if groups is None:
        groups = _BY_TOKEN[resource.token] = groups_of(resource.inputs)
    return list(_fields(resource.inputs, groups, given.values, (), given))


def _fields(
    allowed: Mapping[str, Property],
    groups: tuple[Group, ...],
    values: Mapping[str, Any],
    path: Path,
    given: Given,
) -> Iterator[Failure]:
    for name, value in values.items():
        known = allowed.get(name)
        if known is not None:
            yield from _value(known, known.shape, value, (*path, name), given)
    for group in groups:
        yield from _group(group, values, path)


def _value(
    known: Property, shape: Shape, value: Any, path: Path, given: Given
) -> Iterator[Failure]:
    if value is UNKNOWN or value is None:
        return
    if shape.kind == "array" and isinstance(value, list) and shape.item is not None:
        for index, item in enumerate(value):
            yield from _value(known, shape.item, item, (*path, index), given)
    elif shape.kind == "object" and isinstance(value, Mapping) and shape.cls is not None:
        yield from _fields(properties(shape.cls), _groups_of_class(shape.cls), value, path, given)
    elif shape.kind in ("integer", "number", "string"):
        why = limits(shape.kind, known.doc).wrong(value)
        if why is None and isinstance(value, str):
            why = forms.wrong(known.name, value)
        if why is not None:
            yield given.refuse(path, value, why)


def _group(group: Group, values: Mapping[str, Any], path: Path) -> Iterator[Failure]:
    if group.needed:
        if not any(possible(values, name) for name in group.names):
            yield Failure(
                dotted((*path, group.names[0])),
                f"missing; give at least one of {', '.join(group.names)}",
            )
        return
    there = [name for name in group.names if present(values, name)]
    if len(there) > 1:
        yield Failure(
            dotted((*path, there[1])), f"conflicts with {there[0]!r}; give only one of them"
        )


@functools.cache
def limits(kind: str, doc: str) -> Limits:
    """What the docstring of a string or number limits."""
    flat = " ".join(doc.split())
    if flat.startswith("(Output)"):
        return Limits()
    if kind == "string":
        return Limits(
            longest=next((_int(found[1]) for one in _LENGTHS if (found := one.search(flat))), None),
            duration=bool(_DURATION.search(flat)),
            timestamp=bool(_TIMESTAMP.search(flat)),
        )
    zero = bool(_ZERO_TOO.search(flat))
    for wording in _RANGES:
        found = wording.search(flat)
        if found:
            return Limits(_float(found[1]), _float(found[2]), zero=zero)
    for wording in _LEAST:
        found = wording.search(flat)
        if found:
            return Limits(_float(found[1]), zero=zero)
    found = _ABOVE.search(flat)
    return Limits(_float(found[1]), above=True) if found else Limits()


def groups_of(allowed: Mapping[str, Property]) -> tuple[Group, ...]:
    """The groups of siblings that the docstrings name; none where a name is no sibling's."""
    spelled = {_plain(name): name for name in allowed}
    found: dict[Group, None] = {}
    for own, known in allowed.items():
        if not any(word in known.doc for word in _HINTS):
            continue
        flat = " ".join(known.doc.split())
        for wording, needed, alone in (
            (_ONE, False, False),
            (_CONFLICTS, False, True),
            (_EXCLUSIVE, False, False),
            (_SELF_EXCLUSIVE, False, True),
            (_ANY, True, False),
        ):
            for match in wording.finditer(flat):
                names = [spelled.get(_plain(name)) for name in _listed(match[1])]
                if None in names:
                    continue
                known_names = [name for name in names if name is not None]
                if alone:
                    # Each pair of its own: the others may go together.
                    for name in known_names:
                        if name != own:
                            found[Group(tuple(sorted((own, name))), needed=False)] = None
                elif own in known_names and len(known_names) > 1:
                    found[Group(tuple(sorted(known_names)), needed)] = None
    return tuple(found)


@functools.cache
def _groups_of_class(cls: type) -> tuple[Group, ...]:
    return groups_of(properties(cls))


def _listed(text: str) -> list[str]:
    return [
        name.removeprefix("the ").strip("`. ")
        for name in re.split(r",? (?:or|and) |, ", text)
        if name.strip("`. ")
    ]


def _plain(name: str) -> str:
    return name.replace("_", "").strip("`").lower()


def _int(text: str) -> int:
    return int(text.replace(",", ""))


def _float(text: str) -> float:
    return float(text.replace(",", ""))


def _shown(number: float | None) -> str:
    return "" if number is None else f"{number:.15g}"

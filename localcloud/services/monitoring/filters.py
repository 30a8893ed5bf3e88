"""Which series a filter of Cloud Monitoring selects.

Of the language (cloud.google.com/monitoring/api/v3/filters): comparisons joined by AND, of
`metric.type`, `resource.type`, `metric.labels.X`, `resource.labels.X` and `project`, with `=`,
`!=`, `<`, `<=`, `>`, `>=`, `starts_with("...")`, `ends_with("...")`, `has_substring("...")` and
`one_of("...", ...)`. OR, NOT, groups and regular expressions are refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from localcloud.rest.errors import InvalidArgument, Unimplemented

_COMPARISON: Final = re.compile(
    r"\s*(?P<field>[A-Za-z_.]+)\s*(?P<op><=|>=|!=|=|<|>)\s*"
    r'(?:(?P<function>[a-z_.]+)\(\s*(?P<arguments>"(?:[^"\\]|\\.)*"(?:\s*,\s*"(?:[^"\\]|\\.)*")*)\s*\)'
    r'|(?P<quoted>"(?:[^"\\]|\\.)*")|(?P<number>-?[0-9.]+))\s*'
)
_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*"')
_AND: Final = re.compile(r"AND\b|(?=[A-Za-z_.]+\s*[<>!=])")
_FIELD: Final = re.compile(r"(metric|resource)\.(?:type|labels?\.[A-Za-z_][A-Za-z0-9_]*)|project")
_FUNCTIONS: Final[dict[str, Callable[[str, list[str]], bool]]] = {
    "starts_with": lambda value, given: value.startswith(given[0]),
    "ends_with": lambda value, given: value.endswith(given[0]),
    "has_substring": lambda value, given: given[0] in value,
    "one_of": lambda value, given: value in given,
}


class Header(msgspec.Struct, frozen=True):
    """What tells one series from another."""

    metric: str
    metric_labels: dict[str, str]
    resource: str
    resource_labels: dict[str, str]

    def value(self, field: str) -> str | None:
        """Of `metric.type`, `metric.labels.x` and their like; None where there is no such label."""
        place, _, rest = field.partition(".")
        if rest == "type":
            return self.metric if place == "metric" else self.resource
        labels = self.metric_labels if place == "metric" else self.resource_labels
        return labels.get(rest.partition(".")[2])


@dataclass(frozen=True)
class Filter:
    """Selects series."""

    text: str
    metric: str
    """The metric type, which every filter has to name."""
    comparisons: tuple[Callable[[Header], bool], ...]

    def __call__(self, header: Header) -> bool:
        """Whether it selects the series."""
        return all(holds(header) for holds in self.comparisons)


def parse(text: str, field: str = "filter") -> Filter:
    """The filter.

    Raises:
        InvalidArgument: it is none, or names no metric type.
        Unimplemented: it is one, of what the local cloud does not evaluate.
    """
    comparisons: list[Callable[[Header], bool]] = []
    metric = ""
    position = 0
    while position < len(text.rstrip()):
        if position:
            joined = _AND.match(text, position)
            if joined is None:
                raise _beyond(text, field, position)
            position = joined.end()
        found = _COMPARISON.match(text, position)
        if found is None:
            raise _beyond(text, field, position)
        if not _FIELD.fullmatch(found["field"]):
            raise InvalidArgument(
                f"Field {field}: '{found['field']}' cannot be filtered by; use metric.type, "
                "resource.type, metric.labels.NAME, resource.labels.NAME."
            )
        if found["field"] == "metric.type" and found["op"] == "=" and found["quoted"]:
            metric = _unquoted(found["quoted"])
        if found["field"] != "project":
            comparisons.append(_comparison(found, field))
        position = found.end()
    if not metric:
        raise InvalidArgument(
            f"Field {field}: '{text}' must name one metric type, as metric.type = \"...\"."
        )
    return Filter(text, metric, tuple(comparisons))


def _comparison(found: re.Match[str], field: str) -> Callable[[Header], bool]:
    name, op = found["field"].replace(".label.", ".labels."), found["op"]
    if found["function"]:
        function = _FUNCTIONS.get(found["function"])
        if function is None:
            raise Unimplemented(
                f"Field {field}: {found['function']}() is not evaluated by the local cloud; it "
                f"knows {', '.join(sorted(_FUNCTIONS))}."
            )
        if op not in ("=", "!="):
            raise InvalidArgument(f"Field {field}: {found['function']}() goes with = and != only.")
        given = [_unquoted(one) for one in _STRING.findall(found["arguments"])]
        return lambda header: function(header.value(name) or "", given) == (op == "=")
    if found["quoted"] and op in ("=", "!="):
        wanted = _unquoted(found["quoted"])
        return lambda header: ((header.value(name) or "") == wanted) == (op == "=")
    if found["quoted"]:
        raise InvalidArgument(f"Field {field}: {op} compares numbers, not text.")
    return _numeric(name, op, float(found["number"]))


def _numeric(name: str, op: str, wanted: float) -> Callable[[Header], bool]:
    compare: Mapping[str, Callable[[float], bool]] = {
        "=": lambda one: one == wanted,
        "!=": lambda one: one != wanted,
        "<": lambda one: one < wanted,
        "<=": lambda one: one <= wanted,
        ">": lambda one: one > wanted,
        ">=": lambda one: one >= wanted,
    }

    def holds(header: Header) -> bool:
        try:
            return compare[op](float(header.value(name) or ""))
        except ValueError:
            return False

    return holds


def _unquoted(text: str) -> str:
    value: Any = msgspec.json.decode(text)
    return str(value)


def _beyond(text: str, field: str, position: int) -> Unimplemented:
    return Unimplemented(
        f"Field {field}: the local cloud evaluates comparisons joined by AND, not "
        f"'{text[position:].strip()[:60]}'."
    )

"""Reads PromQL, as far as our queries use it, and says what of the world each names.

A misspelt metric or label is no error to Prometheus: the query just answers nothing, and the alert
never fires. So what is generated is read again before it is written, and held to what is known.
Grammar: https://prometheus.io/docs/prometheus/latest/querying/basics/, without subqueries, `@`,
`offset` and native histograms, which are refused.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

FUNCTIONS: Final = frozenset(
    {
        "histogram_quantile", "increase", "last_over_time", "max_over_time", "rate", "clamp_min",
    }
)  # fmt: skip
"""Those that our queries use."""
RANGED: Final = frozenset({"increase", "last_over_time", "max_over_time", "rate"})
"""Of these, those that take a range."""
AGGREGATIONS: Final = frozenset({"avg", "count", "max", "min", "sum"})
COUNTED: Final = ("_total", "_bucket", "_sum", "_count")
"""How a counter's name ends; of others neither rate nor increase means anything."""
_TOKEN: Final = re.compile(
    r"""\s*(?:
      (?P<string>"(?:[^"\\]|\\.)*")
    | (?P<duration>\[(?:\d+(?:ms|[smhdwy]))+\])
    | (?P<number>\d+(?:\.\d+)?)
    | (?P<name>[A-Za-z_:][A-Za-z0-9_:]*)
    | (?P<operator>=~|!~|!=|==|>=|<=|[-+*/%^()<>{},=])
    )""",
    re.VERBOSE,
)
_BINARY: Final = ("or", "and", "unless", "==", "!=", ">=", "<=", ">", "<", "+", "-", "*", "/", "%")
_MATCHERS: Final = ("=", "!=", "=~", "!~")


class BadQuery(ValueError):
    """A query that Prometheus would refuse, or that asks for what there is not."""

    def __init__(self, query: str, message: str) -> None:
        super().__init__(f"{query}: {message}")


@dataclass(frozen=True)
class Query:
    """What a query names."""

    metrics: Mapping[str, frozenset[str]]
    """By metric, the labels that its selectors match."""
    grouped: frozenset[str]
    """Labels that it groups by."""


@dataclass
class _Reader:
    query: str
    tokens: list[tuple[str, str]]
    position: int = 0
    metrics: dict[str, set[str]] = field(default_factory=dict[str, set[str]])
    grouped: set[str] = field(default_factory=set[str])

    def fail(self, message: str) -> BadQuery:
        return BadQuery(self.query, message)

    def peek(self) -> str:
        return self.tokens[self.position][1] if self.position < len(self.tokens) else ""

    def take(self, *expected: str) -> str:
        found = self.peek()
        if not found or (expected and found not in expected):
            wanted = " or ".join(f"`{one}`" for one in expected) or "more"
            raise self.fail(f"{f'`{found}`' if found else 'it ends'} where {wanted} should be")
        self.position += 1
        return found

    def kind(self) -> str:
        return self.tokens[self.position][0] if self.position < len(self.tokens) else "end"

    def expression(self) -> None:
        self.operand()
        while self.peek() in _BINARY:
            self.take()
            if self.peek() in ("on", "ignoring"):
                self.take()
                self.labels()
            self.operand()

    def operand(self) -> None:
        match self.kind(), self.peek():
            case _, "(":
                self.take("(")
                self.expression()
                self.take(")")
            case "number", _:
                self.take()
            case "name", name if name in AGGREGATIONS:
                self.aggregation()
            case "name", name if self.after() == "(":
                self.function(name)
            case "name", _:
                if self.selector():
                    raise self.fail(f"the range of `{self.peek() or 'it'}` is in no function")
            case _, found:
                raise self.fail(f"`{found}` where a value should be" if found else "it ends")

    def after(self) -> str:
        following = self.position + 1
        return self.tokens[following][1] if following < len(self.tokens) else ""

    def aggregation(self) -> None:
        self.take()
        if self.peek() in ("by", "without"):
            self.take()
            self.grouped |= self.labels()
        self.take("(")
        self.expression()
        self.take(")")
        if self.peek() in ("by", "without"):
            self.take()
            self.grouped |= self.labels()

    def function(self, name: str) -> None:
        if name not in FUNCTIONS:
            raise self.fail(f"no function {name!r}; allowed: {', '.join(sorted(FUNCTIONS))}")
        self.take()
        self.take("(")
        if name in RANGED:
            metric = self.peek()
            if not self.selector():
                raise self.fail(f"{name} takes a range, such as {metric}[5m]")
            if name in ("rate", "increase") and not self.counts(metric):
                raise self.fail(f"{name} of {metric}, which is no counter")
        else:
            self.expression()
            while self.peek() == ",":
                self.take()
                self.expression()
        self.take(")")

    @staticmethod
    def counts(metric: str) -> bool:
        # Google's own names do not follow Prometheus' words.
        return metric.endswith(COUNTED) or "googleapis_com" in metric

    def selector(self) -> bool:
        """Read one; whether it has a range."""
        if self.kind() != "name":
            raise self.fail(f"`{self.peek()}` where the name of a metric should be")
        matched = self.metrics.setdefault(self.take(), set())
        if self.peek() == "{":
            self.take("{")
            while self.peek() != "}":
                matched.add(self.label())
                self.take(*_MATCHERS)
                if self.kind() != "string":
                    raise self.fail(f"`{self.peek()}` where a text in quotes should be")
                self.take()
                if self.peek() != "}":
                    self.take(",")
            self.take("}")
        if self.kind() == "duration":
            self.take()
            return True
        return False

    def label(self) -> str:
        if self.kind() != "name" or ":" in self.peek():
            raise self.fail(f"`{self.peek()}` where the name of a label should be")
        return self.take()

    def labels(self) -> set[str]:
        self.take("(")
        found: set[str] = set()
        while self.peek() != ")":
            found.add(self.label())
            if self.peek() != ")":
                self.take(",")
        self.take(")")
        return found


def read(query: str) -> Query:
    """What a query names.

    Raises:
        BadQuery: it is no query, or one of those that are not understood here.
    """
    tokens: list[tuple[str, str]] = []
    at, text = 0, query.rstrip()
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None or found.lastgroup is None:
            raise BadQuery(query, f"`{text[at:].strip()[:20]}` is not understood")
        tokens.append((found.lastgroup, found[found.lastgroup]))
        at = found.end()
    reader = _Reader(query, tokens)
    reader.expression()
    if reader.peek():
        raise reader.fail(f"`{reader.peek()}` after its end")
    metrics = {name: frozenset(labels) for name, labels in reader.metrics.items()}
    return Query(metrics, frozenset(reader.grouped))


def check(query: str, known: Mapping[str, Collection[str]]) -> None:
    """Hold a query to the metrics that there are.

    Args:
        query: in PromQL.
        known: by metric, its labels.

    Raises:
        BadQuery: it is no query, or names a metric or a label that there is not.
    """
    found = read(query)
    for metric, labels in found.metrics.items():
        if metric not in known:
            raise BadQuery(query, f"there is no metric {metric!r}")
        if wrong := labels - set(known[metric]):
            allowed = ", ".join(sorted(known[metric]))
            raise BadQuery(
                query, f"{metric} has no label {', '.join(sorted(wrong))}; allowed: {allowed}"
            )
    everywhere = {label for metric in found.metrics for label in known[metric]}
    if wrong := found.grouped - everywhere:
        raise BadQuery(query, f"grouped by {', '.join(sorted(wrong))}, which nothing in it has")

"""What a server counts, in the text format of Prometheus (version 0.0.4).

Written by hand: a few counters on one thread need neither locks nor a library, and cost well under
a microsecond a request.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
ROWS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)

Labels = Mapping[str, str]


class Histogram:
    """How often values fell between bounds."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


@dataclass
class Metrics:
    """The counters of one server. Gauges are asked when somebody looks."""

    product: str = ""
    """Whose server it is: a label of everything, since one Prometheus reads many servers."""
    requests: Counter[tuple[str, int]] = field(default_factory=Counter[tuple[str, int]])
    """By protocol (`vertex`, `v2`; `http`: refused before it was known) and HTTP status."""
    latency: Histogram = field(default_factory=lambda: Histogram(SECONDS))
    """Of answers to predictions, seconds."""
    batches: Histogram = field(default_factory=lambda: Histogram(ROWS))
    """Rows scored in one call of a model."""
    gauges: dict[str, tuple[str, str, Callable[[], float]]] = field(
        default_factory=dict[str, tuple[str, str, Callable[[], float]]]
    )
    """By name: `gauge` or `counter`, help, and what it is now."""
    model: Callable[[], list[Labels]] = list
    """What is known of the models that answer."""

    def answered(self, protocol: str, status: int, seconds: float) -> None:
        """Count one answer."""
        self.requests[protocol, status] += 1
        self.latency.observe(seconds)

    def watch(self, name: str, kind: str, text: str, value: Callable[[], float]) -> None:
        """Show a number under a name; `kind` is `gauge` or `counter`."""
        self.gauges[name] = (kind, text, value)

    def text(self) -> str:
        """All of it, as Prometheus reads it."""
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        ours = {"product": self.product} if self.product else {}
        yield from _head("esteira_requests_total", "counter", "Answers to requests to predict")
        for (protocol, status), count in sorted(self.requests.items()):
            labels = _labels({**ours, "protocol": protocol, "code": str(status)})
            yield f"esteira_requests_total{labels} {count}"
        yield from _histogram(
            "esteira_request_seconds", "From a request's arrival to its answer", self.latency, ours
        )
        yield from _histogram(
            "esteira_batch_rows", "Rows scored in one call of a model", self.batches, ours
        )
        for name, (kind, text, value) in self.gauges.items():
            yield from _head(name, kind, text)
            yield f"{name}{_labels(ours)} {_number(value())}"
        yield from _head("esteira_model_info", "gauge", "The models that answer")
        for labels in self.model():
            yield f"esteira_model_info{_labels(labels)} 1"


def _head(name: str, kind: str, text: str) -> tuple[str, str]:
    return f"# HELP {name} {text}", f"# TYPE {name} {kind}"


def _histogram(name: str, text: str, histogram: Histogram, ours: Labels) -> Iterator[str]:
    yield from _head(name, "histogram", text)
    seen = 0
    for bound, count in zip(histogram.bounds, histogram.counts, strict=False):
        seen += count
        yield f"{name}_bucket{_labels({**ours, 'le': f'{bound:g}'})} {seen}"
    seen += histogram.counts[-1]
    yield f"{name}_bucket{_labels({**ours, 'le': '+Inf'})} {seen}"
    yield f"{name}_sum{_labels(ours)} {_number(histogram.total)}"
    yield f"{name}_count{_labels(ours)} {seen}"


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _number(value: float) -> str:
    return repr(float(value)) if value != int(value) else str(int(value))

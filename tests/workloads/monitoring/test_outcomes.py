"""What the monitoring job is told of a replay, and what it leaves for whoever started it."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from workloads.artifacts import ArtifactNotFound, Folder
from workloads.monitoring import __main__ as main
from workloads.monitoring import outcomes
from workloads.monitoring.job import Outcome
from workloads.monitoring.verdicts import Finding
from workloads.monitoring.window import Window
from workloads.products.flight_delay.product import PRODUCT

START, END = datetime(2013, 3, 25, tzinfo=UTC), datetime(2013, 4, 1, tzinfo=UTC)
AT = datetime(2013, 4, 1, 12, tzinfo=UTC)
FOUND = Outcome(
    product="flight-delay",
    window=Window(start=START, end=END),
    model_version="1",
    measurements=3,
    findings=(Finding(kind="drift", verdict="drifted", alarm=False, feature="pressure"),),
    incident=None,
    report="gs://b/r.html",
    performance=({"window_start": START, "value": None},),
)


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """The product's bucket, by address."""
    objects = dict[str, bytes]()

    def read(self: Folder, name: str, kind: Any) -> Any:
        try:
            return msgspec.json.decode(objects[f"{self.uri}/{name}"], type=kind)
        except KeyError:
            raise ArtifactNotFound(name) from None

    def write(self: Folder, name: str, document: Any) -> None:
        objects[f"{self.uri}/{name}"] = msgspec.json.encode(document)

    monkeypatch.setattr(Folder, "read_json", read)
    monkeypatch.setattr(Folder, "write_json", write)
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "p")
    monkeypatch.setenv("GOOGLE_CLOUD_LOCATION", "l")
    monkeypatch.setenv("PRODUCT", "flight-delay")
    monkeypatch.delenv("DATABASE_HOST", raising=False)
    return objects


def test_an_execution_looks_as_if_it_were_then_and_leaves_its_outcome(
    kept: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = list[Any]()

    def monitor(product: Any, window: Any, **given: Any) -> Outcome:
        asked.append(SimpleNamespace(window=window, **given))
        return FOUND

    monkeypatch.setattr(main, "monitor", monitor)
    monkeypatch.setattr(main.Edge, "of", lambda *_: None)
    for name, value in {"WINDOW_START": START, "WINDOW_END": END, "MEASURED_AT": AT}.items():
        monkeypatch.setenv(name, value.isoformat())
    monkeypatch.setenv("CLOUD_RUN_EXECUTION", "flight-delay-monitor-x7k2p")

    assert main.main() == 0
    (one,) = asked
    assert one.window == Window(start=START, end=END)
    assert one.at == one.as_of == AT
    (place,) = kept
    assert place.endswith("reports/flight-delay/executions/flight-delay-monitor-x7k2p.json")
    read = outcomes.read(PRODUCT, "flight-delay-monitor-x7k2p")
    assert read is not None
    assert (read.findings, read.window, read.report) == (FOUND.findings, FOUND.window, FOUND.report)
    assert outcomes.read(PRODUCT, "another") is None


def test_who_runs_it_by_hand_leaves_none(
    kept: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(main, "monitor", lambda *_, **__: FOUND)
    monkeypatch.setattr(main.Edge, "of", lambda *_: None)
    monkeypatch.delenv("CLOUD_RUN_EXECUTION", raising=False)
    assert main.main() == 0
    assert not kept

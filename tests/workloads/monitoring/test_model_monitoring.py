"""What Vertex AI Model Monitoring is asked for: documents of its API, every threshold a number."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import httplib2
import msgspec
import pytest
from googleapiclient import discovery

from localcloud.rest.discovery import Api
from workloads import contracts, gcp
from workloads import product as products
from workloads.manifest import Data
from workloads.monitoring import model_monitoring
from workloads.monitoring.champion import Champion
from workloads.monitoring.model_monitoring import NotInstalled, install
from workloads.product import Monitoring, Product

START, END = datetime(2013, 1, 1, tzinfo=UTC), datetime(2013, 3, 1, tzinfo=UTC)
TRAINING = Data(uri="gs://b/d", sha256="0", rows=1, start=START, end=END)
REPORTS = "gs://models/reports"
PREFIX = "GoogleCloudAiplatformV1beta1"


@pytest.fixture(scope="module")
def api() -> Api:
    return Api.load("aiplatform", "v1beta1")


@pytest.fixture(autouse=True)
def _project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "p")
    monkeypatch.delenv("VERTEX_API_ENDPOINT", raising=False)


@pytest.mark.parametrize("name", products.names())
def test_documents_are_googles_own(api: Api, name: str) -> None:
    product = products.load(name)
    monitor = model_monitoring.monitor_document(product, "3", REPORTS)
    assert api.violations_of(f"{PREFIX}ModelMonitor", monitor) == []
    for one in model_monitoring.schedule_documents(product, monitor["name"], TRAINING):
        assert api.violations_of(f"{PREFIX}Schedule", one) == []
        assert one["cron"].endswith(product.monitoring.schedule)


def test_every_field_has_its_threshold_even_one_of_zero() -> None:
    product = dataclasses.replace(
        products.load("flight-delay"),
        monitoring=Monitoring(
            drift={"l_infinity": 0.2}, features={"temperature": {"jensen_shannon": 0.0}}
        ),
    )
    spec = model_monitoring.feature_spec(product)
    limits = {name: one["threshold"] for name, one in spec["featureAlertConditions"].items()}
    assert set(limits) == {one.name for one in contracts.fields(product.features.request)}
    assert limits["temperature"] == 0
    assert limits["carrier"] == 0.2
    assert limits["humidity"] == 0.02
    assert spec["defaultNumericAlertCondition"] == {"threshold": 0.02}
    assert None not in limits.values()


def test_queries_have_no_parameters_left() -> None:
    product = products.load("flight-delay")
    for sql in (
        model_monitoring.training_sql(product, TRAINING),
        model_monitoring.served_sql(product),
    ):
        assert "@" not in sql
        assert all(f" AS {one.name}" in sql for one in contracts.fields(product.features.request))


class Vertex:
    """As much of Vertex AI as makes monitors and schedules."""

    def __init__(self, refuse: int = 0) -> None:
        self.monitors: dict[str, Any] = {}
        self.schedules: dict[str, Any] = {}
        self.refuse = refuse
        self.written = 0

    def request(
        self, uri: str, method: str = "GET", body: str | None = None, **_: Any
    ) -> tuple[httplib2.Response, bytes]:
        if self.refuse:
            return _answer(self.refuse, {"error": {"message": "not here"}})
        path = urlsplit(uri).path.removeprefix("/v1beta1/")
        document = json.loads(body) if body else {}
        self.written += method != "GET"
        if "/modelMonitors" in path:
            name = document.get("name", path)
            if method == "GET":
                found = self.monitors.get(path)
                return _answer(200, found) if found else _answer(404, {"error": {"message": ""}})
            self.monitors[name] = document
            return _answer(200, {"name": f"{name}/operations/1", "done": True, "response": {}})
        if method == "GET":
            return _answer(200, {"schedules": list(self.schedules.values())})
        name = document.get("name") or f"{path}/{len(self.schedules)}"
        self.schedules[name] = {**document, "name": name}
        return _answer(200, self.schedules[name])


def _answer(status: int, document: Any) -> tuple[httplib2.Response, bytes]:
    headers = {"status": str(status), "content-type": "application/json"}
    return httplib2.Response(headers), json.dumps(document).encode()


class Line:
    """Where the one client of these tests is connected to: building it reads a large document."""

    to: Vertex

    def request(self, *given: Any, **more: Any) -> tuple[httplib2.Response, bytes]:
        return self.to.request(*given, **more)


@pytest.fixture(scope="module")
def line() -> tuple[Line, Any]:
    made = Line()
    return made, discovery.build(
        "aiplatform", "v1beta1", http=made, static_discovery=True, cache_discovery=False
    )


def watched(version: str) -> Any:
    """A champion that learned from a day more than the version before it."""
    end = END + int(version) * timedelta(days=1)
    data = msgspec.structs.replace(TRAINING, end=end)
    return SimpleNamespace(number=version, manifest=SimpleNamespace(training=data))


def at(
    line: tuple[Line, Any], vertex: Vertex, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    line[0].to, client = vertex, line[1]
    known = watched(version)

    def champion(_: Product) -> Any:
        return known

    monkeypatch.setattr(gcp, "vertex_beta", lambda: client)
    monkeypatch.setattr(Champion, "of", champion)


def test_it_is_installed_once_and_follows_the_champion(
    line: tuple[Line, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    product, vertex = products.load("flight-delay"), Vertex()
    at(line, vertex, "1", monkeypatch)
    first = install(product, REPORTS)
    at(line, vertex, "2", monkeypatch)
    assert install(product, REPORTS) == first
    [monitor] = vertex.monitors.values()
    assert monitor["modelMonitoringTarget"]["vertexModel"]["modelVersionId"] == "2"
    assert sorted(one["displayName"] for one in vertex.schedules.values()) == [
        "flight-delay-features",
        "flight-delay-predictions",
    ]


def test_a_run_of_the_monitors_has_vertex_follow_the_champion(
    line: tuple[Line, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    product, vertex = products.load("flight-delay"), Vertex()
    at(line, vertex, "1", monkeypatch)
    model_monitoring.follow(product, watched("1"))
    assert vertex.written == 3
    model_monitoring.follow(product, watched("1"))
    assert vertex.written == 3

    # A release: the next run asks for the new version, and for what that has learned from.
    model_monitoring.follow(product, watched("2"))
    [monitor] = vertex.monitors.values()
    assert monitor["modelMonitoringTarget"]["vertexModel"]["modelVersionId"] == "2"
    texts = json.dumps(list(vertex.schedules.values()))
    assert len(vertex.schedules) == 2
    assert "2013-03-03" in texts
    assert "2013-03-02" not in texts
    written = vertex.written
    model_monitoring.follow(product, watched("2"))
    assert vertex.written == written


@pytest.mark.parametrize("there", [0, 1], ids=["before the first schedule", "between the two"])
def test_an_attempt_that_was_killed_is_finished_by_the_next_run(
    line: tuple[Line, Any], monkeypatch: pytest.MonkeyPatch, there: int
) -> None:
    product, vertex = products.load("flight-delay"), Vertex()
    at(line, vertex, "1", monkeypatch)
    model_monitoring.follow(product, watched("1"))
    vertex.schedules = dict(list(vertex.schedules.items())[:there])
    model_monitoring.follow(product, watched("1"))
    assert len(vertex.schedules) == 2


@pytest.mark.parametrize("refuse", [403, 500])
def test_the_monitors_have_done_their_part_when_vertex_refuses(
    line: tuple[Line, Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    refuse: int,
) -> None:
    monkeypatch.setattr(model_monitoring, "_RETRIES", 0)
    at(line, Vertex(refuse=refuse), "1", monkeypatch)
    model_monitoring.follow(products.load("flight-delay"), watched("1"))
    assert "does not watch the champion" in caplog.text


def test_the_local_cloud_is_not_asked(
    line: tuple[Line, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    vertex = Vertex()
    at(line, vertex, "1", monkeypatch)
    monkeypatch.setenv("VERTEX_API_ENDPOINT", "http://127.0.0.1:1")
    model_monitoring.follow(products.load("flight-delay"), watched("1"))
    assert vertex.written == 0


def test_what_does_not_have_it_is_said_plainly(
    line: tuple[Line, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    at(line, Vertex(refuse=501), "1", monkeypatch)
    monkeypatch.setenv("VERTEX_API_ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(NotInstalled, match=r"501.*local cloud has no Model Monitoring"):
        install(products.load("flight-delay"), REPORTS)


def test_moments_are_written_as_bigquery_reads_them() -> None:
    sql = model_monitoring.training_sql(products.load("flight-delay"), TRAINING)
    assert "TIMESTAMP '2013-01-01 00:00:00.000000+00:00'" in sql

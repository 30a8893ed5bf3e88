"""A server that is started before there is a model, and follows what is released."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.testclient import TestClient

from workloads import product as products
from workloads.product import Product
from workloads.serving import champion as champions
from workloads.serving.app import build
from workloads.serving.batching import Predicted
from workloads.serving.champion import Champion
from workloads.serving.model import ServedModel
from workloads.serving.settings import ServingSettings

ROW = {
    "carrier": "UA",
    "origin": "EWR",
    "destination": "IAH",
    "distance": 1400,
    "departure_minute": 315,
    "weekday": 3,
    "scheduled_arrival_minute": 499,
}


@pytest.fixture(scope="module")
def product() -> Product:
    return products.load("flight-delay")


class Model:
    """Stands in for a loaded model: answers with the folder that it came from."""

    def __init__(self, folder: str, version: str) -> None:
        self.manifest = SimpleNamespace(run=folder, threshold=0.5)
        self.version = version

    def score(self, rows: list[Any]) -> Predicted:
        return Predicted([0.5] * len(rows))

    def answers(self, predicted: Predicted) -> list[dict[str, str]]:
        return [{"model": self.manifest.run}] * len(predicted.value)


@dataclass
class Registry:
    """Stands in for the Model Registry: says which version has the alias."""

    released: str = ""
    fault: Exception | None = None
    asked: list[str] = field(default_factory=list)
    answering: threading.Event = field(default_factory=threading.Event)

    def find(self, alias: str) -> Any:
        self.asked.append(alias)
        assert self.answering.wait(10)
        if self.fault is not None:
            raise self.fault
        if not self.released:
            return None
        folder = type("Folder", (), {"uri": f"gs://models/{self.released}"})
        return type("Version", (), {"number": self.released, "folder": folder})


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Registry:
    one = Registry()
    one.answering.set()

    def load(settings: ServingSettings) -> Any:
        return Model(settings.aip_storage_uri, settings.model_version)

    monkeypatch.setattr(champions, "Registry", lambda product: one)
    monkeypatch.setattr(ServedModel, "load", staticmethod(load))
    return one


@pytest.fixture
def settings() -> ServingSettings:
    return ServingSettings(
        product="flight-delay",
        model_alias="champion",
        google_cloud_project="p",
        google_cloud_location="us-central1",
    )


def predict(client: TestClient) -> tuple[int, Any]:
    answer = client.post("/predict", json={"instances": [ROW]})
    return answer.status_code, answer.json()


def test_before_the_first_release_it_lives_and_says_what_is_missing(
    settings: ServingSettings, registry: Registry
) -> None:
    champion = Champion(settings)
    champion.look()
    client = TestClient(build(settings, champion))
    assert registry.asked == ["champion"]
    assert client.get("/live").status_code == 200
    assert client.get("/health").status_code == 503
    answer = client.post("/predict", json={"instances": [ROW]})
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "10"
    assert "no model of flight-delay is released yet" in answer.json()["error"]["message"]


def test_what_is_released_is_served_and_what_is_rolled_back_is_not(
    settings: ServingSettings, registry: Registry
) -> None:
    champion = Champion(settings)
    client = TestClient(build(settings, champion))
    for released in ("1", "2", "1"):
        registry.released = released
        champion.look()
        assert predict(client) == (200, {"predictions": [{"model": f"gs://models/{released}"}]})
        assert client.get("/health").json()["status"] == "ready"
    registry.released = ""
    champion.look()
    assert predict(client)[0] == 503


def test_a_registry_that_fails_takes_no_model_away(
    settings: ServingSettings, registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    champion = Champion(settings)
    registry.released = "1"
    champion.look()
    registry.fault = ConnectionError("no answer")
    champion.look()
    assert champion.current() is not None
    assert "could not be loaded" in caplog.text


def test_a_request_does_not_wait_for_the_registry(
    settings: ServingSettings, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    champion = Champion(settings)
    registry.released = "1"
    champion.look()
    registry.released = "2"
    registry.answering.clear()
    clock = champions.time.monotonic() + settings.model_refresh_seconds + 1
    monkeypatch.setattr(champions.time, "monotonic", lambda: clock)
    old = champion.current()
    assert old is not None
    assert [champion.current() for _ in range(5)] == [old] * 5
    registry.answering.set()
    for thread in threading.enumerate():
        if thread.name == "look":
            thread.join(10)
    assert champion.current() is not old
    # One looked, however many came.
    assert registry.asked == ["champion"] * 2


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"aip_storage_uri": "gs://b/m"}, "allowed: one of them"),
        ({"model_alias": ""}, "allowed: one of them"),
        ({"google_cloud_project": ""}, "needs GOOGLE_CLOUD_PROJECT"),
        ({"model_alias": "Champion"}, "model_alias"),
    ],
)
def test_what_is_served_is_said_once(
    settings: ServingSettings, change: dict[str, str], expected: str
) -> None:
    with pytest.raises(ValueError, match=expected):
        ServingSettings(**{**settings.model_dump(), **change})

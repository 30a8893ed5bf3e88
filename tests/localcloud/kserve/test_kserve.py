"""InferenceServices: the Kubernetes API, and what KServe makes of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import requests

SERVICES = "/apis/serving.kserve.io/v1beta1/namespaces/ml/inferenceservices"
ECHO = """
import os, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

if os.environ.get("BROKEN"):
    sys.exit("no model here")

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(os.environ.get("NAME", "").encode())

    def log_message(self, *args):
        pass

ThreadingHTTPServer((os.environ["HOST"], int(os.environ["PORT"])), Handler).serve_forever()
"""


class Cluster:
    def __init__(self, rest: Any, until: Callable[..., Any]) -> None:
        self.rest = rest
        self.until = until
        self.image = rest.image("echo", ECHO)

    def predictor(self, name: str, **more: Any) -> dict[str, Any]:
        env = [{"name": "NAME", "value": name}]
        if name == "broken":
            env.append({"name": "BROKEN", "value": "yes"})
        container = {"name": "kserve-container", "image": self.image, "env": env}
        return {"containers": [container], **more}

    def create(self, name: str = "one", **more: Any) -> requests.Response:
        document = {
            "apiVersion": "serving.kserve.io/v1beta1",
            "kind": "InferenceService",
            "metadata": {
                "name": "flights",
                "annotations": {"serving.kserve.io/enable-tag-routing": "true"},
            },
            "spec": {"predictor": self.predictor(name)},
            **more,
        }
        return requests.post(self.rest.url + SERVICES, json=document, timeout=10)

    def get(self) -> Any:
        return requests.get(f"{self.rest.url}{SERVICES}/flights", timeout=10).json()

    def put(self, document: Any) -> requests.Response:
        return requests.put(f"{self.rest.url}{SERVICES}/flights", json=document, timeout=10)

    def patch(self, **predictor: Any) -> requests.Response:
        return requests.patch(
            f"{self.rest.url}{SERVICES}/flights",
            json={"spec": {"predictor": predictor}},
            headers={"Content-Type": "application/merge-patch+json"},
            timeout=10,
        )

    def settled(self) -> Any:
        """The object, once the controller has seen the newest change."""

        def seen() -> Any:
            found = self.get()
            observed = found.get("status", {}).get("observedGeneration")
            return found if observed == found["metadata"]["generation"] else None

        return self.until(seen, 30)

    def answers(self, count: int = 20) -> Counter[str]:
        url = self.get()["status"]["url"]
        return Counter(requests.get(url, timeout=5).text for _ in range(count))

    def status(self) -> dict[str, Any]:
        return self.get()["status"]["components"]["predictor"]


@pytest.fixture
def cluster(rest_process: Callable[[str], Any], until: Callable[..., Any]) -> Cluster:
    return Cluster(rest_process("kserve"), until)


@pytest.fixture
def serving(cluster: Cluster) -> Cluster:
    assert cluster.create().status_code == 201
    cluster.settled()
    return cluster


def test_a_canary_is_split_promoted_and_taken_back(serving: Cluster) -> None:
    assert serving.answers() == {"one": 20}

    assert serving.patch(**serving.predictor("two"), canaryTrafficPercent=10).ok
    serving.settled()
    assert serving.answers(100) == {"one": 90, "two": 10}
    latest, prev = serving.status()["traffic"]
    assert (latest["tag"], prev["tag"]) == ("latest", "prev")
    assert requests.get(latest["url"], timeout=5).text == "two"
    assert serving.status()["latestRolledoutRevision"] == "flights-predictor-00001"

    assert serving.patch(canaryTrafficPercent=None).ok
    serving.settled()
    assert serving.answers() == {"two": 20}
    assert serving.status()["latestRolledoutRevision"] == "flights-predictor-00002"
    assert serving.status()["previousRolledoutRevision"] == "flights-predictor-00001"

    assert serving.patch(canaryTrafficPercent=0).ok
    serving.settled()
    serving.until(lambda: serving.answers(5) == {"one": 5})
    assert serving.status()["latestRolledoutRevision"] == "flights-predictor-00001"


def test_a_revision_that_does_not_start_gets_no_traffic(serving: Cluster) -> None:
    serving.patch(**serving.predictor("broken"))

    found = serving.settled()

    (ready,) = (one for one in found["status"]["conditions"] if one["type"] == "PredictorReady")
    assert ready["status"] == "False"
    assert "no model here" in ready["message"]
    assert serving.answers() == {"one": 20}
    assert serving.status()["latestReadyRevision"] == "flights-predictor-00001"
    assert serving.status()["latestCreatedRevision"] == "flights-predictor-00002"


def test_a_write_from_an_older_state_is_a_conflict(serving: Cluster) -> None:
    older = serving.get()
    serving.patch(minReplicas=2)

    refused = serving.put(older)

    assert refused.status_code == 409
    assert refused.json()["reason"] == "Conflict"
    assert "please apply your changes to the latest version" in refused.json()["message"]


def test_it_serves_again_after_a_kill(serving: Cluster) -> None:
    before = serving.get()["status"]["url"]
    serving.rest.kill()
    serving.rest.start()

    def answers() -> bool:
        try:
            return serving.answers(1) == {"one": 1}
        except requests.ConnectionError:
            return False

    serving.until(answers)
    assert serving.get()["status"]["url"] == before


def test_what_is_deleted_answers_no_more(serving: Cluster) -> None:
    url = serving.get()["status"]["url"]

    assert requests.delete(f"{serving.rest.url}{SERVICES}/flights", timeout=10).ok

    assert serving.get()["reason"] == "NotFound"

    def gone() -> bool:
        try:
            requests.get(url, timeout=2)
        except requests.ConnectionError:
            return True
        return False

    serving.until(gone)


@pytest.mark.parametrize(
    ("wrong", "code", "said"),
    [
        ({"kind": "Service"}, 422, "apiVersion and kind"),
        ({"metadata": {"name": "No_Name"}}, 422, "no DNS label"),
        ({"spec": {"predictor": {"sklearn": {}}}}, 422, "spec.predictor.sklearn is not supported"),
        ({"spec": {"transformer": {}}}, 422, "spec.transformer is not supported"),
        ({"spec": {"predictor": {}}}, 422, "exactly one, with an image"),
    ],
)
def test_what_it_cannot_do_is_refused(
    cluster: Cluster, wrong: dict[str, Any], code: int, said: str
) -> None:
    refused = cluster.create(**wrong)

    assert refused.status_code == code
    assert said in refused.json()["message"]


def test_a_share_that_is_none_and_a_second_of_a_name_are_refused(serving: Cluster) -> None:
    assert "not a whole number from 0 to 100" in serving.patch(canaryTrafficPercent=101).text
    assert serving.create().json()["reason"] == "AlreadyExists"

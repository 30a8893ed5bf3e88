"""A Vertex AI with Cloud Storage behind it, and Google's own SDK pointed at it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests
from google.auth.credentials import AnonymousCredentials
from google.cloud import aiplatform, storage
from google.cloud.aiplatform.utils import resource_manager_utils

from localcloud.home import Endpoints, Home
from localcloud.images import Images
from localcloud.rest.discovery import Api
from tests.tied import tied

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
PROJECT = "esteira-test"
LOCATION = "us-central1"
IMAGE = f"{LOCATION}-docker.pkg.dev/{PROJECT}/esteira/serving:1"


@dataclass
class Cloud:
    """The processes of one local cloud."""

    home: Home
    endpoints: Endpoints
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return self.endpoints.url("rest")

    def start(self, service: str) -> subprocess.Popen[bytes]:
        words = {
            "rest": ["localcloud.rest", "--only", "vertex"],
            "storage": ["localcloud.services.storage"],
        }[service]
        self.home.logs.mkdir(parents=True, exist_ok=True)
        with (self.home.logs / f"{service}.log").open("ab") as log:
            process = subprocess.Popen(
                tied([sys.executable, "-m", *words, "--home", str(self.home.path)]),
                cwd=ROOT,
                stdout=log,
                stderr=log,
            )
        self.processes[service] = process
        until(lambda: self._accepts(service), f"{service} to accept connections")
        return process

    def kill(self, service: str) -> None:
        """SIGKILL, as the kernel or an impatient person would."""
        process = self.processes.pop(service)
        process.kill()
        process.wait()

    def stop(self) -> None:
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            assert process.wait(timeout=10) == 0
        self.processes.clear()

    def log(self, service: str) -> str:
        return (self.home.logs / f"{service}.log").read_text()

    def _accepts(self, service: str) -> bool:
        code = self.processes[service].poll()
        assert code is None, f"{service} exited with {code}:\n{self.log(service)}"
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.endpoints.ports[service])) == 0


def until[T](condition: Callable[[], T], what: str, seconds: float = 60.0) -> T:
    """The first true value of a condition."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.05)
    raise AssertionError(f"waited {seconds:g} s for {what}")


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    home = Home(tmp_path_factory.mktemp("cloud"))
    running = Cloud(home, home.reserve(project=PROJECT, location=LOCATION))
    Images(home).build(IMAGE, HERE / "model" / "Dockerfile", HERE / "model")
    before = dict(os.environ)
    os.environ.update(running.endpoints.environment())
    try:
        running.start("storage")
        running.start("rest")
        storage.Client(project=PROJECT, credentials=AnonymousCredentials()).create_bucket("models")
        yield running
        running.stop()
    finally:
        os.environ.clear()
        os.environ.update(before)
        for process in running.processes.values():
            process.kill()


@pytest.fixture(scope="session")
def api() -> Api:
    return Api.load("aiplatform", "v1", aliases={"/ui/": "/v1/"})


@pytest.fixture(autouse=True)
def _documented(cloud: Cloud, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every answer that a test gets must be one that Google's document allows."""
    send = requests.Session.send

    def checked(
        session: requests.Session, request: requests.PreparedRequest, **more: Any
    ) -> requests.Response:
        response = send(session, request, **more)
        url = request.url or ""
        found = None
        if url.startswith(cloud.url):
            found = api.match(request.method or "", url.removeprefix(cloud.url).partition("?")[0])
        if found is not None and response.ok and not found[0].endswith("awPredict"):
            answer = response.json()
            assert api.violations_of_response(found[0], answer) == [], (found[0], answer)
            for part in (answer.get("response", {}), answer.get("metadata", {})):
                if isinstance(part, dict) and (kind := part.pop("@type", "")):
                    assert _violations(api, kind, part) == [], (found[0], answer)
        return response

    monkeypatch.setattr(requests.Session, "send", checked)


def _violations(api: Api, kind: str, value: dict[str, Any]) -> list[str]:
    prefix = "type.googleapis.com/google.cloud.aiplatform.v1."
    if kind == "type.googleapis.com/google.protobuf.Empty":
        return list(value)
    assert kind.startswith(prefix)
    name = f"GoogleCloudAiplatformV1{kind.removeprefix(prefix)}"
    # Messages that only operations carry are in the document when a method refers to them.
    return api.violations_of(name, value) if api.has_schema(name) else []


@pytest.fixture(autouse=True)
def _sdk(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    def project_number(project_id: str, credentials: object = None) -> str:
        answer = httpx.get(f"{cloud.url}/v3/projects/{project_id}")
        return answer.json()["name"].removeprefix("projects/")

    # The SDK asks Resource Manager over gRPC, which cannot be pointed anywhere else.
    monkeypatch.setattr(resource_manager_utils, "get_project_number", project_number)
    aiplatform.init(
        project=PROJECT,
        location=LOCATION,
        credentials=AnonymousCredentials(),
        api_endpoint=cloud.url,
        api_transport="rest",
        staging_bucket="gs://models",
    )


def upload(name: str = "adder", **changes: object) -> aiplatform.Model:
    """A model that sums the numbers of each instance, times the variable SCALE."""
    given: dict[str, object] = {
        "display_name": name,
        "artifact_uri": "gs://models/adder/1",
        "serving_container_image_uri": IMAGE,
        "serving_container_predict_route": "/predict",
        "serving_container_health_route": "/health",
        **changes,
    }
    return aiplatform.Model.upload(**given)  # pyright: ignore[reportArgumentType]

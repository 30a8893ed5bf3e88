"""The model server: what it answers, and what it refuses."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest
from starlette.testclient import TestClient

from workloads.artifacts import Folder
from workloads.manifest import EXAMPLES, MANIFEST, MODEL, Example, Manifest
from workloads.product import Product
from workloads.registry import Registry, Version
from workloads.scoring import Answers, ModelRefused
from workloads.serving import champion as champions
from workloads.serving.app import build
from workloads.serving.champion import Champion
from workloads.serving.model import ServedModel
from workloads.serving.request import MAX_FAULTS
from workloads.serving.settings import ServingSettings

GOOD: dict[str, Any] = {
    "carrier": "UA",
    "origin": "EWR",
    "destination": "IAH",
    "distance": 1400,
    "departure_minute": 315,
    "weekday": 3,
    "scheduled_arrival_minute": 499,
}


class Halves:
    """Stands in for a model: a half for every row."""

    def rows(self, rows: list[Any]) -> Answers:
        return Answers(np.full(len(rows), 0.5))


@pytest.fixture
def client(product: Product) -> TestClient:
    manifest = Manifest(
        product=product.name,
        run="run-1",
        contract="delay_question",
        contract_version=1,
        features=product.features.request.__struct_fields__,
        label="late",
        model_sha256="",
        threshold=0.4,
        training=None,  # type: ignore[arg-type]
        holdout=None,  # type: ignore[arg-type]
        metrics={},
        baseline={},
        code_version="1",
    )
    settings = ServingSettings(
        product=product.name, aip_storage_uri="gs://b/m", max_body_bytes=100_000
    )
    model = ServedModel(manifest, Halves(), product.features.request)  # type: ignore[arg-type]
    return TestClient(build(settings, lambda: model))


def test_one_answer_a_row(client: TestClient) -> None:
    answer = client.post("/predict", json={"instances": [GOOD, GOOD]})

    assert answer.status_code == 200
    one = {"probability": 0.5, "late": True, "model": "run-1"}
    assert answer.json() == {"predictions": [one, one]}


def test_whole_numbers_may_come_as_protobuf_carries_them(client: TestClient) -> None:
    floats = {**GOOD, "distance": 1400.0, "weekday": 3.0, "seats": 149.0}

    assert client.post("/predict", json={"instances": [floats]}).status_code == 200


@pytest.mark.parametrize(
    ("changes", "field", "value", "allowed"),
    [
        ({"carrier": "united"}, "carrier", "'united'", "matching `^[0-9A-Z]{2}$`"),
        ({"carrier": None}, "carrier", "None", "a string"),
        ({"distance": 0}, "distance", "0", "at least 1 and at most 10000"),
        ({"distance": 14.5}, "distance", "14.5", "an integer"),
        ({"distance": "1400"}, "distance", "'1400'", "an integer"),
        ({"weekday": 8}, "weekday", "8", "at most 7"),
        ({"weekday": True}, "weekday", "True", "an integer"),
        ({"temperature": 300}, "temperature", "300", "at most 140, or null"),
        ({"carrier_late_7d": 1.01}, "carrier_late_7d", "1.01", "at most 1, or null"),
        ({"departure_delay": 40}, "departure_delay", "40", "one of the fields carrier,"),
    ],
)
def test_a_bad_row_is_told_its_field_value_and_what_is_allowed(
    client: TestClient, changes: dict[str, Any], field: str, value: str, allowed: str
) -> None:
    answer = client.post("/predict", json={"instances": [GOOD, {**GOOD, **changes}]})

    assert answer.status_code == 422
    (fault,) = answer.json()["error"]["details"]
    assert (fault["row"], fault["field"], fault["value"]) == (1, field, value)
    assert allowed in fault["allowed"]
    assert f"field `{field}`" in answer.json()["error"]["message"]


def test_a_missing_field_is_named(client: TestClient) -> None:
    without = {name: value for name, value in GOOD.items() if name != "origin"}

    (fault,) = client.post("/predict", json={"instances": [without]}).json()["error"]["details"]

    assert (fault["field"], fault["value"]) == ("origin", "missing")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "$"),
        (b"{", "$"),
        (b"\xff\xfe", "$"),
        (b"[]", "$"),
        (b"null", "$"),
        (b"{}", "instances"),
        (b'{"instances": []}', "instances"),
        (b'{"instances": {}}', "instances"),
        (b'{"instances": null}', "instances"),
        (b'{"instances": [1]}', "$"),
        (b'{"instances": [null]}', "$"),
        (b'{"instances": [[]]}', "carrier"),
        (b'{"instances": [[1]]}', "carrier"),
        (b'{"rows": []}', "rows"),
        (b'{"instances": [{}], "parameters": {"threshold": 1}}', "parameters"),
        (json.dumps({"instances": [{**GOOD, "humidity": float("nan")}]}).encode(), "$"),
        (json.dumps({"instances": [{**GOOD, "humidity": float("inf")}]}).encode(), "$"),
        (b'{"instances": [{"humidity": 1e999}]}', "$"),
        (b"[" * 20_000, "$"),
    ],
)
def test_a_request_of_another_shape_is_refused(client: TestClient, body: bytes, field: str) -> None:
    answer = client.post("/predict", content=body)

    assert answer.status_code == 422
    assert answer.json()["error"]["details"][0]["field"] == field
    assert answer.json()["error"]["details"][0]["allowed"]


def test_every_bad_row_is_counted_and_the_first_are_shown(client: TestClient) -> None:
    rows = [GOOD, *[{**GOOD, "weekday": 0}] * (MAX_FAULTS + 10)]

    error = client.post("/predict", json={"instances": rows}).json()["error"]

    assert error["bad_rows"] == MAX_FAULTS + 10
    assert [fault["row"] for fault in error["details"]] == list(range(1, MAX_FAULTS + 1))


def test_more_rows_than_the_product_takes_are_refused(client: TestClient, product: Product) -> None:
    many = product.serving.max_rows + 1
    answer = client.post("/predict", json={"instances": [{}] * many})

    assert answer.status_code == 422
    assert "at most 1000 rows" in answer.json()["error"]["message"]


@pytest.mark.parametrize("declared", [True, False])
def test_a_body_beyond_the_limit_is_not_read_on(client: TestClient, declared: bool) -> None:
    body = b"[" + b" " * 200_000
    content = body if declared else iter([body[:60_000]] * 4)

    answer = client.post("/predict", content=content)

    assert answer.status_code == 413
    assert "larger than 100000 bytes" in answer.json()["error"]["message"]


def test_health_and_documents(client: TestClient) -> None:
    assert client.get("/health").json() == {"status": "ready", "model": "run-1"}
    schema = client.get("/openapi.json").json()
    instance = schema["components"]["schemas"]["Instance"]
    assert instance["properties"]["weekday"]["maximum"] == 7
    assert "carrier" in instance["required"]
    post = schema["paths"]["/predict"]["post"]
    named = post["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    body = schema["components"]["schemas"][named.rpartition("/")[2]]
    assert body["properties"]["instances"]["maxItems"] == 1000
    assert client.get("/predict").status_code == 405
    assert client.get("/docs").status_code == 200


def test_while_its_model_is_loaded_a_server_is_there_and_says_so() -> None:
    """The storage takes the question and does not answer."""
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        socket.create_server(("127.0.0.1", 0)) as free,
    ):
        port = free.getsockname()[1]
        free.close()
        environment = {
            **os.environ,
            "PRODUCT": "flight-delay",
            "HOST": "127.0.0.1",
            "AIP_HTTP_PORT": str(port),
            "AIP_STORAGE_URI": "gs://models/run",
            "STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{silent.getsockname()[1]}",
            "GOOGLE_CLOUD_PROJECT": "p",
        }
        process = start(environment)
        try:
            deadline = time.monotonic() + 60
            while not _listens(("127.0.0.1", port)):
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
            assert urllib.request.urlopen(url(environment, "/live"), timeout=10).status == 200
            for path, body in (("/health", None), ("/predict", b'{"instances": [{}]}')):
                with pytest.raises(urllib.error.HTTPError) as refused:
                    urllib.request.urlopen(url(environment, path), data=body, timeout=10)
                assert refused.value.status == 503
                said = json.load(refused.value)["error"]["message"]
                assert said == "the model of flight-delay is being loaded; ask again"
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=30) == 0
        finally:
            process.kill()
            process.communicate()


class TestTheContainer:
    """The process that Vertex AI starts, on a model that the pipeline made."""

    @pytest.fixture
    def version(self, january: Product, trained: Any) -> Version:
        return Registry(january).get(trained.registration.version)

    @pytest.fixture
    def environment(self, version: Version) -> dict[str, str]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        return {
            **os.environ,
            "PRODUCT": "flight-delay",
            "HOST": "127.0.0.1",
            "AIP_HTTP_PORT": str(port),
            "AIP_HEALTH_ROUTE": "/ready",
            "AIP_PREDICT_ROUTE": "/answer",
            "AIP_STORAGE_URI": version.folder.uri,
            "MODEL_SHA256": version.manifest().model_sha256,
        }

    @pytest.fixture
    def server(self, environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
        process = start(environment)
        deadline = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(url(environment, "/ready"), timeout=1)
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    process.kill()
                    pytest.fail(process.communicate()[1].decode())
                time.sleep(0.05)
        yield process
        process.kill()
        process.wait()

    def test_answers_as_the_model_was_evaluated(
        self, server: object, environment: dict[str, str], version: Version
    ) -> None:
        examples = version.folder.read_json(EXAMPLES, list[Example])

        answers = ask(environment, [one.instance for one in examples])

        assert [one["probability"] for one in answers] == pytest.approx(
            [one.value for one in examples]
        )
        threshold = version.manifest().threshold
        assert threshold is not None
        assert [one["late"] for one in answers] == [one.value >= threshold for one in examples]

    def test_ends_requests_under_way_when_told_to_end(
        self, server: subprocess.Popen[bytes], environment: dict[str, str]
    ) -> None:
        body = json.dumps({"instances": [GOOD] * 500}).encode()
        address = ("127.0.0.1", int(environment["AIP_HTTP_PORT"]))
        with socket.create_connection(address, timeout=10) as line:
            head = (
                "POST /answer HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
                f"Content-Length: {len(body)}\r\n\r\n"
            )
            line.sendall(head.encode())
            assert line.recv(100).startswith(b"HTTP/1.1 100")
            server.send_signal(signal.SIGTERM)
            while _listens(address):
                assert server.poll() is None
            line.sendall(body)
            answer = line.recv(100)

        assert answer.startswith(b"HTTP/1.1 200")
        assert server.wait(timeout=10) == 0

    def test_told_to_end_under_load_it_drops_no_request(
        self, server: subprocess.Popen[bytes], environment: dict[str, str]
    ) -> None:
        address = ("127.0.0.1", int(environment["AIP_HTTP_PORT"]))
        body = json.dumps({"instances": [GOOD]}).encode()
        request = b"POST /answer HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (
            len(body),
            body,
        )
        answered, told, faults = [0] * 8, threading.Barrier(9), list[str]()

        def call(number: int) -> None:
            told.wait(10)
            while True:
                try:
                    line = socket.create_connection(address, timeout=10)
                except OSError:  # nobody listens any more: no request was sent
                    return
                with line:
                    while True:
                        try:
                            line.sendall(request)
                            head = _answer(line)
                        except OSError as error:
                            head = repr(error).encode()
                        if not head.startswith(b"HTTP/1.1 200"):
                            faults.append(f"after {answered[number]} answers: {head!r}")
                            return
                        answered[number] += 1
                        if b"connection: close" in head:
                            break

        threads = [threading.Thread(target=call, args=[number]) for number in range(8)]
        for thread in threads:
            thread.start()
        told.wait(10)
        deadline = time.monotonic() + 30
        while min(answered) < 20 and time.monotonic() < deadline:
            time.sleep(0.01)
        server.send_signal(signal.SIGTERM)
        assert server.wait(timeout=20) == 0
        for thread in threads:
            thread.join(10)

        assert faults == []
        assert min(answered) >= 20

    def test_a_flipped_byte_is_never_loaded_and_the_old_model_goes_on_answering(
        self, version: Version, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        altered = Folder(f"{version.folder.uri}-altered")
        content = bytearray(version.folder.read(MODEL))
        content[len(content) // 2] ^= 1
        altered.write_json(MANIFEST, version.manifest())
        altered.write(MODEL, bytes(content), "application/octet-stream")
        released = SimpleNamespace(number="1", folder=version.folder)
        registry = SimpleNamespace(find=lambda alias: released)
        monkeypatch.setattr(champions, "Registry", lambda product: registry)
        champion = Champion(
            ServingSettings(
                product="flight-delay",
                model_alias="champion",
                google_cloud_project="p",
                google_cloud_location="us-central1",
            )
        )
        champion.look()
        before = champion.current()
        assert before is not None

        released = SimpleNamespace(number="2", folder=altered)
        champion.look()

        assert champion.current() is before
        assert "It is not the model that was evaluated, and is not loaded" in caplog.text
        client = TestClient(build(champion._settings, champion))
        assert client.post("/predict", json={"instances": [GOOD]}).status_code == 200

    def test_refuses_a_model_that_is_not_the_registered_one(
        self, environment: dict[str, str]
    ) -> None:
        process = start({**environment, "MODEL_SHA256": "0" * 64})

        log = process.communicate(timeout=60)[1].decode()

        assert process.returncode == 1
        assert "It is not the model that was evaluated, and is not loaded" in log

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"product": "other"}, "product is 'other'; this server takes 'flight-delay'"),
            ({"contract_version": 2}, "contract version is 2; this server takes 1"),
            ({"model_sha256": "0" * 64}, "SHA-256"),
        ],
    )
    def test_refuses_a_manifest_of_something_else(
        self, version: Version, change: dict[str, Any], said: str
    ) -> None:
        other = Folder(f"{version.folder.uri}-other")
        manifest = msgspec.structs.replace(version.manifest(), **change)
        other.write_json(MANIFEST, manifest)
        other.write(MODEL, version.folder.read(MODEL), "application/octet-stream")
        settings = ServingSettings(product="flight-delay", aip_storage_uri=other.uri)

        with pytest.raises(ModelRefused, match=said):
            ServedModel.load(settings)

    def test_says_which_setting_is_wrong(self, environment: dict[str, str]) -> None:
        process = start({**environment, "AIP_HTTP_PORT": "http", "AIP_STORAGE_URI": "/tmp/x"})

        log = process.communicate(timeout=60)[1].decode()

        assert process.returncode == 2
        assert "AIP_HTTP_PORT is 'http'" in log
        assert "AIP_STORAGE_URI is '/tmp/x'" in log


def _answer(line: socket.socket) -> bytes:
    """The head of an answer, once all of it is there; what came, where it ended before."""
    found = b""
    while True:
        piece = line.recv(65_536)
        found += piece
        head, end, body = found.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        if not piece or (end and length and len(body) == int(length[1])):
            return head if piece else b"cut off: " + found


def _listens(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, timeout=1).close()
    except OSError:  # refused, or reset while it closes
        return False
    return True


def start(environment: dict[str, str]) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-m", "workloads.serving"]
    return subprocess.Popen(words, env=environment, stderr=subprocess.PIPE)


def url(environment: dict[str, str], path: str) -> str:
    return f"http://127.0.0.1:{environment['AIP_HTTP_PORT']}{path}"


def ask(environment: dict[str, str], instances: list[Any]) -> list[dict[str, Any]]:
    request = urllib.request.Request(
        url(environment, "/answer"), data=json.dumps({"instances": instances}).encode()
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)["predictions"]

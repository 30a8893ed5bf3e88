"""What of MLflow's server is let through, and what is not."""

from __future__ import annotations

import asyncio
import json
import pickle
from collections.abc import MutableMapping
from typing import Any

import pytest

from workloads.tracking.guard import MAX_BODY, Guard


def ask(
    path: str, body: bytes = b"", *, kind: str = "http", method: str = "GET", query: bytes = b""
) -> tuple[int, str, bytes]:
    """Status, message and, where the request came through, the body that arrived behind."""
    arrived: list[bytes] = []
    sent: list[MutableMapping[str, Any]] = []

    async def behind(scope: Any, receive: Any, send: Any) -> None:
        more = True
        while more:
            message = await receive()
            arrived.append(message["body"])
            more = message["more_body"]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    pieces = [body[:10], body[10:]]

    async def receive() -> MutableMapping[str, Any]:
        piece = pieces.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(pieces)}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    scope = {"type": kind, "path": path, "method": method, "query_string": query}
    asyncio.run(Guard(behind)(scope, receive, send))
    if kind == "websocket":
        return int(sent[0]["code"]), "", b""
    document = json.loads(sent[1]["body"])
    return int(sent[0]["status"]), document.get("message", ""), b"".join(arrived)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/health",
        "/static-files/main.js",
        "/api/2.0/mlflow/runs/create",
        "/api/2.0/mlflow/runs/log-batch",
        "/ajax-api/2.0/mlflow/experiments/search",
        "/api/2.0/mlflow/registered-models/alias",
        "/api/2.0/mlflow-artifacts/artifacts/1/abc/artifacts/model.onnx",
        "/get-artifact",
    ],
)
def test_what_tracking_needs_comes_through(path: str) -> None:
    assert ask(path)[0] == 200


@pytest.mark.parametrize(
    "path",
    [
        "/api/2.0/mlflow/webhooks/create",
        "/ajax-api/2.0/mlflow/gateway-proxy",
        "/gateway/any/mlflow/invocations",
        "/api/3.0/mlflow/scorers/register",
        "/ajax-api/3.0/mlflow/jobs/",
        "/ajax-api/3.0/mlflow/assistant/message",
        "/api/3.0/mlflow/prompt-optimization/jobs",
        "/api/3.0/mlflow/mcp-servers",
        "/ajax-api/2.0/mlflow/runs/create-promptlab-run",
        "/invocations",
        "/api/2.0/mlflow-artifacts/artifacts/../../secret",
        "//health",
    ],
)
def test_what_runs_code_or_calls_others_does_not(path: str) -> None:
    status, message, arrived = ask(path)
    assert (status, arrived) == (404, b"")
    assert message == f"{path} is not offered here"


def test_no_websocket_is_opened() -> None:
    assert ask("/any", kind="websocket")[0] == 1008


@pytest.mark.parametrize(
    ("path", "document"),
    [
        ("experiments/create", {"name": "a", "artifact_location": "http://169.254.169.254/"}),
        ("experiments/create", {"name": "a", "artifactLocation": "file:///etc"}),
        ("model-versions/create", {"name": "a", "source": "s3://elsewhere/x"}),
        ("model-versions/create", {"name": "a", "source": ["gs://x"]}),
    ],
)
def test_the_server_reads_from_no_place_that_is_not_its_own(
    path: str, document: dict[str, Any]
) -> None:
    status, message, arrived = ask(f"/api/2.0/mlflow/{path}", json.dumps(document).encode())
    assert (status, arrived) == (400, b"")
    assert "a place that the server keeps itself" in message


def test_a_place_of_its_own_is_passed_on_whole() -> None:
    body = json.dumps({"name": "a", "source": "runs:/abc/model"}).encode()
    assert ask("/api/2.0/mlflow/model-versions/create", body) == (200, "", body)


@pytest.mark.parametrize("body", [b"[1]", b"{", b"x" * (MAX_BODY + 1), b"[" * 100_000])
def test_a_body_that_could_hide_a_place_is_refused(body: bytes) -> None:
    assert ask("/api/2.0/mlflow/experiments/create", body)[0] == 400


ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts/1/r/artifacts"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("model.onnx", b"\x08\x0a" + b"graph" * 300),
        ("plots/calibration.svg", b"<svg/>"),
        ("evaluation.md", "# Ü".encode()),
        ("plot.png", b"\x89PNG\r\n"),
        ("empty.txt", b""),
    ],
)
def test_graphs_pictures_and_text_are_kept(name: str, content: bytes) -> None:
    status, _, arrived = ask(f"{ARTIFACTS}/{name}", content, method="PUT")
    assert (status, arrived) == (200, content)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("model.pkl", b"\x80\x05", "allowed: files that end in .onnx"),
        ("MLmodel", b"flavors:", "Models are ONNX graphs"),
        ("model.onnx", pickle.dumps({"a": 1}), "its content is none of a .onnx file"),
        ("notes.txt", pickle.dumps([1] * 999), "its content is none of a .txt file"),
        ("tensors.json", b"PK\x03\x04\x00\x00", "its content is none of a .json file"),
        ("plot.png", b"<svg/>", "its content is none of a .png file"),
    ],
)
def test_what_would_be_unpickled_is_refused_under_any_name(
    name: str, content: bytes, said: str
) -> None:
    status, message, arrived = ask(f"{ARTIFACTS}/{name}", content, method="PUT")
    assert (status, arrived) == (400, b"")
    assert said in message


def test_the_page_keeps_no_other_files() -> None:
    path = "/ajax-api/2.0/mlflow/upload-artifact"
    status, message, _ = ask(path, b"x", method="POST", query=b"run_uuid=1&path=a%2Fmodel.joblib")
    assert status == 400
    assert message.startswith("a/model.joblib is not kept here")


def test_an_upload_in_parts_that_bypasses_the_server_is_not_offered() -> None:
    assert ask("/api/2.0/mlflow-artifacts/mpu/create/1/r/artifacts", method="POST")[0] == 404
    for name in ("presigned-upload-url", "presigned-download-url"):
        assert ask(f"/api/2.0/mlflow/artifacts/{name}", method="POST")[0] == 404

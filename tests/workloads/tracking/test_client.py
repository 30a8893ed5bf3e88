"""How MLflow is called: over TLS with a token, again while it starts, and never waited for long."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from workloads import gcp
from workloads.tracking.client import (
    InvalidAddress,
    Mlflow,
    TrackingDown,
    TrackingRefused,
    checked,
)


class Answers(ThreadingHTTPServer):
    """Gives prepared answers, one a request, and keeps what was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.prepared: list[tuple[int, dict[str, Any]]] = []
        self.asked: list[tuple[str, str, bytes]] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Answers  # pyright: ignore[reportIncompatibleVariableOverride]

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append((self.command, self.path, body))
        status, document = self.server.prepared.pop(0)
        content = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        if status == 302:
            self.send_header("Location", "https://accounts.google.com")
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = _answer  # noqa: N815

    def log_request(self, *_: Any, **__: Any) -> None:
        """Nothing is printed: the requests are kept."""


@pytest.fixture
def answers() -> Iterator[Answers]:
    with Answers() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("address", ["", "https://mlflow-1-uc.a.run.app", "http://127.0.0.1:5000"])
def test_an_address_is_taken(address: str) -> None:
    assert checked(address) == address


@pytest.mark.parametrize(
    "address",
    ["http://mlflow.example.com", "sqlite:///mlflow.db", "https://", "http://127.0.0.1.evil.com"],
)
def test_what_would_send_a_token_in_the_clear_is_refused(address: str) -> None:
    with pytest.raises(InvalidAddress, match=r"MLFLOW_TRACKING_URI is .*; allowed: `https://HOST`"):
        checked(address)


def test_a_start_is_waited_for(answers: Answers) -> None:
    answers.prepared = [(503, {}), (429, {}), (200, {"run": {}})]

    assert Mlflow(answers.address).call("POST", "runs/create", {"a": 1}) == {"run": {}}

    assert [body for _, _, body in answers.asked] == [b'{"a": 1}'] * 3


def test_a_refusal_carries_mlflows_own_word(answers: Answers) -> None:
    answers.prepared = [(400, {"error_code": "INVALID_PARAMETER_VALUE", "message": "no name"})]

    with pytest.raises(TrackingRefused, match="INVALID_PARAMETER_VALUE no name") as caught:
        Mlflow(answers.address).call("POST", "runs/create", {})

    assert caught.value.code == "INVALID_PARAMETER_VALUE"


@pytest.mark.parametrize("status", [401, 403, 302, 500])
def test_who_is_not_let_in_has_not_been_heard(answers: Answers, status: int) -> None:
    answers.prepared = [(status, {})]

    with pytest.raises(TrackingDown, match=str(status)):
        Mlflow(answers.address).call("POST", "runs/create", {})


def test_what_is_not_there_is_none(answers: Answers) -> None:
    answers.prepared = [(404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no model"})]

    assert Mlflow(answers.address).find("registered-models/get", {"name": "a"}) is None


def test_all_pages_are_read(answers: Answers) -> None:
    answers.prepared = [
        (200, {"runs": [1, 2], "next_page_token": "more"}),
        (200, {"runs": [3]}),
    ]

    assert list(Mlflow(answers.address).pages("POST", "runs/search", {}, "runs")) == [1, 2, 3]
    assert json.loads(answers.asked[1][2])["page_token"] == "more"


def test_much_is_logged_in_parts(answers: Answers) -> None:
    answers.prepared = [(200, {})] * 3
    parameters = {f"p{one}": "1" for one in range(250)}

    Mlflow(answers.address).log("r", parameters=parameters, metrics={"m": 0.5}, tags={}, at=7)

    batches = [json.loads(body) for _, _, body in answers.asked]
    assert [len(one["params"]) for one in batches] == [100, 100, 50]
    assert batches[0]["metrics"] == [{"key": "m", "value": 0.5, "timestamp": 7, "step": 0}]


def test_files_go_only_where_the_server_keeps_them(answers: Answers) -> None:
    answers.prepared = [(200, {})]
    server = Mlflow(answers.address)

    server.upload("mlflow-artifacts:/1/r/artifacts", "plots/a b.svg", b"<svg/>")

    assert answers.asked == [
        ("PUT", "/api/2.0/mlflow-artifacts/artifacts/1/r/artifacts/plots/a%20b.svg", b"<svg/>")
    ]
    with pytest.raises(TrackingRefused, match="files lie in 'gs://elsewhere'"):
        server.upload("gs://elsewhere", "a.md", b"")


def test_over_tls_each_request_shows_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    from google.auth.credentials import AnonymousCredentials
    from google.auth.transport.requests import AuthorizedSession

    asked: list[str] = []

    def credentials(audience: str) -> AnonymousCredentials:
        asked.append(audience)
        return AnonymousCredentials()

    monkeypatch.setattr(gcp, "_id_token_credentials", credentials)

    assert isinstance(gcp.tracking_session("https://mlflow.a.run.app"), AuthorizedSession)
    assert not isinstance(gcp.tracking_session("http://127.0.0.1:1"), AuthorizedSession)
    # The audience that Cloud Run asks for is the service's own address.
    assert asked == ["https://mlflow.a.run.app"]


def test_credentials_that_make_no_token_say_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    from google.auth.exceptions import DefaultCredentialsError

    def none(audience: str) -> Any:
        raise DefaultCredentialsError(f"no account for {audience}")

    monkeypatch.setattr(gcp, "_id_token_credentials", none)

    with pytest.raises(TrackingDown, match="Run as a service account, or impersonate one"):
        Mlflow("https://mlflow.a.run.app").call("GET", "runs/get", {})

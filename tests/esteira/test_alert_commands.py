"""`esteira alerts`, on what the services answer."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from esteira import alert_commands
from esteira.cli import app
from localcloud.home import Home
from localcloud.services.pubsub.server import PubSubServer
from workloads import gcp
from workloads.notifications.card import card
from workloads.notifications.message import Incident

INCIDENT = Incident(
    incident_id="1",
    state="open",
    severity="Warning",
    policy_name="flight-delay: the data has drifted",
    policy_user_labels={"product": "flight-delay", "owner": "team", "alert": "drift"},
    summary="It is so.",
)
ALERT = {
    "name": "projects/p/alerts/1",
    "openTime": "2026-11-21T10:00:00Z",
    "policy": {
        "displayName": "flight-delay: the data has drifted",
        "severity": "WARNING",
        "userLabels": {"product": "flight-delay", "alert": "drift"},
    },
}


class Answers:
    """What the two services answer."""

    def __init__(self) -> None:
        self.alerts: list[dict[str, Any]] = []
        self.messages: list[dict[str, Any]] = []


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Answers]:
    one = Answers()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            inbox = self.path.startswith("/inbox")
            body = {"messages": one.messages} if inbox else {"alerts": one.alerts}
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, format: str, *_: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setenv("MONITORING_API_ENDPOINT", address)
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "p")
    monkeypatch.setattr(alert_commands, "_connect", lambda *_: None)
    yield one
    server.shutdown()
    server.server_close()


def run(*words: str) -> Any:
    """Run a command; what it printed for a program."""
    done = CliRunner().invoke(app, ["alerts", *words, "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_nothing_wrong_is_an_answer_too(answers: Answers) -> None:
    assert run() == {"stack": "local", "open": [], "messages": []}


def test_it_shows_what_is_open_and_what_was_told_newest_last(answers: Answers) -> None:
    answers.alerts = [ALERT]
    notice = {
        "incident": {
            "state": "closed",
            "policy_name": "flight-delay: the data has drifted",
            "policy_user_labels": {"product": "flight-delay"},
        }
    }
    answers.messages = [
        {"to": "alerts", "received": "1", "body": card(INCIDENT, "local")},
        {"to": "ops@example.com", "received": "2", "body": notice},
    ]
    shown = run()
    assert shown["open"] == [
        {
            "incident": "projects/p/alerts/1",
            "title": "flight-delay: the data has drifted",
            "product": "flight-delay",
            "alert": "drift",
            "severity": "WARNING",
            "since": "2026-11-21T10:00:00Z",
        }
    ]
    first, second = shown["messages"]
    assert (first["heading"], first["texts"]) == ("Alert in local", ["It is so."])
    assert first["facts"]["Product"] == "flight-delay"
    assert (second["to"], second["heading"]) == ("ops@example.com", "Recovered")
    assert len(run("--last", "1")["messages"]) == 1


@pytest.fixture
def pubsub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PubSubServer]:
    server = PubSubServer(Home(tmp_path)).start()
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", server.address)
    yield server
    server.stop()


def test_what_was_given_up_goes_back_on_the_topic(answers: Answers, pubsub: PubSubServer) -> None:
    del answers, pubsub
    done = CliRunner().invoke(app, ["alerts", "resend"])
    assert done.exit_code == 1
    assert "does the stack have alerts?" in " ".join(done.output.split())
    publisher, subscriber = gcp.publisher(), gcp.subscriber()
    dead = "projects/p/topics/dead"
    given_up = f"projects/p/subscriptions/{alert_commands._GIVEN_UP}"
    inbox = "projects/p/subscriptions/inbox"
    for topic, name in ((dead, given_up), ("projects/p/topics/alerts", inbox)):
        publisher.create_topic(name=topic)
        subscriber.create_subscription(name=name, topic=topic)
    gcp.publish(publisher, dead, [{"data": b"one"}, {"data": b"two"}])
    assert run("resend") == {"stack": "local", "resent": 2}
    assert run("resend") == {"stack": "local", "resent": 0}
    found = subscriber.pull(subscription=inbox, max_messages=10).received_messages
    assert [one.message.data for one in found] == [b"one", b"two"]
    subscriber.close()

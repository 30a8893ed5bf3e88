"""Push subscriptions against a real HTTP endpoint on this machine."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from google.api_core import exceptions
from google.protobuf.duration_pb2 import Duration

if TYPE_CHECKING:
    from tests.localcloud.pubsub.conftest import PubSub

type Until = Callable[..., Any]


class Endpoint:
    """Takes POSTs and answers as a test tells it."""

    def __init__(self) -> None:
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.answer: Callable[[bytes], int] = lambda _: 204
        self.busy = 0
        self.busiest = 0
        self.lock = threading.Lock()
        self.gate = threading.Event()
        self.gate.set()
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with endpoint.lock:
                    endpoint.requests.append(
                        ({k.lower(): v for k, v in self.headers.items()}, body)
                    )
                    endpoint.busy += 1
                    endpoint.busiest = max(endpoint.busiest, endpoint.busy)
                endpoint.gate.wait(20)
                with endpoint.lock:
                    endpoint.busy -= 1
                self.send_response(endpoint.answer(body))
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/push?a=b"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def messages(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.requests]

    def texts(self) -> list[str]:
        return [base64.b64decode(m["message"]["data"]).decode() for m in self.messages()]

    def close(self) -> None:
        self.gate.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    made = Endpoint()
    yield made
    made.close()


def pushed(pubsub: PubSub, topic: str, endpoint: Endpoint, **settings: Any) -> str:
    config = {"push_endpoint": endpoint.url, **settings.pop("push", {})}
    return pubsub.subscription(topic, push_config=config, **settings)


def test_a_message_is_posted_as_google_posts_it(
    pubsub: PubSub, endpoint: Endpoint, until: Until
) -> None:
    topic = pubsub.topic()
    subscription = pushed(pubsub, topic, endpoint)
    (sent,) = pubsub.publish(topic, "hello", key="k", origin="sensor")
    until(lambda: endpoint.requests)
    headers, _ = endpoint.requests[0]
    (body,) = endpoint.messages()
    published = body["message"].pop("publishTime")
    assert headers["content-type"] == "application/json"
    assert body == {
        "message": {
            "data": base64.b64encode(b"hello").decode(),
            "messageId": sent,
            "message_id": sent,
            "publish_time": published,
            "attributes": {"origin": "sensor"},
            "orderingKey": "k",
        },
        "subscription": subscription,
    }
    with pytest.raises(exceptions.FailedPrecondition, match="not supported"):
        pubsub.pull(subscription)


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_success_is_acknowledged(
    pubsub: PubSub, endpoint: Endpoint, until: Until, status: int
) -> None:
    endpoint.answer = lambda _: status
    topic = pubsub.topic()
    subscription = pushed(pubsub, topic, endpoint)
    pubsub.publish(topic, "a")
    until(lambda: endpoint.requests)
    pubsub.publish(topic, "b")
    until(lambda: len(endpoint.requests) == 2)
    assert endpoint.texts() == ["a", "b"]
    pubsub.subscriber.modify_push_config(subscription=subscription, push_config={})
    until(lambda: pubsub.texts(subscription) == [])


@pytest.mark.parametrize("status", [301, 400, 404, 429, 500, 503])
def test_anything_else_is_tried_again(
    pubsub: PubSub, endpoint: Endpoint, until: Until, status: int
) -> None:
    answers = iter([status, status])
    endpoint.answer = lambda _: next(answers, 200)
    topic = pubsub.topic()
    pushed(pubsub, topic, endpoint)
    pubsub.publish(topic, "a")
    until(lambda: len(endpoint.requests) == 3)
    assert endpoint.texts() == ["a"] * 3


def test_pauses_grow_while_the_endpoint_fails(
    pubsub: PubSub, endpoint: Endpoint, until: Until
) -> None:
    endpoint.answer = lambda _: 500
    topic = pubsub.topic()
    pushed(pubsub, topic, endpoint)
    pubsub.publish(topic, "a")
    until(lambda: len(endpoint.requests) == 4)  # after 0.1, 0.3 and 0.7 seconds
    assert not threading.Event().wait(0.5)
    assert len(endpoint.requests) == 4, "the next one is 0.8 s away"
    endpoint.answer = lambda _: 200
    until(lambda: len(endpoint.requests) == 5)


def test_several_requests_run_at_a_time_but_one_a_key(
    pubsub: PubSub, endpoint: Endpoint, until: Until
) -> None:
    topic = pubsub.topic()
    subscription = pushed(pubsub, topic, endpoint, enable_message_ordering=True)
    endpoint.gate.clear()
    pubsub.publish(topic, "a1", "a2", "a3", key="a")
    pubsub.publish(topic, "b1", "b2", key="b")
    until(lambda: len(endpoint.requests) == 2)
    assert sorted(endpoint.texts()) == ["a1", "b1"]
    endpoint.gate.set()
    until(lambda: len(endpoint.requests) == 5)
    for key in "ab":
        texts = [text for text in endpoint.texts() if text[0] == key]
        assert texts == sorted(texts)
    assert endpoint.busiest == 2
    assert subscription


def test_without_the_wrapper_the_body_is_the_data(
    pubsub: PubSub, endpoint: Endpoint, until: Until
) -> None:
    topic = pubsub.topic()
    subscription = pushed(pubsub, topic, endpoint, push={"no_wrapper": {"write_metadata": True}})
    (sent,) = pubsub.publish(topic, '{"a": 1}', key="k", origin="sensor")
    until(lambda: endpoint.requests)
    ((headers, body),) = endpoint.requests
    assert body == b'{"a": 1}'
    assert headers["origin"] == "sensor"
    assert headers["x-goog-pubsub-message-id"] == sent
    assert headers["x-goog-pubsub-subscription-name"] == subscription
    assert headers["x-goog-pubsub-ordering-key"] == "k"
    assert headers["x-goog-pubsub-publish-time"].endswith("Z")


def test_an_identity_token_says_who_pushes_and_cannot_be_mistaken_for_googles(
    pubsub: PubSub, endpoint: Endpoint, until: Until
) -> None:
    topic = pubsub.topic()
    account = "pusher@test-project.iam.gserviceaccount.com"
    oidc = {"service_account_email": account, "audience": "the-service"}
    pushed(pubsub, topic, endpoint, push={"oidc_token": oidc})
    pubsub.publish(topic, "a")
    until(lambda: endpoint.requests)
    kind, _, token = endpoint.requests[0][0]["authorization"].partition(" ")
    header, claims, signature = token.split(".")
    decoded = [json.loads(base64.urlsafe_b64decode(p + "==")) for p in (header, claims)]
    assert kind == "Bearer"
    assert decoded[0]["alg"] == "none"
    assert (decoded[1]["email"], decoded[1]["aud"]) == (account, "the-service")
    assert decoded[1]["iss"].endswith(".invalid")
    assert signature == ""


def test_a_refused_message_becomes_a_dead_letter_with_its_attempts(
    pubsub: PubSub, endpoint: Endpoint, until: Until
) -> None:
    endpoint.answer = lambda body: 500 if json.loads(body)["message"]["data"] == "cG9pc29u" else 200
    topic, letters = pubsub.topic(), pubsub.topic()
    inspection = pubsub.subscription(letters)
    backoff = Duration(nanos=1_000_000)
    pushed(
        pubsub,
        topic,
        endpoint,
        dead_letter_policy={"dead_letter_topic": letters},
        retry_policy={"minimum_backoff": backoff, "maximum_backoff": backoff},
    )
    pubsub.publish(topic, "poison", "good")
    (letter,) = pubsub.take(inspection, 1)
    assert letter.message.data == b"poison"
    attempts = [
        body["deliveryAttempt"]
        for body, text in zip(endpoint.messages(), endpoint.texts(), strict=True)
        if text == "poison"
    ]
    assert attempts == [1, 2, 3, 4, 5]
    assert endpoint.texts().count("good") == 1


def test_a_subscription_turns_from_push_to_pull_and_back(
    pubsub: PubSub, endpoint: Endpoint, until: Until
) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    pubsub.publish(topic, "a")
    pubsub.subscriber.modify_push_config(
        subscription=subscription, push_config={"push_endpoint": endpoint.url}
    )
    until(lambda: endpoint.texts() == ["a"])
    pubsub.subscriber.modify_push_config(subscription=subscription, push_config={})
    pubsub.publish(topic, "b")
    assert [r.message.data for r in pubsub.take(subscription, 1)] == [b"b"]


def test_an_endpoint_that_is_not_there_yet_gets_the_message_later(
    pubsub: PubSub, until: Until
) -> None:
    first = Endpoint()
    topic = pubsub.topic()
    subscription = pushed(pubsub, topic, first)
    first.close()
    pubsub.publish(topic, "a")
    second = Endpoint()
    pubsub.subscriber.modify_push_config(
        subscription=subscription, push_config={"push_endpoint": second.url}
    )
    until(lambda: second.texts() == ["a"])
    second.close()

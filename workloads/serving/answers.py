"""Answers that are no predictions: what is wrong, and when to come again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

JSON: Final = b"application/json"
TEXT: Final = b"text/plain; charset=utf-8"
RETRY_SECONDS: Final = 10
"""When a caller who found no model may ask again."""
BUSY_SECONDS: Final = 1
"""When a caller who was one too many may ask again: what waits is answered in far less."""


class Answer(NamedTuple):
    """One answer over HTTP."""

    status: int
    body: bytes
    kind: bytes = JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()


def error(
    code: int, status: str, message: str, headers: tuple[tuple[bytes, bytes], ...] = ()
) -> Answer:
    """An error, in the form of Google's APIs."""
    document = {"error": {"code": code, "status": status, "message": message, "details": []}}
    return Answer(code, msgspec.json.encode(document), headers=headers)


def in_words(answer: Answer) -> Answer:
    """An answer as the Open Inference Protocol has it: where it is an error, a text and no more."""
    if answer.status < 400:
        return answer
    document = msgspec.json.decode(answer.body)
    if isinstance(document["error"], str):
        return answer
    words = msgspec.json.encode({"error": document["error"]["message"]})
    return answer._replace(body=words)


def nothing_released(product: str) -> Answer:
    """There is no model yet, which is nobody's fault."""
    return error(
        503,
        "UNAVAILABLE",
        f"no model of {product} is released yet; train one, then release it with "
        f"`esteira release promote {product}`",
        (_retry(RETRY_SECONDS),),
    )


def starting(product: str) -> Answer:
    """It is not known yet which model answers."""
    message = f"the model of {product} is being loaded; ask again"
    return error(503, "UNAVAILABLE", message, (_retry(BUSY_SECONDS),))


def broken(product: str, why: str) -> Answer:
    """There should be a model, and it cannot answer."""
    message = f"the model of {product} cannot answer: {why}"
    return error(503, "UNAVAILABLE", message, (_retry(RETRY_SECONDS),))


def ending() -> Answer:
    """It answers what is under way, and nobody should send more."""
    return error(503, "UNAVAILABLE", "the server is ending", (_retry(BUSY_SECONDS),))


def busy(what: str) -> Answer:
    """Too much at once."""
    message = f"{what}; nothing was computed, ask again in {BUSY_SECONDS} s"
    return error(429, "RESOURCE_EXHAUSTED", message, (_retry(BUSY_SECONDS),))


def too_large(most: int) -> Answer:
    """More than one request may hold."""
    message = f"the request is larger than {most} bytes; send fewer rows in each"
    return error(413, "RESOURCE_EXHAUSTED", message)


def malformed() -> Answer:
    """No HTTP at all, or such as nobody can read."""
    return error(400, "INVALID_ARGUMENT", "this is no request of HTTP/1.1")


def head_too_large(most: int) -> Answer:
    """More in front of a body, or behind it, than one request may have."""
    message = f"the request has more than {most} bytes beside its body; send fewer, shorter headers"
    return error(431, "RESOURCE_EXHAUSTED", message)


def too_slow(seconds: float) -> Answer:
    """It took too long to arrive."""
    message = f"the request did not arrive within {seconds:g} s"
    return error(408, "DEADLINE_EXCEEDED", message, ((b"connection", b"close"),))


def not_found(path: str, known: str) -> Answer:
    """No such route."""
    return error(404, "NOT_FOUND", f"there is nothing at {path}; allowed: {known}")


def not_served(version: str, known: Sequence[str]) -> Answer:
    """A model answers, but none of this version."""
    allowed = ", ".join(known) or "no version, as nobody said which this is"
    return error(404, "NOT_FOUND", f"version is {version}; allowed: {allowed}")


def wrong_method(method: str, allowed: str) -> Answer:
    """Another method is meant."""
    message = f"method is {method}; allowed: {allowed}"
    return error(405, "UNIMPLEMENTED", message, ((b"allow", allowed.encode()),))


def failed() -> Answer:
    """The model gave no answer; the server's log says why."""
    return error(500, "INTERNAL", "the model failed at these rows; it was logged")


def _retry(seconds: int) -> tuple[bytes, bytes]:
    return b"retry-after", str(seconds).encode()

"""What the server does when it is asked too much, too slowly, or by somebody who means harm."""

from __future__ import annotations

import asyncio
import json
import random
import tracemalloc
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.workloads.serving.asking import GOOD, Halves, ask, run
from workloads.serving.app import App, build
from workloads.serving.model import ServedModel
from workloads.serving.settings import ServingSettings

BODY = json.dumps({"instances": [GOOD]}).encode()
TENSORS: dict[str, Any] = {
    "inputs": [
        {
            "name": name,
            "shape": [1],
            "datatype": "BYTES" if isinstance(value, str) else "INT64",
            "data": [value],
        }
        for name, value in GOOD.items()
    ]
}
INFER = "/v2/models/flight-delay/infer"


def app(model: ServedModel, **limits: Any) -> App:
    chosen = ServingSettings(product="flight-delay", aip_storage_uri="gs://b/m", **limits)
    return build(chosen, lambda: model)


def test_requests_that_come_together_are_scored_together(halves: Halves) -> None:
    async def many() -> list[int]:
        one = app(halves)
        return [found.status for found in await asyncio.gather(*(ask(one, BODY) for _ in range(9)))]

    assert run(many()) == [200] * 9
    assert halves.batches == [9]


def test_one_call_of_the_model_has_no_more_rows_than_it_may(halves: Halves) -> None:
    async def many() -> None:
        one = app(halves, batch_rows=4)
        await asyncio.gather(*(ask(one, BODY) for _ in range(9)))

    run(many())
    assert halves.batches == [4, 4, 1]


def test_who_is_one_too_many_may_come_again(halves: Halves) -> None:
    async def many() -> list[Any]:
        one = app(halves, most_waiting_rows=5)
        found = await asyncio.gather(*(ask(one, BODY) for _ in range(8)))
        # What waited is answered, and then there is room again.
        return [*found, await ask(one, BODY)]

    found = run(many())
    assert sorted(one.status for one in found) == [200] * 6 + [429] * 3
    refused = next(one for one in found if one.status == 429)
    assert refused.headers["retry-after"] == "1"
    assert "rows wait for the model" in refused.document["error"]["message"]


def test_more_requests_than_may_be_under_way_are_refused_unread(halves: Halves) -> None:
    async def many() -> list[int]:
        one = app(halves, most_requests=2, body_seconds=0.2)
        slow = [asyncio.create_task(ask(one, [b"{"], ends=False)) for _ in range(2)]
        await asyncio.sleep(0)
        refused = await ask(one, BODY)
        return [refused.status, *(found.status for found in await asyncio.gather(*slow))]

    assert run(many()) == [429, 408, 408]


@pytest.mark.parametrize("declared", [True, False])
def test_of_a_body_that_is_too_large_no_more_is_kept_than_may_be(
    halves: Halves, declared: bool
) -> None:
    pieces = [b"x" * 65_536] * 1_000
    headers = {"Content-Length": str(65_536_000)} if declared else {}
    one = app(halves, max_body_bytes=200_000)
    run(ask(one, BODY))
    tracemalloc.start()
    found = run(ask(one, pieces, headers=headers))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.status == 413
    assert "larger than 200000 bytes" in found.document["error"]["message"]
    # Of the caller's 65 MB: theirs is one piece, sent a thousand times.
    assert peak < 4_000_000
    assert one._bodies.arriving == 0


def test_a_slow_body_is_given_up_and_its_connection_closed(halves: Halves) -> None:
    one = app(halves, body_seconds=0.1)
    found = run(ask(one, [BODY[:20]], ends=False))
    assert found.status == 408
    assert found.headers["connection"] == "close"
    assert one._bodies.arriving == 0


def test_bodies_that_arrive_hold_no_more_than_they_may_together(halves: Halves) -> None:
    async def many() -> list[int]:
        one = app(halves, most_body_bytes=3_000, body_seconds=0.2)
        pieces = [b"x" * 1_000]
        answers = (ask(one, pieces, ends=False) for _ in range(5))
        return sorted(found.status for found in await asyncio.gather(*answers))

    assert run(many()) == [408, 408, 408, 429, 429]


def test_who_goes_away_is_not_answered_and_not_waited_for(halves: Halves) -> None:
    one = app(halves)
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/predict", "headers": []}
    run(one(scope, receive, send))
    assert sent == []
    assert one.under_way == 0


def test_one_bad_row_does_not_take_others_with_it(halves: Halves) -> None:
    def refuse(rows: Sequence[Any]) -> None:
        if any(row.distance == 13 for row in rows):
            raise ValueError("thirteen")

    halves.fault = refuse
    bad = json.dumps({"instances": [{**GOOD, "distance": 13}]}).encode()

    async def many() -> list[int]:
        one = app(halves)
        found = await asyncio.gather(*(ask(one, body) for body in (BODY, bad, BODY)))
        return [answer.status for answer in found]

    assert run(many()) == [200, 500, 200]


def test_a_model_that_always_fails_makes_the_server_broken(halves: Halves) -> None:
    def refuse(rows: Sequence[Any]) -> None:
        raise ValueError("no")

    async def some() -> list[int]:
        one = app(halves)
        before = (await ask(one, path="/live")).status
        for _ in range(5):
            await ask(one, BODY)
        failed = [(await ask(one, path=path)).status for path in ("/live", "/health")]
        halves.fault = None
        await ask(one, BODY)
        return [before, *failed, (await ask(one, path="/health")).status]

    halves.fault = refuse
    assert run(some()) == [200, 503, 503, 200]


def test_who_sends_rows_that_no_model_answers_ends_the_server_for_nobody(halves: Halves) -> None:
    def refuse(rows: Sequence[Any]) -> None:
        if any(row.distance == 13 for row in rows):
            raise ValueError("thirteen")

    halves.fault = refuse
    bad = json.dumps({"instances": [{**GOOD, "distance": 13}]}).encode()

    async def some() -> list[int]:
        one = app(halves)
        await ask(one, BODY)
        failed = [(await ask(one, bad)).status for _ in range(20)]
        return [
            *set(failed),
            *[(await ask(one, path=path)).status for path in ("/live", "/health")],
        ]

    assert run(some()) == [500, 200, 200]


def _mutated(random_: random.Random) -> bytes:
    """A body that is nearly right, or not right at all."""
    body = bytearray(random_.choice((BODY, json.dumps(TENSORS).encode())))
    for _ in range(random_.randint(1, 8)):
        kind, place = random_.randrange(4), random_.randrange(len(body))
        if kind == 0:
            body[place] = random_.randrange(256)
        elif kind == 1:
            del body[place : place + random_.randint(1, 20)]
        elif kind == 2:
            body[place:place] = random_.choice(
                (b"null", b"1e999", b"[", b"{", b'"', b"-0.0", b"NaN", b"true", b"\xff", b"9" * 400)
            )
        else:
            body += body[place : place + 30]
    return bytes(body)


@pytest.mark.parametrize("name", ["halves", "real"])
def test_no_body_makes_the_server_fail(request: pytest.FixtureRequest, name: str) -> None:
    """10,000 bodies, half of them tensors; what is taken comes before a real graph too."""
    random_, model = random.Random(5), request.getfixturevalue(name)

    async def all_of_them() -> set[int]:
        one = app(model)
        found: set[int] = set()
        for number in range(10_000):
            path = INFER if number % 2 else "/predict"
            found.add((await ask(one, _mutated(random_), path=path)).status)
        return found

    assert run(all_of_them()) == {200, 422}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
ROW = st.dictionaries(
    st.sampled_from([*GOOD, "temperature", "humidity", "seats", "other"]), JSON
).map(lambda some: {**GOOD, **some})
REQUEST = st.fixed_dictionaries(
    {"instances": st.lists(ROW | st.lists(JSON, max_size=30) | JSON, max_size=4)},
    optional={"parameters": JSON, "other": JSON},
)
TENSOR = st.fixed_dictionaries(
    {
        "name": st.sampled_from([*GOOD, "rows", "other"]),
        "shape": st.lists(st.integers(-1, 4), max_size=3),
        "datatype": st.sampled_from(["BYTES", "INT64", "FP32", "BOOL", "FP64", "?"]),
        "data": st.lists(JSON, max_size=4),
    }
)
INFERENCE = st.fixed_dictionaries(
    {"inputs": st.lists(TENSOR, max_size=4)}, optional={"outputs": JSON, "id": JSON}
)


def _holds(model: ServedModel, document: Any, tensors: Any) -> None:
    one = app(model)
    for path, given_ in (("/predict", document), (INFER, tensors)):
        found = run(ask(one, json.dumps(given_).encode("utf-8", "surrogatepass"), path=path))
        assert found.status in (200, 422)
        if found.status == 422:
            assert found.document["error"]
            continue
        rows = len(document["instances"]) if path == "/predict" else 1
        assert len(found.document.get("predictions", [None] * rows)) == rows


@settings(max_examples=60, deadline=None)
@given(document=REQUEST | JSON, tensors=INFERENCE | JSON)
def test_whatever_the_document_says_it_is_answered_as_the_openapi_document_says(
    real: ServedModel, document: Any, tensors: Any
) -> None:
    """Beside schemathesis: bodies by our own schema and beside it."""
    _holds(real, document, tensors)


@pytest.mark.long
@settings(max_examples=1_000, deadline=None)
@given(document=REQUEST | JSON, tensors=INFERENCE | JSON)
def test_a_thousand_documents_are_answered_so(
    real: ServedModel, document: Any, tensors: Any
) -> None:
    _holds(real, document, tensors)

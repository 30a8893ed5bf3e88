"""Who is answered by which model, what is looked up for whom, and what the log is told."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.workloads.serving.asking import GOOD, Halves, ask, run
from workloads import contracts
from workloads import product as products
from workloads.prediction_log.contract import PredictionLogged
from workloads.prediction_log.publisher import Publisher
from workloads.product import Product
from workloads.serving.app import build
from workloads.serving.champion import Champion
from workloads.serving.reader import Reader
from workloads.serving.request import BadRequest, Question, parse
from workloads.serving.settings import ServingSettings

TOPIC = "projects/p/topics/flight-delay-predictions"


def settings_(**more: Any) -> ServingSettings:
    return ServingSettings(product="flight-delay", aip_storage_uri="gs://b/m", **more)


class Sink:
    """Stands in for the topic."""

    def __init__(self) -> None:
        self.rows: list[PredictionLogged] = []
        self.publisher = Publisher(
            "flight-delay", TOPIC, deployed_model_id="42", publish=self.publish
        )

    def publish(self, messages: list[dict[str, Any]]) -> None:
        self.rows += [contracts.decode(PredictionLogged, one["data"]) for one in messages]

    def ended(self) -> list[PredictionLogged]:
        self.publisher.close(10)
        assert self.publisher.dropped == 0
        return self.rows


def post(app: Any, document: Any, **more: Any) -> Any:
    return run(ask(app, json.dumps(document).encode(), **more))


def test_rows_come_as_objects_or_as_arrays(halves: Halves) -> None:
    app = build(settings_(), lambda: halves)
    for row in (GOOD, list(GOOD.values())):
        found = post(app, {"instances": [row] * 2})
        assert (
            found.document["predictions"]
            == [{"probability": 0.5, "late": True, "model": "run-7"}] * 2
        )


def test_an_array_may_not_be_longer_than_the_contract(halves: Halves, flights: Product) -> None:
    names = flights.features.request.__struct_fields__
    row = [*GOOD.values(), *[None] * (len(names) - len(GOOD) + 1)]
    found = post(build(settings_(), lambda: halves), {"instances": [row]})
    (fault,) = found.document["error"]["details"]
    assert fault["value"] == f"{len(names) + 1} values"
    assert fault["allowed"].startswith(f"at most {len(names)} values, in the order carrier,")


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 2_000),
    st.floats(-5, 2_000, width=32),
    st.sampled_from(["UA", "EWR", "IAH", "united", "", "1"]),
)
FLIGHTS = products.load("flight-delay")
CONTRACT = FLIGHTS.features.request
OBJECTS = st.dictionaries(st.sampled_from([*CONTRACT.__struct_fields__, "other"]), VALUES).map(
    lambda some: {**GOOD, **some}
)
ARRAYS = st.lists(VALUES, max_size=len(CONTRACT.__struct_fields__) + 1)
READER = Reader(CONTRACT, 1000)


@settings(max_examples=300, deadline=None)
@given(st.lists(OBJECTS, min_size=1, max_size=2) | st.lists(ARRAYS, min_size=1, max_size=2))
def test_the_quick_reading_takes_what_the_thorough_one_takes_and_reads_it_alike(rows: Any) -> None:
    body = json.dumps({"instances": rows}).encode()

    def read(how: Any) -> Any:
        try:
            question = how()
        except BadRequest as bad:
            return bad.document()
        assert isinstance(question, Question)
        return [msgspec.structs.astuple(row) for row in question.rows]

    assert read(lambda: READER.read(body)) == read(lambda: parse(body, CONTRACT, 1000))


def test_each_row_that_is_answered_is_in_the_log(halves: Halves) -> None:
    sink = Sink()
    app = build(settings_(variant="challenger"), lambda: halves, sink.publisher)
    parameters = {"key": "ana", "entities": ["f1", "f2"]}
    post(app, {"instances": [GOOD, list(GOOD.values())], "parameters": parameters})
    first, second = sink.ended()
    assert first.prediction_id != second.prediction_id
    assert [first.entity, second.entity] == ["f1", "f2"]
    for row in (first, second):
        assert (row.product, row.key, row.status) == ("flight-delay", "ana", 200)
        assert (row.model_version, row.model_run) == ("7", "run-7")
        assert (row.deployed_model_id, row.variant) == ("42", "challenger")
        assert (row.value, row.answer, row.lower, row.upper) == (0.5, True, None, None)
        assert row.latency_ms > 0
        assert row.features is not None
        assert GOOD.items() <= json.loads(row.features).items()


@pytest.mark.parametrize(
    ("entities", "logged"), [(["f1"], ["f1", None]), (["f1", "f2", "f3"], ["f1", "f2"])]
)
@pytest.mark.parametrize("protocol", ["vertex", "v2"])
def test_entities_are_told_of_as_far_as_there_are_rows(
    halves: Halves, entities: list[str], logged: list[str | None], protocol: str
) -> None:
    """No schema can say that there are as many, so none fewer or more makes a request wrong."""
    sink = Sink()
    app = build(settings_(), lambda: halves, sink.publisher)
    more: dict[str, Any] = {"parameters": {"entities": entities}}
    if protocol == "vertex":
        found = post(app, {"instances": [GOOD] * 2} | more)
    else:
        rows = {"name": "rows", "shape": [2], "datatype": "BYTES", "data": [json.dumps(GOOD)] * 2}
        found = post(app, {"inputs": [rows]} | more, path="/v2/models/flight-delay/infer")
    assert found.status == 200
    assert [one.entity for one in sink.ended()] == logged


@pytest.mark.parametrize(
    ("body", "status", "rows"),
    [
        (b"{", 422, 1),
        (json.dumps({"instances": [{}, {}]}).encode(), 422, 1),
        (b"x" * 200_000, 413, 1),
        (json.dumps({"instances": [GOOD] * 2}).encode(), 500, 2),
    ],
)
def test_what_is_not_answered_is_in_the_log_too(
    halves: Halves, body: bytes, status: int, rows: int
) -> None:
    def fail(_: Any) -> None:
        raise ValueError("no")

    halves.fault = fail
    sink = Sink()
    app = build(settings_(max_body_bytes=100_000), lambda: halves, sink.publisher)
    assert run(ask(app, body)).status == status
    logged = sink.ended()
    assert [(one.status, one.value, one.answer) for one in logged] == [(status, None, None)] * rows
    assert app.metrics.requests["vertex", status] == 1


def test_without_a_topic_nothing_is_kept(halves: Halves) -> None:
    app = build(settings_(), lambda: halves)
    post(app, {"instances": [GOOD]})
    assert app.log.waiting == 0


class Online:
    """Stands in for the feature store."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def fetch(self, entities: list[str]) -> list[dict[str, Any] | None]:
        self.asked.append(entities)
        return [None if one == "unknown" else {**GOOD, "flight_id": one} for one in entities]


class TestEntities:
    def test_an_entity_alone_is_enough(self, halves: Halves) -> None:
        online, sink = Online(), Sink()
        app = build(settings_(), lambda: halves, sink.publisher, online.fetch)
        rows = [{"flight_id": "f1"}, GOOD, {"flight_id": "f2"}]
        found = post(app, {"instances": rows})
        assert found.status == 200
        assert len(found.document["predictions"]) == 3
        # Looked up together.
        assert online.asked == [["f1", "f2"]]
        assert [one.entity for one in sink.ended()] == ["f1", None, "f2"]

    def test_one_that_is_not_known_is_named(self, halves: Halves) -> None:
        app = build(settings_(), lambda: halves, None, Online().fetch)
        found = post(app, {"instances": [{"flight_id": "f1"}, {"flight_id": "unknown"}]})
        assert found.status == 422
        (fault,) = found.document["error"]["details"]
        assert (fault["row"], fault["field"], fault["value"]) == (1, "flight_id", "'unknown'")

    def test_a_store_that_fails_is_nobodys_fault_and_may_be_asked_again(
        self, halves: Halves
    ) -> None:
        def fail(_: list[str]) -> list[dict[str, Any] | None]:
            raise ConnectionError("no answer")

        found = post(
            build(settings_(), lambda: halves, None, fail), {"instances": [{"flight_id": "f"}]}
        )
        assert (found.status, found.headers["retry-after"]) == (503, "1")

    def test_where_it_is_off_an_entity_is_an_unknown_field(self, halves: Halves) -> None:
        found = post(build(settings_(), lambda: halves), {"instances": [{"flight_id": "f1"}]})
        assert found.document["error"]["details"][0]["field"] == "flight_id"

    def test_by_the_open_protocol_too(self, halves: Halves) -> None:
        app = build(settings_(), lambda: halves, None, Online().fetch)
        column = {"name": "flight_id", "shape": [2], "datatype": "BYTES", "data": ["f1", "f2"]}
        found = post(app, {"inputs": [column]}, path="/v2/models/flight-delay/infer")
        assert found.document["outputs"][0]["shape"] == [2]


class TestExperiments:
    @pytest.fixture
    def champion(self, flights: Product) -> Champion:
        arms: Any = SimpleNamespace(
            experiment=SimpleNamespace(challenger="8"),
            assign=lambda key: "challenger" if key in ("bea", "eva") else "champion",
        )
        one = Champion(settings_(), arms)
        one._model, one._challenger, one._looked = Halves(flights), Halves(flights, "8"), 1e12
        return one

    @pytest.mark.parametrize(
        ("more", "run_"),
        [
            ({}, "run-7"),
            ({"parameters": {"key": "ana"}}, "run-7"),
            ({"parameters": {"key": "bea"}}, "run-8"),
        ],
    )
    def test_a_key_is_answered_by_its_arm(
        self, champion: Champion, more: dict[str, Any], run_: str
    ) -> None:
        sink = Sink()
        app = build(settings_(), champion, sink.publisher)
        found = post(app, {"instances": [GOOD], **more})
        assert found.document["predictions"][0]["model"] == run_
        (logged,) = sink.ended()
        assert logged.variant == ("challenger" if run_ == "run-8" else "champion")
        assert logged.key == more.get("parameters", {}).get("key")

    def test_the_key_may_be_a_header(self, champion: Champion) -> None:
        app = build(settings_(), champion)
        headers = {"X-Assignment-Key": "eva"}
        found = post(app, {"instances": [GOOD]}, headers=headers)
        assert found.document["predictions"][0]["model"] == "run-8"

    def test_once_another_has_begun_the_old_challenger_answers_nobody(
        self, champion: Champion
    ) -> None:
        champion._arms = SimpleNamespace(  # type: ignore[assignment]
            experiment=SimpleNamespace(challenger="9"), assign=lambda key: "challenger"
        )
        chosen = champion.choose("bea")
        assert chosen is not None
        assert chosen.model.version == "7"

    def test_both_are_told_of(self, champion: Champion) -> None:
        app = build(settings_(), champion)
        text = run(ask(app, path="/metrics")).body.decode()
        assert 'version="7",run="run-7",variant="champion"' in text
        assert 'version="8",run="run-8",variant="challenger"' in text


def test_what_is_counted(halves: Halves) -> None:
    app = build(settings_(), lambda: halves)
    post(app, {"instances": [GOOD] * 3})
    run(ask(app, b"{"))
    text = run(ask(app, path="/metrics")).body.decode()
    ours = '{product="flight-delay"}'
    answered = 'esteira_requests_total{product="flight-delay",protocol="vertex",'
    lines: dict[str, str] = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            name, _, number = line.rpartition(" ")
            lines[name] = number
    assert lines[answered + 'code="200"}'] == "1"
    assert lines[answered + 'code="422"}'] == "1"
    assert lines['esteira_batch_rows_bucket{product="flight-delay",le="2"}'] == "0"
    assert lines['esteira_batch_rows_bucket{product="flight-delay",le="4"}'] == "1"
    assert lines[f"esteira_batch_rows_sum{ours}"] == "3"
    assert lines[f"esteira_request_seconds_count{ours}"] == "2"
    assert lines['esteira_request_seconds_bucket{product="flight-delay",le="+Inf"}'] == "2"
    assert (lines[f"esteira_queue_rows{ours}"], lines[f"esteira_ready{ours}"]) == ("0", "1")
    assert lines[f"esteira_queue_rows_limit{ours}"] == str(settings_().most_waiting_rows)
    assert lines[f"esteira_log_dropped_total{ours}"] == "0"
    # Every family says what it is before its first number.
    for name in {line.partition("{")[0].partition(" ")[0] for line in text.splitlines()} - {"#"}:
        family = name
        for end in ("_bucket", "_sum", "_count"):
            family = family.removesuffix(end)
        assert f"# TYPE {family} " in text


def test_starting_idle_and_ready_are_told_apart(halves: Halves) -> None:
    champion = Champion(settings_())
    app = build(settings_(), champion)

    def health() -> tuple[int, str]:
        found = run(ask(app, path="/health"))
        document = found.document
        return found.status, document.get("status") or document["error"]["message"]

    assert health() == (503, "the model of flight-delay is being loaded; ask again")
    champion._looked = 1e12
    assert "no model of flight-delay is released yet" in health()[1]
    champion._fault = "version 3 has another hash"
    assert health() == (
        503,
        "the model of flight-delay cannot answer: version 3 has another hash",
    )
    assert run(ask(app, path="/live")).status == 200
    champion._model = halves
    assert health() == (200, "ready")
    app.end()
    assert health() == (503, "the server is ending")

"""Rows pass from source to sink whole, in order, and a few at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.workloads.batch_prediction.conftest import minutes_late
from workloads.batch_prediction import flow as flows
from workloads.batch_prediction import progress
from workloads.batch_prediction.answering import Answering
from workloads.batch_prediction.flow import chunks, flow
from workloads.batch_prediction.tables import batch_table
from workloads.product import Product
from workloads.scoring import Answers, ModelRefused


class Numbers:
    """Rows 0 to `rows`, in batches of a size."""

    def __init__(self, rows: int, size: int) -> None:
        self.rows, self._size = rows, size
        self.read = 0

    def batches(self) -> Iterator[pa.RecordBatch]:
        for start in range(0, self.rows, self._size):
            stop = min(start + self._size, self.rows)
            self.read = stop
            yield pa.RecordBatch.from_pydict({"n": pa.array(range(start, stop), pa.int64())})


class Kept:
    def __init__(self) -> None:
        self.rows: list[int] = []

    def write(self, rows: pa.RecordBatch) -> None:
        self.rows += rows.column("n").to_pylist()


@pytest.mark.parametrize(("rows", "size"), [(0, 5), (1, 5), (99, 1), (100, 7), (100, 100)])
def test_chunks_hold_the_same_rows(rows: int, size: int) -> None:
    found = list(chunks(Numbers(rows, size).batches(), 10))
    assert [one for chunk in found for one in chunk.column("n").to_pylist()] == list(range(rows))
    assert [chunk.num_rows for chunk in found[:-1]] == [10] * (len(found) - 1)
    assert all(chunk.num_rows > 0 for chunk in found)


def test_order_is_kept_though_threads_overtake_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flows, "ROWS", 10)
    turn = threading.Barrier(2)

    def predict(rows: pa.RecordBatch) -> pa.RecordBatch:
        turn.wait(10)  # two are always under way at once
        return rows

    sink, told = Kept(), list[int]()
    assert flow(Numbers(80, 9), predict, sink, workers=2, progress=told.append) == 80
    assert sink.rows == list(range(80))
    assert sum(told) == 80


def test_only_a_few_chunks_exist_at_a_time() -> None:
    source, sink = Numbers(200 * flows.ROWS, flows.ROWS), Kept()
    ahead = 0

    class Counting(Kept):
        def write(self, rows: pa.RecordBatch) -> None:
            nonlocal ahead
            sink.rows.append(rows.num_rows)
            ahead = max(ahead, source.read - sum(sink.rows[:-1]))

    flow(source, lambda rows: rows, Counting(), workers=2)
    assert sum(sink.rows) == source.rows
    assert ahead <= 5 * flows.ROWS


def test_a_fault_in_the_model_ends_it_before_anything_later_is_written() -> None:
    def predict(rows: pa.RecordBatch) -> pa.RecordBatch:
        if rows.column("n")[0].as_py() >= 3 * flows.ROWS:
            raise ModelRefused("broken")
        return rows

    sink = Kept()
    with pytest.raises(ModelRefused):
        flow(Numbers(20 * flows.ROWS, flows.ROWS), predict, sink, workers=2)
    assert sink.rows == list(range(3 * flows.ROWS))


class Says:
    """Stands in for a model."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers

    def table(self, rows: pa.RecordBatch) -> Answers:
        del rows
        return self._answers


def questions() -> pa.RecordBatch:
    moments = [datetime(2013, 1, 1, hour, tzinfo=UTC) for hour in (1, 2)]
    # As BigQuery sends it: microseconds, UTC.
    return pa.RecordBatch.from_pydict(
        {"flight_id": ["a", "b"], "asked_at": pa.array(moments, pa.timestamp("us", tz="UTC"))}
    )


def answering(product: Product, answers: Answers, **changes: Any) -> Answering:
    given: dict[str, Any] = {
        "product": product,
        "scorer": Says(answers),
        "threshold": None,
        "version": "3",
        "run": "r",
        "day": date(2013, 1, 1),
        "predicted_at": datetime(2013, 1, 1, 4, tzinfo=UTC),
    }
    return Answering(**{**given, **changes})


def test_a_classification_answers_yes_from_the_threshold_on(product: Product) -> None:
    model = answering(product, Answers(np.array([0.2, 0.5])), threshold=0.5)
    rows = model(questions())
    assert rows.schema.names == [one["name"] for one in batch_table(product).columns]
    assert rows.select(["entity", "probability", "answer"]).to_pylist() == [
        {"entity": "a", "probability": 0.2, "answer": False},
        {"entity": "b", "probability": 0.5, "answer": True},
    ]


def test_a_regression_answers_with_its_interval(product: Product) -> None:
    answers = Answers(np.array([5.0, 9.0]), np.array([1.0, 2.0]), np.array([8.0, 30.0]))
    rows = answering(minutes_late(product), answers)(questions())
    table = batch_table(minutes_late(product))
    assert rows.schema.names == [one["name"] for one in table.columns]
    assert rows.select(["prediction", "lower", "upper", "model_version"]).to_pylist() == [
        {"prediction": 5.0, "lower": 1.0, "upper": 8.0, "model_version": "3"},
        {"prediction": 9.0, "lower": 2.0, "upper": 30.0, "model_version": "3"},
    ]


def test_a_classification_without_a_threshold_is_refused(product: Product) -> None:
    with pytest.raises(ModelRefused, match="has no threshold"):
        answering(product, Answers(np.array([0.2, 0.5])))


def test_progress_is_logged_now_and_then_and_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    with progress.shown(100, "predicting", seconds=1e9) as done:
        done(40)
        assert caplog.messages == []
        done(60)
    assert caplog.messages[0].startswith("predicting: 100 of 100 rows, 100 %, ")
    with progress.shown(100, "predicting", seconds=0) as done:
        done(40)
    assert caplog.messages[1].startswith("predicting: 40 of 100 rows, 40 %, ")

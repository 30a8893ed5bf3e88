"""Rows arrive once each, whatever happens to connections, requests and answers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest
from google.api_core import exceptions
from google.cloud.bigquery_storage_v1 import types

from workloads.batch_prediction import appending
from workloads.batch_prediction.appending import PendingStream, WriteRefused

TABLE = "projects/p/datasets/d/tables/t"
STREAM = f"{TABLE}/streams/s"


class WriteApi:
    """Google's Storage Write API as its documents describe pending streams, with faults on demand.

    `faults` maps the number of an append request (from 0, over all connections) to what happens:
    `before` and `after` break the connection before or after the rows were taken; `busy` answers
    RESOURCE_EXHAUSTED; `invalid` answers INVALID_ARGUMENT; `end` closes the connection.
    """

    def __init__(self, faults: dict[int, str] | None = None) -> None:
        self.faults = defaultdict[int, str](str, faults or {})
        self.stream: list[int] = []
        self.table: list[int] = []
        self.finalized = False
        self.connections = 0
        self.requests = 0
        self.lost = 0
        self.unknown = 0

    def create_write_stream(self, *, parent: str, write_stream: Any, retry: Any) -> Any:
        assert parent == TABLE
        assert write_stream.type_ == types.WriteStream.Type.PENDING

        def create() -> types.WriteStream:
            if self.unknown:
                self.unknown -= 1
                raise exceptions.NotFound("table t")
            return types.WriteStream(name=STREAM)

        return retry(create)()

    def append_rows(self, requests: Iterator[Any], *, retry: Any, metadata: Any) -> Iterator[Any]:
        assert retry is None
        assert ("x-goog-request-params", f"write_stream={STREAM}") in metadata
        self.connections += 1
        schema = None
        for request in requests:
            number = self.requests
            self.requests += 1
            fault = self.faults[number]
            if fault == "before":
                raise exceptions.ServiceUnavailable("reset")
            if fault == "end":
                return
            if fault in ("busy", "invalid"):
                code = 8 if fault == "busy" else 3
                yield types.AppendRowsResponse(error={"code": code, "message": fault})
                continue
            if serialized := request.arrow_rows.writer_schema.serialized_schema:
                schema = pa.ipc.read_schema(pa.py_buffer(serialized))
            data = request.arrow_rows.rows.serialized_record_batch
            rows = pa.ipc.read_record_batch(pa.py_buffer(data), schema)
            if request.offset < len(self.stream):
                yield types.AppendRowsResponse(error={"code": 6, "message": "exists"})
                continue
            if request.offset > len(self.stream):
                yield types.AppendRowsResponse(error={"code": 11, "message": "beyond the end"})
                continue
            self.stream += rows.column("n").to_pylist()
            if fault == "after":
                raise exceptions.ServiceUnavailable("reset")
            yield types.AppendRowsResponse(append_result={"offset": request.offset})

    def finalize_write_stream(self, *, name: str) -> Any:
        assert name == STREAM
        self.finalized = True
        return types.FinalizeWriteStreamResponse(row_count=len(self.stream) - self.lost)

    def batch_commit_write_streams(self, *, request: Any) -> Any:
        assert request == {"parent": TABLE, "write_streams": [STREAM]}
        assert self.finalized
        if self.table:
            code = types.StorageError.StorageErrorCode.STREAM_ALREADY_COMMITTED
            return types.BatchCommitWriteStreamsResponse(stream_errors=[{"code": code}])
        self.table = list(self.stream)
        return types.BatchCommitWriteStreamsResponse(commit_time={"seconds": 1})


def numbers(start: int, stop: int) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict({"n": pa.array(range(start, stop), pa.int64())})


def write(api: WriteApi, batches: int = 10, size: int = 7, patience: float = 5) -> None:
    stream = PendingStream(api, TABLE, patience=patience)
    for one in range(batches):
        stream.append(numbers(one * size, (one + 1) * size))
    stream.commit()


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(appending.time, "sleep", lambda _: None)


def test_nothing_appears_before_the_commit() -> None:
    api = WriteApi()
    stream = PendingStream(api, TABLE)
    stream.append(numbers(0, 5))
    stream.append(numbers(5, 9))
    assert api.table == []
    stream.commit()
    assert api.table == list(range(9))
    assert api.connections == 1


@pytest.mark.parametrize("fault", ["before", "after", "busy", "end"])
@pytest.mark.parametrize("number", [0, 1, 4, 9])
def test_a_connection_that_breaks_anywhere_loses_and_doubles_nothing(
    fault: str, number: int
) -> None:
    api = WriteApi({number: fault})
    write(api)
    assert api.table == list(range(70))
    assert api.connections == 2


def test_many_faults_one_after_the_other() -> None:
    kinds = ("after", "before", "busy", "end", "after")
    api = WriteApi({3 * one: kinds[one % 5] for one in range(12)})
    write(api)
    assert api.table == list(range(70))


def test_a_table_that_is_not_known_everywhere_yet_is_waited_for() -> None:
    api = WriteApi()
    api.unknown = 2
    write(api)
    assert api.table == list(range(70))


def test_rows_that_are_wrong_are_refused_at_once() -> None:
    api = WriteApi({2: "invalid"})
    with pytest.raises(WriteRefused, match="refused rows from 14 on: invalid"):
        write(api)
    assert api.table == []


def test_it_gives_up_in_the_end() -> None:
    api = WriteApi()
    api.faults.default_factory = lambda: "end"
    with pytest.raises(WriteRefused, match="refused rows from 0 on: the connection ended"):
        write(api, patience=0.05)
    assert api.table == []


def test_a_row_that_the_server_has_lost_is_noticed() -> None:
    api = WriteApi()
    api.lost = 1
    with pytest.raises(WriteRefused, match="holds 69 rows of 70"):
        write(api)
    assert api.table == []


def test_a_commit_whose_answer_was_lost_has_happened() -> None:
    api = WriteApi()
    stream = PendingStream(api, TABLE)
    stream.append(numbers(0, 5))
    stream.commit()
    stream.commit()
    assert api.table == list(range(5))


def test_a_request_is_never_larger_than_the_api_takes() -> None:
    api = WriteApi()
    stream = PendingStream(api, TABLE)
    stream.append(numbers(0, 2_000_000))
    stream.commit()
    assert api.requests == 3
    assert len(api.table) == 2_000_000


def test_only_a_few_requests_wait_for_their_answers() -> None:
    api = WriteApi()
    stream = PendingStream(api, TABLE)
    for one in range(50):
        stream.append(numbers(one, one + 1))
        assert len(stream._unanswered) <= appending.UNANSWERED
    stream.close()

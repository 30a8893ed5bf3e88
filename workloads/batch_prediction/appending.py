"""Appending to a table through the BigQuery Storage Write API, each row once, all at one moment.

The stream is pending: nothing of it is in the table before `commit`, and then everything. Each
request says at which row of the stream it begins. When a connection breaks, nobody knows which
requests arrived; they are sent again, and the server refuses those that it has, which is an answer.
"""

from __future__ import annotations

import logging
import queue
import time
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)

BYTES: Final = 6_000_000
"""The most of rows in one request; the API takes 10 MB."""
UNANSWERED: Final = 4
"""Requests sent ahead of their answers, which bounds what is kept for sending again."""
PATIENCE_SECONDS: Final = 120.0
"""How long it is tried again without any progress."""
_OK, _ALREADY_EXISTS = 0, 6
# Of google.rpc.Code: what another connection may not meet again.
_PASSING: Final = frozenset({1, 2, 4, 8, 10, 13, 14})


class WriteRefused(RuntimeError):
    """BigQuery did not take rows, or has not as many as were sent."""


class PendingStream:
    """One pending write stream of one table. Not for several threads.

    Args:
        client: Google's `BigQueryWriteClient`.
        table: `projects/.../datasets/.../tables/...`.
        patience: seconds that it is tried again without any progress.
    """

    def __init__(self, client: Any, table: str, *, patience: float = PATIENCE_SECONDS) -> None:
        from google.api_core import exceptions, retry
        from google.cloud.bigquery_storage_v1 import types

        self._client = client
        self._table = table
        self._patience = patience
        # A table that was made this moment may not be known everywhere.
        again = retry.Retry(
            predicate=retry.if_exception_type(
                exceptions.NotFound, exceptions.ServiceUnavailable, exceptions.Aborted
            ),
            initial=0.2,
            timeout=patience,
        )
        pending = types.WriteStream(type_=types.WriteStream.Type.PENDING)
        self.name: str = client.create_write_stream(
            parent=table, write_stream=pending, retry=again
        ).name
        self.rows = 0
        """How many have been handed over."""
        self._unanswered: deque[Any] = deque()
        self._requests: queue.SimpleQueue[Any] | None = None
        self._answers: Iterator[Any] = iter(())

    def append(self, rows: pa.RecordBatch) -> None:
        """Hand rows over; returns when not too many wait for an answer.

        Raises:
            WriteRefused: the server found a fault in these rows or in earlier ones.
        """
        for piece in _pieces(rows):
            request = self._request(piece)
            self.rows += piece.num_rows
            self._unanswered.append(request)
            if self._requests is not None:
                self._requests.put(request)
            while len(self._unanswered) > UNANSWERED:
                self._await_one()

    def commit(self) -> None:
        """Have all rows appear in the table at one moment.

        Raises:
            WriteRefused: the server has not as many rows as were handed over, or refuses.
        """
        from google.cloud.bigquery_storage_v1 import types

        while self._unanswered:
            self._await_one()
        self.close()
        found = self._client.finalize_write_stream(name=self.name).row_count
        if found != self.rows:
            raise WriteRefused(f"{self.name} holds {found} rows of {self.rows} that were appended")
        answer = self._client.batch_commit_write_streams(
            request={"parent": self._table, "write_streams": [self.name]}
        )
        committed = types.StorageError.StorageErrorCode.STREAM_ALREADY_COMMITTED
        # A commit whose answer was lost on the way is sent again, by this client's own retry.
        faults = [one for one in answer.stream_errors if one.code != committed]
        if faults:
            raise WriteRefused(f"{self.name} was not committed: {faults[0].error_message}")

    def close(self) -> None:
        """End the connection. What was not committed never appears, and the server forgets it."""
        if self._requests is not None:
            self._requests.put(None)
            self._requests = None

    def _request(self, piece: pa.RecordBatch) -> Any:
        from google.cloud.bigquery_storage_v1 import types

        # Every request could be the first of a connection, and the first carries name and schema.
        return types.AppendRowsRequest(
            write_stream=self.name,
            offset=self.rows,
            arrow_rows=types.AppendRowsRequest.ArrowData(
                writer_schema=types.ArrowSchema(
                    serialized_schema=piece.schema.serialize().to_pybytes()
                ),
                rows=types.ArrowRecordBatch(serialized_record_batch=piece.serialize().to_pybytes()),
            ),
        )

    def _await_one(self) -> None:
        """Wait until the oldest request has been taken, over as many connections as it needs."""
        from google.api_core import exceptions

        deadline = time.monotonic() + self._patience
        pause = 0.1
        while True:
            try:
                if self._requests is None:
                    self._connect()
                answer = next(self._answers)
            except (exceptions.GoogleAPICallError, StopIteration) as error:
                code = getattr(getattr(error, "grpc_status_code", None), "value", (14,))[0]
                fault = str(error) or "the connection ended"
            else:
                code, fault = answer.error.code, answer.error.message
                if code in (_OK, _ALREADY_EXISTS):
                    self._unanswered.popleft()
                    return
                if answer.row_errors:
                    fault += f"; row {answer.row_errors[0].index}: {answer.row_errors[0].message}"
            self.close()
            if code not in _PASSING or time.monotonic() > deadline:
                raise WriteRefused(f"{self.name} refused rows from {self._offset()} on: {fault}")
            log.warning("writing again from row %d on: %s", self._offset(), fault)
            time.sleep(pause)
            pause = min(2 * pause, 10.0)

    def _offset(self) -> int:
        return int(self._unanswered[0].offset)

    def _connect(self) -> None:
        """Open a connection and send all that has no answer."""
        requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for one in self._unanswered:
            requests.put(one)
        self._requests = requests
        self._answers = iter(
            self._client.append_rows(
                iter(requests.get, None),
                retry=None,
                metadata=(("x-goog-request-params", f"write_stream={self.name}"),),
            )
        )


def _pieces(rows: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """The rows in as few batches as fit a request each."""
    count = -(-rows.nbytes // BYTES)
    size = max(1, -(-rows.num_rows // max(1, count)))
    for start in range(0, rows.num_rows, size):
        yield rows.slice(start, size)

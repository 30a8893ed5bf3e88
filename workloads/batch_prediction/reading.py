"""The result of a query as Arrow, through the BigQuery Storage Read API, a block at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from workloads import gcp

if TYPE_CHECKING:
    import pyarrow as pa
    from google.cloud.bigquery import TableReference


class StoredRows:
    """Rows of a table, also of the unnamed one that a query leaves its result in.

    They are read as one stream: a stream brings more rows than the cores of a task can score. A
    broken connection is taken up again by Google's client at the row where it broke.

    Args:
        table: what is read, as it is when reading begins.
        rows: how many it has.
        columns: the ones that are read.
    """

    def __init__(self, table: TableReference, rows: int, columns: Sequence[str]) -> None:
        self._table = table
        self._columns = list(columns)
        self.rows = rows

    def batches(self) -> Iterator[pa.RecordBatch]:
        """All rows, in blocks as the server cuts them, with columns in the order asked for."""
        import pyarrow as pa
        from google.cloud.bigquery_storage_v1 import types

        if self.rows == 0:
            return
        client = gcp.bigquery_read_client()
        session = client.create_read_session(
            parent=f"projects/{gcp.project()}",
            read_session=types.ReadSession(
                table=self._table.to_bqstorage(),
                data_format=types.DataFormat.ARROW,
                read_options=types.ReadSession.TableReadOptions(selected_fields=self._columns),
            ),
            max_stream_count=1,
        )
        for stream in session.streams:
            schema: Any = pa.ipc.read_schema(pa.py_buffer(session.arrow_schema.serialized_schema))
            for answer in client.read_rows(stream.name):
                block = pa.py_buffer(answer.arrow_record_batch.serialized_record_batch)
                # The server keeps the table's order of columns.
                yield pa.ipc.read_record_batch(block, schema).select(self._columns)

"""From one attempt of a task into the table of predictions, exactly once.

An attempt writes into a table of its own, and one MERGE takes all of it into the real table, by
entity, moment and model version. Killed before the MERGE, an attempt has changed nothing; killed
after it, or overtaken by another attempt, it has written what the next one writes again over the
same rows. docs/decisions/0008 says why rows do not go straight into the real table.
"""

from __future__ import annotations

import uuid
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Final

from workloads import gcp
from workloads.batch_prediction.appending import PendingStream
from workloads.batch_prediction.reading import StoredRows
from workloads.batch_prediction.tables import KEY, NAME, batch_table, dataset
from workloads.product import Product

if TYPE_CHECKING:
    import pyarrow as pa

STAGING_LIFE: Final = timedelta(days=1)
"""How long the table of an attempt that was killed stays."""
_CONFLICT_PATIENCE_SECONDS: Final = 600.0


class NoTable(LookupError):
    """The table of predictions has not been made."""


class Staging:
    """The rows of one attempt, on their way into the table of predictions.

    Args:
        product: whose predictions.
        day: what is predicted, for the name.
        share: which of how many tasks, for the name.
        start, end: all event times lie in [start, end).

    Raises:
        NoTable: the stack has not made the table of predictions.
    """

    def __init__(
        self, product: Product, day: date, share: tuple[int, int], start: datetime, end: datetime
    ) -> None:
        from google.api_core.exceptions import NotFound

        self._product = product
        self._start, self._end = start, end
        self._columns = [one["name"] for one in batch_table(product).columns]
        self._target = f"{gcp.project()}.{dataset(product)}.{NAME}"
        index, count = share
        # Of the attempt and not of the task: attempts that overlap would mix their rows.
        attempt = f"{NAME}_{day:%Y%m%d}_{index}_of_{count}_{uuid.uuid4().hex[:12]}"
        self._own = f"{gcp.project()}.{dataset(product)}.{attempt}"
        self._stream: PendingStream | None = None
        try:
            gcp.bigquery_client().get_table(self._target)
        except NotFound:
            raise NoTable(
                f"table {self._target} does not exist; `esteira up STACK` makes it"
            ) from None

    def write(self, rows: pa.RecordBatch) -> None:
        """Append rows to the attempt's own table; the first ones make it."""
        if self._stream is None:
            self._stream = self._open()
        self._stream.append(rows)

    def commit(self) -> StoredRows | None:
        """Take all rows into the table of predictions; what was taken, None if nothing was written.

        The rows can be read until `remove`.
        """
        from google.cloud import bigquery

        if self._stream is None:
            return None
        self._stream.commit()
        _merge(self._target, self._own, self._columns, self._start, self._end)
        table = bigquery.TableReference.from_string(self._own)
        return StoredRows(table, self._stream.rows, self._columns)

    def remove(self) -> None:
        """Remove the attempt's own table, which would otherwise go a day later. Repeatable."""
        if self._stream is not None:
            gcp.bigquery_client().delete_table(self._own, not_found_ok=True)

    def close(self) -> None:
        """Let go of the connection. Repeatable."""
        if self._stream is not None:
            self._stream.close()

    def _open(self) -> PendingStream:
        from google.cloud import bigquery

        columns = batch_table(self._product).columns
        table = bigquery.Table(
            self._own, schema=[bigquery.SchemaField.from_api_repr(one) for one in columns]
        )
        # From the start, so that an attempt that is killed leaves nothing for good.
        table.expires = datetime.now(UTC) + STAGING_LIFE
        made = gcp.bigquery_client().create_table(table)
        return PendingStream(gcp.bigquery_write_client(), made.path.lstrip("/"))


def _merge(target: str, source: str, names: list[str], start: datetime, end: datetime) -> None:
    from google.api_core import exceptions, retry
    from google.cloud import bigquery

    same = " AND ".join(f"target.{name} = source.{name}" for name in KEY)
    changes = ", ".join(f"{name} = source.{name}" for name in names if name not in KEY)
    # A clause for rows that match makes BigQuery serialise overlapping attempts: two MERGEs that
    # only insert could both insert. Whichever comes last, what was predicted last stays.
    sql = f"""
MERGE `{target}` AS target
USING `{source}` AS source
ON target.event_time >= @start AND target.event_time < @end AND {same}
WHEN MATCHED AND target.predicted_at <= source.predicted_at THEN
  UPDATE SET {changes}
WHEN NOT MATCHED THEN
  INSERT ({", ".join(names)}) VALUES ({", ".join(f"source.{name}" for name in names)})
"""  # noqa: S608  # names of our own
    config = bigquery.QueryJobConfig(
        query_parameters=[
            bigquery.ScalarQueryParameter("start", "TIMESTAMP", start.astimezone(UTC)),
            bigquery.ScalarQueryParameter("end", "TIMESTAMP", end.astimezone(UTC)),
        ]
    )
    # Tasks merge into one table side by side; whoever is told of a conflict tries again.
    again = retry.Retry(
        predicate=lambda error: (
            isinstance(error, exceptions.GoogleAPICallError)
            and any(word in str(error).lower() for word in ("concurrent", "conflict", "serialize"))
        ),
        timeout=_CONFLICT_PATIENCE_SECONDS,
    )
    again(lambda: gcp.bigquery_client().query(sql, job_config=config).result())()

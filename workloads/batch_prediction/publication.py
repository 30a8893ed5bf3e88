"""The same predictions in PostgreSQL, for tools that ask a database: a table and a view of it.

Table `predictions.<product>` keeps every version's answers; view `bi.<product>_daily` has one row a
question, the latest answer, with times in the product's zone and every column explained. Whoever is
given the role `bi_reader` can read the views of `bi` and nothing else.

Rows come from what BigQuery has taken, by COPY into a temporary table and one INSERT that updates
what is there: killed anywhere, or run twice, each row is there once.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from workloads import database
from workloads.batch_prediction.flow import Source
from workloads.batch_prediction.tables import KEY, batch_table
from workloads.product import Product, Task

if TYPE_CHECKING:
    import psycopg
    import pyarrow as pa

READER: Final = "bi_reader"
"""The role that may read the views."""
LOCK: Final = 0x62692076696577
"""`bi view` as a number: the advisory lock of whoever makes tables and views."""
_TYPES: Final = {
    "STRING": "text",
    "TIMESTAMP": "timestamptz",
    "DATE": "date",
    "FLOAT64": "double precision",
    "BOOL": "boolean",
}


def publish(
    product: Product,
    source: Source,
    settings: database.DatabaseSettings,
    *,
    progress: Callable[[int], object] = lambda _: None,
) -> int:
    """Write predictions into the product's table in PostgreSQL; how many rows were written.

    Args:
        product: whose predictions.
        source: rows with the columns of `batch_table(product)`.
        settings: which database, and as whom.
        progress: told of each batch that was sent, how many rows it had.

    Raises:
        psycopg.Error: the database does not answer, or refuses; nothing was written.
    """
    import psycopg

    given = database.parameters(settings)
    with psycopg.connect(**given, password=database.password(), connect_timeout=30) as connection:
        _prepare(connection, product)
        with connection.transaction():
            return _write(connection, product, source, progress)


def definition(product: Product) -> tuple[str, ...]:
    """The statements that make, or bring up to date, the table, the view and the role's rights."""
    table, view = f"predictions.{product.id}", f"bi.{product.id}_daily"
    columns = batch_table(product).columns
    lines = ",\n  ".join(f"{one['name']} {_TYPES[one['type']]} NOT NULL" for one in columns)
    notes = {one["name"]: one["description"] for one in columns} | _notes(product)
    shown = _shown(product)
    return (
        "CREATE SCHEMA IF NOT EXISTS predictions",
        "CREATE SCHEMA IF NOT EXISTS bi",
        f"CREATE TABLE IF NOT EXISTS {table} (\n  {lines},\n  PRIMARY KEY ({', '.join(KEY)})\n)",
        f"CREATE INDEX IF NOT EXISTS {product.id}_by_day ON {table} (prediction_date)",
        # Replaced and not dropped: rights that others were given on it stay.
        f"CREATE OR REPLACE VIEW {view} AS\n"
        "SELECT DISTINCT ON (prediction_date, entity, event_time)\n  "
        + ",\n  ".join(f"{what} AS {name}" for name, what in shown.items())
        + f"\nFROM {table}\n"
        # The version that answered last: a champion that was rolled back to answers again.
        "ORDER BY prediction_date, entity, event_time, predicted_at DESC, model_version DESC",
        f"COMMENT ON VIEW {view} IS {_quoted(_about(product))}",
        *(f"COMMENT ON COLUMN {view}.{name} IS {_quoted(notes[name])}" for name in shown),
        f"GRANT USAGE ON SCHEMA bi TO {READER}",
        f"GRANT SELECT ON {view} TO {READER}",
    )


def _shown(product: Product) -> dict[str, str]:
    """The columns of the view, and what each is of the table's."""
    names = [one["name"] for one in batch_table(product).columns]
    local = {"event_time_local": f"event_time AT TIME ZONE {_quoted(product.batch.time_zone)}"}
    before = ("prediction_date", "entity", "event_time")
    after = [name for name in names if name not in before]
    return {name: name for name in before} | local | {name: name for name in after}


def _notes(product: Product) -> dict[str, str]:
    """What a person at a BI tool needs to know of a column beyond the table's description."""
    zone, label = product.batch.time_zone, product.label.column
    lower, upper = product.interval
    share = f"{100 * (upper - lower):g} %"
    return {
        "prediction_date": f"The day of the question in {zone}",
        "event_time": "The moment of the question, an instant; shown in the session's time zone",
        "event_time_local": f"The same moment on the clocks of {zone}, without a zone",
        "probability": f"Probability that `{label}` is true, 0 to 1",
        "answer": f"Whether `{label}` is predicted: the probability reaches the model's threshold",
        "prediction": f"Predicted `{label}`, in the unit of the label",
        "lower": f"Lower bound of the {share} interval of `{label}`: its {lower:g} quantile",
        "upper": f"Upper bound of the {share} interval of `{label}`: its {upper:g} quantile",
        "predicted_at": "When this answer was last computed, an instant",
    }


def _about(product: Product) -> str:
    kind = "Answer" if product.task is Task.CLASSIFICATION else "Prediction with interval"
    return (
        f"{product.title} {kind} for each question, by the version that answered last. "
        f"Days are those of {product.batch.time_zone}. Written by daily batch prediction."
    )


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _prepare(connection: psycopg.Connection[Any], product: Product) -> None:
    """Make what is missing or of another definition. Tasks that start at once wait here."""
    statements = definition(product)
    mark = "definition " + hashlib.sha256("\n".join(statements).encode()).hexdigest()[:16]
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
        found = connection.execute(
            "SELECT obj_description(to_regclass(%s))", [f"predictions.{product.id}"]
        ).fetchone()
        # Views are not touched needlessly: that would wait for whoever reads them.
        if found == (mark,):
            return
        _as_owner(connection)
        known = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [READER])
        if known.fetchone() is None:
            connection.execute(f"CREATE ROLE {READER} NOLOGIN".encode())
        for statement in statements:
            connection.execute(statement.encode())
        connection.execute(f"COMMENT ON TABLE predictions.{product.id} IS {_quoted(mark)}".encode())


def _as_owner(connection: psycopg.Connection[Any]) -> None:
    """Make things as the role that owns the database, of which every workload here is a member.

    Else they would belong to the account of the product that came first, and shut out the others.
    """
    from psycopg import sql

    found = connection.execute(
        "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()"
    ).fetchone()
    if found is not None:
        connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(found[0])))


def _write(
    connection: psycopg.Connection[Any],
    product: Product,
    source: Source,
    progress: Callable[[int], object],
) -> int:
    table = f"predictions.{product.id}"
    names = [one["name"] for one in batch_table(product).columns]
    changes = ", ".join(f"{name} = EXCLUDED.{name}" for name in names if name not in KEY)
    listed = ", ".join(names)
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TEMP TABLE incoming (LIKE {table}) ON COMMIT DROP".encode())
        for batch in source.batches():
            with cursor.copy(f"COPY incoming ({listed}) FROM STDIN (FORMAT csv)".encode()) as copy:
                copy.write(_csv(batch.select(names)))
            progress(batch.num_rows)
        # In one order, so that attempts that overlap wait for each other and never in a circle.
        # An attempt that began earlier leaves what a later one has written.
        cursor.execute(
            f"INSERT INTO {table} ({listed}) SELECT {listed} FROM incoming ORDER BY"  # noqa: S608
            f" {', '.join(KEY)} ON CONFLICT ({', '.join(KEY)}) DO UPDATE SET {changes}"
            f" WHERE {product.id}.predicted_at <= EXCLUDED.predicted_at".encode()
        )
        return cursor.rowcount


def _csv(rows: pa.RecordBatch) -> bytes:
    """Rows as COPY reads them; instants carry their zone."""
    from pyarrow import csv

    content = io.BytesIO()
    csv.write_csv(rows, content, csv.WriteOptions(include_header=False))
    return content.getvalue()

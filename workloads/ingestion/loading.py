"""Loads rows into BigQuery at most once: the name of a load job follows from what it loads."""

from __future__ import annotations

import hashlib
import io
import logging
from typing import TYPE_CHECKING, Any, Final

from google.api_core import exceptions

from workloads import gcp
from workloads.ingestion.tables import Table

if TYPE_CHECKING:
    from google.cloud.bigquery import LoadJob

log: Final = logging.getLogger("esteira.ingestion")

_ATTEMPTS: Final = 20


class LoadFailed(RuntimeError):
    """BigQuery would not load the rows, however often asked."""


def job_id(product: str, table: str, made: str, what: str) -> str:
    """The name of the job that loads `what` into the table that was made then.

    A table that was deleted and made again is another table, into which the rows belong again.
    """
    text = f"{product}\n{table}\n{made}\n{what}"
    return f"ingest-{product}-{table}-{hashlib.sha256(text.encode()).hexdigest()[:32]}"


def load(project: str, dataset: str, table: Table, lines: bytes, *, product: str, what: str) -> int:
    """Append newline-delimited JSON to a table, unless that was done before.

    A load job is atomic, and BigQuery lets a name be used once. So the rows are there once or not
    at all, however often and from however many workers this is called with the same `what`.

    Args:
        what: names the rows; the same rows must have the same name.

    Returns:
        How many rows were added: 0 when they were there already.

    Raises:
        LoadFailed: every attempt ended in an error; the last one is told.
        google.api_core.exceptions.NotFound: there is no such table.
    """
    if not lines:
        return 0
    destination = f"{project}.{dataset}.{table.name}"
    found = gcp.bigquery_client().get_table(destination)
    name = job_id(product, table.name, str(found.created), what)
    last = ""
    for attempt in range(_ATTEMPTS):
        # A job that failed loaded nothing but has used up its name, hence the attempt in it.
        job, new = _start(project, f"{name}-{attempt}", destination, table, lines)
        try:
            job.result(timeout=600)
        except exceptions.GoogleAPICallError as error:
            last = str(error)
            log.warning("load job %s failed: %s", job.job_id, error)
            if new and not _worth_retrying(error):
                break
            continue
        return int(job.output_rows or 0) if new else 0
    raise LoadFailed(f"{what} could not be loaded into {dataset}.{table.name}: {last}")


def _worth_retrying(error: exceptions.GoogleAPICallError) -> bool:
    return isinstance(error, exceptions.ServerError | exceptions.TooManyRequests)


def _start(
    project: str, name: str, destination: str, table: Table, lines: bytes
) -> tuple[LoadJob, bool]:
    """The job of that name and whether it is new."""
    from google.cloud import bigquery

    client = gcp.bigquery_client()
    config = bigquery.LoadJobConfig(
        source_format=bigquery.SourceFormat.NEWLINE_DELIMITED_JSON,
        schema=[bigquery.SchemaField.from_api_repr(column) for column in table.columns],
        create_disposition=bigquery.CreateDisposition.CREATE_NEVER,
        write_disposition=bigquery.WriteDisposition.WRITE_APPEND,
    )
    try:
        started = client.load_table_from_file(
            io.BytesIO(lines), destination, job_id=name, project=project, job_config=config
        )
    except exceptions.GoogleAPICallError as error:
        # Whatever was answered: if a job of that name exists, it is the one that counts.
        try:
            found: Any = client.get_job(name, project=project)
        except exceptions.NotFound:
            raise error from None
        return found, False
    return started, True

"""`python -m localcloud.services.featurestore.copying HOME JOB`: one sync, as a process.

What was there before is answered until the copy is whole, and stays if it never is.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from localcloud.home import Home
from localcloud.services.featurestore.jobs import Job, Outcome
from localcloud.services.featurestore.tables import Table, Unsupported

if TYPE_CHECKING:
    import pyarrow as pa

TIMESTAMP: Final = "feature_timestamp"
"""Tells how old features are, and is none itself."""


def query(job: Job) -> str:
    """The GoogleSQL that yields one row an entity: its columns, the time if any, the features.

    Names were checked where the view was made, and stand in backquotes.
    """
    table = f"`{job.uri.removeprefix('bq://')}`"
    entity = ", ".join(f"CAST(`{one}` AS STRING) AS `{one}`" for one in job.entity)
    if job.features is None:
        left_out = ", ".join(f"`{one}`" for one in job.entity)
        return f"SELECT {entity}, * EXCEPT ({left_out}) FROM {table}"  # noqa: S608
    keys = ", ".join(f"`{one}`" for one in job.entity)
    latest = f"ORDER BY `{job.timestamp}` DESC"
    if job.dense:
        features = ", ".join(f"`{column}` AS `{name}`" for name, column in job.features.items())
        return (
            f"SELECT {entity}, `{job.timestamp}` AS `{TIMESTAMP}`, {features} FROM {table} "  # noqa: S608
            f"QUALIFY ROW_NUMBER() OVER (PARTITION BY {keys} {latest}) = 1"
        )
    features = ", ".join(
        f"MAX_BY(`{column}`, IF(`{column}` IS NULL, NULL, `{job.timestamp}`)) AS `{name}`"
        for name, column in job.features.items()
    )
    return (
        f"SELECT {entity}, MAX(`{job.timestamp}`) AS `{TIMESTAMP}`, {features} FROM {table} "  # noqa: S608
        f"GROUP BY {keys}"
    )


def read(home: Home, job: Job) -> pa.Table:
    """The rows, as Arrow through the Storage Read API."""
    import grpc
    from google.api_core.client_options import ClientOptions
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import bigquery, bigquery_storage
    from google.cloud.bigquery_storage_v1.services.big_query_read.transports import (
        BigQueryReadGrpcTransport,
    )

    endpoints = home.endpoints()
    client = bigquery.Client(
        project=job.project,
        credentials=AnonymousCredentials(),
        client_options=ClientOptions(api_endpoint=endpoints.url("bigquery")),
    )
    # A block of rows is larger than the 4 MiB that gRPC takes unless told.
    channel = grpc.insecure_channel(
        endpoints.address("bigquery_storage"), options=[("grpc.max_receive_message_length", -1)]
    )
    storage = bigquery_storage.BigQueryReadClient(
        transport=BigQueryReadGrpcTransport(channel=channel)
    )
    return client.query(query(job)).result().to_arrow(bqstorage_client=storage)


def copy(home: Home, job: Job) -> Outcome:
    """Read everything, then put it in place in one transaction."""
    import psycopg
    from google.api_core.exceptions import GoogleAPICallError

    from localcloud.services.postgres.client import NotReady

    try:
        rows = read(home, job)
    except GoogleAPICallError as error:
        return Outcome(
            code=getattr(error.grpc_status_code, "name", None) or "FAILED_PRECONDITION",
            message=f"{job.uri}: {error.message}",
        )
    try:
        Table(home, job.view).replace(rows, job.entity)
    except (Unsupported, psycopg.errors.UniqueViolation, psycopg.errors.NotNullViolation) as error:
        return Outcome(code="FAILED_PRECONDITION", message=f"{job.uri}: {error}")
    except (NotReady, psycopg.OperationalError) as error:
        return Outcome(code="UNAVAILABLE", message=str(error))
    return Outcome(code="OK", rows=rows.num_rows)


def main(arguments: list[str]) -> int:
    """Do it, and leave the outcome beside the job."""
    home, file = (Path(one) for one in arguments)
    job = msgspec.json.decode(file.read_bytes(), type=Job)
    outcome = copy(Home(home), job)
    draft = file.with_suffix(".draft")
    draft.write_bytes(msgspec.json.encode(outcome))
    draft.replace(file.with_suffix(".outcome"))
    return 0 if outcome.code == "OK" else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

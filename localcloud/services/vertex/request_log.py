"""Request-response logging of endpoints to BigQuery, off the path of the requests.

The table is Google's: one row a prediction request, instances and predictions as JSON texts. Rows
wait in memory for at most a second; like Google's own logging it is best effort, and it counts
what it could not write.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, final

import httpx
import msgspec

from localcloud.home import Home
from localcloud.rest.errors import InvalidArgument
from localcloud.rest.operations import now

log = logging.getLogger(__name__)

DEFAULT_TABLE: Final = "request_response_logging"
SCHEMA: Final = [
    {"name": "endpoint", "type": "STRING", "mode": "NULLABLE"},
    {"name": "deployed_model_id", "type": "STRING", "mode": "NULLABLE"},
    {"name": "logging_time", "type": "TIMESTAMP", "mode": "NULLABLE"},
    {"name": "request_id", "type": "NUMERIC", "mode": "NULLABLE"},
    {"name": "request_payload", "type": "STRING", "mode": "REPEATED"},
    {"name": "response_payload", "type": "STRING", "mode": "REPEATED"},
]
_URI: Final = re.compile(
    r"bq://(?P<project>[^./]+(?::[^./]+)?)(?:\.(?P<dataset>\w+)(?:\.(?P<table>[\w$-]+))?)?"
)
_BATCH: Final = 500
_QUEUE: Final = 20_000
_LINGER_SECONDS: Final = 0.5
_ATTEMPTS: Final = 4
_STOP_SECONDS: Final = 1.5


class Table(NamedTuple):
    """Where rows go."""

    project: str
    dataset: str
    table: str


def check_config(config: Mapping[str, Any]) -> None:
    """
    Raises:
        InvalidArgument: the sampling rate or the destination is wrong.
    """
    if not config.get("enabled"):
        return
    rate = config.get("samplingRate", 0)
    if not isinstance(rate, int | float) or not 0 < rate <= 1:
        raise InvalidArgument(
            "predict_request_response_logging_config.sampling_rate must be over 0 and at most 1, "
            f"got {rate}."
        )
    uri = config.get("bigqueryDestination", {}).get("outputUri", "")
    if uri and not _URI.fullmatch(uri):
        raise InvalidArgument(
            f"Invalid bigquery_destination.output_uri '{uri}': write bq://PROJECT, "
            "bq://PROJECT.DATASET or bq://PROJECT.DATASET.TABLE."
        )


def destination(endpoint: Mapping[str, Any]) -> Table:
    """The table of an endpoint; what its configuration leaves out is named as Google names it."""
    config = endpoint["predictRequestResponseLoggingConfig"]
    _, project, _, _, _, number = endpoint["name"].split("/")
    found = _URI.fullmatch(config.get("bigqueryDestination", {}).get("outputUri", ""))
    parts = found.groupdict() if found else {}
    shown = re.sub(r"\W", "_", endpoint["displayName"])
    return Table(
        parts.get("project") or project,
        parts.get("dataset") or f"logging_{shown}_{number}",
        parts.get("table") or DEFAULT_TABLE,
    )


@final
class RequestLog:
    """Writes rows in batches.

    Args:
        home: names the BigQuery service.

    Attributes:
        written: rows that BigQuery took.
        lost: rows that it did not take, or that came faster than it could.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self._queue: asyncio.Queue[tuple[Table, str, dict[str, Any]]] = asyncio.Queue(_QUEUE)
        self._known: set[Table] = set()
        self._task: asyncio.Task[None] | None = None
        self._client: httpx.AsyncClient | None = None
        self._waiting = 0
        self.written = 0
        self.lost = 0

    def start(self) -> None:
        """Begin to write, in the running event loop."""
        self._client = httpx.AsyncClient(trust_env=False, timeout=30.0)
        self._task = asyncio.create_task(self._run(), name="request log")

    async def stop(self) -> None:
        """Write what waits, for a little while."""
        if self._task is None or self._client is None:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STOP_SECONDS):
                await self._queue.join()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        if self._waiting:
            self._lose(self._waiting, "the service stops")
        await self._client.aclose()
        self._task = None

    @staticmethod
    def wanted(endpoint: Mapping[str, Any]) -> bool:
        """Whether this request is in the sample."""
        config = endpoint.get("predictRequestResponseLoggingConfig")
        if not config or not config.get("enabled"):
            return False
        return random.random() < config.get("samplingRate", 0)

    def add(
        self,
        endpoint: Mapping[str, Any],
        deployed_model_id: str,
        instances: Sequence[Any],
        predictions: Sequence[Any],
    ) -> None:
        """Queue a row; never waits.

        Args:
            instances: of the request; texts are logged as they are, all else as JSON.
            predictions: of the response, likewise.
        """
        row = {
            "endpoint": endpoint["name"].rpartition("/")[2],
            "deployed_model_id": deployed_model_id,
            "logging_time": now(),
            "request_id": str(secrets.randbelow(10**18)),
            "request_payload": [_text(one) for one in instances],
            "response_payload": [_text(one) for one in predictions],
        }
        location = endpoint["name"].split("/")[3]
        self._waiting += 1
        try:
            self._queue.put_nowait((destination(endpoint), location, row))
        except asyncio.QueueFull:
            self._lose(1, "the queue is full")

    async def _run(self) -> None:
        while True:
            batch = [await self._queue.get()]
            if self._queue.qsize() < _BATCH:
                # Let a batch gather: an insert of 500 rows costs little more than one of 1.
                await asyncio.sleep(_LINGER_SECONDS)
            while len(batch) < _BATCH and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            groups: dict[tuple[Table, str], list[dict[str, Any]]] = {}
            for table, location, row in batch:
                groups.setdefault((table, location), []).append(row)
            for (table, location), rows in groups.items():
                await self._write(table, location, rows)
            for _ in batch:
                self._queue.task_done()

    async def _write(self, table: Table, location: str, rows: list[dict[str, Any]]) -> None:
        # Retried rows keep their ids, by which BigQuery drops the second copy.
        body = {"rows": [{"insertId": row["request_id"], "json": row} for row in rows]}
        reason = ""
        for attempt in range(_ATTEMPTS):
            if attempt:
                await asyncio.sleep(0.25 * 2**attempt)
            try:
                await self._ensure(table, location)
                response = await self._post(
                    f"projects/{table.project}/datasets/{table.dataset}/tables/{table.table}"
                    "/insertAll",
                    body,
                )
            except httpx.HTTPError as error:
                reason = f"{type(error).__name__}: {error}"
                continue
            if response.status_code == 404:
                self._known.discard(table)
            if response.status_code != 200:
                reason = f"HTTP {response.status_code}: {response.text[:300]}"
                continue
            refused = {one.get("index") for one in response.json().get("insertErrors", [])}
            self.written += len(rows) - len(refused)
            self._waiting -= len(rows) - len(refused)
            if refused:
                self._lose(len(refused), f"BigQuery refused them: {response.text[:300]}")
            return
        self._lose(len(rows), reason)

    async def _ensure(self, table: Table, location: str) -> None:
        if table in self._known:
            return
        datasets = f"projects/{table.project}/datasets"
        reference = {"projectId": table.project, "datasetId": table.dataset}
        await self._create(datasets, {"datasetReference": reference, "location": location})
        await self._create(
            f"{datasets}/{table.dataset}/tables",
            {
                "tableReference": {**reference, "tableId": table.table},
                "schema": {"fields": SCHEMA},
                "timePartitioning": {"type": "DAY", "field": "logging_time"},
            },
        )
        self._known.add(table)

    async def _create(self, path: str, body: dict[str, Any]) -> None:
        response = await self._post(path, body)
        if response.status_code not in (200, 409):
            raise httpx.HTTPStatusError(
                f"POST {path}: {response.status_code} {response.text[:300]}",
                request=response.request,
                response=response,
            )

    async def _post(self, path: str, body: dict[str, Any]) -> httpx.Response:
        if self._client is None:
            raise RuntimeError("start was not called")
        url = self._home.endpoints().url("bigquery")
        return await self._client.post(
            f"{url}/bigquery/v2/{path}",
            content=msgspec.json.encode(body),
            headers={"content-type": "application/json"},
        )

    def _lose(self, rows: int, reason: str) -> None:
        self.lost += rows
        self._waiting -= rows
        log.warning("lost %d logged predictions (%d so far): %s", rows, self.lost, reason)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()

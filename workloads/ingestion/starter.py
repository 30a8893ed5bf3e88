"""Starts batch ingestion when a file lands: a Cloud Run service behind a push subscription.

The landing bucket notifies a topic, which pushes here. Each generation of an object starts one job
of the batch flex template. The job's name follows from the object, and Dataflow lets a name run
once, so that a notification that is delivered twice starts nothing twice. A 2xx answer means that
the job runs or ran; at the limit of concurrent jobs the answer is 429, and the push comes again
later. What can never start a job (an unknown folder, a notification that is none) is recorded as a
dead letter and answered with 2xx, because it would otherwise come again for ever.

Cloud Run lets in only the identity that the subscription pushes with; nothing is checked here.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from workloads import gcp, product
from workloads.ingestion import options, tables
from workloads.ingestion.files import LandedObject, UnknownObject
from workloads.ingestion.judging import refused
from workloads.ingestion.settings import StarterSettings
from workloads.product import Product

log: Final = logging.getLogger("esteira.ingestion")

BODY_LIMIT: Final = 1024 * 1024
"""Bytes. A notification has some hundred."""
# A job in one of these states did not do its work; its name may run again.
_FRUITLESS: Final = frozenset({"JOB_STATE_FAILED", "JOB_STATE_CANCELLED"})


@dataclass(frozen=True)
class Answer:
    """What the push is told."""

    status: int
    text: str


class Notification(msgspec.Struct, frozen=True):
    """A Pub/Sub message as a push carries it."""

    attributes: dict[str, str] = {}
    data: str = ""
    message_id: str = msgspec.field(default="", name="messageId")
    publish_time: datetime | None = msgspec.field(default=None, name="publishTime")


class _Push(msgspec.Struct, frozen=True):
    message: Notification


class Starter:
    """Decides what a push means, and starts the job. Safe to call from several threads."""

    def __init__(self, settings: StarterSettings, product: Product) -> None:
        self._settings = settings
        self._product = product
        # One at a time: the limit counts what runs, and httplib2 is not made for threads.
        self._lock = threading.Lock()

    def receive(self, body: bytes) -> Answer:
        """Handle one push."""
        try:
            message = msgspec.json.decode(body, type=_Push).message
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            digest = hashlib.sha256(body).hexdigest()
            unknown = Notification(message_id=f"push-{digest[:32]}")
            return self._bury(unknown, body, "$", "the body", f"is no Pub/Sub push: {error}")
        attributes = message.attributes
        if attributes.get("eventType", "OBJECT_FINALIZE") != "OBJECT_FINALIZE":
            return Answer(200, f"{attributes['eventType']} starts nothing")
        try:
            landed = _landed(attributes)
            if landed.name.endswith("/"):
                return Answer(200, f"{landed} is a folder")
            source = landed.source(self._product)
        except UnknownObject as error:
            return self._bury(
                message, _data(message), error.field, error.value, f"allowed: {error.allowed}"
            )
        return self._start(landed, source.contract.PLURAL)

    def _start(self, landed: LandedObject, plural: str) -> Answer:
        from googleapiclient.errors import HttpError

        name = job_name(self._product, plural, landed)
        with self._lock:
            try:
                jobs = list(self._jobs())
                if any(
                    job["name"] == name and job.get("currentState") not in _FRUITLESS
                    for job in jobs
                ):
                    return Answer(200, f"{name} was started for {landed} before")
                running = [one for one in jobs if one.get("currentState") in _ACTIVE]
                limit = self._settings.max_concurrent_jobs
                if len(running) >= limit:
                    return Answer(429, f"{len(running)} of {limit} jobs run; {landed} must wait")
                self._launch(name, landed)
            except HttpError as error:
                if error.status_code == 409:
                    return Answer(200, f"{name} runs for {landed} already")
                log.warning("Dataflow would not start %s: %s", name, error)
                return Answer(503, f"Dataflow would not start {name}: {error.reason}")
            except OSError as error:
                log.warning("Dataflow cannot be reached: %s", error)
                return Answer(503, "Dataflow cannot be reached")
        log.info("started %s for %s", name, landed)
        return Answer(200, f"started {name} for {landed}")

    def _jobs(self) -> Iterator[dict[str, Any]]:
        """The batch ingestion jobs of this product, in whatever state."""
        jobs = gcp.dataflow().projects().locations().jobs()
        request = jobs.list(
            projectId=self._settings.google_cloud_project,
            location=self._settings.google_cloud_location,
        )
        while request is not None:
            page = request.execute()
            for job in page.get("jobs", []):
                if job["name"].startswith(_prefix(self._product)):
                    yield job
            request = jobs.list_next(request, page)

    def _launch(self, name: str, landed: LandedObject) -> None:
        settings = self._settings
        environment: dict[str, Any] = {
            "tempLocation": settings.temp_location,
            "ipConfiguration": "WORKER_IP_PUBLIC" if settings.public_ips else "WORKER_IP_PRIVATE",
            "additionalUserLabels": {"product": self._product.name},
        }
        optional = {
            "serviceAccountEmail": settings.worker_service_account,
            "subnetwork": settings.subnetwork,
            "kmsKeyName": settings.kms_key_name,
        }
        environment |= {key: value for key, value in optional.items() if value}
        gcp.dataflow().projects().locations().flexTemplates().launch(
            projectId=settings.google_cloud_project,
            location=settings.google_cloud_location,
            body={
                "launchParameter": {
                    "jobName": name,
                    "containerSpecGcsPath": settings.template,
                    "parameters": {
                        options.PRODUCT.name: self._product.name,
                        options.DATA_PROJECT.name: settings.google_cloud_project,
                        "objects": str(landed),
                    },
                    "environment": environment,
                }
            },
        ).execute()

    def _bury(
        self, message: Notification, raw: bytes, field: str, value: str, reason: str
    ) -> Answer:
        """Record what can never start a job."""
        from google.api_core import exceptions

        row = refused(
            message_id=message.message_id,
            received_at=message.publish_time or datetime.now(UTC),
            source="pubsub",
            raw=raw,
            attributes=message.attributes,
            field=field,
            value=value[:120],
            reason=f"notification: field `{field}` is {value[:120]!r}; {reason}",
        )
        table = f"{self._settings.google_cloud_project}.{tables.dataset(self._product)}"
        try:
            errors = gcp.bigquery_client().insert_rows_json(
                f"{table}.{tables.DEAD_LETTERS}", [row], row_ids=[message.message_id]
            )
        except (exceptions.GoogleAPICallError, OSError) as error:
            errors = [str(error)]
        if errors:
            log.warning("cannot record a dead letter: %s", errors)
            return Answer(503, "the dead letter cannot be recorded now")
        log.info("dead letter: %s", row["reason"])
        return Answer(200, f"recorded as a dead letter: {row['reason']}")


_ACTIVE: Final = frozenset(
    {
        "JOB_STATE_RUNNING",
        "JOB_STATE_PENDING",
        "JOB_STATE_QUEUED",
        "JOB_STATE_CANCELLING",
        "JOB_STATE_RESOURCE_CLEANING_UP",
    }
)


def _landed(attributes: dict[str, str]) -> LandedObject:
    for name in ("bucketId", "objectId", "objectGeneration"):
        if not attributes.get(name):
            raise UnknownObject(f"attributes.{name}", "missing", "what Cloud Storage notifies")
    text = f"gs://{attributes['bucketId']}/{attributes['objectId']}"
    return LandedObject.parse(f"{text}#{attributes['objectGeneration']}")


def _data(message: Notification) -> bytes:
    try:
        return base64.b64decode(message.data, validate=True)
    except binascii.Error:
        return message.data.encode()


def _prefix(product: Product) -> str:
    return f"{product.name}-batch-"


def job_name(product: Product, plural: str, landed: LandedObject) -> str:
    """The name of the one job that takes in this generation of the object."""
    digest = hashlib.sha256(str(landed).encode()).hexdigest()[:12]
    # Dataflow takes 63 characters; a product has at most 30.
    return f"{_prefix(product)}{plural.replace('_', '-')[:12]}-{digest}"


def build_app(settings: StarterSettings) -> Starlette:
    """The service.

    Raises:
        InvalidProduct: the settings name a product that this image does not hold.
    """
    starter = Starter(settings, product.load(settings.product))

    async def push(request: Request) -> Response:
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > BODY_LIMIT:
                body = body[:BODY_LIMIT]
                break
        answer = await run_in_threadpool(starter.receive, body)
        return PlainTextResponse(answer.text, answer.status)

    async def healthy(_: Request) -> Response:
        return PlainTextResponse("ok")

    return Starlette(
        routes=[
            Route("/", push, methods=["POST"]),
            Route("/health", healthy, methods=["GET"]),
            Route("/healthz", healthy, methods=["GET"]),
        ]
    )


def main() -> None:
    """Serve until SIGTERM."""
    import uvicorn

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    settings = StarterSettings()  # pyright: ignore[reportCallIssue] - the environment fills it
    uvicorn.run(build_app(settings), host=settings.host, port=settings.port, access_log=False)


if __name__ == "__main__":
    main()

"""The layer that takes one product's events and files in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import pulumi

from components.column_policy import READER
from components.flex_template import FlexTemplate, FlexTemplateArgs
from components.landing_zone import TEMPORARY
from components.push_service import PushService, PushServiceArgs
from components.streaming_job import StreamingJob, StreamingJobArgs
from components.workload_identity import (
    Grant,
    ProjectWide,
    WorkloadIdentity,
    WorkloadIdentityArgs,
)
from stacks.data import RAW, Data, folders
from stacks.environment import environment
from stacks.foundation import Foundation
from stacks.names import account_id
from workloads.ingestion import options
from workloads.ingestion.settings import StarterSettings
from workloads.ingestion.tables import dataset
from workloads.product import Product

STREAM: Final = "templates/stream.json"
BATCH: Final = "templates/batch.json"


@dataclass(frozen=True, kw_only=True)
class Stream:
    """What takes events in."""

    template: FlexTemplate
    job: StreamingJob | None
    """None while the stack rests: events wait in their subscriptions."""


@dataclass(frozen=True, kw_only=True)
class Intake:
    """What takes in."""

    stream: Stream | None
    """None where nothing comes through Pub/Sub."""
    batch: FlexTemplate
    starter: PushService
    workers: WorkloadIdentity
    """Runs the workers of both pipelines, and the starter."""
    publisher: WorkloadIdentity
    """Replays history and dead letters into the streams."""


@dataclass(frozen=True, kw_only=True)
class Ingestion:
    """What takes in, and who calls."""

    intake: Intake | None
    """None of a product that reads what others take in, and nothing else."""
    caller: WorkloadIdentity
    """Calls the starter for Pub/Sub, and starts scheduled jobs."""


def lay(
    product: Product, foundation: Foundation, data: Data, opts: pulumi.ResourceOptions
) -> Ingestion:
    """Make the two pipelines, the job that never ends and the starter of the other.

    Args:
        product: The declaration.
        foundation: What products share.
        data: Where events and files arrive, and the tables they go to.
        opts: Carry the product's provider.
    """
    caller = WorkloadIdentity(
        f"{product.name}-call",
        args=WorkloadIdentityArgs(
            account_id=account_id(product.name, "call"),
            description=f"Calls services and starts jobs of {product.name}",
        ),
        opts=opts,
    )
    intake = _intake(product, foundation, data, caller, opts) if product.own else None
    return Ingestion(intake=intake, caller=caller)


def _stream(
    product: Product,
    foundation: Foundation,
    data: Data,
    workers: WorkloadIdentity,
    opts: pulumi.ResourceOptions,
) -> Stream:
    settings = foundation.settings
    work = data.landing.work
    template = FlexTemplate(
        f"{product.name}-stream-template",
        args=FlexTemplateArgs(
            bucket=work.name,
            path=STREAM,
            image=foundation.images["ingestion-streaming"],
            metadata=options.template_metadata(
                f"{product.name} streaming ingestion",
                f"Takes the events of {product.name} in, from Pub/Sub to BigQuery",
                options.STREAMING,
                streaming=True,
            ),
        ),
        opts=opts,
    )
    if settings.lifetime.rest:
        return Stream(template=template, job=None)
    job = StreamingJob(
        f"{product.name}-streaming-ingestion",
        args=StreamingJobArgs(
            template=template,
            parameters={
                options.PRODUCT.name: product.name,
                options.DATA_PROJECT.name: settings.project,
                options.DATASET.name: dataset(product),
            },
            location=settings.location,
            service_account=workers.email,
            temporary=pulumi.Output.concat(work.url, "/", TEMPORARY),
            staging=pulumi.Output.concat(work.url, "/staging/"),
            machine_type=settings.streaming.machine_type,
            max_workers=settings.streaming.max_workers,
            at_least_once=settings.streaming.at_least_once,
            subnetwork=foundation.subnetwork,
            kms_key=foundation.key("dataflow"),
            reads=[stream.ingestion for stream in data.streams.values()],
            writes=list(data.warehouse.tables[RAW].values()),
            drain=settings.streaming.drain,
        ),
        opts=opts,
    )
    return Stream(template=template, job=job)


def _intake(
    product: Product,
    foundation: Foundation,
    data: Data,
    caller: WorkloadIdentity,
    opts: pulumi.ResourceOptions,
) -> Intake:
    settings = foundation.settings
    workers = _workers(product, foundation, data, opts)
    stream = _stream(product, foundation, data, workers, opts) if product.streams else None
    batch = FlexTemplate(
        f"{product.name}-batch-template",
        args=FlexTemplateArgs(
            bucket=data.landing.work.name,
            path=BATCH,
            image=foundation.images["ingestion-batch"],
            metadata=options.template_metadata(
                f"{product.name} batch ingestion",
                f"Takes files of {product.name} in, from Cloud Storage to BigQuery",
                options.BATCH,
                streaming=False,
            ),
        ),
        opts=opts,
    )
    starter = PushService(
        f"{product.name}-ingestion-starter",
        args=PushServiceArgs(
            image=foundation.images["ingestion-starter"],
            location=settings.location,
            service_account=workers.email,
            caller=caller.account,
            topic=data.landing.landed.id,
            subscription=f"{product.name}-landed-starter",
            pubsub_agent=foundation.agents.members["pubsub"],
            environment=environment(
                StarterSettings, _starter_values(product, foundation, data, batch, workers)
            ),
            minimum_backoff_seconds=settings.streaming.minimum_backoff_seconds,
            subnetwork=foundation.subnetwork,
            kms_key=foundation.key("run"),
            topic_kms_key=foundation.key("pubsub"),
            deletion_protection=settings.security.deletion_protection,
        ),
        opts=opts,
    )
    return Intake(
        stream=stream,
        batch=batch,
        starter=starter,
        workers=workers,
        publisher=_publisher(product, foundation, data, opts),
    )


def outputs(product: Product, data: Data, ingestion: Ingestion) -> dict[str, Any]:
    """The part of the stack's outputs that tells how a product's data is taken in."""
    intake = ingestion.intake
    stream = None if intake is None else intake.stream
    return {
        "landing": {
            "folders": folders(product, data),
            "topic": data.landing.landed.id,
            "subscription": "" if intake is None else intake.starter.subscription.id,
        },
        "ingestion": {
            "streaming_job": "" if stream is None or stream.job is None else stream.job.job.job_id,
            "stream_template": "" if stream is None else stream.template.location,
            "batch_template": "" if intake is None else intake.batch.location,
            "starter": "" if intake is None else intake.starter.service.uri,
        },
    }


def accounts(ingestion: Ingestion) -> dict[str, Any]:
    """The e-mails of its identities, by role."""
    intake = ingestion.intake
    taking = (
        {} if intake is None else {"ingest": intake.workers.email, "replay": intake.publisher.email}
    )
    return {**taking, "call": ingestion.caller.email}


def _workers(
    product: Product, foundation: Foundation, data: Data, opts: pulumi.ResourceOptions
) -> WorkloadIdentity:
    project = ProjectWide(project=foundation.settings.project)
    landing = data.landing
    return WorkloadIdentity(
        f"{product.name}-ingest",
        args=WorkloadIdentityArgs(
            account_id=account_id(product.name, "ingest"),
            description=f"Takes in events and files of {product.name}",
            grants=[
                *(
                    Grant(
                        role="roles/pubsub.subscriber",
                        on=stream.ingestion,
                        label=f"read-{contract}",
                    )
                    for contract, stream in data.streams.items()
                ),
                *(
                    # Beam asks for a subscription's settings before it reads from it.
                    Grant(
                        role="roles/pubsub.viewer",
                        on=stream.ingestion,
                        label=f"view-{contract}",
                    )
                    for contract, stream in data.streams.items()
                ),
                Grant(role="roles/storage.objectViewer", on=landing.landing, label="read-landing"),
                Grant(role="roles/storage.objectAdmin", on=landing.work, label="stage"),
                Grant(
                    role="roles/bigquery.dataEditor",
                    on=data.warehouse.datasets[RAW],
                    label="write-raw",
                ),
                Grant(
                    role="roles/artifactregistry.reader",
                    on=foundation.repository.repository,
                    label="pull-images",
                ),
                Grant(role="roles/bigquery.jobUser", on=project, label="load"),
                Grant(role="roles/dataflow.worker", on=project, label="work"),
                Grant(role="roles/dataflow.developer", on=project, label="launch"),
            ],
            acts_as_itself=True,
        ),
        opts=opts,
    )


def _publisher(
    product: Product, foundation: Foundation, data: Data, opts: pulumi.ResourceOptions
) -> WorkloadIdentity:
    return WorkloadIdentity(
        f"{product.name}-replay",
        args=WorkloadIdentityArgs(
            account_id=account_id(product.name, "replay"),
            description=f"Replays history and dead letters of {product.name}",
            grants=[
                *(
                    Grant(
                        role="roles/pubsub.publisher", on=stream.topic, label=f"publish-{contract}"
                    )
                    for contract, stream in data.streams.items()
                ),
                Grant(
                    role="roles/storage.objectCreator",
                    on=data.landing.landing,
                    label="write-landing",
                ),
                # A replayed dead letter is told so by a row of its own.
                Grant(
                    role="roles/bigquery.dataEditor",
                    on=data.warehouse.datasets[RAW],
                    label="mark-replayed",
                ),
                Grant(role=READER, on=data.policy.tag, label="read-dead-letters"),
                Grant(
                    role="roles/bigquery.jobUser",
                    on=ProjectWide(project=foundation.settings.project),
                    label="query",
                ),
            ],
        ),
        opts=opts,
    )


def _starter_values(
    product: Product,
    foundation: Foundation,
    data: Data,
    template: FlexTemplate,
    workers: WorkloadIdentity,
) -> Mapping[str, pulumi.Input[str]]:
    settings = foundation.settings
    values: dict[str, pulumi.Input[str]] = {
        "google_cloud_project": settings.project,
        "google_cloud_location": settings.location,
        "product": product.name,
        "template": template.location,
        "temp_location": pulumi.Output.concat(data.landing.work.url, "/", TEMPORARY),
        "worker_service_account": workers.email,
        "max_concurrent_jobs": str(settings.batch.max_concurrent_jobs),
    }
    if foundation.subnetwork is not None:
        values["subnetwork"] = foundation.subnetwork
    key = foundation.key("dataflow")
    if key is not None:
        values["kms_key_name"] = key
    return values

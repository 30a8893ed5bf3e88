"""The layer that holds one product's data: where it arrives and where it is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pulumi
import pulumi_gcp as gcp

from components import dataset_access
from components.column_policy import ColumnPolicy, ColumnPolicyArgs
from components.event_stream import EventStream, EventStreamArgs
from components.landing_zone import LandingZone, LandingZoneArgs
from components.prediction_endpoint import REQUEST_LOG
from components.warehouse import Dataset, Table, Warehouse, WarehouseArgs
from stacks.commons import Commons
from stacks.foundation import Foundation
from workloads import contracts
from workloads.batch_prediction import tables as predicted
from workloads.features import views
from workloads.ingestion import tables as ingested
from workloads.monitoring import tables as monitored
from workloads.prediction_log import tables as logged
from workloads.product import Product

RAW: Final = "raw"
CURATED: Final = "curated"
FEATURES: Final = "features"
PREDICTIONS: Final = "predictions"
MONITORING: Final = "monitoring"
REPORTS: Final = "reports"
"""The folder of the models bucket that monitoring writes its reports to."""
ONLINE: Final = "online"


@dataclass(frozen=True, kw_only=True)
class Data:
    """The data of one product."""

    landing: LandingZone
    streams: dict[str, EventStream]
    """By contract."""
    warehouse: Warehouse
    policy: ColumnPolicy
    """Protects the columns that hold personal data, or may."""
    raw: Mapping[str, gcp.bigquery.Dataset]
    """The raw datasets that its features are made of: by product, its own first."""
    personal: Sequence[gcp.datacatalog.PolicyTag]
    """The tags of such columns in them: who works on the product's rows needs to read them."""


def lay(
    product: Product,
    foundation: Foundation,
    commons: Commons,
    others: Mapping[str, Data],
    opts: pulumi.ResourceOptions,
) -> Data:
    """Make the topics, buckets and tables that follow from a product's contracts.

    Args:
        product: The declaration.
        foundation: What products share.
        commons: Has the bucket that logs access, if there is one.
        others: The data of the products that this one reads from, at least.
        opts: Carry the product's provider.
    """
    settings = foundation.settings
    owners = [others[name] for name in product.owners]
    pubsub = foundation.agents.members["pubsub"]
    landing = LandingZone(
        product.name,
        args=LandingZoneArgs(
            bucket_prefix=f"{settings.project}-{product.name}",
            location=settings.location,
            storage_agent=foundation.agents.members["storage"],
            kms_key=foundation.key("storage"),
            topic_kms_key=foundation.key("pubsub"),
            access_log=None if commons.access_log is None else commons.access_log.name,
            landing_retention_days=settings.retention.landed_files,
            snapshot_retention_days=settings.retention.snapshots,
            work_retention_days=settings.retention.temporary_files,
            noncurrent_days=settings.retention.noncurrent_objects,
            force_destroy=settings.security.force_destroy,
            protect=settings.security.protect,
        ),
        opts=opts,
    )
    streams = {
        source.contract.NAME: EventStream(
            f"{product.name}-{source.contract.PLURAL}",
            args=EventStreamArgs(
                avro_schema=contracts.avro_schema(source.contract),
                pubsub_agent=pubsub,
                location=settings.location,
                kms_key=foundation.key("pubsub"),
                retention_days=settings.retention.messages,
                dead_letter_retention_days=settings.retention.dead_letters,
                ack_deadline_seconds=settings.streaming.ack_deadline_seconds,
                minimum_backoff_seconds=settings.streaming.minimum_backoff_seconds,
            ),
            opts=opts,
        )
        for source in product.streams
    }
    personal = any(contracts.personal(source.contract) for source in product.own)
    policy = ColumnPolicy(
        product.name,
        args=ColumnPolicyArgs(
            project=settings.project,
            location=settings.location,
            description=f"Columns of {product.name} that hold personal data, or may",
            readers=settings.access.sensitive_readers,
            # It copies the features to the online store, and reads what they are made of.
            agents={"aiplatform": foundation.agents.members["aiplatform"]}
            if personal and settings.features.online
            else {},
        ),
        opts=opts,
    )
    warehouse = Warehouse(
        product.name,
        args=WarehouseArgs(
            datasets={
                **({RAW: _raw(product, foundation)} if product.own else {}),
                CURATED: _curated(product, foundation),
                FEATURES: Dataset(
                    name=f"{product.id}_features",
                    description=f"Tables that training of {product.name} makes. The rows that a "
                    "model learned from are frozen as objects, under snapshots/ of the models "
                    "bucket, each named by the hash of its content",
                    table_expiry_days=settings.retention.snapshots,
                ),
                PREDICTIONS: _predictions(product, foundation),
                MONITORING: Dataset(
                    name=f"{product.id}_monitoring",
                    description=f"How the data and the models of {product.name} fare",
                    tables=[
                        _table(one, settings.retention.prediction_rows) for one in monitored.TABLES
                    ],
                ),
            },
            policy_tag=policy.tag.name,
            project=settings.project,
            location=settings.location,
            kms_key=foundation.key("bigquery"),
            deletion_protection=settings.security.deletion_protection,
            force_destroy=settings.security.force_destroy,
            protect=settings.security.protect,
        ),
        # Its views name tables of those it reads from, which have to be there first.
        opts=pulumi.ResourceOptions.merge(
            opts, pulumi.ResourceOptions(depends_on=[one.warehouse for one in owners])
        ),
    )
    for name in product.owners:
        dataset_access.views(
            f"{product.name}-{name}-views",
            of=warehouse.datasets[CURATED],
            on=others[name].warehouse.datasets[RAW],
            project=settings.project,
            opts=opts,
        )
    return Data(
        landing=landing,
        streams=streams,
        warehouse=warehouse,
        policy=policy,
        raw={
            **({product.name: warehouse.datasets[RAW]} if product.own else {}),
            **{name: others[name].warehouse.datasets[RAW] for name in product.owners},
        },
        personal=[
            *([policy.tag] if personal else []),
            *(tag for owner in owners for tag in owner.personal),
        ],
    )


def outputs(product: Product, data: Data) -> dict[str, Any]:
    """The part of the stack's outputs that tells of a product's data."""
    landing, warehouse = data.landing, data.warehouse
    return {
        "streams": {
            contract: {
                "topic": stream.topic.id,
                "avro_schema": stream.schema.id,
                "subscription": stream.ingestion.id,
                "dead_letter_topic": stream.dead_letters.topic.id,
                "dead_letter_subscription": stream.dead_letters.inspection.id,
            }
            for contract, stream in data.streams.items()
        },
        "buckets": {
            "landing": landing.landing.url,
            "models": landing.models.url,
            "work": landing.work.url,
        },
        "tables": {
            "raw": {
                table.name: warehouse.table_id(RAW, table.name)
                for table in ingested.tables(product)
            },
            "current": {
                source.contract.NAME: warehouse.table_id(
                    CURATED, ingested.current_name(source.contract.PLURAL)
                )
                for source in product.own
            },
            "examples": warehouse.table_id(CURATED, views.EXAMPLES),
            "feature_history": warehouse.table_id(CURATED, views.FEATURES),
            "features": warehouse.dataset_id(FEATURES),
            "predictions": {
                name: warehouse.table_id(PREDICTIONS, name)
                for name in warehouse.tables[PREDICTIONS]
            },
            "monitoring": warehouse.dataset_id(MONITORING),
        },
    }


def folders(product: Product, data: Data) -> dict[str, pulumi.Output[str]]:
    """By contract, the `gs://` folder of the landing bucket that takes its files."""
    return {
        source.contract.NAME: pulumi.Output.concat(
            data.landing.landing.url, "/", source.contract.PLURAL, "/"
        )
        for source in product.own
    }


def _raw(product: Product, foundation: Foundation) -> Dataset:
    """A table for each contract, those of dead letters and of what was set aside."""
    return Dataset(
        name=ingested.dataset(product),
        description=f"What {product.name} took in, as it came",
        tables=[
            _table(table, foundation.settings.retention.raw_rows)
            for table in ingested.tables(product)
        ],
    )


def _curated(product: Product, foundation: Foundation) -> Dataset:
    """Views for data teams, who need no access to the raw tables behind them."""
    project = foundation.settings.project
    raw = f"{project}.{ingested.dataset(product)}"
    label = product.label.column
    return Dataset(
        name=ingested.curated_dataset(product),
        description=f"What {product.name} knows, each thing once: views over the raw tables",
        views_of=(RAW,) if product.own else (),
        readers=foundation.settings.access.readers,
        tables=[
            *(
                Table(
                    name=ingested.current_name(source.contract.PLURAL),
                    description=f"{source.contract.PLURAL}, one row for each "
                    f"{source.contract.IDENTITY}",
                    query=ingested.current_view(source.contract, raw),
                )
                for source in product.own
            ),
            Table(
                name=views.EXAMPLES,
                description=f"What was known of each {product.features.entity} when it was asked "
                f"about, and `{label}` once that is known",
                query=views.examples(product, project),
            ),
            Table(
                name=views.FEATURES,
                description=f"The same without `{label}`, as the feature registry reads it",
                query=views.features(product, project),
            ),
            *_served(product, foundation),
        ],
    )


def _served(product: Product, foundation: Foundation) -> list[Table]:
    """What the online store copies, where there is one."""
    settings = foundation.settings
    if not settings.features.online:
        return []
    latest = Table(
        name=views.LATEST,
        description=f"The last row of each {product.features.entity}, as the online store serves "
        "it; the time in microseconds since 1970",
        query=views.latest(product, settings.project),
    )
    return [latest]


def _table(table: ingested.Table, retention_days: int | None) -> Table:
    return Table(
        name=table.name,
        description=table.description,
        schema=table.columns,
        partition_by=table.partition,
        cluster_by=table.cluster,
        retention_days=retention_days,
        personal=table.personal,
    )


def _predictions(product: Product, foundation: Foundation) -> Dataset:
    retention_days = foundation.settings.retention.prediction_rows
    return Dataset(
        name=predicted.dataset(product),
        description=f"What the models of {product.name} answered",
        readers=foundation.settings.access.readers,
        tables=[
            Table(
                name=ONLINE,
                description="Requests to the endpoint and its responses, written by Vertex AI",
                schema=REQUEST_LOG,
                partition_by="logging_time",
                cluster_by=("deployed_model_id",),
                retention_days=retention_days,
                # A request is written as it was asked, so it holds what its contract may.
                personal=("request_payload",)
                if contracts.personal(product.features.request)
                else (),
            ),
            _table(predicted.batch_table(product), retention_days),
            _table(logged.log_table(product), retention_days),
        ],
    )

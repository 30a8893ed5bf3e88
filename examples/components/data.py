"""How data comes in, where it is kept, who may read it."""

from __future__ import annotations

import pulumi
import pulumi_gcp as gcp

from components.column_policy import ColumnPolicy, ColumnPolicyArgs
from components.database import Database, DatabaseArgs
from components.database_user import DatabaseUser, DatabaseUserArgs
from components.dead_letters import DeadLetters, DeadLettersArgs
from components.event_stream import EventStream, EventStreamArgs
from components.feature_group import FeatureGroup, FeatureGroupArgs
from components.feature_online_store import FeatureOnlineStore, FeatureOnlineStoreArgs
from components.feature_view import FeatureView, FeatureViewArgs
from components.flex_template import FlexTemplate, FlexTemplateArgs
from components.landing_zone import LandingZone, LandingZoneArgs
from components.prediction_log import PredictionLog, PredictionLogArgs
from components.push_service import PushService, PushServiceArgs
from components.streaming_job import StreamingJob, StreamingJobArgs
from components.warehouse import Dataset, Table, Warehouse, WarehouseArgs
from examples.components.given import AGENT, COLUMNS, IMAGE, KEY, METADATA, alone


def event_stream(opts: pulumi.ResourceOptions) -> EventStream:
    """Events of one contract, encrypted with a key of our own."""
    return EventStream(
        "demo-events",
        args=EventStreamArgs(
            avro_schema={
                "type": "record",
                "name": "Event",
                "fields": [{"name": "id", "type": "string"}],
            },
            pubsub_agent=AGENT,
            kms_key=KEY,
        ),
        opts=opts,
    )


def dead_letters(opts: pulumi.ResourceOptions) -> DeadLetters:
    """Where messages go that cannot be delivered."""
    return DeadLetters("demo-dead-letters", args=DeadLettersArgs(pubsub_agent=AGENT), opts=opts)


def landing_zone(opts: pulumi.ResourceOptions) -> LandingZone:
    """Buckets for files that come in and for what is made of them; landed files stay a year."""
    return LandingZone(
        "demo",
        args=LandingZoneArgs(
            bucket_prefix="acme-ml-demo",
            location="us-central1",
            storage_agent=AGENT,
            kms_key=KEY,
            topic_kms_key=KEY,
            landing_retention_days=365,
        ),
        opts=opts,
    )


def flex_template(opts: pulumi.ResourceOptions) -> FlexTemplate:
    """A pipeline's image, and what it may be told."""
    return FlexTemplate(
        "demo-template",
        args=FlexTemplateArgs(
            bucket="acme-ml-demo-work", path="templates/stream.json", image=IMAGE, metadata=METADATA
        ),
        opts=opts,
    )


def streaming_job(opts: pulumi.ResourceOptions) -> StreamingJob:
    """A job that is held to its template."""
    return StreamingJob(
        "demo-streaming",
        args=StreamingJobArgs(
            template=flex_template(opts),
            parameters={"product": "demo"},
            location="us-central1",
            service_account="demo@acme-ml.iam.gserviceaccount.com",
            temporary="gs://acme-ml-demo-work/temp/",
            staging="gs://acme-ml-demo-work/staging/",
        ),
        opts=opts,
    )


def push_service(opts: pulumi.ResourceOptions) -> PushService:
    """A service that Pub/Sub hands each message to."""
    plain = alone(opts)
    caller = gcp.serviceaccount.Account("caller", account_id="demo-caller", opts=plain)
    return PushService(
        "demo-starter",
        args=PushServiceArgs(
            image=IMAGE,
            location="us-central1",
            service_account="demo@acme-ml.iam.gserviceaccount.com",
            caller=caller,
            topic="projects/acme-ml/topics/landed",
            subscription="landed-starter",
            pubsub_agent=AGENT,
            environment={"PRODUCT": "demo"},
            subnetwork="projects/acme-ml/regions/us-central1/subnetworks/s",
            kms_key=KEY,
            topic_kms_key=KEY,
        ),
        opts=opts,
    )


def warehouse(opts: pulumi.ResourceOptions) -> Warehouse:
    """A table that hides one column, a view of it, and a dataset that analysts may read."""
    return Warehouse(
        "demo",
        args=WarehouseArgs(
            datasets={
                "raw": Dataset(
                    name="demo_raw",
                    description="Raw",
                    tables=[
                        Table(
                            name="events_current",
                            description="Latest",
                            query="SELECT * FROM `acme-ml.demo_raw.events`",
                        ),
                        Table(
                            name="events",
                            description="Events",
                            schema=COLUMNS,
                            partition_by="at",
                            cluster_by=("id",),
                            retention_days=10,
                            personal=("id",),
                        ),
                    ],
                ),
                "curated": Dataset(
                    name="demo_curated",
                    description="Curated",
                    views_of=("raw",),
                    readers=("group:analysts@example.com",),
                ),
            },
            policy_tag="projects/acme-ml/locations/us-central1/taxonomies/1/policyTags/2",
            project="acme-ml",
            location="us-central1",
            kms_key=KEY,
        ),
        opts=opts,
    )


def column_policy(opts: pulumi.ResourceOptions) -> ColumnPolicy:
    """Personal data, and the group that may see it."""
    return ColumnPolicy(
        "demo",
        args=ColumnPolicyArgs(
            project="acme-ml",
            location="us-central1",
            description="Personal",
            readers=["group:privacy@example.com"],
        ),
        opts=opts,
    )


def prediction_log(opts: pulumi.ResourceOptions) -> PredictionLog:
    """Predictions go from a topic to their table without a job in between."""
    return PredictionLog(
        "demo-predictions",
        args=PredictionLogArgs(
            avro_schema={
                "type": "record",
                "name": "Predicted",
                "fields": [{"name": "id", "type": "string"}],
            },
            table="acme-ml.demo_predictions.log",
            dataset_id="demo_predictions",
            pubsub_agent=AGENT,
            location="us-central1",
            kms_key=KEY,
        ),
        opts=opts,
    )


def database(opts: pulumi.ResourceOptions) -> Database:
    """A highly available instance with one database."""
    return Database(
        "demo",
        args=DatabaseArgs(
            location="us-central1",
            network="projects/acme-ml/global/networks/n",
            databases=["mlflow"],
            owners={"tracking": "tracking@acme-ml.iam.gserviceaccount.com"},
            labels={"product": "demo"},
            highly_available=True,
            kms_key=KEY,
        ),
        opts=opts,
    )


def database_user(opts: pulumi.ResourceOptions) -> DatabaseUser:
    """A workload logs in as itself, without a password."""
    return DatabaseUser(
        "demo",
        args=DatabaseUserArgs(
            instance="records", email="demo-batch@acme-ml.iam.gserviceaccount.com"
        ),
        opts=opts,
    )


def feature_group(opts: pulumi.ResourceOptions) -> FeatureGroup:
    """Two features of one entity."""
    return FeatureGroup(
        "demo",
        args=FeatureGroupArgs(
            location="us-central1",
            description="Demo",
            source="acme-ml.curated.features",
            entity=["id"],
            features={"height": "How high", "width": "How wide"},
        ),
        opts=opts,
    )


def feature_online_store(opts: pulumi.ResourceOptions) -> FeatureOnlineStore:
    """A store that grows to three nodes."""
    return FeatureOnlineStore(
        "demo",
        args=FeatureOnlineStoreArgs(location="us-central1", max_nodes=3, kms_key=KEY),
        opts=opts,
    )


def feature_view(opts: pulumi.ResourceOptions) -> FeatureView:
    """The latest features, copied to a store."""
    plain = alone(opts)
    return FeatureView(
        "demo",
        args=FeatureViewArgs(
            location="us-central1",
            source="acme-ml.curated.latest_features",
            entity=["id"],
            store=gcp.vertex.AiFeatureOnlineStore(
                "store",
                name="store",
                region="us-central1",
                optimized=gcp.vertex.AiFeatureOnlineStoreOptimizedArgs(),
                opts=plain,
            ),
        ),
        opts=opts,
    )

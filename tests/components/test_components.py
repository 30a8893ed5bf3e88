"""What single components make of their arguments."""

from __future__ import annotations

import json
from typing import Any

import pulumi
import pulumi_gcp as gcp

from components.event_stream import EventStream, EventStreamArgs
from components.flex_template import FlexTemplate, FlexTemplateArgs
from components.landing_zone import LandingZone, LandingZoneArgs
from components.prediction_endpoint import (
    PredictionEndpoint,
    PredictionEndpointArgs,
    endpoint_number,
)
from components.scheduled_job import ScheduledJob, ScheduledJobArgs
from components.service_agents import ServiceAgents, ServiceAgentsArgs
from components.warehouse import Dataset, Table, Warehouse, WarehouseArgs
from components.workload_identity import Grant, WorkloadIdentity, WorkloadIdentityArgs

AGENT = "serviceAccount:service-1@gcp-sa-pubsub.iam.gserviceaccount.com"
SCHEMA = {"type": "record", "name": "Event", "fields": [{"name": "id", "type": "string"}]}


def _stream(opts: pulumi.ResourceOptions) -> EventStream:
    return EventStream(
        "demo-events", args=EventStreamArgs(avro_schema=SCHEMA, pubsub_agent=AGENT), opts=opts
    )


class TestEventStream:
    def test_the_topic_takes_json_of_the_schema_only(self, declare: Any) -> None:
        declared = declare(_stream)
        topic = declared.inputs("Topic", "demo-events")
        assert topic["schemaSettings"] == {
            "schema": "projects/test-project/schemas/demo-events",
            "encoding": "JSON",
        }
        assert json.loads(declared.inputs("Schema")["definition"]) == SCHEMA

    def test_what_cannot_be_delivered_is_kept_where_it_can_be_seen(self, declare: Any) -> None:
        declared = declare(_stream)
        ingestion = declared.inputs("Subscription", "demo-events-ingestion")
        dead_letters = "projects/test-project/topics/demo-events-dead-letters"
        assert ingestion["deadLetterPolicy"]["deadLetterTopic"] == dead_letters
        inspection = declared.inputs("Subscription", "demo-events-dead-letters-inspection")
        assert inspection["topic"] == dead_letters
        assert inspection["expirationPolicy"] == {"ttl": ""}

    def test_the_service_agent_may_forward(self, declare: Any) -> None:
        declared = declare(_stream)
        publisher = declared.inputs("TopicIAMMember")
        assert (publisher["topic"], publisher["role"], publisher["member"]) == (
            "demo-events-dead-letters",
            "roles/pubsub.publisher",
            AGENT,
        )
        forwarder = declared.inputs("SubscriptionIAMMember")
        assert (forwarder["subscription"], forwarder["role"], forwarder["member"]) == (
            "demo-events-ingestion",
            "roles/pubsub.subscriber",
            AGENT,
        )


def _zone(opts: pulumi.ResourceOptions) -> LandingZone:
    return LandingZone(
        "demo",
        args=LandingZoneArgs(
            bucket_prefix="p-demo",
            location="us-central1",
            storage_agent=AGENT,
            landing_retention_days=30,
        ),
        opts=opts,
    )


class TestLandingZone:
    def test_no_bucket_can_be_made_public(self, declare: Any) -> None:
        buckets = declare(_zone).mocks.find("Bucket")
        assert sorted(one.inputs["name"] for one in buckets) == [
            "p-demo-landing",
            "p-demo-models",
            "p-demo-work",
        ]
        for bucket in buckets:
            assert bucket.inputs["uniformBucketLevelAccess"] is True
            assert bucket.inputs["publicAccessPrevention"] == "enforced"
            assert bucket.inputs["versioning"] == {"enabled": True}
            assert bucket.inputs["forceDestroy"] is False

    def test_staged_files_of_a_running_job_are_never_deleted(self, declare: Any) -> None:
        work = declare(_zone).inputs("Bucket", "demo-work")
        ages = [rule for rule in work["lifecycleRules"] if rule["action"]["type"] == "Delete"]
        by_age = [rule["condition"] for rule in ages if "age" in rule["condition"]]
        assert [one["matchesPrefixes"] for one in by_age] == [["temp/"]]

    def test_models_are_kept_for_ever(self, declare: Any) -> None:
        models = declare(_zone).inputs("Bucket", "demo-models")
        assert not [
            rule
            for rule in models["lifecycleRules"]
            if rule["action"]["type"] == "Delete" and "age" in rule["condition"]
        ]

    def test_each_landed_file_is_told(self, declare: Any) -> None:
        notification = declare(_zone).inputs("Notification")
        assert notification["bucket"] == "p-demo-landing"
        assert notification["topic"] == "projects/test-project/topics/demo-landed"
        assert notification["eventTypes"] == ["OBJECT_FINALIZE"]


class TestWarehouse:
    def test_a_table_is_partitioned_and_a_view_reads_it(self, declare: Any) -> None:
        columns = [
            {"name": "id", "type": "STRING", "mode": "REQUIRED"},
            {"name": "at", "type": "TIMESTAMP", "mode": "REQUIRED"},
        ]
        made = declare(
            lambda opts: Warehouse(
                "demo",
                args=WarehouseArgs(
                    datasets={
                        "raw": Dataset(
                            name="demo_raw",
                            description="Raw",
                            tables=[
                                Table(
                                    name="events",
                                    description="Events",
                                    schema=columns,
                                    partition_by="at",
                                    cluster_by=("id",),
                                    retention_days=2,
                                ),
                                Table(name="latest", description="Latest", query="SELECT 1"),
                            ],
                        )
                    },
                    project="p",
                    location="us-central1",
                ),
                opts=opts,
            )
        )
        events = made.inputs("Table", "demo-raw-events")
        assert events["timePartitioning"] == {
            "type": "DAY",
            "field": "at",
            "expirationMs": 172_800_000,
        }
        assert events["clusterings"] == ["id"]
        assert json.loads(events["schema"]) == columns
        assert events["deletionProtection"] is True
        latest = made.inputs("Table", "demo-raw-latest")
        assert latest["view"] == {"query": "SELECT 1", "useLegacySql": False}
        assert made.result.table_id("raw", "events") == "p.demo_raw.events"


class TestFlexTemplate:
    def test_the_specification_holds_image_and_options(self, declare: Any) -> None:
        metadata = {
            "name": "demo",
            "parameters": [{"name": "a", "label": "A", "helpText": "A thing"}],
        }
        declared = declare(
            lambda opts: FlexTemplate(
                "demo",
                args=FlexTemplateArgs(
                    bucket="b",
                    path="templates/batch.json",
                    image=pulumi.Output.from_input("host/image@sha256:abc"),
                    metadata=metadata,
                ),
                opts=opts,
            )
        )
        specification = declared.inputs("BucketObject")
        assert specification["name"] == "templates/batch.json"
        assert json.loads(specification["content"]) == {
            "image": "host/image@sha256:abc",
            "sdkInfo": {"language": "PYTHON"},
            "metadata": metadata,
        }


class TestPredictionEndpoint:
    def test_its_number_follows_from_its_name(self) -> None:
        assert endpoint_number("flight-delay") == endpoint_number("flight-delay")
        assert endpoint_number("flight-delay") != endpoint_number("flight-delays")
        for name in ("a", "flight-delay", "x" * 30):
            number = endpoint_number(name)
            assert len(number) == 10
            assert number.isdigit()
            assert number[0] != "0"

    def test_requests_are_logged_from_the_start(self, declare: Any) -> None:
        endpoint = declare(
            lambda opts: PredictionEndpoint(
                "demo",
                args=PredictionEndpointArgs(
                    project="p",
                    location="us-central1",
                    description="Demo",
                    request_log="p.demo_predictions.online",
                ),
                opts=opts,
            )
        ).inputs("AiEndpoint")
        assert endpoint["predictRequestResponseLoggingConfig"] == {
            "enabled": True,
            "samplingRate": 1.0,
            "bigqueryDestination": {"outputUri": "bq://p.demo_predictions.online"},
        }
        assert "trafficSplit" not in endpoint
        assert "privateServiceConnectConfig" not in endpoint


class TestScheduledJob:
    def test_the_schedule_starts_the_job_as_the_one_who_may(self, declare: Any) -> None:
        declared = declare(
            lambda opts: ScheduledJob(
                "demo-batch",
                args=ScheduledJobArgs(
                    image="i@sha256:1",
                    location="us-central1",
                    service_account="work@p.iam.gserviceaccount.com",
                    scheduler="call@p.iam.gserviceaccount.com",
                    schedule="0 4 * * *",
                    environment={"B": "2", "A": "1"},
                    tasks=4,
                ),
                opts=opts,
            )
        )
        schedule = declared.inputs("gcp:cloudscheduler/job:Job")["httpTarget"]
        assert schedule["uri"] == (
            "https://run.googleapis.com/v2/projects/test-project/locations/us-central1/"
            "jobs/demo-batch:run"
        )
        assert schedule["oauthToken"]["serviceAccountEmail"] == "call@p.iam.gserviceaccount.com"
        invoker = declared.inputs("JobIamMember")
        assert invoker["member"] == "serviceAccount:call@p.iam.gserviceaccount.com"
        assert invoker["role"] == "roles/run.invoker"
        template = declared.inputs("gcp:cloudrunv2/job:Job")["template"]
        assert (template["taskCount"], template["parallelism"]) == (4, 4)
        [container] = template["template"]["containers"]
        assert [one["name"] for one in container["envs"]] == ["A", "B"]


class TestWorkloadIdentity:
    def test_roles_are_granted_on_resources(self, declare: Any) -> None:
        def program(opts: pulumi.ResourceOptions) -> WorkloadIdentity:
            topic = gcp.pubsub.Topic("t", name="the-topic")
            bucket = gcp.storage.Bucket("b", name="the-bucket", location="us-central1")
            return WorkloadIdentity(
                "demo-work",
                args=WorkloadIdentityArgs(
                    account_id="demo-work",
                    description="Works",
                    grants=[
                        Grant(role="roles/pubsub.publisher", on=topic, label="publish"),
                        Grant(role="roles/storage.objectViewer", on=bucket, label="read"),
                    ],
                ),
                opts=opts,
            )

        declared = declare(program)
        member = "serviceAccount:demo-work@test-project.iam.gserviceaccount.com"
        assert declared.inputs("TopicIAMMember")["member"] == member
        assert declared.inputs("BucketIAMMember")["bucket"] == "the-bucket"
        assert declared.mocks.find("gcp:projects/iAMMember:IAMMember") == []
        assert declared.mocks.find("gcp:serviceaccount/key:Key") == []


class TestServiceAgents:
    def test_an_agent_is_asked_for_and_named_by_the_project_number(self, declare: Any) -> None:
        members: dict[str, str] = {}

        def program(opts: pulumi.ResourceOptions) -> Any:
            agents = ServiceAgents(
                "agents",
                args=ServiceAgentsArgs(project="p", agents=["pubsub", "storage"]),
                opts=opts,
            )
            return pulumi.Output.all(**agents.members).apply(members.update)

        declared = declare(program)
        assert declared.inputs("ServiceIdentity")["service"] == "pubsub.googleapis.com"
        pubsub = members["pubsub"]
        assert pubsub.startswith("serviceAccount:service-")
        assert pubsub.endswith("@gcp-sa-pubsub.iam.gserviceaccount.com")
        number = pubsub.removeprefix("serviceAccount:service-").partition("@")[0]
        assert number.isdigit()
        assert members["storage"] == (
            f"serviceAccount:service-{number}@gs-project-accounts.iam.gserviceaccount.com"
        )

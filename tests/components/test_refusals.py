"""What components refuse, before anything exists."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pulumi
import pulumi_gcp as gcp
import pytest

from components.checks import InvalidArgs
from components.dead_letters import DeadLetters, DeadLettersArgs
from components.enabled_apis import EnabledApisArgs
from components.encryption_key import EncryptionKeyArgs
from components.event_stream import EventStream, EventStreamArgs
from components.flex_template import FlexTemplate, FlexTemplateArgs
from components.image import ImageArgs
from components.image_repository import ImageRepositoryArgs
from components.landing_zone import LandingZoneArgs
from components.prediction_endpoint import PredictionEndpointArgs
from components.private_network import PrivateNetworkArgs
from components.push_service import PushServiceArgs
from components.scheduled_job import ScheduledJobArgs
from components.service_agents import ServiceAgentsArgs
from components.streaming_job import StreamingJobArgs
from components.warehouse import Dataset, Table, WarehouseArgs
from components.workload_identity import Grant, ProjectWide, WorkloadIdentityArgs

SCHEMA = {"type": "record", "name": "E", "fields": [{"name": "id", "type": "string"}]}
COLUMN = {"name": "id", "type": "STRING", "mode": "REQUIRED"}


def _endpoint(**change: Any) -> PredictionEndpointArgs:
    return PredictionEndpointArgs(
        **{
            "project": "p",
            "location": "l",
            "description": "d",
            "request_log": "p.d.t",
            **change,
        }
    )


def _job(**change: Any) -> ScheduledJobArgs:
    return ScheduledJobArgs(
        **{
            "image": "i",
            "location": "l",
            "service_account": "s",
            "scheduler": "c",
            "schedule": "0 4 * * *",
            "environment": {},
            **change,
        }
    )


def _zone(**change: Any) -> LandingZoneArgs:
    return LandingZoneArgs(
        **{"bucket_prefix": "p-demo", "location": "l", "storage_agent": "a", **change}
    )


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (
            lambda: DeadLettersArgs(pubsub_agent="a", retention_days=32),
            "DeadLetters: `retention_days` is 32; allowed: 1 to 31 days",
        ),
        (
            lambda: EnabledApisArgs(project="p", apis=["pubsub.googleapis.com"]),
            "short names, e.g. `pubsub`",
        ),
        (
            lambda: EncryptionKeyArgs(
                location="l", encrypters={"run": {"a": "b"}}, rotation_days=91
            ),
            "`rotation_days` is 91; allowed: 1 to 90 days",
        ),
        (
            lambda: EventStreamArgs(avro_schema={"type": "string"}, pubsub_agent="a"),
            "an Avro record with fields",
        ),
        (
            lambda: EventStreamArgs(avro_schema=SCHEMA, pubsub_agent="a", max_delivery_attempts=3),
            "`max_delivery_attempts` is 3; allowed: 5 to 100",
        ),
        (
            lambda: FlexTemplateArgs(bucket="b", path="stream", image="i", metadata={}),
            "`path` is 'stream'; allowed: an object's name ending in `.json`",
        ),
        (
            lambda: FlexTemplateArgs(bucket="b", path="a.json", image="i", metadata={"name": "n"}),
            "a `name` and a list of `parameters`",
        ),
        (
            lambda: ImageArgs(repository="r", dockerfile=Path("/nowhere"), context=Path("/")),
            "`dockerfile` is '/nowhere'; allowed: a file",
        ),
        (
            lambda: ImageRepositoryArgs(project="p", location="l", keep_versions=0),
            "`keep_versions` is 0; allowed: 1 to 1000",
        ),
        (lambda: _zone(bucket_prefix="Big"), "`bucket_prefix` is 'Big-landing'; allowed: 3 to 63"),
        (lambda: _zone(bucket_prefix="p" * 60), "3 to 63 lower-case letters"),
        (lambda: _zone(landing_retention_days=0), "`landing_retention_days` is 0; allowed: 1 to"),
        (lambda: _endpoint(sampling_rate=0), "`sampling_rate` is 0; allowed: above 0, at most 1"),
        (lambda: _endpoint(request_log="d.t"), "allowed: `project.dataset.table`"),
        (
            lambda: PrivateNetworkArgs(region="r", cidr="8.8.8.0/24"),
            "`cidr` is '8.8.8.0/24'; allowed: a private IPv4 range",
        ),
        (lambda: PrivateNetworkArgs(region="r", cidr="10.0.0.0/28"), "/8 to /26"),
        (lambda: PrivateNetworkArgs(region="r", cidr="ten"), "`cidr` is 'ten'"),
        (lambda: _job(schedule="daily"), "`schedule` is 'daily'; allowed: five fields of cron"),
        (lambda: _job(tasks=0), "`tasks` is 0; allowed: 1 to 10000"),
        (
            lambda: ServiceAgentsArgs(project="p", agents=["sql"]),
            "`agents` is 'sql'; allowed: `aiplatform`",
        ),
        (
            lambda: Table(name="t", description="", schema=[COLUMN], query="SELECT 1"),
            "exactly one of `schema` (a table) and `query` (a view)",
        ),
        (
            lambda: Table(name="t", description="", schema=[COLUMN], partition_by="at"),
            "`partition_by, cluster_by` is 'at'; allowed: a column: id",
        ),
        (
            lambda: Table(name="t", description="", schema=[COLUMN], cluster_by=("id",) * 5),
            "at most four columns",
        ),
        (
            lambda: Dataset(
                name="d", description="", tables=[Table(name="t", description="", query="x")] * 2
            ),
            "each name once",
        ),
        (lambda: Dataset(name="d-e", description=""), "letters, digits and underscores"),
        (
            lambda: WarehouseArgs(datasets={}, project="p", location="l"),
            "at least one dataset",
        ),
        (
            lambda: WorkloadIdentityArgs(account_id="work", description=""),
            "`account_id` is 'work'; allowed: 6 to 30",
        ),
        (
            lambda: Grant(role="editor", on=ProjectWide(project="p"), label="l"),
            "a predefined role, `roles/...`",
        ),
        (
            lambda: Grant(role="roles/editor", on=ProjectWide(project="p"), label="l"),
            "grant every other role on the resource",
        ),
    ],
)
def test_arguments_that_no_resource_could_be_made_from(
    make: Callable[[], object], expected: str
) -> None:
    with pytest.raises(InvalidArgs) as refused:
        make()
    assert expected in str(refused.value)


def test_a_name_is_refused_before_the_first_resource(declare: Any) -> None:
    def program(opts: pulumi.ResourceOptions) -> None:
        with pytest.raises(InvalidArgs, match="not with `goog`"):
            EventStream(
                "google-events",
                args=EventStreamArgs(avro_schema=SCHEMA, pubsub_agent="a"),
                opts=opts,
            )
        with pytest.raises(InvalidArgs, match="`name` is 'x'"):
            DeadLetters("x", args=DeadLettersArgs(pubsub_agent="a"), opts=opts)

    declared = declare(program)
    assert declared.mocks.made == []
    assert declared.mocks.components == []


def test_a_grant_on_what_takes_none_is_refused(declare: Any) -> None:
    def program(opts: pulumi.ResourceOptions) -> None:
        key = gcp.pubsub.Schema("s", type="AVRO")
        with pytest.raises(InvalidArgs, match="gcp:pubsub/topic:Topic"):
            Grant(role="roles/viewer", on=key, label="l")

    declare(program)


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"product": "demo", "topic": "t"}, "`parameters` is 'topic'; allowed: one of `product`"),
        ({}, "`product` is None; allowed: Which product (required)"),
        ({"product": "Demo!"}, "`product` is 'Demo!'; allowed: matching `^[a-z]+$`"),
    ],
)
def test_a_job_is_held_to_its_template(
    declare: Any, parameters: dict[str, str], expected: str
) -> None:
    def program(opts: pulumi.ResourceOptions) -> None:
        template = FlexTemplate(
            "demo",
            args=FlexTemplateArgs(
                bucket="b",
                path="stream.json",
                image="i",
                metadata={
                    "name": "demo",
                    "streaming": True,
                    "parameters": [
                        {
                            "name": "product",
                            "label": "Product",
                            "helpText": "Which product",
                            "regexes": ["^[a-z]+$"],
                        }
                    ],
                },
            ),
            opts=opts,
        )
        with pytest.raises(InvalidArgs) as refused:
            StreamingJobArgs(
                template=template,
                parameters=parameters,
                location="l",
                service_account="s",
                temporary="gs://b/temp/",
                staging="gs://b/staging/",
            )
        assert expected in str(refused.value)

    assert declare(program).mocks.find("FlexTemplateJob") == []


def test_a_push_service_takes_a_route(declare: Any) -> None:
    def program(opts: pulumi.ResourceOptions) -> None:
        with pytest.raises(InvalidArgs, match="a route starting with `/`"):
            PushServiceArgs(
                image="i",
                location="l",
                service_account="s",
                caller=gcp.serviceaccount.Account("a", account_id="caller"),
                topic="t",
                subscription="sub",
                pubsub_agent="a",
                environment={},
                path="events",
            )

    declare(program)

"""What the components of the data layer make of their arguments, and what they refuse."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pulumi
import pulumi_gcp as gcp
import pytest

from components.access_log import AccessLog, AccessLogArgs
from components.checks import InvalidArgs
from components.column_policy import READER, ColumnPolicy, ColumnPolicyArgs
from components.event_stream import EventStream, EventStreamArgs
from components.flex_template import FlexTemplate, FlexTemplateArgs
from components.image_repository import ImageRepository, ImageRepositoryArgs
from components.landing_zone import LandingZone, LandingZoneArgs
from components.streaming_job import StreamingJob, StreamingJobArgs
from components.warehouse import Dataset, Table, Warehouse, WarehouseArgs
from components.workload_identity import Grant, ProjectWide, WorkloadIdentity, WorkloadIdentityArgs

AGENT = "serviceAccount:service-1@gcp-sa-pubsub.iam.gserviceaccount.com"
TAG = "projects/p/locations/us-central1/taxonomies/1/policyTags/2"
COLUMNS = [
    {"name": "id", "type": "STRING", "mode": "REQUIRED"},
    {"name": "email", "type": "STRING", "mode": "NULLABLE"},
]
RAW = Dataset(
    name="demo_raw",
    description="Raw",
    tables=[Table(name="events", description="Events", schema=COLUMNS, personal=("email",))],
)
CURATED = Dataset(
    name="demo_curated",
    description="Curated",
    views_of=("raw",),
    readers=("group:analysts@example.com", "domain:example.com", "user:ana@example.com"),
    tables=[Table(name="latest", description="Latest", query="SELECT * FROM `p.demo_raw.events`")],
)


def _warehouse(**change: Any) -> WarehouseArgs:
    return WarehouseArgs(
        **{
            "datasets": {"curated": CURATED, "raw": RAW},
            "project": "p",
            "location": "us-central1",
            "policy_tag": TAG,
            **change,
        }
    )


class TestWarehouse:
    def test_a_personal_column_carries_the_tag_and_no_other_does(self, declare: Any) -> None:
        declared = declare(lambda opts: Warehouse("demo", args=_warehouse(), opts=opts))
        columns = json.loads(declared.inputs("Table", "demo-raw-events")["schema"])
        assert [one.get("policyTags") for one in columns] == [None, {"names": [TAG]}]

    def test_views_of_one_dataset_read_another_as_a_whole(self, declare: Any) -> None:
        declared = declare(lambda opts: Warehouse("demo", args=_warehouse(), opts=opts))
        access = declared.inputs("DatasetAccess", "demo-raw-views-of-curated")
        assert access["datasetId"] == "demo_raw"
        assert access["authorizedDataset"] == {
            "dataset": {"projectId": "p", "datasetId": "demo_curated"},
            "targetTypes": ["VIEWS"],
        }
        assert "role" not in access

    def test_readers_get_the_dataset_that_names_them_and_no_other(self, declare: Any) -> None:
        declared = declare(lambda opts: Warehouse("demo", args=_warehouse(), opts=opts))
        entries = [one.inputs for one in declared.mocks.find("DatasetAccess")]
        readers = [one for one in entries if "role" in one]
        assert {one["datasetId"] for one in readers} == {"demo_curated"}
        assert {one["role"] for one in readers} == {"READER"}
        assert [one.get("groupByEmail") for one in readers if "groupByEmail" in one] == [
            "analysts@example.com"
        ]
        assert {"domain", "userByEmail"} <= {name for one in readers for name in one}

    def test_tables_that_others_make_expire_where_that_is_said(self, declare: Any) -> None:
        features = Dataset(name="demo_features", description="Made", table_expiry_days=90)
        declared = declare(
            lambda opts: Warehouse("demo", args=_warehouse(datasets={"f": features}), opts=opts)
        )
        dataset = declared.inputs("gcp:bigquery/dataset:Dataset", "demo-f")
        assert dataset["defaultTableExpirationMs"] == 90 * 86_400_000
        assert dataset["maxTimeTravelHours"] == "168"


class TestColumnPolicy:
    def test_the_tag_protects_and_its_readers_are_named(self, declare: Any) -> None:
        args = ColumnPolicyArgs(
            project="p",
            location="us-central1",
            description="Personal",
            readers=["group:privacy@example.com"],
        )
        declared = declare(lambda opts: ColumnPolicy("demo", args=args, opts=opts))
        taxonomy = declared.inputs("Taxonomy")
        assert taxonomy["activatedPolicyTypes"] == ["FINE_GRAINED_ACCESS_CONTROL"]
        assert taxonomy["displayName"] == "p demo"
        member = declared.inputs("PolicyTagIamMember")
        assert (member["role"], member["member"]) == (READER, "group:privacy@example.com")
        assert (
            member["policyTag"]
            .rpartition("/policyTags/")[0]
            .endswith(declared.inputs("PolicyTag")["taxonomy"])
        )

    def test_a_workload_is_granted_the_tag_like_anything_else(self, declare: Any) -> None:
        def program(opts: pulumi.ResourceOptions) -> WorkloadIdentity:
            args = ColumnPolicyArgs(project="p", location="us-central1", description="Personal")
            policy = ColumnPolicy("demo", args=args, opts=opts)
            grant = Grant(role=READER, on=policy.tag, label="read-personal")
            return WorkloadIdentity(
                "demo-train",
                args=WorkloadIdentityArgs(
                    account_id="demo-train", description="Trains", grants=[grant]
                ),
                opts=opts,
            )

        member = declare(program).inputs("PolicyTagIamMember", "demo-train-read-personal")
        assert member["member"] == (
            "serviceAccount:demo-train@test-project.iam.gserviceaccount.com"
        )


class TestGrants:
    def test_a_grant_on_a_dataset_is_an_entry_of_its_list(self, declare: Any) -> None:
        """An IAM member would drop the entries through which views read the dataset."""

        def program(opts: pulumi.ResourceOptions) -> WorkloadIdentity:
            assert isinstance(opts.providers, list)
            raw = gcp.bigquery.Dataset(
                "raw", dataset_id="raw", opts=pulumi.ResourceOptions(provider=opts.providers[0])
            )
            grant = Grant(role="roles/bigquery.dataEditor", on=raw, label="write")
            return WorkloadIdentity(
                "demo-work",
                args=WorkloadIdentityArgs(
                    account_id="demo-work", description="Works", grants=[grant]
                ),
                opts=opts,
            )

        declared = declare(program)
        assert declared.mocks.find("DatasetIamMember") == []
        access = declared.inputs("DatasetAccess", "demo-work-write")
        assert access["role"] == "WRITER"
        assert access["userByEmail"] == "demo-work@test-project.iam.gserviceaccount.com"

    def test_a_folder_of_a_bucket_is_a_condition(self, declare: Any) -> None:
        def program(opts: pulumi.ResourceOptions) -> WorkloadIdentity:
            assert isinstance(opts.providers, list)
            plain = pulumi.ResourceOptions(provider=opts.providers[0])
            models = gcp.storage.Bucket("m", name="p-models", location="US", opts=plain)
            grant = Grant(
                role="roles/storage.objectUser", on=models, label="write", folder="reports"
            )
            return WorkloadIdentity(
                "demo-work",
                args=WorkloadIdentityArgs(
                    account_id="demo-work", description="Works", grants=[grant]
                ),
                opts=opts,
            )

        condition = declare(program).inputs("BucketIAMMember")["condition"]
        assert condition["expression"] == (
            'resource.name.startsWith("projects/_/buckets/p-models/objects/reports/")'
        )


def _zone(**change: Any) -> LandingZoneArgs:
    return LandingZoneArgs(
        **{
            "bucket_prefix": "p-demo",
            "location": "us-central1",
            "storage_agent": AGENT,
            **change,
        }
    )


class TestBuckets:
    def test_snapshots_go_when_they_are_told_to_and_models_never(self, declare: Any) -> None:
        args = _zone(snapshot_retention_days=90)
        declared = declare(lambda opts: LandingZone("demo", args=args, opts=opts))
        rules = declared.inputs("Bucket", "demo-models")["lifecycleRules"]
        by_age = [
            one["condition"]
            for one in rules
            if one["action"]["type"] == "Delete" and one["condition"].get("age")
        ]
        assert [(one["age"], one["matchesPrefixes"]) for one in by_age] == [(90, ["snapshots/"])]

    def test_what_nobody_reads_gets_cheaper_unless_it_is_scratch(self, declare: Any) -> None:
        declared = declare(lambda opts: LandingZone("demo", args=_zone(), opts=opts))
        classes = {
            name: declared.inputs("Bucket", f"demo-{name}").get("autoclass", {}).get("enabled")
            for name in ("landing", "models", "work")
        }
        assert classes == {"landing": True, "models": True, "work": None}

    def test_no_browser_of_another_site_may_read(self, declare: Any) -> None:
        declared = declare(lambda opts: LandingZone("demo", args=_zone(), opts=opts))
        assert all("cors" not in one.inputs for one in declared.mocks.find("Bucket"))

    def test_access_is_logged_to_a_bucket_that_google_can_write_to(self, declare: Any) -> None:
        def program(opts: pulumi.ResourceOptions) -> LandingZone:
            log = AccessLog(
                "log",
                args=AccessLogArgs(bucket="p-access-log", location="us-central1"),
                opts=opts,
            )
            return LandingZone("demo", args=_zone(access_log=log.name), opts=opts)

        declared = declare(program)
        for role in ("landing", "models", "work"):
            assert declared.inputs("Bucket", f"demo-{role}")["logging"] == {
                "logBucket": "p-access-log",
                "logObjectPrefix": f"p-demo-{role}",
            }
        writer = declared.inputs("BucketIAMMember", "log-writer")
        assert (writer["role"], writer["member"]) == (
            "roles/storage.objectCreator",
            "group:cloud-storage-analytics@google.com",
        )
        log = declared.inputs("Bucket", "log")
        assert log["publicAccessPrevention"] == "enforced"
        assert "logging" not in log


def test_messages_stay_in_their_region(declare: Any) -> None:
    args = EventStreamArgs(
        avro_schema={"type": "record", "name": "E", "fields": [{"name": "id", "type": "string"}]},
        pubsub_agent=AGENT,
        location="us-central1",
    )
    declared = declare(lambda opts: EventStream("demo-events", args=args, opts=opts))
    assert declared.inputs("Topic", "demo-events")["messageStoragePolicy"] == {
        "allowedPersistenceRegions": ["us-central1"]
    }


def test_images_are_scanned_only_where_that_is_paid_for(declare: Any) -> None:
    for scan, word in ((True, "INHERITED"), (False, "DISABLED")):
        args = ImageRepositoryArgs(project="p", location="us-central1", scan=scan)
        declared = declare(lambda opts, args=args: ImageRepository("demo", args=args, opts=opts))
        config = declared.inputs("Repository")["vulnerabilityScanningConfig"]
        assert config["enablementConfig"] == word


def _template(opts: pulumi.ResourceOptions, **metadata: Any) -> FlexTemplate:
    return FlexTemplate(
        "demo-template",
        args=FlexTemplateArgs(
            bucket="b",
            path="templates/stream.json",
            image="i@sha256:0",
            metadata={"name": "demo", "streaming": True, "parameters": [], **metadata},
        ),
        opts=opts,
    )


def _job(template: FlexTemplate, **change: Any) -> StreamingJobArgs:
    return StreamingJobArgs(
        **{
            "template": template,
            "parameters": {},
            "location": "us-central1",
            "service_account": "demo@p.iam.gserviceaccount.com",
            "temporary": "gs://b/temp/",
            "staging": "gs://b/staging/",
            **change,
        }
    )


class TestStreamingJob:
    def test_it_grows_from_one_worker_on_streaming_engine(self, declare: Any) -> None:
        job = declare(
            lambda opts: StreamingJob("demo", args=_job(_template(opts), max_workers=7), opts=opts)
        ).inputs("FlexTemplateJob")
        assert (job["numWorkers"], job["maxWorkers"]) == (1, 7)
        assert job["autoscalingAlgorithm"] == "AUTOSCALING_ALGORITHM_BASIC"
        assert job["enableStreamingEngine"] is True
        assert job["ipConfiguration"] == "WORKER_IP_PRIVATE"
        assert job["onDelete"] == "drain"
        assert "additionalExperiments" not in job

    def test_it_may_process_twice_where_the_template_can(self, declare: Any) -> None:
        def program(opts: pulumi.ResourceOptions) -> StreamingJob:
            template = _template(opts, supportsAtLeastOnce=True)
            return StreamingJob("demo", args=_job(template, at_least_once=True), opts=opts)

        job = declare(program).inputs("FlexTemplateJob")
        assert job["additionalExperiments"] == ["streaming_mode_at_least_once"]

    def test_it_may_not_where_the_template_cannot(self, declare: Any) -> None:
        def program(opts: pulumi.ResourceOptions) -> None:
            template = _template(opts, supportsAtLeastOnce=False)
            with pytest.raises(InvalidArgs, match="`supportsAtLeastOnce: false`"):
                _job(template, at_least_once=True)

        declare(program)


REFUSED: list[tuple[Callable[[], Any], str]] = [
    (
        lambda: Table(name="t", description="d", schema=COLUMNS, personal=("phone",)),
        "is 'phone'; allowed: a column: id, email",
    ),
    (lambda: _warehouse(policy_tag=None), "only with the warehouse's `policy_tag`"),
    (
        lambda: _warehouse(datasets={"curated": CURATED}),
        "`views_of` is 'raw'; allowed: one of",
    ),
    (
        lambda: _warehouse(
            datasets={
                "raw": RAW,
                "curated": CURATED,
                "more": Dataset(name="more", description="d", views_of=("curated",)),
            }
        ),
        "a dataset whose own views read no other dataset",
    ),
    (
        lambda: Dataset(name="d", description="d", readers=("allUsers",)),
        "never everybody",
    ),
    (
        lambda: Dataset(name="d", description="d", tables=RAW.tables, table_expiry_days=9),
        "they would be deleted too",
    ),
    (
        lambda: ColumnPolicyArgs(
            project="p", location="l", description="d", readers=["allAuthenticatedUsers"]
        ),
        "a principal as IAM writes it",
    ),
    (lambda: AccessLogArgs(bucket="P", location="l"), "`bucket` is 'P'"),
    (lambda: _zone(snapshot_retention_days=0), "`snapshot_retention_days` is 0"),
    (
        lambda: Grant(
            role="roles/logging.logWriter", on=ProjectWide(project="p"), label="l", folder="f"
        ),
        "on a bucket, a prefix without slashes",
    ),
]


@pytest.mark.parametrize(("make", "message"), REFUSED, ids=[one[1] for one in REFUSED])
def test_what_google_would_refuse_or_nobody_meant(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(InvalidArgs) as refused:
        make()
    assert message in str(refused.value)

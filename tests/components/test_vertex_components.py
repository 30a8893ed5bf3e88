"""What the components of Vertex AI make of their arguments, and what they refuse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pulumi
import pulumi_gcp as gcp
import pytest

from components.checks import InvalidArgs
from components.experiment_tracking import ExperimentTracking, ExperimentTrackingArgs
from components.feature_group import FeatureGroup, FeatureGroupArgs
from components.feature_online_store import FeatureOnlineStore, FeatureOnlineStoreArgs
from components.feature_view import FeatureView, FeatureViewArgs
from components.workbench import Workbench, WorkbenchArgs

KEY = "projects/p/locations/us-central1/keyRings/r/cryptoKeys/k"
SPEC = {"kmsKeyName": KEY}


class TestExperimentTracking:
    def test_the_store_is_the_one_that_pipelines_write_to(self, declare: Any) -> None:
        args = ExperimentTrackingArgs(location="us-central1", kms_key=KEY)
        declared = declare(lambda opts: ExperimentTracking("demo", args=args, opts=opts))
        store = declared.inputs("AiMetadataStore")
        assert (store["name"], store["encryptionSpec"]) == ("default", SPEC)
        assert declared.inputs("AiTensorboard")["encryptionSpec"] == SPEC

    def test_one_can_be_had_without_the_other(self, declare: Any) -> None:
        args = ExperimentTrackingArgs(location="us-central1", tensorboard=False)
        declared = declare(lambda opts: ExperimentTracking("demo", args=args, opts=opts))
        assert declared.result.tensorboard is None
        assert declared.mocks.find("AiTensorboard") == []
        assert "encryptionSpec" not in declared.inputs("AiMetadataStore")


def _group(**change: Any) -> FeatureGroupArgs:
    return FeatureGroupArgs(
        **{
            "location": "us-central1",
            "description": "Demo",
            "source": "p.curated.features",
            "entity": ["flight_id"],
            "features": {"height": "How high", "width": "How wide"},
            **change,
        }
    )


def _view(**change: Any) -> FeatureViewArgs:
    return FeatureViewArgs(
        **{
            "location": "us-central1",
            "store": None,
            "source": "p.curated.latest_features",
            "entity": ["flight_id"],
            **change,
        }
    )


class TestFeatures:
    def test_each_feature_is_a_column_of_the_source(self, declare: Any) -> None:
        declared = declare(lambda opts: FeatureGroup("flight-delay", args=_group(), opts=opts))
        group = declared.inputs("gcp:vertex/aiFeatureGroup:AiFeatureGroup")
        assert group["name"] == "flight_delay"
        assert group["bigQuery"] == {
            "bigQuerySource": {"inputUri": "bq://p.curated.features"},
            "entityIdColumns": ["flight_id"],
        }
        features = [one.inputs for one in declared.mocks.find("AiFeatureGroupFeature")]
        assert {one["name"]: one["description"] for one in features} == {
            "height": "How high",
            "width": "How wide",
        }
        assert all(one["versionColumnName"] == one["name"] for one in features)

    def test_a_store_serves_the_last_row_of_each_entity_as_often_as_it_is_told(
        self, declare: Any
    ) -> None:
        def program(opts: pulumi.ResourceOptions) -> FeatureView:
            online = FeatureOnlineStore(
                "esteira",
                args=FeatureOnlineStoreArgs(
                    location="us-central1", min_nodes=1, max_nodes=3, kms_key=KEY
                ),
                opts=opts,
            )
            args = _view(store=online.store, sync="*/10 * * * *")
            return FeatureView("flight-delay", args=args, opts=opts)

        declared = declare(program)
        view = declared.inputs("AiFeatureOnlineStoreFeatureview")
        assert (view["name"], view["featureOnlineStore"]) == ("flight_delay", "esteira")
        assert view["syncConfig"] == {"cron": "*/10 * * * *"}
        assert view["bigQuerySource"] == {
            "uri": "bq://p.curated.latest_features",
            "entityIdColumns": ["flight_id"],
        }
        store = declared.inputs("gcp:vertex/aiFeatureOnlineStore:AiFeatureOnlineStore")
        assert store["encryptionSpec"] == SPEC
        assert store["bigtable"]["autoScaling"] == {
            "minNodeCount": 1,
            "maxNodeCount": 3,
            "cpuUtilizationTarget": 50,
        }


def _bench(**change: Any) -> WorkbenchArgs:
    return WorkbenchArgs(
        **{
            "project": "p",
            "zone": "us-central1-a",
            "account_id": "demo-workbench",
            "reads": {},
            **change,
        }
    )


class TestWorkbench:
    @pytest.fixture
    def declared(self, declare: Any) -> Any:
        def program(opts: pulumi.ResourceOptions) -> Workbench:
            assert isinstance(opts.providers, list)
            curated = gcp.bigquery.Dataset(
                "c", dataset_id="curated", opts=pulumi.ResourceOptions(provider=opts.providers[0])
            )
            args = _bench(
                reads={"curated": curated},
                users=["user:ana@example.com"],
                subnetwork="projects/p/regions/us-central1/subnetworks/s",
                kms_key=KEY,
                idle_minutes=30,
            )
            return Workbench("demo-workbench", args=args, opts=opts)

        return declare(program)

    def test_nothing_reaches_it_from_outside(self, declared: Any) -> None:
        setup = declared.inputs("gcp:workbench/instance:Instance")["gceSetup"]
        assert setup["disablePublicIp"] is True
        assert setup["networkInterfaces"] == [
            {"subnet": "projects/p/regions/us-central1/subnetworks/s"}
        ]
        assert set(setup["shieldedInstanceConfig"].values()) == {True}

    def test_it_sleeps_when_nobody_works_and_nobody_is_root(self, declared: Any) -> None:
        metadata = declared.inputs("gcp:workbench/instance:Instance")["gceSetup"]["metadata"]
        assert metadata["idle-timeout-seconds"] == "1800"
        assert metadata["notebook-disable-root"] == "true"

    def test_its_disks_have_our_key(self, declared: Any) -> None:
        setup = declared.inputs("gcp:workbench/instance:Instance")["gceSetup"]
        for disk in (setup["bootDisk"], setup["dataDisks"]):
            assert (disk["diskEncryption"], disk["kmsKey"]) == ("CMEK", KEY)

    def test_its_identity_reads_and_writes_nothing(self, declared: Any) -> None:
        [access] = [one.inputs for one in declared.mocks.find("DatasetAccess")]
        assert (access["datasetId"], access["role"]) == ("curated", "READER")
        members = declared.mocks.find("gcp:projects/iAMMember:IAMMember")
        assert {one.inputs["role"] for one in members} == {
            "roles/aiplatform.user",
            "roles/bigquery.jobUser",
            "roles/bigquery.readSessionUser",
            "roles/logging.logWriter",
        }

    def test_users_are_let_in_on_the_instance_alone(self, declared: Any) -> None:
        member = declared.inputs("gcp:workbench/instanceIamMember:InstanceIamMember")
        assert (member["name"], member["member"]) == ("demo-workbench", "user:ana@example.com")
        opened = declared.inputs("IAMMember", "demo-workbench-open-user:ana@example.com")
        assert opened["role"] == "roles/iam.serviceAccountUser"
        assert opened["serviceAccountId"].endswith(
            "/serviceAccounts/demo-workbench@test-project.iam.gserviceaccount.com"
        )


REFUSED: list[tuple[Callable[[], Any], str]] = [
    (
        lambda: ExperimentTrackingArgs(location="l", metadata_store=False, tensorboard=False),
        "at least one of them",
    ),
    (lambda: _group(source="curated.features"), "`project.dataset.table`"),
    (lambda: _group(features={}), "at least one column of each"),
    (lambda: _group(features={"Height": "How high"}), "`features` is 'Height'"),
    (lambda: _view(sync="hourly"), "five fields of cron"),
    (lambda: _view(source="curated.latest"), "`project.dataset.table`"),
    (lambda: _view(entity=[]), "at least one column"),
    (
        lambda: FeatureOnlineStoreArgs(location="l", min_nodes=2, max_nodes=1),
        "`max_nodes` is 1; allowed: 2 to 20",
    ),
    (lambda: FeatureOnlineStoreArgs(location="l", cpu_percent=90), "`cpu_percent` is 90"),
    (lambda: _bench(zone="us-central1"), "`zone` is 'us-central1'"),
    (lambda: _bench(idle_minutes=5), "`idle_minutes` is 5"),
    (lambda: _bench(users=["allUsers"]), "never everybody"),
]


@pytest.mark.parametrize(("make", "message"), REFUSED, ids=[one[1] for one in REFUSED])
def test_what_google_would_refuse(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(InvalidArgs) as refused:
        make()
    assert message in str(refused.value)

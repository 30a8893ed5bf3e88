"""What models run on: features, experiments, retraining, monitoring, notebooks, by the settings."""

from __future__ import annotations

import json
from typing import Any

import pytest

from workloads import contracts
from workloads import product as products
from workloads.database import DatabaseSettings
from workloads.features import store
from workloads.monitoring.settings import MonitoringSettings
from workloads.retraining.settings import RetrainingSettings
from workloads.training.settings import TrainingSettings

JOB = "gcp:cloudrunv2/job:Job"
STORE = "gcp:vertex/aiFeatureOnlineStore:AiFeatureOnlineStore"
VIEW = "gcp:vertex/aiFeatureOnlineStoreFeatureview:AiFeatureOnlineStoreFeatureview"
GROUP = "gcp:vertex/aiFeatureGroup:AiFeatureGroup"
BENCH = "gcp:workbench/instance:Instance"


def _configuration(environment: str, **more: Any) -> dict[str, str]:
    return {
        "environment": environment,
        "project": f"esteira-{environment}",
        "products": '["flight-delay"]',
        **{key: json.dumps(value) for key, value in more.items()},
    }


@pytest.fixture(scope="module")
def prod(compose: Any) -> Any:
    return compose(
        _configuration("prod", workbench={"enabled": True, "users": ["user:ana@example.com"]})
    )


@pytest.fixture(scope="module")
def local(compose: Any) -> Any:
    return compose(_configuration("local"))


class TestFeatureStore:
    def test_every_feature_of_the_request_is_registered_with_its_meaning(self, prod: Any) -> None:
        product = products.load("flight-delay")
        declared = {one.name: one.description for one in contracts.fields(product.features.request)}
        made = [one.inputs for one in prod.mocks.find("AiFeatureGroupFeature")]
        assert {one["name"]: one["description"] for one in made} == declared

    def test_it_reads_the_curated_view_by_the_products_entity(self, prod: Any) -> None:
        source = prod.inputs(GROUP, "flight-delay")["bigQuery"]
        assert source["entityIdColumns"] == ["flight_id"]
        uri = source["bigQuerySource"]["inputUri"]
        assert uri == "bq://esteira-prod.flight_delay_curated.features"
        assert uri == f"bq://{_mine(prod)['tables']['feature_history']}"

    def test_prod_serves_them_online_with_our_key(self, prod: Any) -> None:
        store = prod.inputs(STORE, "esteira")
        assert store["encryptionSpec"]["kmsKeyName"].endswith("/cryptoKeys/aiplatform")
        assert store["bigtable"]["autoScaling"]["maxNodeCount"] == 3
        view = prod.inputs(VIEW, "flight-delay")
        assert view["bigQuerySource"] == {
            "uri": "bq://esteira-prod.flight_delay_curated.latest_features",
            "entityIdColumns": ["flight_id"],
        }
        assert _mine(prod)["features"]["online_view"]

    def test_the_view_is_where_the_workloads_look_for_it(
        self, prod: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "esteira-prod")
        product = products.load("flight-delay")
        view = prod.inputs(VIEW, "flight-delay")
        wanted = store.view_name(product).split("/")[4:]
        assert wanted == [
            *("featureOnlineStores", view["featureOnlineStore"]),
            *("featureViews", view["name"]),
        ]

    def test_whoever_serves_may_look_features_up_and_do_nothing_else_there(self, prod: Any) -> None:
        made = prod.mocks.find("AiFeatureOnlineStoreFeatureviewIamMember")
        assert {one.name for one in made} == {
            "flight-delay-serve-look-features-up",
            "flight-delay-api-look-features-up",
        }
        assert {one.inputs["role"] for one in made} == {"roles/aiplatform.featurestoreDataViewer"}

    def test_local_serves_them_from_its_database_and_registers_nothing(self, local: Any) -> None:
        assert local.mocks.find(GROUP) == local.mocks.find("AiFeatureGroupFeature") == []
        assert local.inputs(VIEW, "flight-delay")["featureOnlineStore"] == "esteira"
        assert _mine(local)["features"]["group"] is None
        assert local.mocks.find("gcp:sql/databaseInstance:DatabaseInstance")

    def test_dev_registers_them_and_pays_for_no_store(self, compose: Any) -> None:
        dev = compose(_configuration("dev"))
        assert dev.mocks.find(GROUP)
        assert dev.mocks.find(STORE) == dev.mocks.find(VIEW) == []
        assert _mine(dev)["features"]["online_view"] is None


class TestExperiments:
    def test_prod_keeps_them_with_our_key(self, prod: Any) -> None:
        for token in ("AiMetadataStore", "AiTensorboard"):
            [made] = prod.mocks.find(token)
            assert made.inputs["encryptionSpec"]["kmsKeyName"].endswith("/cryptoKeys/aiplatform")
        commons = prod.outputs["esteira"]["commons"]
        assert commons["metadata_store"].endswith("/metadataStores/default")
        assert commons["tensorboard"]

    def test_local_makes_nothing_of_vertex_ai_that_costs(self, local: Any) -> None:
        assert local.mocks.find("AiMetadataStore") == local.mocks.find("AiTensorboard") == []
        made = {name for name, one in local.outputs["esteira"]["commons"].items() if one}
        assert made == {"feature_online_store"}


class TestRetraining:
    def test_the_controller_decides_as_itself_and_submits_as_the_steps(self, prod: Any) -> None:
        task = prod.inputs(JOB, "flight-delay-retraining")["template"]["template"]
        assert task["serviceAccount"] == "flight-delay-retrain@esteira-prod.iam.gserviceaccount.com"
        [container] = task["containers"]
        assert container["commands"] == ["python", "-m", "workloads.retraining"]
        told = {one["name"].lower(): one["value"] for one in container["envs"]}
        settings = RetrainingSettings(**told)
        train = "flight-delay-train@esteira-prod.iam.gserviceaccount.com"
        assert settings.service_account == train
        assert settings.serving_service_account.startswith("flight-delay-serve@")
        assert (settings.retraining_command, settings.retraining_releases) == ("turn", "job")
        assert "@sha256:" in settings.training_image
        assert "@sha256:" in settings.serving_image
        login = DatabaseSettings(
            **{name: value for name, value in told.items() if name.startswith("database_")}
        )
        assert login.database_user == "flight-delay-retrain@esteira-prod.iam"
        assert _mine(prod)["retraining"]["database_user"] == login.database_user

    def test_it_may_neither_deploy_nor_change_data(self, prod: Any) -> None:
        email = "flight-delay-retrain@esteira-prod.iam.gserviceaccount.com"
        account = f"serviceAccount:{email}"
        roles = {
            one.inputs["role"] for one in prod.mocks.made if one.inputs.get("member") == account
        } | {
            one.inputs["role"]
            for one in prod.mocks.find("DatasetAccess")
            if one.inputs.get("userByEmail") == email
        }
        assert "roles/cloudsql.instanceUser" in roles
        assert "roles/monitoring.metricWriter" in roles
        assert not roles & {"roles/run.developer", "roles/run.admin", "roles/aiplatform.admin"}
        assert "roles/bigquery.dataEditor" not in roles

    def test_the_steps_of_pipelines_have_no_way_to_the_records(self, prod: Any) -> None:
        train = "serviceAccount:flight-delay-train@esteira-prod.iam.gserviceaccount.com"
        roles = {one.inputs["role"] for one in prod.mocks.made if one.inputs.get("member") == train}
        assert roles
        assert "roles/cloudsql.instanceUser" not in roles

    def test_without_a_database_the_schedule_submits_a_run(self, compose: Any) -> None:
        bare = compose(
            _configuration(
                "local",
                database={"enabled": False},
                tracking={"enabled": False},
                features={"online": False},
            )
        )
        task = bare.inputs(JOB, "flight-delay-retraining")["template"]["template"]
        [container] = task["containers"]
        assert container["commands"] == ["python", "-m", "workloads.training"]
        assert TrainingSettings(**{one["name"].lower(): one["value"] for one in container["envs"]})
        schedule = bare.inputs("gcp:cloudscheduler/job:Job", "flight-delay-retraining")
        assert schedule["schedule"] == "0 6 1 * *"
        assert set(_mine(bare)["retraining"].values()) == {None}

    def test_only_the_caller_starts_it(self, prod: Any) -> None:
        invoker = prod.inputs("JobIamMember", "flight-delay-retraining-invoker")
        caller = "flight-delay-call@esteira-prod.iam.gserviceaccount.com"
        assert invoker["member"] == f"serviceAccount:{caller}"
        schedule = prod.inputs("gcp:cloudscheduler/job:Job", "flight-delay-retraining")
        # Each hour, whatever the product's own schedule is.
        assert schedule["schedule"] == "20 * * * *"
        assert schedule["paused"] is False

    def test_locally_it_rests_since_the_data_is_old(self, local: Any) -> None:
        schedule = local.inputs("gcp:cloudscheduler/job:Job", "flight-delay-retraining")
        assert schedule["paused"] is True
        batch = local.inputs("gcp:cloudscheduler/job:Job", "flight-delay-batch-prediction")
        assert batch["paused"] is False

    def test_outputs_say_when(self, prod: Any) -> None:
        training = _mine(prod)["training"]
        assert (training["schedule"], training["cron"]) == (
            "flight-delay-retraining",
            "0 6 1 * *",
        )


class TestMonitoring:
    def test_its_identity_writes_scores_and_reports_and_reads_the_rest(self, prod: Any) -> None:
        email = "flight-delay-monitor@esteira-prod.iam.gserviceaccount.com"
        access = {
            one.inputs["datasetId"]: one.inputs["role"]
            for one in prod.mocks.find("DatasetAccess")
            if one.inputs.get("userByEmail") == email
        }
        assert access == {
            "flight_delay_raw": "READER",
            "flight_delay_predictions": "READER",
            "flight_delay_monitoring": "WRITER",
        }
        reports = prod.inputs("BucketIAMMember", "flight-delay-monitor-write-reports")
        assert reports["condition"]["expression"].endswith(
            '/buckets/esteira-prod-flight-delay-models/objects/reports/")'
        )

    def test_outputs_say_where(self, prod: Any) -> None:
        mine = _mine(prod)
        assert mine["tables"]["monitoring"] == "esteira-prod.flight_delay_monitoring"
        assert mine["monitoring"] == {
            "reports": "gs://esteira-prod-flight-delay-models/reports",
            "service_account": "flight-delay-monitor@esteira-prod.iam.gserviceaccount.com",
            "job": mine["monitoring"]["job"],
            "schedule": "flight-delay-monitor",
            "cron": "0 5 * * *",
            "drift_score": 0.1,
        }

    def test_its_job_runs_by_schedule_with_settings_it_understands(self, prod: Any) -> None:
        task = prod.inputs(JOB, "flight-delay-monitor")["template"]["template"]
        [container] = task["containers"]
        assert container["commands"] == ["python", "-m", "workloads.monitoring"]
        names = {one["name"].lower(): one["value"] for one in container["envs"]}
        fields = MonitoringSettings.model_fields
        assert MonitoringSettings(**{name: names[name] for name in names if name in fields})
        # Retraining is asked for in the database of records.
        assert names["database_user"] == "flight-delay-monitor@esteira-prod.iam"
        schedule = prod.inputs("gcp:cloudscheduler/job:Job", "flight-delay-monitor")
        assert schedule["timeZone"] == "America/New_York"
        assert schedule["paused"] is False


class TestWorkbench:
    def test_it_reads_what_data_teams_read(self, prod: Any) -> None:
        email = "esteira-workbench@esteira-prod.iam.gserviceaccount.com"
        read = {
            one.inputs["datasetId"]
            for one in prod.mocks.find("DatasetAccess")
            if one.inputs.get("userByEmail") == email
        }
        assert read == {f"flight_delay_{zone}" for zone in ("curated", "features", "predictions")}

    def test_it_is_private_and_encrypted(self, prod: Any) -> None:
        setup = prod.inputs(BENCH, "esteira-workbench")["gceSetup"]
        assert setup["disablePublicIp"] is True
        assert setup["bootDisk"]["kmsKey"].endswith("/cryptoKeys/notebooks")
        assert prod.outputs["esteira"]["commons"]["workbench"]

    @pytest.mark.parametrize("environment", ["local", "dev", "prod"])
    def test_nobody_gets_one_unasked(self, compose: Any, environment: str) -> None:
        assert compose(_configuration(environment)).mocks.find(BENCH) == []


def _mine(composed: Any) -> dict[str, Any]:
    return composed.outputs["esteira"]["products"]["flight-delay"]


class TestBatchPrediction:
    @pytest.fixture(scope="class")
    def both(self, compose: Any) -> Any:
        return compose({**_configuration("local"), "products": '["arrival-delay", "flight-delay"]'})

    def test_who_publishes_logs_in_to_the_database_as_itself(self, both: Any) -> None:
        job = both.inputs(JOB, "arrival-delay-batch-prediction")
        told = _told(job)
        account = both.inputs("gcp:sql/user:User", "arrival-delay-batch")
        assert told["DATABASE_USER"] == account["name"]
        assert account["name"].startswith("arrival-delay-batch@")
        assert (told["DATABASE_NAME"], told["PRODUCT"]) == ("esteira", "arrival-delay")
        assert told["DATABASE_HOST"]
        identity = job["template"]["template"]["serviceAccount"]
        (login,) = [
            one.inputs["member"]
            for one in both.mocks.find("gcp:projects/iAMMember:IAMMember")
            if one.name == "arrival-delay-batch-log-in"
        ]
        assert login == f"serviceAccount:{identity}"

    def test_who_does_not_publish_knows_of_no_database(self, both: Any) -> None:
        told = _told(both.inputs(JOB, "flight-delay-batch-prediction"))
        assert not [name for name in told if name.startswith("DATABASE_")]
        assert "flight-delay-batch" not in [one.name for one in both.mocks.find("sql/user:User")]

    def test_the_table_has_the_columns_of_the_task(self, both: Any) -> None:
        found = {
            one.inputs["datasetId"]: [column["name"] for column in json.loads(one.inputs["schema"])]
            for one in both.mocks.find("gcp:bigquery/table:Table")
            if one.inputs["tableId"] == "batch"
        }
        assert {"probability", "answer"} <= set(found["flight_delay_predictions"])
        assert {"prediction", "lower", "upper"} <= set(found["arrival_delay_predictions"])


def _told(job: dict[str, Any]) -> dict[str, Any]:
    """The environment of a job's tasks."""
    (container,) = job["template"]["template"]["containers"]
    return {one["name"]: one.get("value") for one in container["envs"]}

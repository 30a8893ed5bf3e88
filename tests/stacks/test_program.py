"""Every product composes in every environment, and prod is what prod has to be."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stacks import outputs
from stacks.settings import Environment, SettingsError
from workloads import product as products
from workloads.contracts import avro_schema


@pytest.fixture(params=[one.value for one in Environment])
def environment(request: pytest.FixtureRequest) -> str:
    return request.param


def _configuration(environment: str, **more: Any) -> dict[str, str]:
    return {
        "environment": environment,
        "project": f"esteira-{environment}",
        **{key: json.dumps(value) for key, value in more.items()},
    }


@pytest.mark.parametrize("name", products.names())
def test_a_product_composes(compose: Any, environment: str, name: str) -> None:
    product = products.load(name)
    composed = compose(_configuration(environment, products=sorted([*product.owners, name])))
    exported = outputs.Outputs.model_validate(composed.outputs["esteira"])
    assert exported.environment == environment
    mine = exported.products[name]
    assert set(mine.streams) == {source.contract.NAME for source in product.streams}
    assert set(mine.landing.folders) == {source.contract.NAME for source in product.own}
    assert set(mine.tables.current) == {source.contract.NAME for source in product.own}
    for source in product.streams:
        stem = f"{name}-{source.contract.PLURAL}"
        assert mine.streams[source.contract.NAME].topic.endswith(f"/topics/{stem}")
        definition = composed.inputs("Schema", stem)["definition"]
        assert json.loads(definition) == avro_schema(source.contract)


def test_a_trial_project_runs_few_processors_and_nothing_that_costs_at_rest(compose: Any) -> None:
    mocks = compose({**_configuration("dev"), "profile": "free-trial"}).mocks
    (job,) = mocks.find("gcp:dataflow/flexTemplateJob:FlexTemplateJob")
    assert (job.inputs["machineType"], job.inputs["maxWorkers"]) == ("n1-standard-1", 1)
    (database,) = mocks.find("gcp:sql/databaseInstance:DatabaseInstance")
    assert database.inputs["settings"]["tier"] == "db-f1-micro"
    assert database.inputs["settings"]["availabilityType"] == "ZONAL"
    for service in mocks.find("gcp:cloudrunv2/service:Service"):
        assert service.inputs["template"]["scaling"].get("minInstanceCount", 0) == 0
    for token in ("aiFeatureOnlineStore", "aiTensorboard", "uptimeCheckConfig"):
        assert [one for one in mocks.made if token in one.token] == []


def test_names_are_those_that_workloads_expect(compose: Any) -> None:
    flat = compose(_configuration("local")).outputs
    mine = flat["esteira"]["products"]["flight-delay"]
    topic = "projects/esteira-local/topics/flight-delay-flights"
    assert flat["flight_delay_flight_topic"] == topic
    assert mine["streams"]["flight"] == {
        "topic": topic,
        "avro_schema": "projects/esteira-local/schemas/flight-delay-flights",
        "subscription": "projects/esteira-local/subscriptions/flight-delay-flights-ingestion",
        "dead_letter_topic": f"{topic}-dead-letters",
        "dead_letter_subscription": (
            "projects/esteira-local/subscriptions/flight-delay-flights-dead-letters-inspection"
        ),
    }
    assert mine["buckets"] == {
        "landing": "gs://esteira-local-flight-delay-landing",
        "models": "gs://esteira-local-flight-delay-models",
        "work": "gs://esteira-local-flight-delay-work",
    }
    assert mine["landing"]["folders"]["weather"] == (
        "gs://esteira-local-flight-delay-landing/weather/"
    )
    assert mine["landing"]["topic"] == "projects/esteira-local/topics/flight-delay-landed"
    assert mine["tables"]["raw"]["dead_letters"] == "esteira-local.flight_delay_raw.dead_letters"
    assert mine["tables"]["features"] == "esteira-local.flight_delay_features"
    assert mine["tables"]["predictions"] == {
        "online": "esteira-local.flight_delay_predictions.online",
        "batch": "esteira-local.flight_delay_predictions.batch",
        "log": "esteira-local.flight_delay_predictions.log",
    }
    assert mine["ingestion"]["batch_template"] == (
        "gs://esteira-local-flight-delay-work/templates/batch.json"
    )
    assert mine["batch"]["job"] == (
        "projects/esteira-local/locations/us-central1/jobs/flight-delay-batch-prediction"
    )
    assert mine["service_accounts"]["train"] == (
        "flight-delay-train@esteira-local.iam.gserviceaccount.com"
    )


def test_everything_has_the_five_labels(compose: Any, environment: str) -> None:
    made = compose(_configuration(environment)).mocks.made
    labelled = [one for one in made if "effectiveLabels" in one.outputs]
    assert len(labelled) > 20
    for resource in labelled:
        labels = resource.outputs["effectiveLabels"]
        assert labels["environment"] == environment, resource.name
        assert labels["managed-by"] == "pulumi", resource.name
        assert {"product", "owner", "cost-center"} <= set(labels), resource.name
    topic = next(one for one in labelled if one.name == "flight-delay-flights")
    assert topic.outputs["effectiveLabels"]["owner"] == "flight-operations"
    assert topic.outputs["effectiveLabels"]["cost-center"] == "fo-1001"


def test_the_same_settings_declare_the_same(compose: Any, compose_anew: Any) -> None:
    first, second = (
        sorted(
            (one.token, one.name, json.dumps(one.inputs, sort_keys=True))
            for one in run(_configuration("prod")).mocks.made
        )
        for run in (compose, compose_anew)
    )
    assert first == second


def test_prod_encrypts_everything_that_is_stored(compose: Any) -> None:
    composed = compose(_configuration("prod"))
    keys = "projects/esteira-prod/locations/us-central1/keyRings/esteira/cryptoKeys/"
    wanted = {
        "Bucket": ("storage", lambda one: one["encryption"]["defaultKmsKeyName"]),
        "gcp:pubsub/topic:Topic": ("pubsub", lambda one: one["kmsKeyName"]),
        "Dataset": (
            "bigquery",
            lambda one: one["defaultEncryptionConfiguration"]["kmsKeyName"],
        ),
        "AiEndpoint": ("aiplatform", lambda one: one["encryptionSpec"]["kmsKeyName"]),
        "FlexTemplateJob": ("dataflow", lambda one: one["kmsKeyName"]),
        "Repository": ("artifactregistry", lambda one: one["kmsKeyName"]),
        "gcp:cloudrunv2/service:Service": ("run", lambda one: one["template"]["encryptionKey"]),
        "gcp:cloudrunv2/job:Job": (
            "run",
            lambda one: one["template"]["template"]["encryptionKey"],
        ),
    }
    for token, (service, read) in wanted.items():
        found = composed.mocks.find(token)
        assert found, token
        for resource in found:
            assert read(resource.inputs) == keys + service, resource.name
    tables = [one.inputs for one in composed.mocks.find("gcp:bigquery/table:Table")]
    for table in tables:
        if "view" not in table:
            assert table["encryptionConfiguration"]["kmsKeyName"] == f"{keys}bigquery"
    starter = composed.inputs("gcp:cloudrunv2/service:Service", "flight-delay-ingestion-starter")
    [container] = starter["template"]["containers"]
    assert {"name": "KMS_KEY_NAME", "value": f"{keys}dataflow"} in container["envs"]


def test_prod_keeps_what_it_has(compose: Any) -> None:
    composed = compose(_configuration("prod"))
    for bucket in composed.mocks.find("gcp:storage/bucket:Bucket"):
        assert bucket.inputs["forceDestroy"] is False
        assert bucket.inputs["versioning"] == {"enabled": True}
    for dataset in composed.mocks.find("gcp:bigquery/dataset:Dataset"):
        assert dataset.inputs["deleteContentsOnDestroy"] is False
    for table in composed.mocks.find("gcp:bigquery/table:Table"):
        assert table.inputs["deletionProtection"] is True, table.name


def test_nothing_in_prod_is_reached_from_outside(compose: Any) -> None:
    composed = compose(_configuration("prod"))
    subnetwork = "projects/esteira-prod/regions/us-central1/subnetworks/esteira"
    job = composed.inputs("FlexTemplateJob", "flight-delay-streaming-ingestion")
    assert job["ipConfiguration"] == "WORKER_IP_PRIVATE"
    assert job["subnetwork"] == subnetwork
    endpoint = composed.inputs("AiEndpoint", "flight-delay")
    assert endpoint["privateServiceConnectConfig"]["enablePrivateServiceConnect"] is True
    service = composed.inputs("gcp:cloudrunv2/service:Service", "flight-delay-ingestion-starter")
    assert service["ingress"] == "INGRESS_TRAFFIC_INTERNAL_ONLY"
    [interface] = service["template"]["vpcAccess"]["networkInterfaces"]
    assert interface["subnetwork"] == subnetwork
    members = [one.inputs["member"] for one in composed.mocks.made if one.token.endswith("Member")]
    assert members
    assert not {"allUsers", "allAuthenticatedUsers"} & set(members)


def test_workloads_hold_only_the_narrow_roles_of_a_project(compose: Any, environment: str) -> None:
    composed = compose(_configuration(environment))
    assert composed.mocks.find("gcp:serviceaccount/key:Key") == []
    granted = {one.inputs["role"] for one in composed.mocks.find("projects/iAMMember:IAMMember")}
    granted |= {
        one.inputs["role"] for one in composed.mocks.find("gcp:projects/iAMMember:IAMMember")
    }
    assert granted
    assert not {role for role in granted if "admin" in role.lower()}
    assert not granted & {"roles/owner", "roles/editor", "roles/viewer"}
    assert not granted & {
        "roles/iam.serviceAccountUser",
        "roles/iam.serviceAccountTokenCreator",
    }


def test_images_run_by_digest(compose: Any, environment: str) -> None:
    composed = compose(_configuration(environment))
    for reference in composed.outputs["esteira"]["images"].values():
        assert "@sha256:" in reference
    batch = composed.inputs("gcp:cloudrunv2/job:Job", "flight-delay-batch-prediction")
    [container] = batch["template"]["template"]["containers"]
    assert "@sha256:" in container["image"]


def test_a_wrong_setting_stops_before_the_first_resource(compose: Any) -> None:
    with pytest.raises(SettingsError, match=r"esteira:retention\.messages is 90"):
        compose(_configuration("prod", retention={"messages": 90}))


def test_local_needs_neither_network_nor_key(compose: Any) -> None:
    mocks = compose(_configuration("local")).mocks
    assert mocks.find("Network") == []
    assert mocks.find("CryptoKey") == []
    job = next(one.inputs for one in mocks.find("FlexTemplateJob"))
    assert job["onDelete"] == "cancel"
    assert "subnetwork" not in job

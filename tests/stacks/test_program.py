"""Every product composes in every environment, and prod is what prod has to be."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, cast

import pytest

from esteira.project import check_room
from esteira.project.finding import Context
from esteira.project.names import Names
from esteira.project.plan import Plan, Resource
from stacks import outputs
from stacks.settings import Environment, Settings, SettingsError
from workloads import product as products
from workloads.contracts import avro_schema

RUN_JOB = "gcp:cloudrunv2/job:Job"
STREAMING_JOB = "gcp:dataflow/flexTemplateJob:FlexTemplateJob"


@pytest.fixture(params=[one.value for one in Environment])
def environment(request: pytest.FixtureRequest) -> str:
    return request.param


def _configuration(environment: str, **more: Any) -> dict[str, str]:
    return {
        "environment": environment,
        "project": f"esteira-{environment}",
        # Those that come with Esteira, whatever else a checkout declares.
        "products": '["arrival-delay", "flight-delay"]',
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


def test_a_trial_project_has_the_quotas_that_the_profile_needs(compose: Any) -> None:
    """The table of docs/google-cloud.md, which says where the figures of a trial are read."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "google-cloud.md").read_text()
    rows = re.findall(r"^\| `(\w+)`[^|]*\| (\d+) \| (\d+) \|", page, re.MULTILINE)
    configured = _configuration("dev", products=["arrival-delay", "flight-delay"])
    made = compose(configured | {"profile": "free-trial"}).mocks.made
    context = Context(
        stack="dev",
        settings=Settings.from_values(
            {"environment": "dev", "project": "esteira-dev", "profile": "free-trial"}
            | {"products": ["arrival-delay", "flight-delay"]}
        ),
        names=Names(stack="dev", project="esteira-dev", location="us-central1"),
        calls=cast("Any", None),
        plan=Plan([Resource(token=one.token, name=one.name, inputs=one.inputs) for one in made]),
        secrets_provider="",
    )
    needs = check_room.compute_needs(context) | check_room.service_needs(context)
    run, what = needs.pop("run.googleapis.com/cpu_allocation")
    assert f"may grow to\n{run // 1000} vCPUs and rest at none" in page, what
    found = {metric.rpartition("/")[2]: need for metric, (need, _) in needs.items()}
    assert found == {metric: int(need) for metric, _, need in rows if need != "0"}
    assert all(int(need) <= int(quota) for _, quota, need in rows)
    # A canary runs beside the champion.
    assert 2 * found["custom_model_serving_cpus"] <= 8


def test_how_far_an_endpoint_grows_is_the_products_to_say_and_the_stacks_to_limit(
    compose: Any,
) -> None:
    for profile, limit in (("standard", None), ("free-trial", "1")):
        mocks = compose({**_configuration("dev"), "profile": profile}).mocks
        jobs = [one for one in mocks.find(RUN_JOB) if one.name.endswith("-release")]
        assert jobs
        for job in jobs:
            (container,) = job.inputs["template"]["template"]["containers"]
            told = {one["name"]: one.get("value") for one in container["envs"]}
            assert told.get("SERVING_MAX_REPLICAS") == limit
    serving = products.load("flight-delay").serving
    assert serving.within(None) == serving
    assert (serving.within(1).min_replicas, serving.within(1).max_replicas) == (1, 1)
    assert serving.within(2).max_replicas == 2
    assert serving.within(9) == serving


@pytest.mark.parametrize("profile", ["standard", "free-trial"])
def test_dev_scales_to_zero_but_for_what_is_said_to_run(compose: Any, profile: str) -> None:
    mocks = compose({**_configuration("dev"), "profile": profile}).mocks
    services = mocks.find("gcp:cloudrunv2/service:Service")
    assert len(services) > 3
    for service in services:
        assert service.inputs["template"]["scaling"].get("minInstanceCount", 0) == 0, service.name
    for token in ("aiFeatureOnlineStore", "aiTensorboard", "workbench/instance", "routerNat:"):
        assert [one.name for one in mocks.made if token in one.token] == []


def test_what_dev_runs_at_all_times_can_be_rested_and_nothing_is_lost(compose: Any) -> None:
    awake = compose(_configuration("dev"))
    asleep = compose(_configuration("dev", lifetime={"rest": True}))
    jobs = {one.name for one in awake.mocks.find(STREAMING_JOB)}
    assert jobs == {"flight-delay-streaming-ingestion"}
    of_awake = {(one.token, one.name) for one in awake.mocks.made}
    of_asleep = {(one.token, one.name) for one in asleep.mocks.made}
    gone = {name for _, name in of_awake - of_asleep}
    # Beside the job, what tells of the job alone.
    assert {name for name in gone if "streaming-job" not in name} == jobs
    assert of_asleep <= of_awake
    for stack, policy, running in ((awake, "ALWAYS", True), (asleep, "NEVER", False)):
        (database,) = stack.mocks.find("gcp:sql/databaseInstance:DatabaseInstance")
        assert database.inputs["settings"]["activationPolicy"] == policy
        for schedule in stack.mocks.find("gcp:cloudscheduler/job:Job"):
            assert bool(schedule.inputs.get("paused")) is not running, schedule.name
        for alert in stack.mocks.find("gcp:monitoring/alertPolicy:AlertPolicy"):
            assert alert.inputs["enabled"] is running, alert.name
    ingestion = asleep.outputs["esteira"]["products"]["flight-delay"]["ingestion"]
    assert ingestion["streaming_job"] == ""


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

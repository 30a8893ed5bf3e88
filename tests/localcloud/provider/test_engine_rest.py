"""Vertex endpoints, Cloud Run, Cloud Scheduler and BigQuery on the real engine."""

from __future__ import annotations

import json
from pathlib import Path

import pulumi
import pulumi_docker as docker
import pytest
from pulumi_gcp import artifactregistry, bigquery, cloudrunv2, cloudscheduler, vertex

from localcloud.images import Images
from localcloud.provider.clients import Clients

from .conftest import Cloud, Deployment, changes

pytestmark = pytest.mark.engine

LOCATION = "us-central1"
SERVER = """
import http.server, os
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"hello")
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Answer).serve_forever()
"""


@pytest.fixture
def clients(cloud: Cloud) -> Clients:
    cloud.start("rest")
    return Clients(cloud.home)


@pytest.fixture
def context(tmp_path: Path) -> Path:
    """A build context with one file of code."""
    folder = tmp_path / "context"
    folder.mkdir()
    (folder / "main.py").write_text(SERVER)
    (folder / "Dockerfile").write_text(
        'FROM python:3.13-slim\nWORKDIR /app\nCOPY main.py .\nENTRYPOINT ["python", "main.py"]\n'
    )
    return folder


def endpoint(description: str = "one", *, ignore: bool = True) -> None:
    options = pulumi.ResourceOptions(ignore_changes=["trafficSplit"] if ignore else [])
    made = vertex.AiEndpoint(
        "product",
        name="4711",
        display_name="product",
        description=description,
        location=LOCATION,
        labels={"owner": "sales"},
        opts=options,
    )
    pulumi.export("endpoint", made.id)
    pulumi.export("models", made.deployed_models)


def test_an_endpoint_lives_without_a_model(deploy: Deployment, clients: Clients) -> None:
    made = deploy.up(endpoint)
    name = made.outputs["endpoint"]
    assert name == f"projects/{deploy.config['gcp:project']}/locations/{LOCATION}/endpoints/4711"
    assert made.outputs["models"] == []
    assert changes(deploy.up(endpoint)) == {}
    assert set(deploy.refresh()) == {"same"}
    assert changes(deploy.up(lambda: endpoint("two"))) == {"update": 1}
    assert clients.rest.get(f"/v1/{name}")["description"] == "two"
    clients.rest.call("DELETE", f"/v1/{name}")
    assert deploy.refresh()["delete"] == 1
    assert changes(deploy.up(endpoint)) == {"create": 1}
    deploy.destroy()
    assert clients.rest.find(f"/v1/{name}") is None


def workloads(context: Path, protect: bool = False, greeting: str = "hello") -> None:
    repository = artifactregistry.Repository(
        "esteira", repository_id="esteira", format="DOCKER", location=LOCATION
    )
    image = docker.Image(
        "serving",
        image_name=pulumi.Output.concat(repository.registry_uri, "/serving:v1"),
        build={"context": str(context), "platform": "linux/amd64"},
    )
    service = cloudrunv2.Service(
        "serving",
        name="serving",
        location=LOCATION,
        deletion_protection=protect,
        ingress="INGRESS_TRAFFIC_INTERNAL_ONLY",
        template={
            "containers": [
                {
                    "image": image.repo_digest,
                    "envs": [{"name": "GREETING", "value": greeting}],
                    "resources": {"limits": {"cpu": "1", "memory": "512Mi"}},
                    "ports": {"container_port": 8080},
                }
            ],
            "scaling": {"min_instance_count": 0, "max_instance_count": 2},
        },
    )
    cloudrunv2.ServiceIamMember(
        "invoker",
        name=service.name,
        location=LOCATION,
        role="roles/run.invoker",
        member="serviceAccount:push@p.iam.gserviceaccount.com",
    )
    job = cloudrunv2.Job(
        "batch",
        name="batch",
        location=LOCATION,
        deletion_protection=False,
        template={
            "task_count": 2,
            "template": {
                "max_retries": 1,
                "timeout": "600s",
                "containers": [
                    {"image": image.repo_digest, "commands": ["python"], "args": ["-c", "pass"]}
                ],
            },
        },
    )
    cloudscheduler.Job(
        "nightly",
        name="nightly",
        region=LOCATION,
        schedule="0 3 * * *",
        time_zone="Etc/UTC",
        http_target={
            "uri": job.id.apply(lambda name: f"https://run.googleapis.com/v2/{name}:run"),
            "http_method": "POST",
            "oauth_token": {"service_account_email": "run@p.iam.gserviceaccount.com"},
        },
        retry_config={"retry_count": 2},
    )
    pulumi.export("uri", service.uri)
    pulumi.export("service", service.id)
    pulumi.export("digest", image.repo_digest)


def test_images_services_jobs_and_schedules(
    deploy: Deployment, clients: Clients, context: Path
) -> None:
    import httpx

    def program() -> None:
        workloads(context)

    made = deploy.up(program)
    assert "@sha256:" in made.outputs["digest"]
    assert httpx.get(made.outputs["uri"], timeout=30).text == "hello"
    held = clients.rest.get(f"/v2/{made.outputs['service']}")
    assert held["template"]["containers"][0]["env"][0] == {"name": "GREETING", "value": "hello"}
    policy = clients.rest.get(f"/v2/{made.outputs['service']}:getIamPolicy")
    assert policy["bindings"][0]["role"] == "roles/run.invoker"

    assert changes(deploy.up(program)) == {}
    assert set(deploy.refresh()) == {"same"}
    assert changes(deploy.up(lambda: workloads(context, greeting="olá"))) == {"update": 1}

    (context / "main.py").write_text(SERVER.replace("hello", "bonjour"))
    rebuilt = deploy.up(lambda: workloads(context, greeting="olá"))
    assert changes(rebuilt) == {"update": 3}
    assert rebuilt.outputs["digest"] != made.outputs["digest"]
    assert httpx.get(made.outputs["uri"], timeout=30).text == "bonjour"

    protected = deploy.up(lambda: workloads(context, protect=True, greeting="olá"))
    assert changes(protected) == {"update": 1}
    with pytest.raises(pulumi.automation.CommandError, match="deletionProtection=False"):
        deploy.destroy()
    deploy.up(program)
    deploy.destroy()
    assert clients.rest.find(f"/v2/{made.outputs['service']}") is None


SCHEMA = [
    {"name": "id", "type": "STRING", "mode": "REQUIRED", "description": "the order"},
    {"name": "at", "type": "TIMESTAMP"},
]


TAG = "projects/p/locations/us-central1/taxonomies/1/policyTags/2"


def warehouse(schema: list[dict[str, str]], description: str = "orders") -> None:
    dataset = bigquery.Dataset(
        "raw",
        dataset_id="raw",
        location="US",
        description=description,
        labels={"owner": "sales"},
        delete_contents_on_destroy=True,
    )
    table = bigquery.Table(
        "orders",
        dataset_id=dataset.dataset_id,
        table_id="orders",
        schema=json.dumps(
            [{**schema[0], "policyTags": {"names": [TAG]}}, *schema[1:]],
        ),
        time_partitioning={"type": "DAY", "field": "at", "expiration_ms": 86_400_000_000},
        clusterings=["id"],
        deletion_protection=False,
    )
    bigquery.Table(
        "latest",
        dataset_id=dataset.dataset_id,
        table_id="latest",
        view={
            "query": pulumi.Output.format("SELECT id FROM `{0}.raw.orders`", table.project),
            "use_legacy_sql": False,
        },
        deletion_protection=False,
        opts=pulumi.ResourceOptions(depends_on=[table]),
    )
    bigquery.Routine(
        "plus",
        dataset_id=dataset.dataset_id,
        routine_id="plus",
        routine_type="SCALAR_FUNCTION",
        language="SQL",
        definition_body="x + 1",
        arguments=[{"name": "x", "data_type": json.dumps({"typeKind": "INT64"})}],
    )
    bigquery.DatasetIamMember(
        "reader",
        dataset_id=dataset.dataset_id,
        role="roles/bigquery.dataViewer",
        member="serviceAccount:train@p.iam.gserviceaccount.com",
    )
    curated = bigquery.Dataset("curated", dataset_id="curated", location="US")
    bigquery.DatasetAccess(
        "analysts",
        dataset_id=curated.dataset_id,
        role="READER",
        group_by_email="analysts@example.com",
    )
    bigquery.DatasetAccess(
        "views",
        dataset_id=dataset.dataset_id,
        authorized_dataset={
            "dataset": {"project_id": table.project, "dataset_id": curated.dataset_id},
            "target_types": ["VIEWS"],
        },
    )


def test_datasets_tables_views_and_routines(
    deploy: Deployment, cloud: Cloud, clients: Clients
) -> None:
    cloud.start("bigquery")
    dataset = f"/projects/{deploy.config['gcp:project']}/datasets/raw"
    deploy.up(lambda: warehouse(SCHEMA))
    held = clients.bigquery.get(f"{dataset}/tables/orders")
    assert held["timePartitioning"]["field"] == "at"
    assert held["schema"]["fields"][0]["mode"] == "REQUIRED"
    access = clients.bigquery.get(dataset)["access"]
    assert {"role": "READER", "userByEmail": "train@p.iam.gserviceaccount.com"} in access
    [authorised] = [one["dataset"] for one in access if "dataset" in one]
    assert authorised["dataset"]["datasetId"] == "curated"
    assert authorised["targetTypes"] == ["VIEWS"]
    readers = clients.bigquery.get(dataset.replace("raw", "curated"))["access"]
    assert {"role": "READER", "groupByEmail": "analysts@example.com"} in readers

    assert changes(deploy.up(lambda: warehouse(SCHEMA))) == {}
    assert set(deploy.refresh()) == {"same"}

    wider = [*SCHEMA, {"name": "total", "type": "NUMERIC"}]
    assert changes(deploy.up(lambda: warehouse(wider, "all orders"))) == {"update": 2}
    columns = clients.bigquery.get(f"{dataset}/tables/orders")["schema"]["fields"]
    assert [column["name"] for column in columns] == ["id", "at", "total"]

    other = [{"name": "id", "type": "INTEGER"}, {"name": "at", "type": "TIMESTAMP"}]
    assert deploy.preview(lambda: warehouse(other, "all orders"))["replace"] >= 1

    deploy.destroy()
    assert clients.bigquery.find(dataset) is None


MODEL_SERVER = """
import http.server, json, os
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
    def do_POST(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"predictions": [1]}).encode())
port = int(os.environ["AIP_HTTP_PORT"])
http.server.ThreadingHTTPServer(("127.0.0.1", port), Answer).serve_forever()
"""


def test_a_release_is_no_change_of_the_stack(
    deploy: Deployment, cloud: Cloud, clients: Clients, context: Path
) -> None:
    name = deploy.up(endpoint).outputs["endpoint"]
    place = name.partition("/endpoints/")[0]
    (context / "main.py").write_text(MODEL_SERVER)
    image = "us-central1-docker.pkg.dev/p/esteira/model:1"
    Images(cloud.home).build(image, context / "Dockerfile", context)
    model = {
        "displayName": "product",
        "containerSpec": {"imageUri": image, "predictRoute": "/predict", "healthRoute": "/health"},
    }
    uploaded = clients.rest.finished(
        clients.rest.call("POST", f"/v1/{place}/models:upload", None, {"model": model}), "v1"
    )
    deployed = {
        "model": uploaded["model"],
        "displayName": "product",
        "dedicatedResources": {
            "machineSpec": {"machineType": "n1-standard-2"},
            "minReplicaCount": 1,
            "maxReplicaCount": 1,
        },
    }
    request = {"deployedModel": deployed, "trafficSplit": {"0": 100}}
    number = clients.rest.finished(
        clients.rest.call("POST", f"/v1/{name}:deployModel", None, request), "v1"
    )["deployedModel"]["id"]

    assert changes(deploy.up(endpoint)) == {}
    deploy.refresh()
    again = deploy.up(endpoint)
    assert changes(again) == {}
    assert again.outputs["models"][0]["id"] == number
    assert clients.rest.get(f"/v1/{name}")["trafficSplit"] == {number: 100}

    with pytest.raises(pulumi.automation.CommandError, match="Undeploy them first"):
        deploy.destroy()
    undeploy = {"deployedModelId": number, "trafficSplit": {}}
    clients.rest.finished(
        clients.rest.call("POST", f"/v1/{name}:undeployModel", None, undeploy), "v1"
    )
    deploy.destroy()

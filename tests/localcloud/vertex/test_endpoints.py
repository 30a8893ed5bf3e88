"""Endpoints, deployments and predictions with a real model server, driven by Google's own SDK."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil
import pytest
import requests
from google.api_core import exceptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import aiplatform, aiplatform_v1

from localcloud.services.storage.buckets import project_number as number_in_storage
from localcloud.services.vertex.names import project_number

from .conftest import LOCATION, PROJECT, Cloud, until, upload

MACHINE = "n1-standard-2"


@pytest.fixture(scope="module")
def adder(cloud: Cloud) -> str:
    """A model with two versions: the second answers ten times as much."""
    aiplatform.init(
        project=PROJECT,
        location=LOCATION,
        credentials=AnonymousCredentials(),
        api_endpoint=cloud.url,
        api_transport="rest",
    )
    first = upload("adder")
    upload(
        "adder",
        parent_model=first.resource_name,
        serving_container_environment_variables={"SCALE": "10"},
        serving_container_args=["--artifacts", "$(AIP_STORAGE_URI)", "--cost", "5$$"],
    )
    return first.resource_name


@pytest.fixture
def endpoint() -> Iterator[aiplatform.Endpoint]:
    created = aiplatform.Endpoint.create("flight-delay", labels={"product": "flight-delay"})
    yield created
    created.delete(force=True)


def deploy(endpoint: aiplatform.Endpoint, model: str, version: str = "1", **more: Any) -> str:
    before = {one.id for one in endpoint.list_models()}
    endpoint.deploy(aiplatform.Model(model, version=version), machine_type=MACHINE, **more)
    (new,) = {one.id for one in endpoint.list_models()} - before
    return new


class TestEndpoints:
    def test_an_id_is_a_number(self) -> None:
        created = aiplatform.Endpoint.create("numbered", endpoint_id="4711")
        assert created.name == "4711"
        with pytest.raises(exceptions.Conflict):
            aiplatform.Endpoint.create("again", endpoint_id="4711")
        created.delete()
        for wrong in ("flight-delay", "0123", "12345678901"):
            with pytest.raises(exceptions.BadRequest, match="endpoint_id"):
                aiplatform.Endpoint.create("wrong", endpoint_id=wrong)

    def test_endpoints_are_found_by_name_and_label(self, endpoint: aiplatform.Endpoint) -> None:
        for wanted in ("display_name=flight-delay", "labels.product=flight-delay"):
            found = [one.name for one in aiplatform.Endpoint.list(filter=wanted)]
            assert endpoint.name in found
        assert aiplatform.Endpoint.list(filter="display_name=nobody") == []

    def test_named_fields_change(self, endpoint: aiplatform.Endpoint) -> None:
        endpoint.update(display_name="renamed", labels={"a": "b"})
        changed = aiplatform.Endpoint(endpoint.resource_name)
        assert (changed.display_name, changed.labels) == ("renamed", {"a": "b"})

    def test_request_logging_is_chosen_at_creation_or_never(
        self, cloud: Cloud, endpoint: aiplatform.Endpoint
    ) -> None:
        answer = requests.patch(
            f"{cloud.url}/v1/{endpoint.resource_name}",
            params={"updateMask": "predictRequestResponseLoggingConfig"},
            json={"predictRequestResponseLoggingConfig": {"enabled": True}},
        )
        assert answer.status_code == 400
        assert "only be set when the Endpoint is created" in answer.json()["error"]["message"]

    def test_a_dedicated_dns_name_is_refused(self) -> None:
        with pytest.raises(exceptions.MethodNotImplemented, match="dedicated"):
            aiplatform.Endpoint.create("dedicated", dedicated_endpoint_enabled=True)

    def test_a_missing_endpoint_is_404(self) -> None:
        with pytest.raises(exceptions.NotFound):
            aiplatform.Endpoint("404").gca_resource  # noqa: B018

    def test_projects_have_the_number_that_cloud_storage_gives_them(self) -> None:
        assert project_number(PROJECT) == str(number_in_storage(PROJECT))


class TestDeployment:
    def test_a_model_serves_under_vertexs_contract(
        self, cloud: Cloud, endpoint: aiplatform.Endpoint, adder: str
    ) -> None:
        deployed = deploy(endpoint, adder, version="2")
        answer = endpoint.predict([[1, 2], [3, 4]])
        assert answer.predictions == [30.0, 70.0]
        assert answer.deployed_model_id == deployed
        assert (answer.model_resource_name, answer.model_version_id) == (adder, "2")
        (seen,) = endpoint.predict([[0]], parameters={"environment": 1}).predictions
        assert seen["AIP_STORAGE_URI"] == "gs://models/adder/1"
        assert seen["AIP_ENDPOINT_ID"] == endpoint.name
        assert seen["AIP_DEPLOYED_MODEL_ID"] == deployed
        assert seen["AIP_PROJECT_NUMBER"] == project_number(PROJECT)
        assert seen["ARGS"] == ["--artifacts", "gs://models/adder/1", "--cost", "5$"]
        assert seen["GREETING"] == "hello"
        assert seen["STORAGE"] == cloud.endpoints.url("storage")
        model = endpoint.list_models()[0]
        assert (model.id, model.model_version_id) == (deployed, "2")
        assert model.status.available_replica_count == 1

    def test_traffic_is_split_and_attributed(
        self, endpoint: aiplatform.Endpoint, adder: str
    ) -> None:
        champion = deploy(endpoint, adder)
        challenger = deploy(endpoint, adder, version="2", traffic_percentage=30)
        assert endpoint.traffic_split == {champion: 70, challenger: 30}
        answers = [endpoint.predict([[1, 1]]) for _ in range(100)]
        assert all(
            one.predictions == [2.0 if one.deployed_model_id == champion else 20.0]
            for one in answers
        )
        shares = Counter(one.deployed_model_id for one in answers)
        # Six standard deviations around 30 of 100.
        assert 3 <= shares[challenger] <= 57
        endpoint.update(traffic_split={champion: 0, challenger: 100})
        assert {endpoint.predict([[1]]).deployed_model_id for _ in range(10)} == {challenger}

    @pytest.mark.parametrize(
        ("split", "reason"),
        [
            ({"0": 90}, "must sum to 100, got 90"),
            ({"0": 50, "99": 50}, "names 99, which the Endpoint has not deployed"),
            ({"0": 150, "99": -50}, "names 99"),
        ],
    )
    def test_a_split_that_does_not_add_up_is_refused(
        self,
        cloud: Cloud,
        endpoint: aiplatform.Endpoint,
        adder: str,
        split: dict[str, int],
        reason: str,
    ) -> None:
        body = {
            "deployedModel": {
                "model": adder,
                "dedicatedResources": {
                    "machineSpec": {"machineType": MACHINE},
                    "minReplicaCount": 1,
                },
            },
            "trafficSplit": split,
        }
        answer = requests.post(f"{cloud.url}/v1/{endpoint.resource_name}:deployModel", json=body)
        assert answer.status_code == 400
        assert reason in answer.json()["error"]["message"]
        assert endpoint.list_models() == []

    def test_a_model_with_traffic_is_not_undeployed_without_a_new_split(
        self, endpoint: aiplatform.Endpoint, adder: str
    ) -> None:
        first = deploy(endpoint, adder)
        second = deploy(endpoint, adder, version="2", traffic_percentage=50)
        client = aiplatform_v1.EndpointServiceClient(
            transport="rest",
            credentials=AnonymousCredentials(),
            client_options={"api_endpoint": endpoint.api_client.api_endpoint},
        )
        with pytest.raises(exceptions.BadRequest, match="50 % of the traffic"):
            client.undeploy_model(endpoint=endpoint.resource_name, deployed_model_id=first)
        endpoint.undeploy(first, traffic_split={second: 100})
        assert endpoint.traffic_split == {second: 100}
        # The last one goes with all its traffic.
        endpoint.undeploy(second)
        assert endpoint.traffic_split == {}
        with pytest.raises(exceptions.NotFound):
            client.undeploy_model(endpoint=endpoint.resource_name, deployed_model_id=second)

    def test_what_is_deployed_is_not_deleted(
        self, endpoint: aiplatform.Endpoint, adder: str
    ) -> None:
        deploy(endpoint, adder)
        with pytest.raises(exceptions.BadRequest, match="is deployed"):
            aiplatform.Model(adder).delete()
        with pytest.raises(exceptions.BadRequest, match="Undeploy them first"):
            endpoint.delete()
        deployed = aiplatform.Model(adder, version="1").gca_resource.deployed_models
        assert [one.endpoint for one in deployed] == [endpoint.resource_name]

    def test_undeploying_ends_the_server(self, endpoint: aiplatform.Endpoint, adder: str) -> None:
        deployed = deploy(endpoint, adder)
        assert len(_servers(deployed)) == 1
        endpoint.undeploy_all()
        assert _servers(deployed) == []

    def test_a_server_that_exits_fails_the_deployment_with_its_last_words(
        self, endpoint: aiplatform.Endpoint
    ) -> None:
        broken = upload(
            "broken", serving_container_environment_variables={"BROKEN": "no such model file"}
        )
        with pytest.raises(Exception, match=r"(?s)exited with code 1.*no such model file"):
            endpoint.deploy(broken, machine_type=MACHINE)
        assert endpoint.list_models() == []
        with pytest.raises(exceptions.BadRequest, match="no deployed model"):
            endpoint.predict([[1]])

    def test_a_server_that_never_answers_runs_into_the_timeout(
        self, endpoint: aiplatform.Endpoint
    ) -> None:
        silent = upload(
            "silent",
            serving_container_environment_variables={"NEVER_READY": "1"},
            serving_container_deployment_timeout=1,
        )
        with pytest.raises(Exception, match=r"(?s)never became ready.*still loading"):
            endpoint.deploy(silent, machine_type=MACHINE)

    def test_a_crashed_server_is_started_again(
        self, endpoint: aiplatform.Endpoint, adder: str
    ) -> None:
        deployed = deploy(endpoint, adder)
        (before,) = _servers(deployed)
        with pytest.raises(exceptions.ServiceUnavailable):
            endpoint.predict([[1]], parameters={"exit": 1})
        # A process that ends lets go of its connections before its port: what connects in between
        # is cut off as well.
        until(lambda: not _alive(before), "the old process to end")
        # The next request waits for the new process instead of failing.
        assert endpoint.predict([[1]]).predictions == [1.0]
        assert _servers(deployed) != [before]

    def test_replica_counts_can_be_changed(
        self, cloud: Cloud, endpoint: aiplatform.Endpoint, adder: str
    ) -> None:
        deployed = deploy(endpoint, adder)
        answer = requests.post(
            f"{cloud.url}/v1/{endpoint.resource_name}:mutateDeployedModel",
            json={
                "deployedModel": {"id": deployed, "dedicatedResources": {"maxReplicaCount": 3}},
                "updateMask": "dedicatedResources.maxReplicaCount",
            },
        )
        assert answer.json()["done"]
        resources = endpoint.list_models()[0].dedicated_resources
        assert (resources.min_replica_count, resources.max_replica_count) == (1, 3)


class TestPredictions:
    @pytest.fixture(scope="class")
    def served(self, cloud: Cloud, adder: str) -> Iterator[aiplatform.Endpoint]:
        created = aiplatform.Endpoint.create("served")
        deploy(created, adder)
        yield created
        created.delete(force=True)

    @pytest.mark.parametrize(
        ("status", "expected"),
        [
            (400, (400, "INVALID_ARGUMENT")),
            (422, (400, "INVALID_ARGUMENT")),
            (404, (404, "NOT_FOUND")),
            (429, (429, "RESOURCE_EXHAUSTED")),
            (500, (500, "INTERNAL")),
            (503, (503, "UNAVAILABLE")),
        ],
    )
    def test_the_servers_refusal_is_passed_on(
        self, served: aiplatform.Endpoint, status: int, expected: tuple[int, str]
    ) -> None:
        with pytest.raises(exceptions.GoogleAPICallError, match="as asked") as refusal:
            served.predict([[1]], parameters={"status": status})
        error = refusal.value.response.json()["error"]
        assert (error["code"], error["status"]) == expected

    def test_raw_predictions_carry_the_model_in_headers(
        self, cloud: Cloud, served: aiplatform.Endpoint, adder: str
    ) -> None:
        answer = requests.post(
            f"{cloud.url}/v1/{served.resource_name}:rawPredict",
            data=json.dumps({"instances": [[1, 2, 3]], "anything": "else"}),
            headers={"Content-Type": "application/json"},
        )
        assert answer.json() == {"predictions": [6.0]}
        assert answer.headers["X-Vertex-AI-Endpoint-Id"] == served.name
        assert answer.headers["X-Vertex-AI-Deployed-Model-Id"] == served.list_models()[0].id
        assert answer.headers["X-Vertex-AI-Model"] == adder

    def test_googles_raw_client_reaches_the_server(
        self, cloud: Cloud, served: aiplatform.Endpoint
    ) -> None:
        client = aiplatform_v1.PredictionServiceClient(
            transport="rest",
            credentials=AnonymousCredentials(),
            client_options={"api_endpoint": cloud.url},
        )
        with pytest.raises(exceptions.BadRequest, match="as asked"):
            client.raw_predict(
                endpoint=served.resource_name,
                http_body={
                    "content_type": "application/json",
                    "data": b'{"instances": [], "parameters": {"status": 422}}',
                },
            )

    def test_an_empty_request_is_refused(self, served: aiplatform.Endpoint) -> None:
        with pytest.raises(exceptions.BadRequest, match="instances is required"):
            served.predict([])

    def test_a_request_over_googles_limit_is_refused(self, served: aiplatform.Endpoint) -> None:
        with pytest.raises(exceptions.BadRequest, match="exceeds the limit: 1572864 bytes"):
            served.predict([["x" * 1_600_000]])

    def test_explanations_are_refused(self, served: aiplatform.Endpoint) -> None:
        with pytest.raises(exceptions.MethodNotImplemented):
            served.explain([[1]])

    def test_requests_at_once_are_all_answered(self, served: aiplatform.Endpoint) -> None:
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda n: served.predict([[n, n]]).predictions, range(64)))
        assert answers == [[2.0 * n] for n in range(64)]


class TestRestart:
    def test_deployed_models_come_back_after_kill_9(
        self, cloud: Cloud, endpoint: aiplatform.Endpoint, adder: str
    ) -> None:
        champion = deploy(endpoint, adder)
        challenger = deploy(endpoint, adder, version="2", traffic_percentage=50)
        before = [*_servers(champion), *_servers(challenger)]
        cloud.kill("rest")
        cloud.start("rest")
        assert not [pid for pid in before if psutil.pid_exists(pid) and _alive(pid)]
        seen = {endpoint.predict([[1]]).deployed_model_id for _ in range(40)}
        assert seen == {champion, challenger}
        assert endpoint.traffic_split == {champion: 50, challenger: 50}
        assert len(_servers(champion)) == 1

    def test_a_deployment_cut_by_kill_9_is_aborted_and_leaves_no_server(
        self, cloud: Cloud, endpoint: aiplatform.Endpoint
    ) -> None:
        silent = upload("slow", serving_container_environment_variables={"NEVER_READY": "1"})
        body = {
            "deployedModel": {
                "model": silent.resource_name,
                "id": "4242",
                "automaticResources": {"minReplicaCount": 1},
            },
            "trafficSplit": {"0": 100},
        }
        url = f"{cloud.url}/v1/{endpoint.resource_name}:deployModel"
        operation = requests.post(url, json=body).json()["name"]
        again = requests.post(
            url, json={**body, "deployedModel": {**body["deployedModel"], "id": "4243"}}
        )
        assert "other operations running" in again.json()["error"]["message"]
        until(lambda: _servers("4242"), "the server to start")
        cloud.kill("rest")
        cloud.start("rest")
        ended = requests.get(f"{cloud.url}/v1/{operation}").json()
        assert (ended["done"], ended["error"]["code"]) == (True, 10)
        until(lambda: not _servers("4242"), "the server to end")
        assert endpoint.list_models() == []


def _servers(deployed_model_id: str) -> list[int]:
    found: list[int] = []
    for process in psutil.process_iter():
        try:
            environment = process.environ()
        except (psutil.Error, OSError):
            continue
        if environment.get("AIP_DEPLOYED_MODEL_ID") == deployed_model_id and _alive(process.pid):
            found.append(process.pid)
    return found


def _alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False

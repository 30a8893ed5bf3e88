"""Where records are kept, and how predictions are asked for, in each environment."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import pytest

from tests.stacks.conftest import EVERYTHING, configuration
from workloads import product as products

RUN = "gcp:cloudrunv2/service:Service"
SERVER = "mlflow-tracking"
ROLES = ("train", "retrain", "release")


@pytest.fixture(scope="module")
def dev(compose: Any) -> Any:
    return compose(configuration("dev"))


@pytest.fixture(scope="module")
def prod(compose: Any) -> Any:
    return compose(configuration("prod", **EVERYTHING))


def variables(stack: Any, service: str) -> dict[str, str]:
    [container] = stack.inputs(RUN, service)["template"]["containers"]
    return {one["name"]: one.get("value", "") for one in container["envs"]}


def callers(stack: Any, service: str) -> set[str]:
    members = stack.mocks.find("gcp:cloudrunv2/serviceIamMember:ServiceIamMember")
    return {one.inputs["member"] for one in members if one.inputs["name"] == service}


class TestRecords:
    def test_mlflow_logs_in_as_itself_to_its_own_database(self, dev: Any) -> None:
        found = variables(dev, SERVER)
        assert found["DATABASE_NAME"] == "mlflow"
        assert found["DATABASE_USER"] == f"{SERVER}@esteira-dev.iam"
        assert found["DATABASE_HOST"] == "10.65.0.3"
        assert found["ARTIFACTS"] == f"gs://esteira-dev-{SERVER}/artifacts"
        assert found["ALLOWED_HOSTS"] == f"{SERVER}-*.run.app"
        assert not [name for name in found if "PASSWORD" in name]

    def test_only_who_trains_may_log_runs(self, dev: Any) -> None:
        assert callers(dev, SERVER) == {
            f"serviceAccount:{product}-{role}@esteira-dev.iam.gserviceaccount.com"
            for product in products.names()
            for role in ROLES
            if role != "retrain" or products.load(product).retraining is not None
        }
        assert dev.inputs(RUN, SERVER)["ingress"] == "INGRESS_TRAFFIC_INTERNAL_ONLY"

    def test_prod_is_highly_available_encrypted_and_kept(self, prod: Any) -> None:
        instance = prod.inputs("DatabaseInstance", "esteira")
        assert instance["settings"]["availabilityType"] == "REGIONAL"
        assert instance["encryptionKeyName"].endswith("/cryptoKeys/sqladmin")
        assert instance["deletionProtection"] is True
        assert set(instance["settings"]["userLabels"]) == {
            "environment",
            "managed-by",
            "product",
            "owner",
            "cost-center",
        }

    def test_outputs_say_where_records_are(self, dev: Any) -> None:
        told = dev.outputs["esteira"]
        # Google keeps the name of a deleted instance for a week: dev has to come back before.
        name = dev.inputs("DatabaseInstance", "esteira")["name"]
        assert re.fullmatch(r"esteira-[0-9a-f]{7}", name)
        assert told["database"] == {
            "connection_name": f"esteira-dev:us-central1:{name}",
            "address": "10.65.0.3",
            "databases": ["esteira", "mlflow"],
        }
        assert told["tracking"]["url"].startswith(f"https://{SERVER}-")

    def test_a_stack_may_have_a_database_without_mlflow(self, compose: Any) -> None:
        stack = compose(
            configuration("dev", products=["flight-delay"], tracking={"enabled": False})
        )
        assert [one.inputs["name"] for one in stack.mocks.find("gcp:sql/database:Database")] == [
            "esteira"
        ]
        assert stack.outputs["esteira"]["tracking"] == {"url": None, "artifacts": None}
        assert "tracking" not in stack.outputs["esteira"]["images"]

    def test_the_local_stack_has_mlflow_and_starts_it_with_its_first_request(
        self, compose: Any
    ) -> None:
        plain = compose(configuration("local"))
        assert plain.outputs["esteira"]["database"]["databases"] == ["esteira", "mlflow"]
        assert variables(plain, SERVER)["ALLOWED_HOSTS"] == "127.0.0.1:*"
        assert plain.inputs(RUN, SERVER)["template"]["healthCheckDisabled"] is True
        bare = compose(
            configuration(
                "local",
                products=["flight-delay"],
                database={"enabled": False},
                tracking={"enabled": False},
                features={"online": False},
            )
        )
        assert bare.mocks.find("DatabaseInstance") == []
        assert bare.outputs["esteira"]["database"]["databases"] == []

    def test_a_deployment_elsewhere_tries_it(self, dev: Any) -> None:
        assert "healthCheckDisabled" not in dev.inputs(RUN, SERVER)["template"]

    def test_who_trains_on_schedule_is_told_its_address(self, dev: Any) -> None:
        [container] = dev.inputs("gcp:cloudrunv2/job:Job", "flight-delay-retraining")["template"][
            "template"
        ]["containers"]
        told = {one["name"]: one.get("value", "") for one in container["envs"]}
        assert told["MLFLOW_TRACKING_URI"] == dev.outputs["esteira"]["tracking"]["url"]


class TestPredictionApi:
    def document(self, stack: Any) -> dict[str, Any]:
        config = stack.inputs("ApiConfig", "flight-delay-api")
        [one] = config["openapiDocuments"]
        return json.loads(base64.b64decode(one["document"]["contents"]))

    def test_the_service_follows_the_champion_and_starts_without_one(self, dev: Any) -> None:
        found = variables(dev, "flight-delay-api")
        assert found["MODEL_ALIAS"] == "champion"
        assert "AIP_STORAGE_URI" not in found
        [container] = dev.inputs(RUN, "flight-delay-api")["template"]["containers"]
        assert container["startupProbe"]["httpGet"]["path"] == "/live"
        assert container["livenessProbe"]["httpGet"]["path"] == "/live"

    def test_in_dev_the_gateway_calls_the_service_itself(self, dev: Any) -> None:
        assert dev.inputs(RUN, "flight-delay-api")["ingress"] == "INGRESS_TRAFFIC_ALL"
        uri = dev.outputs["esteira"]["products"]["flight-delay"]["api"]["service"]
        assert self.document(dev)["x-google-backend"]["address"] == uri
        assert dev.mocks.find("GlobalForwardingRule") == []

    def test_in_prod_it_goes_through_a_load_balancer(self, prod: Any) -> None:
        service = prod.inputs(RUN, "flight-delay-api")
        assert service["ingress"] == "INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER"
        api = prod.outputs["esteira"]["products"]["flight-delay"]["api"]
        backend = self.document(prod)["x-google-backend"]
        assert backend["address"] == "https://flight-delay.predict.example.com"
        # The token is for the service, whichever way it takes.
        assert backend["jwt_audience"] == api["service"]
        assert api["address"] is not None

    @pytest.mark.parametrize("stack", ["dev", "prod"])
    def test_the_gateway_is_the_only_caller(
        self, request: pytest.FixtureRequest, stack: str
    ) -> None:
        made = request.getfixturevalue(stack)
        assert callers(made, "flight-delay-api") == {
            f"serviceAccount:flight-delay-gate@esteira-{stack}.iam.gserviceaccount.com"
        }

    def test_without_a_domain_a_private_stack_opens_no_door(self, compose: Any) -> None:
        stack = compose(configuration("prod"))
        service = stack.inputs(RUN, "flight-delay-api")
        assert service["ingress"] == "INGRESS_TRAFFIC_INTERNAL_ONLY"
        assert stack.mocks.find("gcp:apigateway/gateway:Gateway") == []
        assert callers(stack, "flight-delay-api") == {
            "serviceAccount:flight-delay-call@esteira-prod.iam.gserviceaccount.com"
        }

    def test_clients_are_the_products_caller_and_those_named(self, compose: Any) -> None:
        app = "app@other.iam.gserviceaccount.com"
        stack = compose(
            configuration("dev", products=["flight-delay"], serving={"apiClients": [app]})
        )
        issuers = {
            one["x-google-issuer"] for one in self.document(stack)["securityDefinitions"].values()
        }
        assert issuers == {"flight-delay-call@esteira-dev.iam.gserviceaccount.com", app}

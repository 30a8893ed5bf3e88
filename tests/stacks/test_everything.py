"""A prod that has all it can have: no component, no switch and no guard is left unseen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pytest
from pydantic import BaseModel

from stacks import network
from stacks.settings import Settings
from tests.components.test_contract import SAMPLES
from tests.stacks.conftest import EVERYTHING, Compose, Composed, configuration

OFF: Final = {
    "batch.pauseRetraining": "rests what is to be seen",
    "batch.pauseSchedules": "rests what is to be seen",
    "lifetime.rest": "rests what is to be seen",
    "security.forceDestroy": "takes away what guards prod",
}
"""What stays off where everything is on, and why."""
SERVICE: Final = "gcp:cloudrunv2/service:Service"
REACHED: Final = {
    "INGRESS_TRAFFIC_ALL": "is:all",
    "INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER": "is:internal-and-cloud-load-balancing",
    "INGRESS_TRAFFIC_INTERNAL_ONLY": "is:internal",
}
"""How the organisation policy spells an ingress of Cloud Run."""


@pytest.fixture(scope="module")
def everything(compose: Compose) -> Composed:
    return compose(configuration("prod", **EVERYTHING))


def _off(model: BaseModel, path: str = "") -> Iterator[str]:
    """Switches that are off, values that are not given and lists that are empty."""
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        where = f"{path}{field.alias or name}"
        if isinstance(value, BaseModel):
            yield from _off(value, f"{where}.")
        elif value in (False, None, ()):
            yield where


def test_everything_is_on_but_what_says_why_not() -> None:
    values = {"environment": "prod", "project": "esteira-prod", **EVERYTHING}
    assert set(_off(Settings.from_values(values))) == set(OFF)


def test_each_component_is_used_by_a_stack(everything: Composed) -> None:
    used = {token for token, _ in everything.mocks.components}
    assert used == {
        f"esteira:{one.__module__.removeprefix('components.')}:{one.__name__}" for one in SAMPLES
    }


def test_every_bucket_but_the_log_itself_says_who_touched_it(everything: Composed) -> None:
    buckets = [one.inputs for one in everything.mocks.find("gcp:storage/bucket:Bucket")]
    [log] = {one["logging"]["logBucket"] for one in buckets if "logging" in one}
    assert [one["name"] for one in buckets if "logging" not in one] == [log]


class TestGuards:
    """What Google itself refuses, once the settings ask for it."""

    def _allowed(self, composed: Composed) -> list[str] | None:
        """The ingress that guard rails leave to Cloud Run; None where they leave it alone."""
        rails = {
            one.inputs["name"].rpartition("/")[2]: one.inputs["spec"]["rules"]
            for one in composed.mocks.find("gcp:orgpolicy/policy:Policy")
        }
        assert rails["gcp.resourceLocations"] == [
            {"values": {"allowedValues": ["in:us-central1-locations"]}}
        ]
        rules = rails.get("run.allowedIngress")
        return None if rules is None else rules[0]["values"]["allowedValues"]

    def _ingress(self, composed: Composed) -> set[str]:
        return {REACHED[one.inputs["ingress"]] for one in composed.mocks.find(SERVICE)}

    def test_no_service_of_prod_may_be_opened_to_the_internet(self, everything: Composed) -> None:
        allowed = self._allowed(everything)
        assert allowed is not None
        assert self._ingress(everything) <= set(allowed)
        assert "is:all" not in allowed

    def test_what_api_gateway_calls_from_outside_stays_open(self, compose: Compose) -> None:
        dev = compose(configuration("dev", security={"guardRails": True}))
        assert "is:all" in self._ingress(dev)
        assert self._allowed(dev) is None

    def test_who_deploys_reaches_in_through_the_perimeter(self, everything: Composed) -> None:
        status: dict[str, Any] = everything.inputs(
            "gcp:accesscontextmanager/servicePerimeter:ServicePerimeter", "esteira_prod"
        )["status"]
        [entry] = status["ingressPolicies"]
        assert entry["ingressFrom"]["identities"] == [
            "serviceAccount:esteira-deploy@esteira-prod.iam.gserviceaccount.com",
            *EVERYTHING["security"]["perimeterMembers"],
        ]
        # Within, Google's APIs are reached at those that the perimeter covers.
        rule = everything.inputs(
            "gcp:compute/globalForwardingRule:GlobalForwardingRule", network.NAME
        )
        assert rule["target"] == "vpc-sc"

"""The product's endpoint as a release sees it: deployed versions and their shares of traffic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from workloads import gcp
from workloads.product import Product
from workloads.registry import Version


class NoEndpoint(LookupError):
    """The product has no endpoint yet, or more than one."""


@dataclass(frozen=True, kw_only=True)
class Deployed:
    """One deployed model."""

    id: str
    version: str
    traffic: int
    """Per cent."""


class Endpoint:
    """The endpoint that the stack made for a product. Every read asks Vertex AI anew."""

    def __init__(self, product: Product) -> None:
        self._sdk = gcp.vertex()
        self.product = product
        found = self._sdk.Endpoint.list(filter=f'display_name="{product.name}"')
        if len(found) != 1:
            raise NoEndpoint(
                f"{len(found)} endpoints are called {product.name!r} in {gcp.project()}, "
                f"{gcp.location()}; allowed: exactly one. `esteira up STACK` makes it"
            )
        self.resource: Any = found[0]

    def deployed(self) -> list[Deployed]:
        """What is deployed now, the newest last."""
        self.resource = self._sdk.Endpoint(self.resource.resource_name)
        split = self.resource.traffic_split
        models = sorted(self.resource.list_models(), key=lambda one: str(one.create_time))
        return [
            Deployed(id=one.id, version=one.model_version_id, traffic=int(split.get(one.id, 0)))
            for one in models
        ]

    def of(self, version: str) -> Deployed | None:
        """The newest deployment of a version."""
        return next((one for one in reversed(self.deployed()) if one.version == version), None)

    def deploy(self, version: Version, service_account: str | None = None) -> Deployed:
        """Deploy a version unless it is; the traffic of others stays as it is.

        The first model of an endpoint takes all traffic: Vertex AI allows nothing else.
        """
        if found := self.of(version.number):
            return found
        serving = self.product.serving
        self.resource.deploy(
            version.model,
            deployed_model_display_name=f"{self.product.name}-v{version.number}",
            traffic_percentage=0,
            machine_type=serving.machine_type,
            min_replica_count=serving.min_replicas,
            max_replica_count=serving.max_replicas,
            service_account=service_account,
            sync=True,
        )
        deployed = self.of(version.number)
        if deployed is None:
            raise RuntimeError(
                f"Vertex AI says that version {version.number} was deployed, but does not list it; "
                "run the release again"
            )
        return deployed

    def route(self, target: Deployed) -> None:
        """Give one deployment all traffic, unless it has it."""
        now = self.deployed()
        if any(one.id == target.id and one.traffic == 100 for one in now):
            return
        split = {one.id: 0 for one in now} | {target.id: 100}
        self.resource.update(traffic_split=split)

    def undeploy(self, target: Deployed) -> None:
        """Take one deployment away. While there are others it must have no traffic.

        Raises:
            ValueError: it has traffic.
        """
        now = self.deployed()
        traffic = next((one.traffic for one in now if one.id == target.id), 0)
        if traffic and len(now) > 1:
            raise ValueError(
                f"deployment {target.id} of version {target.version} has {traffic} % of the "
                "traffic; allowed: 0. Route it elsewhere first"
            )
        if any(one.id == target.id for one in now):
            self.resource.undeploy(deployed_model_id=target.id, sync=True)

    def predict(self, instances: list[dict[str, Any]]) -> tuple[str, list[dict[str, Any]]]:
        """Ask the endpoint; returns the deployment that answered, and its predictions."""
        answer = self.resource.predict(instances=instances)
        return answer.deployed_model_id, [dict(one) for one in answer.predictions]

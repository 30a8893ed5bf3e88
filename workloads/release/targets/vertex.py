"""Releases on a Vertex AI endpoint: versions are deployed models.

Vertex AI can neither mirror requests nor answer by the id of a deployed model that has no traffic,
so a challenger is asked only once it has a share.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from workloads.product import Product
from workloads.registry import Version
from workloads.release.endpoint import Deployed, Endpoint
from workloads.release.policy import ServingTarget
from workloads.release.targets import (
    Asked,
    DeployFailed,
    DeployTimedOut,
    Served,
    Unreachable,
    check_split,
)

_POLL_SECONDS: Final = 0.2
_MISS: Final = 1e-9
"""How likely it may be that no request of as many as are sent meets the version that is meant."""
_BUSY: Final = "other operations"
"""What Vertex AI says of an endpoint on which another operation runs."""
_BUSY_SECONDS: Final = 300.0
_CANCEL_SECONDS: Final = 60.0
_THIS: Final = "0"
"""In a split, the key of the model that is being deployed."""


class VertexTarget:
    """The endpoint of a product.

    Raises:
        NoEndpoint: the stack has not made it.
    """

    kind = ServingTarget.VERTEX
    beside = False

    def __init__(self, product: Product, service_account: str | None = None) -> None:
        self._product = product
        self._service_account = service_account
        self._endpoint = Endpoint(product)

    @property
    def name(self) -> str:
        return str(self._endpoint.resource.resource_name)

    def served(self) -> list[Served]:
        return [
            Served(version=one.version, share=one.traffic, id=one.id)
            for one in self._endpoint.deployed()
        ]

    def deploy(self, version: Version, within: timedelta) -> None:
        from google.api_core.exceptions import FailedPrecondition, GoogleAPICallError

        deadline = time.monotonic() + within.total_seconds()
        while self._endpoint.of(version.number) is None:
            left = deadline - time.monotonic()
            if left <= 0:
                raise self._late(version, within)
            try:
                self._deploy(version, left)
            except FailedPrecondition as error:
                # A controller that was killed may have begun this very deployment.
                if _BUSY not in str(error):
                    raise DeployFailed(f"version {version.number}: {error.message}") from error
                time.sleep(_POLL_SECONDS)
            except TimeoutError as error:
                raise self._late(version, within) from error
            except GoogleAPICallError as error:
                raise DeployFailed(f"version {version.number}: {error.message}") from error

    def split(self, shares: Mapping[str, int]) -> None:
        newest = self._newest()
        kept = check_split(shares, sorted(newest))
        wanted = {newest[version].id: share for version, share in kept.items()}
        now = {one.id: one.traffic for one in self._endpoint.deployed()}
        if {id_: share for id_, share in now.items() if share} != wanted:
            # Those without traffic are named too: the SDK takes a split of all or nothing.
            self._endpoint.resource.update(traffic_split=dict.fromkeys(now, 0) | wanted)

    def ask(self, version: str, instances: Sequence[dict[str, Any]]) -> Asked:
        deployed = self._newest().get(version)
        if deployed is None or not deployed.traffic:
            raise Unreachable(
                f"version {version} of {self._product.name} has no traffic on {self.name}; Vertex "
                "AI answers only with deployed models that have"
            )
        tries = _tries(deployed.traffic / 100)
        latencies: list[float] = []
        errors: list[str] = []
        for _ in range(tries):
            begun = time.perf_counter()
            try:
                answered, predictions = self._endpoint.predict(list(instances))
            # Whatever the server does wrong is what is asked here.
            except Exception as error:  # noqa: BLE001
                errors.append(str(error))
                # Who failed is not told: with all traffic there is no doubt, else it may be either.
                if deployed.traffic == 100:
                    break
                continue
            if answered == deployed.id:
                latencies.append((time.perf_counter() - begun) * 1000)
                return Asked(predictions=tuple(predictions), latencies=tuple(latencies), errors=())
        failed = errors or [f"none of {tries} requests was answered by deployment {deployed.id}"]
        return Asked(predictions=(None,) * len(instances), latencies=(), errors=tuple(failed[-1:]))

    def tidy(self, keep: Collection[str]) -> None:
        newest = {one.id for one in self._newest().values()}
        # A version is there twice after a kill in the middle of its deployment.
        gone = [
            one
            for one in self._endpoint.deployed()
            if one.version not in keep or one.id not in newest
        ]
        for one in sorted(gone, key=lambda one: one.traffic):
            if not one.traffic or len(self._endpoint.deployed()) == 1:
                self._undeploy(one)

    def _undeploy(self, one: Deployed) -> None:
        from google.api_core.exceptions import FailedPrecondition

        deadline = time.monotonic() + _BUSY_SECONDS
        while True:
            try:
                self._endpoint.undeploy(one)
                return
            except FailedPrecondition as error:
                # A deployment that was given up takes a while to end.
                if _BUSY not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(_POLL_SECONDS)

    def _newest(self) -> dict[str, Deployed]:
        """The newest deployment of each version; the one with traffic, if there are two."""
        found: dict[str, Deployed] = {}
        for one in self._endpoint.deployed():
            if one.version not in found or not found[one.version].traffic:
                found[one.version] = one
        return found

    def _deploy(self, version: Version, seconds: float) -> None:
        import concurrent.futures

        from google.cloud.aiplatform_v1 import types

        serving = self._product.serving
        split = {one.id: one.traffic for one in self._endpoint.deployed() if one.traffic}
        resources = types.DedicatedResources(
            machine_spec=types.MachineSpec(machine_type=serving.machine_type),
            min_replica_count=serving.min_replicas,
            max_replica_count=serving.max_replicas,
        )
        # Not by the SDK's own `deploy`, which waits for ever.
        operation: Any = self._endpoint.resource.api_client.deploy_model(
            endpoint=self.name,
            deployed_model=types.DeployedModel(
                model=f"{version.model.resource_name}@{version.number}",
                display_name=f"{self._product.name}-v{version.number}",
                dedicated_resources=resources,
                service_account=self._service_account or "",
            ),
            # The first model of an endpoint takes all traffic: Vertex AI allows nothing else.
            traffic_split={**split, _THIS: 0} if split else {_THIS: 100},
        )
        try:
            operation.result(timeout=seconds)
        except concurrent.futures.TimeoutError as error:
            # Google's client cannot cancel over REST ("KeyError: 'body'"); over gRPC it can.
            with contextlib.suppress(Exception):
                operation.cancel()
            # So that what comes next does not meet it; should it succeed all the same, `tidy` sees.
            with contextlib.suppress(Exception):
                operation.result(timeout=_CANCEL_SECONDS)
            raise TimeoutError from error

    def _late(self, version: Version, within: timedelta) -> DeployTimedOut:
        return DeployTimedOut(
            f"version {version.number} of {self._product.name} was not healthy on {self.name} "
            f"within {within.total_seconds():g} s"
        )


def _tries(share: float) -> int:
    """Requests after which one of them has met a version of that share, but for `_MISS`."""
    return 1 if share >= 1 else math.ceil(math.log(_MISS) / math.log(1 - share))

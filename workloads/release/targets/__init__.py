"""What a release acts on: one Protocol, and a module for each kind of serving that fulfils it.

A target knows versions by their numbers. Each act makes something so and may be repeated: a
controller that was killed in the middle repeats it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from typing import Any, Protocol

import msgspec

from workloads.product import Product
from workloads.registry import Version
from workloads.release.policy import ServingTarget


class DeployFailed(RuntimeError):
    """The version did not become healthy; says what the platform said."""


class DeployTimedOut(DeployFailed):
    """The version did not become healthy in time."""


class Unreachable(RuntimeError):
    """The version cannot be asked on its own: it has no traffic, and no address beside it."""


class InvalidSplit(ValueError):
    """Shares of the traffic that no split can have."""


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """One version on the target."""

    version: str
    share: int
    """Of the traffic, per cent."""
    id: str
    """What the target itself calls it: a deployed model, a revision."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What a version answered."""

    predictions: tuple[dict[str, Any] | None, ...]
    """One a row, in their order; None for a row whose request failed."""
    latencies: tuple[float, ...]
    """Milliseconds, one a request."""
    errors: tuple[str, ...]
    """What was said of each request that failed."""


class Target(Protocol):
    """Where versions of one product's model serve."""

    kind: ServingTarget
    beside: bool
    """Whether a version without traffic can be asked."""

    @property
    def name(self) -> str:
        """What is served from: an endpoint or a service, as its platform names it."""
        ...

    def served(self) -> list[Served]:
        """What is deployed now."""
        ...

    def deploy(self, version: Version, within: timedelta) -> None:
        """Have a version deployed and healthy, without traffic while another serves.

        Raises:
            DeployFailed, DeployTimedOut: it is not; `tidy` takes what is left of it away.
        """
        ...

    def split(self, shares: Mapping[str, int]) -> None:
        """Divide the traffic over deployed versions; those not named get none.

        Raises:
            InvalidSplit: the shares do not sum to 100, or name what is not deployed.
        """
        ...

    def ask(self, version: str, instances: Sequence[dict[str, Any]]) -> Asked:
        """Ask one version about rows.

        Raises:
            Unreachable: it has no traffic, and `beside` is false.
        """
        ...

    def tidy(self, keep: Collection[str]) -> None:
        """Take away what is neither of these versions, or is there twice. What has traffic while
        others are deployed stays."""
        ...


def check_split(shares: Mapping[str, int], deployed: Sequence[str]) -> dict[str, int]:
    """The shares without those of nothing.

    Raises:
        InvalidSplit: as `Target.split`.
    """
    kept = {version: share for version, share in shares.items() if share}
    if any(not 0 <= share <= 100 for share in shares.values()) or sum(kept.values()) != 100:
        raise InvalidSplit(f"the shares are {dict(shares)}; allowed: 0 to 100 each, 100 together")
    if unknown := sorted(set(kept) - set(deployed)):
        raise InvalidSplit(
            f"the shares name version {', '.join(unknown)}, which is not deployed; deployed: "
            f"{', '.join(deployed) or 'none'}"
        )
    return kept


def of(product: Product, service_account: str | None = None) -> Target:
    """The target that the product declares."""
    kind = product.serving.target
    if kind is ServingTarget.CLOUD_RUN:
        from workloads.release.targets.cloud_run import CloudRunTarget

        return CloudRunTarget(product)
    if kind is ServingTarget.KSERVE:
        from workloads.release.targets.kserve import KServeTarget

        return KServeTarget(product)
    from workloads.release.targets.vertex import VertexTarget

    return VertexTarget(product, service_account)

"""Releases and roll-backs. All state is Vertex AI's own: deployments, traffic, aliases.

A release walks towards one end: the version is deployed, has all traffic, answers real rows as it
did when it was evaluated, is `champion`; the one before is `previous` and stays deployed without
traffic; nothing else is deployed. Each step looks before it acts, so a release that was killed
anywhere is finished by running it again.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import msgspec

from workloads.gate import decision as decisions
from workloads.manifest import EXAMPLES, Example
from workloads.product import Product
from workloads.registry import CHALLENGER, CHAMPION, DEFAULT, PREVIOUS, Registry, Version
from workloads.release.endpoint import Deployed, Endpoint

SMOKE_TOLERANCE: Final = 1e-5
"""The endpoint runs the same graph: its answers may differ by no more than export allows, in parts
of the answer or of one."""

Progress = Callable[[str], None]


class NotApproved(Exception):
    """The gate has rejected the version, or has not seen it."""


class SmokeTestFailed(Exception):
    """The deployed version does not answer as when it was evaluated.

    It has been taken off the endpoint, and whichever served before has the traffic again.
    """


class NothingToRollBackTo(Exception):
    """No version is kept as `previous`."""


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """What serves now."""

    product: str
    endpoint: str
    """Resource name."""
    version: str
    deployed_model: str
    previous: str | None
    """The version that a roll-back returns to."""
    smoke_rows: int


def release(
    product: Product,
    version: str = CHALLENGER,
    *,
    approved: bool = False,
    service_account: str | None = None,
    on_progress: Progress = lambda _: None,
) -> Release:
    """Make an approved version the champion. Run it again after any failure.

    Args:
        version: an alias or a number.
        approved: release whatever the gate has recorded; for a person who answers for it.
        service_account: the identity of the model's container.
        on_progress: told of each step.

    Raises:
        NoSuchVersion, NoEndpoint: there is none.
        NotApproved: the gate did not approve it against the present champion.
        SmokeTestFailed: it answered wrongly; whoever served before serves again.
    """
    registry = Registry(product)
    challenger = registry.get(version)
    champion = registry.find(CHAMPION)
    resumed = champion is not None and champion.number == challenger.number
    if not (resumed or approved):
        _require_approval(product, challenger, champion)
    before = registry.find(PREVIOUS) if resumed else champion
    return _serve(product, registry, challenger, before, service_account, on_progress)


def rollback(
    product: Product,
    *,
    service_account: str | None = None,
    on_progress: Progress = lambda _: None,
) -> Release:
    """Return to the version that was champion before. Run it again after any failure.

    Raises:
        NothingToRollBackTo: there was none before.
        SmokeTestFailed: the previous version does not answer rightly either.
    """
    registry = Registry(product)
    previous = registry.find(PREVIOUS)
    if previous is None:
        raise NothingToRollBackTo(
            f"no version of {product.name} is kept as `{PREVIOUS}`: one release has been made, or "
            "it was rolled back already. Release a version by its number instead"
        )
    return _serve(product, registry, previous, None, service_account, on_progress)


def _require_approval(product: Product, challenger: Version, champion: Version | None) -> None:
    decision = decisions.read(product, challenger, champion)
    against = "no champion" if champion is None else f"champion {champion.number}"
    if decision is None:
        raise NotApproved(
            f"the gate has not judged version {challenger.number} of {product.name} against "
            f"{against}; ask it first"
        )
    if not decision.approved:
        failed = "; ".join(one for one in decision.reasons if one.startswith("fails"))
        raise NotApproved(
            f"the gate rejected version {challenger.number} of {product.name} against {against}: "
            f"{failed} ({decision.record})"
        )


def _serve(
    product: Product,
    registry: Registry,
    target: Version,
    before: Version | None,
    service_account: str | None,
    on_progress: Progress,
) -> Release:
    endpoint = Endpoint(product)
    served = [one for one in endpoint.deployed() if one.traffic == 100]
    on_progress(f"deploying version {target.number}")
    deployed = endpoint.deploy(target, service_account)
    on_progress(f"routing all traffic to version {target.number}")
    endpoint.route(deployed)
    on_progress("asking it for rows of the hold-out")
    try:
        rows = smoke_test(endpoint, target, deployed)
    except SmokeTestFailed:
        for one in served:
            if one.id != deployed.id:
                on_progress(f"returning all traffic to version {one.version}")
                endpoint.route(one)
        # Another try should meet another container, not this one.
        endpoint.undeploy(deployed)
        raise
    if before is not None and before.number != target.number:
        registry.move(PREVIOUS, before)
    registry.move(CHAMPION, target)
    registry.move(DEFAULT, target)
    kept = before.number if before is not None and before.number != target.number else None
    for one in endpoint.deployed():
        if one.id != deployed.id and (one.version != kept or _doubled(endpoint, one)):
            on_progress(f"undeploying version {one.version}")
            endpoint.undeploy(one)
    # Last, since a roll-back that was killed finds its way by `previous`.
    for alias in (CHALLENGER, PREVIOUS):
        holder = registry.find(alias)
        if holder is not None and holder.number == target.number:
            registry.drop(alias)
    return Release(
        product=product.name,
        endpoint=endpoint.resource.resource_name,
        version=target.number,
        deployed_model=deployed.id,
        previous=kept,
        smoke_rows=rows,
    )


def _doubled(endpoint: Endpoint, one: Deployed) -> bool:
    """Whether a newer deployment of the same version exists, as after a kill during a deploy."""
    newest = endpoint.of(one.version)
    return newest is not None and newest.id != one.id


def smoke_test(endpoint: Endpoint, version: Version, deployed: Deployed) -> int:
    """Ask the endpoint for rows of the hold-out whose probabilities are known.

    Returns:
        How many rows were asked for.

    Raises:
        SmokeTestFailed: another deployment answered, or the answer is another.
    """
    examples = version.folder.read_json(EXAMPLES, list[Example])
    try:
        answered, predictions = endpoint.predict([one.instance for one in examples])
    except Exception as error:
        raise SmokeTestFailed(
            f"version {version.number} of {endpoint.product.name} did not answer: {error}"
        ) from error
    if answered != deployed.id:
        raise SmokeTestFailed(
            f"deployment {answered} answered instead of {deployed.id}, which has all traffic"
        )
    answered_by = version.manifest().answered
    found = [one.get(name, math.nan) for one in predictions for name in answered_by]
    expected: list[float] = [
        getattr(one, name) for one in examples for name in answered_by.values()
    ]
    if len(found) != len(expected) or not all(
        math.isclose(one, other, rel_tol=SMOKE_TOLERANCE, abs_tol=SMOKE_TOLERANCE)
        for one, other in zip(found, expected, strict=True)
    ):
        raise SmokeTestFailed(
            f"version {version.number} of {endpoint.product.name} answers {found}; when it was "
            f"evaluated it gave {expected}"
        )
    return len(examples)

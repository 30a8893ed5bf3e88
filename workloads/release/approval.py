"""Whether the gate lets a version replace the present champion."""

from __future__ import annotations

from workloads.gate import decision as decisions
from workloads.product import Product
from workloads.registry import Version


class NotApproved(Exception):
    """The gate has rejected the version, or has not seen it."""


def require_approval(product: Product, challenger: Version, champion: Version | None) -> None:
    """
    Raises:
        NotApproved: the gate did not approve the challenger against this very champion.
    """
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

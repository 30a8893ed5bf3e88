"""The notebook instance of data scientists, which reads what data teams read of every product."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from components.workbench import Workbench, WorkbenchArgs
from stacks.data import CURATED, FEATURES, PREDICTIONS, Data
from stacks.foundation import Foundation

NAME: Final = "esteira-workbench"
ZONE: Final = "a"
"""The zone of the region in which it stands. Nothing else here has a zone."""


def lay(foundation: Foundation, products: Mapping[str, Data]) -> Workbench | None:
    """Make the instance; None where the settings leave it out.

    Args:
        foundation: What products share.
        products: The data of each product, by its name.
    """
    settings = foundation.settings
    if not settings.workbench.enabled:
        return None
    return Workbench(
        NAME,
        args=WorkbenchArgs(
            project=settings.project,
            zone=f"{settings.location}-{ZONE}",
            account_id=NAME,
            machine_type=settings.workbench.machine_type,
            idle_minutes=settings.workbench.idle_minutes,
            reads={
                f"{name}-{role}": data.warehouse.datasets[role]
                for name, data in products.items()
                for role in (CURATED, FEATURES, PREDICTIONS)
            },
            users=settings.workbench.users,
            subnetwork=foundation.subnetwork,
            kms_key=foundation.key("notebooks"),
            protect=settings.security.protect,
        ),
        opts=foundation.opts,
    )

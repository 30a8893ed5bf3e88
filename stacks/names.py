"""Names that follow from a product and a role."""

from __future__ import annotations

import hashlib
from typing import Final

ACCOUNT_LENGTH: Final = 30
"""The most characters that Google allows before the `@` of a service account."""

DEPLOYER: Final = "esteira-deploy"
"""Account id of who deploys. `esteira bootstrap` makes it, before there is a stack."""


def deployer(project: str) -> str:
    """E-mail of the service account that deploys to a project."""
    return f"{DEPLOYER}@{project}.iam.gserviceaccount.com"


def account_id(product: str, role: str) -> str:
    """`<product>-<role>`; where that is too long, the product is cut and told apart by a hash."""
    whole = f"{product}-{role}"
    if len(whole) <= ACCOUNT_LENGTH:
        return whole
    mark = hashlib.sha256(product.encode()).hexdigest()[:4]
    kept = ACCOUNT_LENGTH - len(role) - len(mark) - 2
    return f"{product[:kept].rstrip('-')}-{mark}-{role}"

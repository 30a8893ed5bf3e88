"""Names that follow from a product and a role."""

from __future__ import annotations

import hashlib
from typing import Final

ACCOUNT_LENGTH: Final = 30
"""The most characters that Google allows before the `@` of a service account."""


def account_id(product: str, role: str) -> str:
    """`<product>-<role>`; where that is too long, the product is cut and told apart by a hash."""
    whole = f"{product}-{role}"
    if len(whole) <= ACCOUNT_LENGTH:
        return whole
    mark = hashlib.sha256(product.encode()).hexdigest()[:4]
    kept = ACCOUNT_LENGTH - len(role) - len(mark) - 2
    return f"{product[:kept].rstrip('-')}-{mark}-{role}"

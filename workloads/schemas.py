"""The Avro schemas that are deployed, beside each product's contracts: `schemas.json`.

Topics out there hold a schema for as long as they live. The committed file says which, by contract
and version, so that a change that no topic would take is found before it is deployed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from workloads import contracts
from workloads.product import Product

NAME: Final = "schemas.json"


def file(product: Product) -> Path:
    """Where the schemas of a product's own contracts lie: in its folder."""
    return product.features.sql.with_name(NAME)


def faults(product: Product) -> list[str]:
    """Why the contracts of a product do not fit what is deployed; empty: they do.

    Args:
        product: Contracts that another product takes in are that product's.
    """
    known = _read(product)
    found: list[str] = []
    mend = f"write it with `esteira product check {product.name} --write`"
    for source in product.own:
        contract = source.contract
        what = f"{contract.NAME} v{contract.VERSION}"
        old = known.get(contract.NAME, {}).get(str(contract.VERSION))
        new = contracts.avro_schema(contract)
        if old is None:
            found.append(f"{what} is not in {file(product)}; {mend}")
        elif wrong := contracts.incompatibilities(old, new):
            found.append(
                f"{what}: {'; '.join(wrong)}; give {contract.NAME} a new VERSION, or undo that"
            )
        elif old != new:
            found.append(f"{what} has changed in a compatible way since {NAME}; {mend}")
    return found


def write(product: Product) -> None:
    """Write the schemas of a product's own contracts, keeping those of older versions.

    One that a deployed topic would not take is left as it was: `faults` goes on telling of it.
    """
    known = _read(product)
    for source in product.own:
        versions = known.setdefault(source.contract.NAME, {})
        key = str(source.contract.VERSION)
        new = contracts.avro_schema(source.contract)
        if key not in versions or not contracts.incompatibilities(versions[key], new):
            versions[key] = new
    if known:
        file(product).write_text(json.dumps(known, indent=2, ensure_ascii=False) + "\n")


def _read(product: Product) -> dict[str, dict[str, Any]]:
    path = file(product)
    return json.loads(path.read_text()) if path.exists() else {}

"""Whether a deployed version answers as it did when it was evaluated."""

from __future__ import annotations

import math
from typing import Final

from workloads.manifest import EXAMPLES, Example
from workloads.product import Product
from workloads.registry import Version
from workloads.release.targets import Target, Unreachable

TOLERANCE: Final = 1e-5
"""It runs the same graph: its answers may differ by no more than export allows, in parts of the
answer or of one."""


class SmokeTestFailed(Exception):
    """The deployed version does not answer as when it was evaluated.

    It has been taken off, and whichever served before has the traffic again.
    """


def smoke_test(product: Product, target: Target, version: Version) -> int:
    """Ask a version for rows of the hold-out whose answers are known.

    Returns:
        How many rows were asked for.

    Raises:
        SmokeTestFailed: it did not answer, or the answer is another.
    """
    examples = version.folder.read_json(EXAMPLES, list[Example])
    try:
        asked = target.ask(version.number, [one.instance for one in examples])
    except Unreachable as error:
        raise SmokeTestFailed(
            f"version {version.number} of {product.name} cannot be asked: {error}"
        ) from error
    if asked.errors:
        raise SmokeTestFailed(
            f"version {version.number} of {product.name} did not answer: {asked.errors[0]}"
        )
    fields = version.manifest().answered
    found = [(one or {}).get(name, math.nan) for one in asked.predictions for name in fields]
    expected: list[float] = [getattr(one, name) for one in examples for name in fields.values()]
    if len(found) != len(expected) or not all(
        math.isclose(one, other, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
        for one, other in zip(found, expected, strict=True)
    ):
        raise SmokeTestFailed(
            f"version {version.number} of {product.name} answers {found}; when it was evaluated it "
            f"gave {expected}"
        )
    return len(examples)

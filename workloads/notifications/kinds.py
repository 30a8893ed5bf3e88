"""The kinds of monitors that a product has, and what people are told of each.

The alert policies of a stack, the rules of Prometheus and the relay say the same words. Plain data:
the Pulumi program imports it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of monitor."""

    name: str
    """Also of the alert that tells of it, and of its runbook."""
    severity: str
    title: str
    """What is wrong; the product's name goes before it."""
    means: str
    does: str
    """What the platform does about it by itself."""


_RETRAINS: Final = (
    "asks for a retraining, which starts within its cool-down and budget; the gate judges what it "
    "makes."
)
MONITORED: Final = (
    Kind(
        name="skew",
        severity="ERROR",
        title="serving differs from training",
        means="The model is asked with features that differ from those that training computes for "
        "the same time: more often a fault than a change of the world.",
        does="does nothing by itself: a model that is trained on a fault learns the fault.",
    ),
    Kind(
        name="performance",
        severity="ERROR",
        title="the model has got worse",
        means="By the labels that have come in, or by the estimate without them, the model does "
        "worse than when it was judged.",
        does=_RETRAINS,
    ),
    Kind(
        name="concept-drift",
        severity="ERROR",
        title="the model errs more than it did",
        means="The errors of the model have changed at one point in time: what it has learned no "
        "longer holds.",
        does=_RETRAINS,
    ),
    Kind(
        name="drift",
        severity="WARNING",
        title="the data has drifted",
        means="What the model is asked about no longer looks like what it has learned from.",
        does=_RETRAINS,
    ),
    Kind(
        name="prediction-drift",
        severity="WARNING",
        title="the predictions have drifted",
        means="The model answers differently than it did where it was judged.",
        does=_RETRAINS,
    ),
)
"""The gravest first."""
BY_NAME: Final = {one.name: one for one in MONITORED}


def gravest_first(names: set[str]) -> tuple[str, ...]:
    """Those names in the order of `MONITORED`."""
    return tuple(one for one in BY_NAME if one in names)

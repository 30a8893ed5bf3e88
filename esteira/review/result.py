"""What a review found, for whoever prints it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from esteira.engine.policies import Finding
from esteira.review.cost import Estimate
from esteira.review.outputs import OutputChange
from esteira.review.plan import Change, Kind, Resource
from esteira.review.security import SecurityChange
from esteira.review.values import shown

STATEFUL: Final = {
    "gcp:storage/bucket:Bucket": "its objects",
    "gcp:bigquery/dataset:Dataset": "its tables",
    "gcp:bigquery/table:Table": "its rows",
    "gcp:sql/databaseInstance:DatabaseInstance": "its databases",
    "gcp:sql/database:Database": "its tables",
    "gcp:kms/keyRing:KeyRing": "its keys",
    "gcp:kms/cryptoKey:CryptoKey": "the means to read whatever it encrypted",
    "gcp:pubsub/topic:Topic": "its retained messages and every subscription",
    "gcp:pubsub/subscription:Subscription": "its unacknowledged messages",
    "gcp:pubsub/schema:Schema": "its revisions",
    "gcp:secretmanager/secret:Secret": "its versions",
    "gcp:secretmanager/secretVersion:SecretVersion": "its value",
    "gcp:vertex/aiEndpoint:AiEndpoint": "its deployed models and its address",
    "gcp:vertex/aiFeatureOnlineStore:AiFeatureOnlineStore": "its synced features",
    "gcp:vertex/aiFeatureOnlineStoreFeatureview:AiFeatureOnlineStoreFeatureview": (
        "its synced features"
    ),
    "gcp:vertex/aiFeatureGroup:AiFeatureGroup": "its registered features",
    "gcp:vertex/aiMetadataStore:AiMetadataStore": "its runs and artefacts",
    "gcp:vertex/aiTensorboard:AiTensorboard": "its experiments",
    "gcp:artifactregistry/repository:Repository": "its images",
    "gcp:compute/disk:Disk": "its files",
    "gcp:workbench/instance:Instance": "its disks",
    "gcp:dataflow/flexTemplateJob:FlexTemplateJob": "what it has in flight, unless it drains",
    "gcp:redis/instance:Instance": "its entries",
    "gcp:container/cluster:Cluster": "its workloads and volumes",
    "kubernetes:core/v1:PersistentVolumeClaim": "its files",
}
"""Resources that hold something, and what is lost when one goes."""


class Basis(StrEnum):
    """What the plan was compared with."""

    STATE = "state"
    BASE = "base"
    NOTHING = "nothing"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What the plan was compared with, and why not with what was asked for."""

    basis: Basis
    ref: str = ""
    commit: str = ""
    note: str = ""
    """What could not be done."""

    def __str__(self) -> str:
        match self.basis:
            case Basis.STATE:
                return "compared with the state of the stack"
            case Basis.BASE:
                return f"compared with the program at {self.ref} ({self.commit[:10]})"
            case Basis.NOTHING:
                return "compared with nothing"


@dataclass(frozen=True, kw_only=True)
class Review:
    """All that a reviewer has to know."""

    stack: str
    command: str
    """What was typed to get it."""
    comparison: Comparison
    changes: tuple[Change, ...] = ()
    total: int = 0
    """Resources of the plan."""
    outputs: tuple[OutputChange, ...] = ()
    security: tuple[SecurityChange, ...] = ()
    rebuilt: tuple[str, ...] = ()
    """Names of images whose files changed."""
    findings: tuple[Finding, ...] = ()
    judged: bool = False
    """Whether policies were asked."""
    cost: Estimate | None = None
    cost_before: Estimate | None = None
    failure: str = ""
    """Why there is no plan; then nothing else is known."""

    @property
    def violations(self) -> tuple[Finding, ...]:
        """What stops the update."""
        return tuple(one for one in self.findings if one.mandatory and one.decided)

    @property
    def passed(self) -> bool:
        """Whether there is a plan and no mandatory policy forbids it."""
        return not self.failure and not self.violations

    @property
    def counts(self) -> dict[Kind, int]:
        """How many resources of each kind of change."""
        found = Counter(one.kind for one in self.changes)
        return {kind: found[kind] for kind in Kind if found[kind]}

    @property
    def losses(self) -> tuple[Change, ...]:
        """Deletions and replacements of what holds something; deletions first."""
        return tuple(
            sorted(
                (
                    one
                    for one in self.changes
                    if one.kind in (Kind.DELETE, Kind.REPLACE) and one.resource.type in STATEFUL
                ),
                key=lambda one: (one.kind is Kind.REPLACE, one.resource.type, one.resource.urn),
            )
        )

    @property
    def empty(self) -> bool:
        """Whether nothing changes."""
        return not (self.changes or self.outputs or self.rebuilt or self.failure)

    @property
    def quiet(self) -> bool:
        """Whether there is nothing to tell: nothing changes, and nothing is forbidden."""
        return self.empty and self.passed

    def as_dict(self) -> dict[str, Any]:
        """For a program."""
        return {
            "stack": self.stack,
            "comparison": {
                "basis": self.comparison.basis.value,
                "ref": self.comparison.ref,
                "commit": self.comparison.commit,
                "note": self.comparison.note,
            },
            "passed": self.passed,
            "failure": self.failure,
            "counts": {kind.value: count for kind, count in self.counts.items()},
            "resources": self.total,
            "changes": [_change(one) for one in self.changes],
            "outputs": [
                {"name": one.name, "breaks": one.breaks, "what": one.what, "instead": one.instead}
                for one in self.outputs
            ],
            "security": [
                {
                    "direction": one.direction.value,
                    "area": one.area.value,
                    "urn": one.resource.urn,
                    "what": one.what,
                    "loud": one.loud,
                }
                for one in self.security
            ],
            "images": list(self.rebuilt),
            "policies": {
                "checked": self.judged,
                "findings": [one.as_dict() for one in self.findings],
            },
            "cost": _cost(self.cost),
            "costBefore": _cost(self.cost_before),
        }


def _change(change: Change) -> dict[str, Any]:
    one: Resource = change.resource
    return {
        "kind": change.kind.value,
        "urn": one.urn,
        "type": one.type,
        "name": one.name,
        "product": one.product,
        "component": one.component,
        "stateful": one.type in STATEFUL,
        "protected": one.protect,
        "differences": [
            {
                "path": difference.path,
                # As texts: what stands for a secret or an unknown value is no JSON.
                "old": None if difference.old is None else shown(difference.old),
                "new": None if difference.new is None else shown(difference.new),
                "replaces": difference.replaces,
                "from": list(difference.moved),
            }
            for difference in change.differences
        ],
    }


def _cost(found: Estimate | None) -> Mapping[str, Any] | None:
    if found is None:
        return None
    return {
        "leastPerMonth": round(found.least, 2),
        "mostPerMonth": round(found.most, 2),
        "lines": [
            {"name": one.name, "what": one.what, "least": round(one.least, 2),
             "most": round(one.most, 2)}
            for one in found.lines
        ],
        "unpriced": list(found.unpriced),
        "byUse": dict(found.usage),
    }  # fmt: skip

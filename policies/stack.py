"""What holds for the resources of a stack whatever they are: labels, region, protection."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from policies import artifacts, bigquery, kms, sql, storage
from policies.checks import at, shown
from policies.rule import HOUSE, Level, Resource, Rule, Severity

LABELS: Final = ("environment", "product", "owner", "cost-center", "managed-by")
REGIONS: Final = ("us-central1",)
LABELLED: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        (
            "gcp:alloydb/cluster:Cluster",
            "gcp:artifactregistry/repository:Repository",
            "gcp:bigquery/dataset:Dataset",
            "gcp:bigquery/table:Table",
            "gcp:cloudfunctionsv2/function:Function",
            "gcp:cloudrunv2/job:Job",
            "gcp:cloudrunv2/service:Service",
            "gcp:cloudrunv2/workerPool:WorkerPool",
            "gcp:compute/address:Address",
            "gcp:compute/disk:Disk",
            "gcp:compute/instance:Instance",
            "gcp:dataflow/flexTemplateJob:FlexTemplateJob",
            "gcp:dataflow/job:Job",
            "gcp:dataproc/cluster:Cluster",
            "gcp:filestore/instance:Instance",
            "gcp:kms/cryptoKey:CryptoKey",
            "gcp:managedkafka/cluster:Cluster",
            "gcp:pubsub/subscription:Subscription",
            "gcp:pubsub/topic:Topic",
            "gcp:redis/instance:Instance",
            "gcp:secretmanager/secret:Secret",
            "gcp:spanner/instance:Instance",
            "gcp:storage/bucket:Bucket",
            "gcp:vertex/aiDataset:AiDataset",
            "gcp:vertex/aiEndpoint:AiEndpoint",
            "gcp:vertex/aiFeatureGroup:AiFeatureGroup",
            "gcp:vertex/aiFeatureOnlineStore:AiFeatureOnlineStore",
            "gcp:vertex/aiFeatureStore:AiFeatureStore",
            "gcp:vertex/aiIndex:AiIndex",
            "gcp:vertex/aiIndexEndpoint:AiIndexEndpoint",
            "gcp:vertex/aiTensorboard:AiTensorboard",
            "gcp:workbench/instance:Instance",
        ),
        "labels",
    ),
    "gcp:container/cluster:Cluster": "resourceLabels",
    "gcp:monitoring/alertPolicy:AlertPolicy": "userLabels",
    "gcp:sql/databaseInstance:DatabaseInstance": "settings.userLabels",
}
"""Types that cost money or hold data, and the property that labels them. The provider's default
labels reach `labels` and no other property."""
STATEFUL: Final = (
    storage.BUCKET,
    bigquery.DATASET,
    bigquery.TABLE,
    sql.INSTANCE,
    artifacts.REPOSITORY,
    kms.KEY,
    kms.RING,
    "gcp:filestore/instance:Instance",
    "gcp:spanner/instance:Instance",
    "gcp:vertex/aiFeatureOnlineStore:AiFeatureOnlineStore",
    "gcp:vertex/aiFeatureStore:AiFeatureStore",
    "gcp:vertex/aiMetadataStore:AiMetadataStore",
)
"""Types that hold what nothing else can bring back."""


def _labels(resource: Resource) -> Iterator[str]:
    path = LABELLED[resource.type]
    own: Mapping[str, Any] = at(resource.props, path) or {}
    given = set(own.keys())
    if path == "labels":
        given |= _default_labels(resource)
    missing = [one for one in resource.options["labels"] if one not in given]
    if missing:
        yield f"`{path}` and the provider's default labels lack {', '.join(missing)}"


def _default_labels(resource: Resource) -> set[str]:
    labels: str | Mapping[str, Any] = at(resource.provider, "defaultLabels") or {}
    # The engine writes a provider's nested properties as JSON.
    return set(json.loads(labels) if isinstance(labels, str) else labels.keys())


def _region(resource: Resource) -> Iterator[str]:
    allowed = {str(one).lower() for one in resource.options["regions"]}
    for path in ("location", "region", "zone"):
        place = resource.props.get(path)
        if not isinstance(place, str) or not place or place.lower() == "global":
            continue
        name = place.rpartition("/")[2].lower()
        if name not in allowed and name.rpartition("-")[0] not in allowed:
            yield f"`{path}` is {shown(place)}; allowed: {', '.join(sorted(allowed))}"


def _protected(resource: Resource) -> Iterator[str]:
    if not resource.protected:
        yield "the option `protect` is off"


def _holds_nothing(resource: Resource) -> str | None:
    return "a view stores no rows" if bigquery.is_view(resource) else None


def _texts(description: str, default: tuple[str, ...]) -> dict[str, Any]:
    return {
        "type": "array",
        "items": {"type": "string", "minLength": 1},
        "minItems": 1,
        "default": list(default),
        "description": description,
    }


RULES: Final = (
    Rule(
        name="required-labels",
        description="A resource says whose it is and who pays for it.",
        remedy="Use the product's provider, whose default labels name them, or set `labels`.",
        references=(HOUSE,),
        level=Level.MANDATORY,
        severity=Severity.MEDIUM,
        types=tuple(LABELLED),
        checks=(_labels,),
        options={"labels": _texts("Labels that every resource has", LABELS)},
    ),
    Rule(
        name="allowed-region",
        description="Data and machines stay in the regions that are allowed.",
        remedy="Choose an allowed region, or add this one to `regions` in policies/config.json.",
        references=(HOUSE,),
        level=Level.MANDATORY,
        severity=Severity.HIGH,
        types=("gcp:", "pulumi:providers:gcp"),
        checks=(_region,),
        options={"regions": _texts("Regions and multi-regions; `global` always is one", REGIONS)},
    ),
    Rule(
        name="stateful-protected",
        description="What holds data cannot be deleted or replaced by a change of the program.",
        remedy="Set the resource option `protect` (setting `security.protect`).",
        references=(HOUSE,),
        level=Level.IN_PROD,
        severity=Severity.CRITICAL,
        types=STATEFUL,
        checks=(_protected,),
        spared=_holds_nothing,
    ),
)

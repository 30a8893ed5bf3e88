"""Enumerations of Google's discovery documents, where the SDK's docstring does not limit a value.

Only properties named here are judged, because pulumi-gcp takes some values in other spellings than
the API does. A document is read when a property that it lists is first given.
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from localcloud.provider.check import Failure
from localcloud.provider.rules.given import Given


@dataclass(frozen=True)
class Listed:
    """Which API and schema a type is written to, and the paths whose enumerations bind."""

    api: str
    schema: str
    paths: dict[str, str]
    """The path in Pulumi and in the API's schema, with `[]` for the items of lists."""
    any_case: bool = False


def _same(*paths: str) -> dict[str, str]:
    return {path: path for path in paths}


_MANY: Final = 12
_CLASSES: Final = ("STANDARD", "MULTI_REGIONAL", "REGIONAL", "NEARLINE", "COLDLINE", "ARCHIVE",
                   "DURABLE_REDUCED_AVAILABILITY", "RAPID")  # fmt: skip

LISTED: Final[dict[str, Listed]] = {
    "gcp:compute/subnetwork:Subnetwork": Listed(
        "compute.v1", "Subnetwork", _same("purpose", "privateIpv6GoogleAccess")),
    "gcp:compute/globalAddress:GlobalAddress": Listed(
        "compute.v1", "Address", _same("purpose")),
    "gcp:compute/address:Address": Listed("compute.v1", "Address", _same("purpose")),
    "gcp:compute/routerNat:RouterNat": Listed("compute.v1", "RouterNat", {
        "endpointTypes[]": "endpointTypes[]",
        "subnetworks[].sourceIpRangesToNats[]": "subnetworks[].sourceIpRangesToNat[]"}),
    "gcp:kms/cryptoKey:CryptoKey": Listed("cloudkms.v1", "CryptoKey", _same(
        "purpose", "versionTemplate.algorithm", "versionTemplate.protectionLevel")),
    "gcp:bigquery/dataset:Dataset": Listed(
        "bigquery.v2", "Dataset", _same("storageBillingModel")),
    "gcp:bigquery/routine:Routine": Listed(
        "bigquery.v2", "Routine", _same("dataGovernanceType")),
    "gcp:dataflow/flexTemplateJob:FlexTemplateJob": Listed(
        "dataflow.v1b3", "FlexTemplateRuntimeEnvironment", _same("ipConfiguration")),
    "gcp:sql/databaseInstance:DatabaseInstance": Listed(
        "sqladmin.v1beta4", "DatabaseInstance", _same(
        "databaseVersion", "instanceType", "settings.activationPolicy",
        "settings.availabilityType", "settings.edition", "settings.connectorEnforcement",
        "settings.ipConfiguration.sslMode", "settings.pricingPlan",
        "settings.backupConfiguration.backupRetentionSettings.retentionUnit")
        | {"settings.diskType": "settings.dataDiskType",
           "settings.ipConfiguration.serverCaMode": "settings.ipConfiguration.serverCaMode",
           "settings.maintenanceWindow.updateTrack": "settings.maintenanceWindow.updateTrack"}),
    "gcp:sql/user:User": Listed("sqladmin.v1beta4", "User", _same("type")),
    # pulumi-gcp compares the format without regard to case.
    "gcp:artifactregistry/repository:Repository": Listed(
        "artifactregistry.v1", "Repository", _same("format"), any_case=True),
    "gcp:cloudscheduler/job:Job": Listed("cloudscheduler.v1", "Job", _same(
        "httpTarget.httpMethod", "appEngineHttpTarget.httpMethod")),
    "gcp:monitoring/uptimeCheckConfig:UptimeCheckConfig": Listed(
        "monitoring.v3", "UptimeCheckConfig", _same("selectedRegions[]")),
    "gcp:monitoring/alertPolicy:AlertPolicy": Listed("monitoring.v3", "AlertPolicy", _same(
        "conditions[].conditionThreshold.evaluationMissingData")),
    "gcp:container/cluster:Cluster": Listed("container.v1", "Cluster", _same(
        "binaryAuthorization.evaluationMode", "databaseEncryption.state",
        "ipAllocationPolicy.stackType", "networkPolicy.provider", "releaseChannel.channel",
        "nodeConfig.workloadMetadataConfig.mode")),
    "gcp:container/nodePool:NodePool": Listed("container.v1", "NodePool", {
        "autoscaling.locationPolicy": "autoscaling.locationPolicy",
        "upgradeSettings.strategy": "upgradeSettings.strategy",
        "nodeConfig.workloadMetadataConfig.mode": "config.workloadMetadataConfig.mode"}),
}  # fmt: skip

# Enumerations that docstrings and documents give in looser words.
CHOICES: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    # Docstrings of the SDK; storage classes also from
    # cloud.google.com/storage/docs/storage-classes.
    "gcp:storage/bucket:Bucket": {
        "storageClass": _CLASSES,
        "lifecycleRules[].action.storageClass": _CLASSES,
        "lifecycleRules[].action.type": (
            "Delete", "SetStorageClass", "AbortIncompleteMultipartUpload"),
        "lifecycleRules[].condition.withState": ("LIVE", "ARCHIVED", "ANY"),
        "publicAccessPrevention": ("inherited", "enforced"),
        "rpo": ("DEFAULT", "ASYNC_TURBO"),
    },
    "gcp:storage/notification:Notification": {
        "payloadFormat": ("JSON_API_V1", "NONE"),
        "eventTypes[]": ("OBJECT_FINALIZE", "OBJECT_METADATA_UPDATE", "OBJECT_DELETE",
                         "OBJECT_ARCHIVE"),
    },
    "gcp:bigquery/table:Table": {"timePartitioning.type": ("DAY", "HOUR", "MONTH", "YEAR")},
    "gcp:bigquery/datasetAccess:DatasetAccess": {
        "specialGroup": ("projectOwners", "projectReaders", "projectWriters",
                         "allAuthenticatedUsers"),
    },
    "gcp:dataflow/flexTemplateJob:FlexTemplateJob": {"onDelete": ("drain", "cancel")},
    "gcp:monitoring/uptimeCheckConfig:UptimeCheckConfig": {
        "period": ("60s", "300s", "600s", "900s"),
    },
    "gcp:projects/iAMAuditConfig:IAMAuditConfig": {
        "auditLogConfigs[].logType": ("ADMIN_READ", "DATA_READ", "DATA_WRITE"),
    },
    "gcp:container/cluster:Cluster": {
        "datapathProvider": ("DATAPATH_PROVIDER_UNSPECIFIED", "LEGACY_DATAPATH",
                             "ADVANCED_DATAPATH"),
    },
    "gcp:workbench/instance:Instance": {"desiredState": ("ACTIVE", "STOPPED")},
    "gcp:orgpolicy/policy:Policy": {
        f"{spec}.rules[].{kind}": ("TRUE", "FALSE", "True", "False", "true", "false")
        for spec in ("spec", "dryRunSpec") for kind in ("allowAll", "denyAll", "enforce")
    },
}  # fmt: skip


def judge(given: Given) -> Iterator[Failure]:
    """Values that the API's enumeration does not have."""
    for path, allowed in CHOICES.get(given.token, {}).items():
        yield from _judged(given, path, allowed, any_case=False)
    listed = LISTED.get(given.token)
    if listed is not None:
        for path, field in listed.paths.items():
            if any(True for _ in given.at(path)):
                allowed = values(listed.api, listed.schema, field)
                yield from _judged(given, path, allowed, any_case=listed.any_case)


def _judged(
    given: Given, path: str, allowed: tuple[str, ...], *, any_case: bool
) -> Iterator[Failure]:
    for where, value in given.at(path):
        if not isinstance(value, str) or not value or not allowed:
            continue
        if (value.upper() if any_case else value) in allowed:
            continue
        shown = [one for one in allowed if not one.endswith("_UNSPECIFIED")]
        near = difflib.get_close_matches(value, shown, 1, 0.6)
        hint = f"; did you mean {near[0]!r}?" if near and not given.hides(where) else ""
        some = ", ".join(shown[:_MANY]) + (" and others" if len(shown) > _MANY else "")
        yield given.refuse(where, value, f"is not one of {some}{hint}")


@functools.cache
def values(api: str, schema: str, field: str) -> tuple[str, ...]:
    """The enumeration of a field; empty when the document has none there."""
    schemas = _schemas(api)
    found: dict[str, Any] = {"$ref": schema}
    for step in field.replace("[]", ".[]").split("."):
        found = schemas.get(str(found.get("$ref")), found)
        found = (
            found.get("items", {}) if step == "[]" else found.get("properties", {}).get(step, {})
        )
    return tuple(found.get("enum", ()))


@functools.cache
def _schemas(api: str) -> dict[str, Any]:
    import msgspec

    from localcloud.rest.discovery import folder

    return msgspec.json.decode((folder() / f"{api}.json").read_bytes())["schemas"]

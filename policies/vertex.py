"""Vertex AI: endpoints, stores, and workbench instances."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from policies.checks import at, for_types, is_set, is_true, not_false, not_true
from policies.rule import Level, Resource, Rule, Severity

ENDPOINT: Final = "gcp:vertex/aiEndpoint:AiEndpoint"
INDEX_ENDPOINT: Final = "gcp:vertex/aiIndexEndpoint:AiIndexEndpoint"
KEY: Final = "encryptionSpec.kmsKeyName"
CONNECT: Final = "privateServiceConnectConfig.enablePrivateServiceConnect"


def _private(resource: Resource) -> Iterator[str]:
    keys = resource.props.keys()
    if "network" in keys and at(resource.props, "network"):
        return
    if at(resource.props, CONNECT) is not True:
        yield f"neither `network` nor `{CONNECT}` is set: it answers on a public address"


RULES: Final = (
    Rule(
        name="endpoint-customer-key",
        description="What an endpoint stores is encrypted with a key of our own.",
        remedy=f"Set `{KEY}` (setting `security.customerManagedKeys`).",
        references=("CKV2_GCP_24",),
        level=Level.IN_PROD,
        severity=Severity.HIGH,
        types=(ENDPOINT,),
        checks=(is_set(KEY),),
    ),
    Rule(
        name="endpoint-private",
        description="An endpoint is reached from a private network only.",
        remedy="Use Private Service Connect or `network` (setting `security.privateEndpoint`); "
        "leave `publicEndpointEnabled` out.",
        references=("CKV2_GCP_33", "CKV2_GCP_34"),
        level=Level.IN_PROD,
        severity=Severity.HIGH,
        types=(ENDPOINT, INDEX_ENDPOINT),
        checks=(_private, for_types((INDEX_ENDPOINT,), not_true("publicEndpointEnabled"))),
    ),
    Rule(
        name="vertex-customer-key",
        description="Datasets, stores and experiments are encrypted with a key of our own.",
        remedy=f"Set `{KEY}`.",
        references=("CKV_GCP_92", "CKV_GCP_96", "CKV2_GCP_25", "CKV2_GCP_26"),
        level=Level.IN_PROD,
        severity=Severity.HIGH,
        types=(
            "gcp:vertex/aiDataset:AiDataset",
            "gcp:vertex/aiMetadataStore:AiMetadataStore",
            "gcp:vertex/aiFeatureStore:AiFeatureStore",
            "gcp:vertex/aiFeatureOnlineStore:AiFeatureOnlineStore",
            "gcp:vertex/aiTensorboard:AiTensorboard",
        ),
        checks=(is_set(KEY),),
    ),
    Rule(
        name="workbench-private",
        description="A workbench instance has no public address, and is shielded.",
        remedy="Set `gceSetup.disablePublicIp` and `gceSetup.shieldedInstanceConfig."
        "enableSecureBoot` to true; leave its other two switches on.",
        references=("CKV2_GCP_28", "CKV_GCP_126", "CKV_GCP_127"),
        level=Level.MANDATORY,
        severity=Severity.HIGH,
        types=("gcp:workbench/instance:Instance",),
        checks=(
            is_true("gceSetup.disablePublicIp"),
            is_true("gceSetup.shieldedInstanceConfig.enableSecureBoot"),
            not_false("gceSetup.shieldedInstanceConfig.enableVtpm"),
            not_false("gceSetup.shieldedInstanceConfig.enableIntegrityMonitoring"),
        ),
    ),
)

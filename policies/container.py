"""Clusters and node pools of Google Kubernetes Engine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from policies.checks import (
    ANYWHERE,
    at,
    each,
    equals,
    for_types,
    is_set,
    is_true,
    not_false,
    not_true,
    own_account,
    shown,
)
from policies.rule import Check, Level, Resource, Rule, Severity

CLUSTER: Final = "gcp:container/cluster:Cluster"
POOL: Final = "gcp:container/nodePool:NodePool"
AUTHORIZED: Final = "masterAuthorizedNetworksConfig"


def _on_nodes(*checks: Check) -> Check:
    """Checks of nodes: of a pool, and of a cluster that keeps its first pool.

    Autopilot looks after its own nodes.
    """

    def check(resource: Resource) -> Iterator[str]:
        if resource.type == CLUSTER and (
            at(resource.props, "enableAutopilot") is True
            or at(resource.props, "removeDefaultNodePool") is True
        ):
            return
        for one in checks:
            yield from one(resource)

    return check


def _not_autopilot(*checks: Check) -> Check:
    def check(resource: Resource) -> Iterator[str]:
        if at(resource.props, "enableAutopilot") is not True:
            for one in checks:
                yield from one(resource)

    return check


def _authorized_networks(resource: Resource) -> Iterator[str]:
    if AUTHORIZED not in resource.props.keys():  # noqa: SIM118 - reads no value
        yield f"`{AUTHORIZED}` is not set: the control plane answers everyone"
    for where, value in each(resource.props, f"{AUTHORIZED}.cidrBlocks.*.cidrBlock"):
        if value in ANYWHERE:
            yield f"`{where}` is `{value}`, the whole internet"


def _release_channel(resource: Resource) -> Iterator[str]:
    channel = at(resource.props, "releaseChannel.channel")
    if channel in (None, "", "UNSPECIFIED"):
        yield f"`releaseChannel.channel` is {shown(channel)}; it has to be one, e.g. `REGULAR`"


def _binary_authorization(resource: Resource) -> Iterator[str]:
    mode = at(resource.props, "binaryAuthorization.evaluationMode")
    if mode in (None, "", "DISABLED", "EVALUATION_MODE_UNSPECIFIED"):
        yield f"`binaryAuthorization.evaluationMode` is {shown(mode)}"


RULES: Final = (
    Rule(
        name="cluster-private-nodes",
        description="Nodes have no public address.",
        remedy="Set `privateClusterConfig.enablePrivateNodes` to true.",
        references=("GKE 5.6.5", "CKV_GCP_64"),
        level=Level.MANDATORY,
        severity=Severity.HIGH,
        types=(CLUSTER,),
        checks=(is_true("privateClusterConfig.enablePrivateNodes"),),
    ),
    Rule(
        name="cluster-authorized-networks",
        description="The control plane answers only networks that are named.",
        remedy=f"Set `{AUTHORIZED}` with the networks that need it, never 0.0.0.0/0.",
        references=("GKE 5.6.3", "CKV_GCP_20"),
        level=Level.MANDATORY,
        severity=Severity.HIGH,
        types=(CLUSTER,),
        checks=(_authorized_networks,),
    ),
    Rule(
        name="cluster-workload-identity",
        description="Pods have identities of their own, and cannot take that of their node.",
        remedy="Set `workloadIdentityConfig.workloadPool` on the cluster and "
        "`nodeConfig.workloadMetadataConfig.mode` to `GKE_METADATA` on its nodes.",
        references=("GKE 5.2.2", "CKV_GCP_69"),
        level=Level.MANDATORY,
        severity=Severity.HIGH,
        types=(CLUSTER, POOL),
        checks=(
            for_types((CLUSTER,), _not_autopilot(is_set("workloadIdentityConfig.workloadPool"))),
            _on_nodes(equals("nodeConfig.workloadMetadataConfig.mode", "GKE_METADATA")),
        ),
    ),
    Rule(
        name="node-service-account",
        description="Nodes do not run as the project's default account.",
        remedy="Set `nodeConfig.serviceAccount` to an account with the node's few roles.",
        references=("GKE 5.2.1", "CKV2_GCP_1"),
        level=Level.MANDATORY,
        severity=Severity.HIGH,
        types=(POOL, CLUSTER),
        checks=(_on_nodes(own_account("nodeConfig.serviceAccount")),),
    ),
    Rule(
        name="cluster-release-channel",
        description="A cluster is on a release channel, which keeps it patched.",
        remedy="Set `releaseChannel.channel` to `REGULAR` or `STABLE`.",
        references=("GKE 5.5.4", "CKV_GCP_70"),
        level=Level.MANDATORY,
        severity=Severity.MEDIUM,
        types=(CLUSTER,),
        checks=(_release_channel,),
    ),
    Rule(
        name="cluster-shielded-nodes",
        description="Nodes are shielded: secure boot and integrity monitoring are on.",
        remedy="Leave `enableShieldedNodes` on; set `nodeConfig.shieldedInstanceConfig` "
        "`enableSecureBoot` and `enableIntegrityMonitoring` to true.",
        references=(
            "GKE 5.5.5",
            "GKE 5.5.6",
            "GKE 5.5.7",
            "CKV_GCP_71",
            "CKV_GCP_68",
            "CKV_GCP_72",
        ),
        level=Level.MANDATORY,
        severity=Severity.MEDIUM,
        types=(CLUSTER, POOL),
        checks=(
            for_types((CLUSTER,), not_false("enableShieldedNodes")),
            _on_nodes(is_true("nodeConfig.shieldedInstanceConfig.enableSecureBoot")),
            _on_nodes(not_false("nodeConfig.shieldedInstanceConfig.enableIntegrityMonitoring")),
        ),
    ),
    Rule(
        name="node-pool-repair",
        description="Nodes are repaired and upgraded by themselves.",
        remedy="Set `management.autoRepair` and `management.autoUpgrade` to true.",
        references=("GKE 5.5.2", "GKE 5.5.3", "CKV_GCP_9", "CKV_GCP_10"),
        level=Level.MANDATORY,
        severity=Severity.MEDIUM,
        types=(POOL,),
        checks=(is_true("management.autoRepair"), is_true("management.autoUpgrade")),
    ),
    Rule(
        name="cluster-binary-authorization",
        description="Only images that a policy admits are run.",
        remedy="Set `binaryAuthorization.evaluationMode` to `PROJECT_SINGLETON_POLICY_ENFORCE`.",
        references=("GKE 5.10.4", "CKV_GCP_66"),
        level=Level.ADVISORY,
        severity=Severity.MEDIUM,
        types=(CLUSTER,),
        checks=(_binary_authorization,),
    ),
    Rule(
        name="cluster-encrypted-secrets",
        description="Kubernetes secrets are encrypted with a key of our own.",
        remedy="Set `databaseEncryption.state` to `ENCRYPTED`, with a `keyName`.",
        references=("GKE 5.3.1",),
        level=Level.ADVISORY,
        severity=Severity.MEDIUM,
        types=(CLUSTER,),
        checks=(
            equals("databaseEncryption.state", "ENCRYPTED"),
            is_set("databaseEncryption.keyName"),
        ),
    ),
    Rule(
        name="cluster-no-legacy-access",
        description="No legacy authorization, no alpha features, no client certificate.",
        remedy="Leave out `enableLegacyAbac`, `enableKubernetesAlpha` and "
        "`masterAuth.clientCertificateConfig.issueClientCertificate`.",
        references=("GKE 5.8", "CKV_GCP_7", "CKV_GCP_13", "CKV2_GCP_19"),
        level=Level.MANDATORY,
        severity=Severity.HIGH,
        types=(CLUSTER,),
        checks=(
            not_true("enableLegacyAbac"),
            not_true("enableKubernetesAlpha"),
            not_true("masterAuth.clientCertificateConfig.issueClientCertificate"),
        ),
    ),
)

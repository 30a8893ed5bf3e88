"""For every rule that judges one resource: what passes, what fails and in which words."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Example:
    """One resource, and the verdict of one rule."""

    rule: str
    type: str
    props: dict[str, Any]
    fails: str = ""
    """Part of the message; empty for one that passes."""
    protected: bool = False
    provider: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def id(self) -> str:
        return f"{self.rule} {'fails' if self.fails else 'passes'} {self.type.rpartition(':')[2]}"


KEY = "projects/p/locations/us-central1/keyRings/r/cryptoKeys/k"
ACCOUNT = "train@a-project.iam.gserviceaccount.com"
COMPUTE = "123-compute@developer.gserviceaccount.com"
DIGEST = "us-central1-docker.pkg.dev/p/esteira/serving@sha256:" + "a" * 64
TAG = "us-central1-docker.pkg.dev/p/esteira/serving:latest"
LABELS = {
    "environment": "prod",
    "product": "p",
    "owner": "o",
    "cost-center": "c",
    "managed-by": "pulumi",
}
EXAMPLES: list[Example] = []


def _about(
    rule: str, kind: str, base: dict[str, Any], *verdicts: tuple[dict[str, Any], str], **rest: Any
) -> None:
    """Variations of one resource; an empty text means that it passes."""
    for change, fails in verdicts:
        props = {k: v for k, v in {**base, **change}.items() if v is not None}
        EXAMPLES.append(Example(rule=rule, type=f"gcp:{kind}", props=props, fails=fails, **rest))


BUCKET = {"name": "landing", "location": "US-CENTRAL1"}
_bucket = "storage/bucket:Bucket"
_about(
    "bucket-uniform-access",
    _bucket,
    BUCKET,
    ({"uniformBucketLevelAccess": True}, ""),
    ({"uniformBucketLevelAccess": False}, "`uniformBucketLevelAccess` is false"),
    ({}, "`uniformBucketLevelAccess` is not set"),
)
_about(
    "bucket-public-access-prevention",
    _bucket,
    BUCKET,
    ({"publicAccessPrevention": "enforced"}, ""),
    ({"publicAccessPrevention": "inherited"}, "is `inherited`; it has to be `enforced`"),
    ({}, "`publicAccessPrevention` is not set"),
)
_about(
    "bucket-versioning",
    _bucket,
    BUCKET,
    ({"versioning": {"enabled": True}}, ""),
    ({"versioning": {"enabled": False}}, "`versioning.enabled` is false"),
    ({}, "`versioning.enabled` is not set"),
)
_about(
    "bucket-customer-key",
    _bucket,
    BUCKET,
    ({"encryption": {"defaultKmsKeyName": KEY}}, ""),
    ({"encryption": {"defaultKmsKeyName": ""}}, "`encryption.defaultKmsKeyName` is not set"),
    ({}, "`encryption.defaultKmsKeyName` is not set"),
)
_about(
    "bucket-access-log",
    _bucket,
    BUCKET,
    ({"logging": {"logBucket": "logs"}}, ""),
    ({"logging": {"logBucket": "landing"}}, "the bucket itself"),
    ({}, "`logging.logBucket` is not set"),
)
_about(
    "bucket-no-force-destroy",
    _bucket,
    BUCKET,
    ({}, ""),
    ({"forceDestroy": False}, ""),
    ({"forceDestroy": True}, "`forceDestroy` is true"),
)


def _granted(rule: str, member: str, binding: str, **where: Any) -> None:
    """A rule that nobody public is granted anything: by a member and by a binding."""
    role = {"role": "roles/viewer.x", **where}
    _about(
        rule,
        member,
        role,
        ({"member": f"serviceAccount:{ACCOUNT}"}, ""),
        ({"member": "allUsers"}, "to `allUsers`"),
    )
    _about(
        rule,
        binding,
        role,
        ({"members": ["group:data@example.com"]}, ""),
        ({"members": ["group:data@example.com", "allAuthenticatedUsers"]}, "AuthenticatedUsers`"),
    )


def _policied(rule: str, kind: str, **where: Any) -> None:
    """The same, by a whole policy."""
    for members, fails in ((["group:a@example.com"], ""), (["allUsers"], "to `allUsers`")):
        policy = {"bindings": [{"role": "roles/x", "members": members}]}
        _about(rule, kind, where, ({"policyData": json.dumps(policy)}, fails))


_granted(
    "bucket-no-public-member",
    "storage/bucketIAMMember:BucketIAMMember",
    "storage/bucketIAMBinding:BucketIAMBinding",
    bucket="b",
)
_policied("bucket-no-public-member", "storage/bucketIAMPolicy:BucketIAMPolicy", bucket="b")

DATASET = {"datasetId": "d", "location": "us-central1"}
_dataset = "bigquery/dataset:Dataset"
_about(
    "dataset-no-public-member",
    _dataset,
    DATASET,
    ({}, ""),
    ({"accesses": [{"role": "READER", "specialGroup": "projectReaders"}]}, ""),
    (
        {"accesses": [{"role": "READER", "specialGroup": "allAuthenticatedUsers"}]},
        "`accesses[0].specialGroup`",
    ),
    ({"accesses": [{"role": "READER", "iamMember": "allUsers"}]}, "`accesses[0].iamMember`"),
)
_about(
    "dataset-no-public-member",
    "bigquery/datasetAccess:DatasetAccess",
    {"datasetId": "d", "role": "READER"},
    ({"groupByEmail": "data@example.com"}, ""),
    ({"specialGroup": "allAuthenticatedUsers"}, "`specialGroup`"),
)
_granted(
    "dataset-no-public-member",
    "bigquery/datasetIamMember:DatasetIamMember",
    "bigquery/datasetIamBinding:DatasetIamBinding",
    datasetId="d",
)
_granted(
    "dataset-no-public-member",
    "bigquery/iamMember:IamMember",
    "bigquery/iamBinding:IamBinding",
    datasetId="d",
    tableId="t",
)
_policied("dataset-no-public-member", "bigquery/datasetIamPolicy:DatasetIamPolicy", datasetId="d")
_about(
    "dataset-customer-key",
    _dataset,
    DATASET,
    ({"defaultEncryptionConfiguration": {"kmsKeyName": KEY}}, ""),
    ({}, "`defaultEncryptionConfiguration.kmsKeyName` is not set"),
)
TABLE = {"datasetId": "d", "tableId": "t"}
_table = "bigquery/table:Table"
_about(
    "table-customer-key",
    _table,
    TABLE,
    ({"encryptionConfiguration": {"kmsKeyName": KEY}}, ""),
    ({}, "`encryptionConfiguration.kmsKeyName` is not set"),
)
_about(
    "warehouse-deletion-protection",
    _table,
    TABLE,
    ({}, ""),
    ({"deletionProtection": True}, ""),
    ({"deletionProtection": False}, "`deletionProtection` is false"),
)
_about(
    "warehouse-deletion-protection",
    _dataset,
    DATASET,
    ({}, ""),
    ({"deleteContentsOnDestroy": True}, "`deleteContentsOnDestroy` is true"),
)

_about(
    "topic-customer-key",
    "pubsub/topic:Topic",
    {"name": "events"},
    ({"kmsKeyName": KEY}, ""),
    ({}, "`kmsKeyName` is not set"),
)
_granted(
    "pubsub-no-public-member",
    "pubsub/topicIAMMember:TopicIAMMember",
    "pubsub/topicIAMBinding:TopicIAMBinding",
    topic="t",
)
_granted(
    "pubsub-no-public-member",
    "pubsub/subscriptionIAMMember:SubscriptionIAMMember",
    "pubsub/subscriptionIAMBinding:SubscriptionIAMBinding",
    subscription="s",
)
_policied("pubsub-no-public-member", "pubsub/topicIAMPolicy:TopicIAMPolicy", topic="t")
_policied(
    "pubsub-no-public-member",
    "pubsub/subscriptionIAMPolicy:SubscriptionIAMPolicy",
    subscription="s",
)

_sql = "sql/databaseInstance:DatabaseInstance"
POSTGRES = {"databaseVersion": "POSTGRES_17", "region": "us-central1"}


def _with(**settings: Any) -> dict[str, Any]:
    return {"settings": {"tier": "db-f1-micro", "edition": "ENTERPRISE", **settings}}


def _reached(**ip: Any) -> dict[str, Any]:
    return _with(ipConfiguration=ip)


_about(
    "sql-encrypted-connections",
    _sql,
    POSTGRES,
    (_reached(sslMode="ENCRYPTED_ONLY"), ""),
    (_reached(sslMode="TRUSTED_CLIENT_CERTIFICATE_REQUIRED"), ""),
    (_reached(sslMode="ALLOW_UNENCRYPTED_AND_ENCRYPTED"), "has to be `ENCRYPTED_ONLY` or"),
    (_with(), "sslMode` is not set"),
)
_about(
    "sql-no-public-address",
    _sql,
    POSTGRES,
    (_reached(ipv4Enabled=False, privateNetwork="projects/p/global/networks/n"), ""),
    (_reached(ipv4Enabled=True), "ipv4Enabled` is true"),
    (_with(), "ipv4Enabled` is not set"),
)
_about(
    "sql-no-open-network",
    _sql,
    POSTGRES,
    (_with(), ""),
    (_reached(authorizedNetworks=[{"value": "10.0.0.0/8"}]), ""),
    (
        _reached(authorizedNetworks=[{"value": "10.0.0.0/8"}, {"value": "0.0.0.0/0"}]),
        "authorizedNetworks[1].value` is `0.0.0.0/0`",
    ),
)
_about(
    "sql-backups",
    _sql,
    POSTGRES,
    (_with(backupConfiguration={"enabled": True, "pointInTimeRecoveryEnabled": True}), ""),
    (_with(backupConfiguration={"enabled": True}), "pointInTimeRecoveryEnabled` is not set"),
    (_with(), "backupConfiguration.enabled` is not set"),
)
_about(
    "sql-backups",
    _sql,
    {**POSTGRES, "databaseVersion": "MYSQL_8_0"},
    (_with(backupConfiguration={"enabled": True, "binaryLogEnabled": True}), ""),
    (_with(backupConfiguration={"enabled": True}), "binaryLogEnabled` is not set"),
)
FLAGS = [
    {"name": name, "value": "on"}
    for name in ("log_connections", "log_disconnections", "cloudsql.enable_pgaudit")
]
_about(
    "sql-audit-flags",
    _sql,
    POSTGRES,
    (_with(databaseFlags=FLAGS), ""),
    (_with(databaseFlags=FLAGS[:2]), "`cloudsql.enable_pgaudit`"),
    (_with(databaseFlags=[{"name": "log_connections", "value": "off"}]), "`log_connections`"),
)

_cluster, _pool = "container/cluster:Cluster", "container/nodePool:NodePool"
CLUSTER = {"location": "us-central1", "removeDefaultNodePool": True, "initialNodeCount": 1}
POOL = {"cluster": "c", "location": "us-central1"}
_about(
    "cluster-private-nodes",
    _cluster,
    CLUSTER,
    ({"privateClusterConfig": {"enablePrivateNodes": True}}, ""),
    ({"privateClusterConfig": {"enablePrivateNodes": False}}, "enablePrivateNodes` is false"),
    ({}, "enablePrivateNodes` is not set"),
)
_about(
    "cluster-authorized-networks",
    _cluster,
    CLUSTER,
    ({"masterAuthorizedNetworksConfig": {"cidrBlocks": [{"cidrBlock": "10.0.0.0/8"}]}}, ""),
    ({"masterAuthorizedNetworksConfig": {}}, ""),
    (
        {"masterAuthorizedNetworksConfig": {"cidrBlocks": [{"cidrBlock": "0.0.0.0/0"}]}},
        "the whole internet",
    ),
    ({}, "`masterAuthorizedNetworksConfig` is not set"),
)
WORKLOADS = {"workloadIdentityConfig": {"workloadPool": "p.svc.id.goog"}}
_about(
    "cluster-workload-identity",
    _cluster,
    CLUSTER,
    (WORKLOADS, ""),
    ({"enableAutopilot": True, "removeDefaultNodePool": None}, ""),
    ({}, "workloadPool` is not set"),
    ({**WORKLOADS, "removeDefaultNodePool": False}, "workloadMetadataConfig.mode` is not set"),
)
_about(
    "cluster-workload-identity",
    _pool,
    POOL,
    ({"nodeConfig": {"workloadMetadataConfig": {"mode": "GKE_METADATA"}}}, ""),
    ({"nodeConfig": {"workloadMetadataConfig": {"mode": "GCE_METADATA"}}}, "`GCE_METADATA`"),
    ({}, "workloadMetadataConfig.mode` is not set"),
)
_about(
    "node-service-account",
    _pool,
    POOL,
    ({"nodeConfig": {"serviceAccount": ACCOUNT}}, ""),
    ({"nodeConfig": {"serviceAccount": "default"}}, "`default`"),
    ({"nodeConfig": {"serviceAccount": COMPUTE}}, "the default account"),
    ({}, "not set, which means the project's default account"),
)
_about(
    "node-service-account",
    _cluster,
    CLUSTER,
    ({}, ""),
    ({"removeDefaultNodePool": None}, "not set, which means the project's default account"),
)
_about(
    "cluster-release-channel",
    _cluster,
    CLUSTER,
    ({"releaseChannel": {"channel": "REGULAR"}}, ""),
    ({"releaseChannel": {"channel": "UNSPECIFIED"}}, "is `UNSPECIFIED`"),
    ({}, "`releaseChannel.channel` is not set"),
)
SHIELDED = {"shieldedInstanceConfig": {"enableSecureBoot": True}}
_about(
    "cluster-shielded-nodes",
    _cluster,
    CLUSTER,
    ({}, ""),
    ({"enableShieldedNodes": False}, "`enableShieldedNodes` is false"),
)
_about(
    "cluster-shielded-nodes",
    _pool,
    POOL,
    ({"nodeConfig": SHIELDED}, ""),
    (
        {
            "nodeConfig": {
                "shieldedInstanceConfig": {
                    "enableSecureBoot": True,
                    "enableIntegrityMonitoring": False,
                }
            }
        },
        "enableIntegrityMonitoring` is false",
    ),
    ({}, "enableSecureBoot` is not set"),
)
_about(
    "node-pool-repair",
    _pool,
    POOL,
    ({"management": {"autoRepair": True, "autoUpgrade": True}}, ""),
    ({"management": {"autoRepair": True}}, "`management.autoUpgrade` is not set"),
    ({"management": {"autoRepair": False, "autoUpgrade": True}}, "autoRepair` is false"),
)
_about(
    "cluster-binary-authorization",
    _cluster,
    CLUSTER,
    ({"binaryAuthorization": {"evaluationMode": "PROJECT_SINGLETON_POLICY_ENFORCE"}}, ""),
    ({"binaryAuthorization": {"evaluationMode": "DISABLED"}}, "is `DISABLED`"),
    ({}, "is not set"),
)
_about(
    "cluster-encrypted-secrets",
    _cluster,
    CLUSTER,
    ({"databaseEncryption": {"state": "ENCRYPTED", "keyName": KEY}}, ""),
    ({"databaseEncryption": {"state": "DECRYPTED"}}, "is `DECRYPTED`"),
    ({}, "`databaseEncryption.state` is not set"),
)
_about(
    "cluster-no-legacy-access",
    _cluster,
    CLUSTER,
    ({}, ""),
    ({"enableLegacyAbac": True}, "`enableLegacyAbac` is true"),
    ({"enableKubernetesAlpha": True}, "`enableKubernetesAlpha` is true"),
    (
        {"masterAuth": {"clientCertificateConfig": {"issueClientCertificate": True}}},
        "issueClientCertificate` is true",
    ),
)

_service, _job = "cloudrunv2/service:Service", "cloudrunv2/job:Job"
_flex, _classic = "dataflow/flexTemplateJob:FlexTemplateJob", "dataflow/job:Job"
RUN = {"location": "us-central1", "template": {"containers": [{"image": DIGEST}]}}
RUN_JOB = {"location": "us-central1", "template": {"template": {"containers": [{"image": DIGEST}]}}}
FLEX = {"containerSpecGcsPath": "gs://b/t.json", "region": "us-central1"}
CLASSIC = {"templateGcsPath": "gs://b/t", "tempGcsLocation": "gs://b/temp", "region": "us-central1"}
_about(
    "run-no-public-invoker",
    _service,
    RUN,
    ({}, ""),
    ({"invokerIamDisabled": True}, "`invokerIamDisabled` is true"),
)
for _of in ("service", "job"):
    _granted(
        "run-no-public-invoker",
        f"cloudrunv2/{_of}IamMember:{_of.title()}IamMember",
        f"cloudrunv2/{_of}IamBinding:{_of.title()}IamBinding",
        name="s",
        location="us-central1",
    )
_granted(
    "run-no-public-invoker",
    "cloudrun/iamMember:IamMember",
    "cloudrun/iamBinding:IamBinding",
    service="s",
    location="us-central1",
)
_policied(
    "run-no-public-invoker",
    "cloudrunv2/serviceIamPolicy:ServiceIamPolicy",
    name="s",
    location="us-central1",
)
_about(
    "run-private-ingress",
    _service,
    RUN,
    ({"ingress": "INGRESS_TRAFFIC_INTERNAL_ONLY"}, ""),
    ({"ingress": "INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER"}, ""),
    ({"ingress": "INGRESS_TRAFFIC_ALL"}, "`ingress` is `INGRESS_TRAFFIC_ALL`"),
    ({}, "`ingress` is not set"),
)
_about(
    "workload-service-account",
    _service,
    RUN,
    ({"template": {**RUN["template"], "serviceAccount": ACCOUNT}}, ""),
    ({"template": {**RUN["template"], "serviceAccount": COMPUTE}}, "the default account"),
    ({}, "`template.serviceAccount` is not set"),
)
_about(
    "workload-service-account",
    _job,
    RUN_JOB,
    (
        {"template": {"template": {"containers": [{"image": DIGEST}], "serviceAccount": ACCOUNT}}},
        "",
    ),
    ({}, "`template.template.serviceAccount` is not set"),
)
for _kind, _base in ((_flex, FLEX), (_classic, CLASSIC)):
    _about(
        "workload-service-account",
        _kind,
        _base,
        ({"serviceAccountEmail": ACCOUNT}, ""),
        ({"serviceAccountEmail": "p@appspot.gserviceaccount.com"}, "the default account"),
        ({}, "`serviceAccountEmail` is not set"),
    )
    _about(
        "dataflow-private-workers",
        _kind,
        _base,
        ({"ipConfiguration": "WORKER_IP_PRIVATE"}, ""),
        ({"ipConfiguration": "WORKER_IP_PUBLIC"}, "is `WORKER_IP_PUBLIC`"),
        ({}, "`ipConfiguration` is not set"),
    )
    _about(
        "dataflow-customer-key",
        _kind,
        _base,
        ({"kmsKeyName": KEY}, ""),
        ({}, "`kmsKeyName` is not set"),
    )
    _about(
        "bounded-replicas",
        _kind,
        _base,
        ({"maxWorkers": 3}, ""),
        ({}, "`maxWorkers` is not set"),
    )
    _about(
        "no-default-network",
        _kind,
        _base,
        ({"subnetwork": "regions/us-central1/subnetworks/s"}, ""),
        ({"network": "own"}, ""),
        ({"network": "default"}, "the default network"),
        ({}, "the default network"),
    )
_about(
    "bounded-replicas",
    _service,
    RUN,
    ({"template": {**RUN["template"], "scaling": {"maxInstanceCount": 3}}}, ""),
    ({}, "`template.scaling.maxInstanceCount` is not set"),
)

_endpoint = "vertex/aiEndpoint:AiEndpoint"
ENDPOINT = {"name": "123", "displayName": "e", "location": "us-central1"}
_about(
    "endpoint-customer-key",
    _endpoint,
    ENDPOINT,
    ({"encryptionSpec": {"kmsKeyName": KEY}}, ""),
    ({}, "`encryptionSpec.kmsKeyName` is not set"),
)
CONNECT = {"privateServiceConnectConfig": {"enablePrivateServiceConnect": True}}
_about(
    "endpoint-private",
    _endpoint,
    ENDPOINT,
    (CONNECT, ""),
    ({"network": "projects/1/global/networks/n"}, ""),
    (
        {"privateServiceConnectConfig": {"enablePrivateServiceConnect": False}},
        "answers on a public address",
    ),
    ({}, "answers on a public address"),
)
_about(
    "endpoint-private",
    "vertex/aiIndexEndpoint:AiIndexEndpoint",
    {"displayName": "i", "region": "us-central1"},
    (CONNECT, ""),
    ({**CONNECT, "publicEndpointEnabled": True}, "`publicEndpointEnabled` is true"),
    ({}, "answers on a public address"),
)
_REGION = {"region": "us-central1"}
for _kind, _base in (
    (
        "vertex/aiDataset:AiDataset",
        {
            "displayName": "d",
            "metadataSchemaUri": "gs://google-cloud-aiplatform/schema/dataset/metadata/x.yaml",
        },
    ),
    ("vertex/aiMetadataStore:AiMetadataStore", {}),
    ("vertex/aiFeatureStore:AiFeatureStore", {}),
    (
        "vertex/aiFeatureOnlineStore:AiFeatureOnlineStore",
        {"name": "f", "bigtable": {"autoScaling": {"minNodeCount": 1, "maxNodeCount": 2}}},
    ),
    ("vertex/aiTensorboard:AiTensorboard", {"displayName": "t"}),
):
    _about(
        "vertex-customer-key",
        _kind,
        {**_REGION, **_base},
        ({"encryptionSpec": {"kmsKeyName": KEY}}, ""),
        ({}, "`encryptionSpec.kmsKeyName` is not set"),
    )
WORKBENCH = {"location": "us-central1-a"}
PRIVATE = {"disablePublicIp": True, **SHIELDED}
_about(
    "workbench-private",
    "workbench/instance:Instance",
    WORKBENCH,
    ({"gceSetup": PRIVATE}, ""),
    ({"gceSetup": {**PRIVATE, "disablePublicIp": False}}, "disablePublicIp` is false"),
    ({"gceSetup": {"disablePublicIp": True}}, "enableSecureBoot` is not set"),
    (
        {
            "gceSetup": {
                **PRIVATE,
                "shieldedInstanceConfig": {"enableSecureBoot": True, "enableVtpm": False},
            }
        },
        "enableVtpm` is false",
    ),
    ({}, "disablePublicIp` is not set"),
)

for _kind, _where in (
    ("projects/iAM", {"project": "a-project"}),
    ("folder/iAM", {"folder": "folders/1"}),
    ("organizations/iAM", {"orgId": "1"}),
):
    _member = f"serviceAccount:{ACCOUNT}"
    _about(
        "project-no-wide-roles",
        f"{_kind}Member:IAMMember",
        {**_where, "member": _member},
        ({"role": "roles/bigquery.jobUser"}, ""),
        ({"role": "roles/owner", "member": "group:owners@example.com"}, ""),
        ({"role": "roles/editor"}, "grants `roles/editor`"),
        ({"role": "roles/storage.admin"}, "grants `roles/storage.admin`"),
        ({"role": "roles/iam.securityAdmin"}, "grants `roles/iam.securityAdmin`"),
        (
            {"role": "roles/bigquery.jobUser", "member": f"serviceAccount:{COMPUTE}"},
            "the default account",
        ),
    )
    _about(
        "project-no-wide-roles",
        f"{_kind}Binding:IAMBinding",
        {**_where, "members": ["group:data@example.com", _member]},
        ({"role": "roles/bigquery.jobUser"}, ""),
        ({"role": "roles/owner"}, "grants `roles/owner`"),
    )
    for _end, _to in (
        ("Member:IAMMember", {"member": "group:data@example.com"}),
        ("Binding:IAMBinding", {"members": ["group:data@example.com"]}),
    ):
        _about(
            "project-no-impersonation",
            f"{_kind}{_end}",
            {**_where, **_to},
            ({"role": "roles/viewer"}, ""),
            ({"role": "roles/iam.serviceAccountUser"}, "for every service account"),
            ({"role": "roles/iam.serviceAccountTokenCreator"}, "for every service account"),
        )
for _rule, _role in (
    ("project-no-wide-roles", "roles/owner"),
    ("project-no-impersonation", "roles/iam.serviceAccountUser"),
):
    for _role_given, _fails in (("roles/bigquery.jobUser", ""), (_role, f"`{_role}`")):
        _policy = {"bindings": [{"role": _role_given, "members": [f"serviceAccount:{ACCOUNT}"]}]}
        _about(
            _rule,
            "projects/iAMPolicy:IAMPolicy",
            {"project": "a-project"},
            ({"policyData": json.dumps(_policy)}, _fails),
        )
_about(
    "no-service-account-keys",
    "serviceaccount/key:Key",
    {"serviceAccountId": ACCOUNT},
    ({}, "a key lives for years"),
)
GITHUB = {
    "workloadIdentityPoolId": "github",
    "workloadIdentityPoolProviderId": "github",
    "attributeMapping": {"google.subject": "assertion.sub"},
    "oidc": {"issuerUri": "https://token.actions.githubusercontent.com"},
}
_about(
    "federation-condition",
    "iam/workloadIdentityPoolProvider:WorkloadIdentityPoolProvider",
    GITHUB,
    ({"attributeCondition": "assertion.repository == 'owner/name'"}, ""),
    ({"attributeCondition": 'attribute.repository_owner_id == "1"'}, ""),
    (
        {
            "attributeCondition": "assertion.sub.startsWith('repo:owner/name:') && "
            "assertion.ref == 'refs/heads/main'"
        },
        "",
    ),
    ({}, "`attributeCondition` is not set"),
    ({"attributeCondition": "true"}, "holds no claim"),
    ({"attributeCondition": "assertion.repository == 'o/n' || true"}, "holds no claim"),
    ({"attributeCondition": "assertion.ref == 'refs/heads/main'"}, "every repository of GitHub"),
    ({"attributeCondition": "assertion.sub.startsWith('')"}, "holds no claim"),
    ({"attributeCondition": "!(assertion.repository == 'o/n')"}, "has to say who is let in"),
    ({"attributeCondition": "assertion.repository != 'o/n'"}, "holds no claim"),
)

_crypto = "kms/cryptoKey:CryptoKey"
CRYPTO = {"keyRing": "projects/p/locations/us-central1/keyRings/r", "name": "k"}
_about(
    "key-rotation",
    _crypto,
    CRYPTO,
    ({"rotationPeriod": "7776000s"}, ""),
    ({"rotationPeriod": "7776001s"}, "at most `7776000s`"),
    ({}, "`rotationPeriod` is not set"),
)
_about("key-protected", _crypto, CRYPTO, ({}, ""), protected=True)
_about("key-protected", _crypto, CRYPTO, ({}, "the option `protect` is off"))
for _kind, _where in (
    ("kms/cryptoKeyIAM{0}:CryptoKeyIAM{0}", {"cryptoKeyId": KEY}),
    ("kms/keyRingIAM{0}:KeyRingIAM{0}", {"keyRingId": CRYPTO["keyRing"]}),
):
    _granted("key-no-public-member", _kind.format("Member"), _kind.format("Binding"), **_where)
    _policied("key-no-public-member", _kind.format("Policy"), **_where)

_repository = "artifactregistry/repository:Repository"
REPOSITORY = {"repositoryId": "r", "format": "DOCKER", "location": "us-central1"}
_about(
    "repository-customer-key",
    _repository,
    REPOSITORY,
    ({"kmsKeyName": KEY}, ""),
    ({}, "`kmsKeyName` is not set"),
)
_about(
    "repository-immutable-tags",
    _repository,
    REPOSITORY,
    ({"dockerConfig": {"immutableTags": True}}, ""),
    ({}, "`dockerConfig.immutableTags` is not set"),
)
_granted(
    "repository-no-public-member",
    "artifactregistry/repositoryIamMember:RepositoryIamMember",
    "artifactregistry/repositoryIamBinding:RepositoryIamBinding",
    repository="r",
    location="us-central1",
)
_policied(
    "repository-no-public-member",
    "artifactregistry/repositoryIamPolicy:RepositoryIamPolicy",
    repository="r",
    location="us-central1",
)

_firewall = "compute/firewall:Firewall"
_about(
    "firewall-no-open-administration",
    _firewall,
    {"network": "n"},
    ({"sourceRanges": ["35.235.240.0/20"], "allows": [{"protocol": "tcp", "ports": ["22"]}]}, ""),
    ({"sourceRanges": ["0.0.0.0/0"], "allows": [{"protocol": "tcp", "ports": ["443"]}]}, ""),
    ({"sourceRanges": ["0.0.0.0/0"], "allows": [{"protocol": "icmp"}]}, ""),
    ({"sourceTags": ["t"], "allows": [{"protocol": "tcp"}]}, ""),
    ({"sourceRanges": ["0.0.0.0/0"], "allows": [{"protocol": "tcp", "ports": ["22"]}]}, "SSH"),
    ({"sourceRanges": ["::/0"], "allows": [{"protocol": "TCP", "ports": ["3000-4000"]}]}, "RDP"),
    ({"sourceRanges": ["0.0.0.0/0"], "allows": [{"protocol": "all"}]}, "SSH"),
)
SUBNETWORK = {"network": "n", "region": "us-central1", "ipCidrRange": "10.0.0.0/20"}
_subnetwork = "compute/subnetwork:Subnetwork"
_about(
    "subnetwork-flow-logs",
    _subnetwork,
    SUBNETWORK,
    ({"logConfig": {"flowSampling": 0.5}}, ""),
    ({}, "`logConfig` is not set"),
)
_about(
    "subnetwork-private-access",
    _subnetwork,
    SUBNETWORK,
    ({"privateIpGoogleAccess": True}, ""),
    ({"privateIpGoogleAccess": False}, "`privateIpGoogleAccess` is false"),
    ({}, "`privateIpGoogleAccess` is not set"),
)
_about(
    "no-default-network",
    "compute/network:Network",
    {"name": "own"},
    ({"autoCreateSubnetworks": False}, ""),
    ({"autoCreateSubnetworks": False, "name": "default"}, "`name` is `default`"),
    ({}, "`autoCreateSubnetworks` is not set"),
)
_about(
    "no-default-network",
    "organizations/project:Project",
    {"name": "p", "projectId": "a-project", "orgId": "1"},
    ({"autoCreateNetwork": False}, ""),
    ({}, "the project gets a default network"),
)

_about(
    "required-labels",
    _bucket,
    BUCKET,
    ({"labels": LABELS}, ""),
    ({"labels": {**LABELS, "more": "x"}}, ""),
    ({"labels": {"owner": "o"}}, "lack environment, product, cost-center, managed-by"),
    ({}, "lack environment, product, owner, cost-center, managed-by"),
)
_about(
    "required-labels",
    _bucket,
    BUCKET,
    ({}, ""),
    ({"labels": {"owner": "mine"}}, ""),
    provider={"defaultLabels": json.dumps(LABELS)},
)
_about("required-labels", _sql, POSTGRES, (_with(userLabels=LABELS), ""))
_about(
    "required-labels",
    _sql,
    POSTGRES,
    (_with(), "`settings.userLabels`"),
    provider={"defaultLabels": json.dumps(LABELS)},
)
_about(
    "allowed-region",
    _bucket,
    BUCKET,
    ({}, ""),
    ({"location": "EU"}, "`location` is `EU`; allowed: us-central1"),
    ({"location": "europe-west1"}, "is `europe-west1`"),
)
_about(
    "allowed-region",
    "workbench/instance:Instance",
    {},
    ({"location": "us-central1-a"}, ""),
    ({"location": "asia-east1-b"}, "`location` is `asia-east1-b`"),
)
_about("allowed-region", "kms/keyRing:KeyRing", {"name": "r"}, ({"location": "global"}, ""))
_about("stateful-protected", _bucket, BUCKET, ({}, "the option `protect` is off"), protected=False)
_about("stateful-protected", _bucket, BUCKET, ({}, ""), protected=True)

for _kind, _base, _template in (
    (_service, RUN, lambda c: {"containers": c}),
    (_job, RUN_JOB, lambda c: {"template": {"containers": c}}),
):
    _about(
        "image-by-digest",
        _kind,
        _base,
        ({}, ""),
        ({"template": _template([{"image": DIGEST}, {"image": TAG}])}, "containers[1].image` is"),
    )
_about(
    "image-by-digest",
    _flex,
    FLEX,
    ({"sdkContainerImage": DIGEST}, ""),
    ({"sdkContainerImage": TAG}, "`sdkContainerImage` is"),
    ({}, "`sdkContainerImage` is not set"),
)
for _version, _kinds in (("apps", ("Deployment", "StatefulSet", "DaemonSet")), ("batch", ("Job",))):
    for _kind in _kinds:
        for _image, _fails in ((DIGEST, ""), (TAG, "spec.template.spec.containers[0].image`")):
            _pod: dict[str, Any] = {
                "metadata": {"labels": {"a": "b"}},
                "spec": {
                    "containers": [{"name": "c", "image": _image}],
                    **({"restartPolicy": "Never"} if _kind == "Job" else {}),
                },
            }
            _spec: dict[str, Any] = {"template": _pod}
            if _kind != "Job":
                _spec["selector"] = {"matchLabels": {"a": "b"}}
            if _kind == "StatefulSet":
                _spec["serviceName"] = "s"
            EXAMPLES.append(
                Example(
                    rule="image-by-digest",
                    type=f"kubernetes:{_version}/v1:{_kind}",
                    props={"metadata": {"name": "n"}, "spec": _spec},
                    fails=_fails,
                )
            )
LOG = "predictRequestResponseLoggingConfig"
_about(
    "endpoint-request-log",
    _endpoint,
    ENDPOINT,
    ({LOG: {"enabled": True, "bigqueryDestination": {"outputUri": "bq://p.d.t"}}}, ""),
    ({LOG: {"enabled": True}}, "bigqueryDestination.outputUri` is not set"),
    ({LOG: {"enabled": False}}, "enabled` is false"),
    ({}, "enabled` is not set"),
)
CONDITION = {
    "displayName": "late",
    "conditionThreshold": {
        "filter": 'metric.type="x"',
        "comparison": "COMPARISON_GT",
        "duration": "60s",
    },
}
_about(
    "alert-has-channel",
    "monitoring/alertPolicy:AlertPolicy",
    {"displayName": "late", "combiner": "OR", "conditions": [CONDITION]},
    ({"notificationChannels": ["projects/p/notificationChannels/1"]}, ""),
    ({"notificationChannels": []}, "nobody hears of it"),
    ({}, "nobody hears of it"),
)

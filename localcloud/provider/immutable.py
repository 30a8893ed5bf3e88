"""Properties that pulumi-gcp cannot change in place although their docstrings do not say so.

Source of each: `ForceNew` in the resource's schema in hashicorp/terraform-provider-google 6.x/7.x,
or `immutable: true` in github.com/GoogleCloudPlatform/magic-modules, mmv1/products. What is part of
a resource's id (see `identity`) and what a docstring calls immutable is not repeated here.
"""

from __future__ import annotations

from typing import Final

_ADDRESS: Final = frozenset(
    {"address", "addressType", "description", "ipVersion", "network", "prefixLength", "purpose"}
)
_RULE: Final = frozenset({
    "description", "ipAddress", "ipProtocol", "ipVersion", "loadBalancingScheme", "network",
    "noAutomateDnsZone", "portRange", "serviceDirectoryRegistrations", "sourceIpRanges",
    "subnetwork",
})  # fmt: skip
_DISK: Final = frozenset({"diskType", "diskEncryption", "kmsKey"})

FORCES_NEW: Final[dict[str, frozenset[str]]] = {
    "gcp:projects/service:Service": frozenset({"project", "service"}),
    "gcp:projects/serviceIdentity:ServiceIdentity": frozenset({"project", "service"}),
    "gcp:projects/iAMAuditConfig:IAMAuditConfig": frozenset({"project", "service"}),
    "gcp:compute/network:Network": frozenset({"autoCreateSubnetworks", "description"}),
    "gcp:compute/subnetwork:Subnetwork": frozenset({"network", "description"}),
    "gcp:compute/firewall:Firewall": frozenset({"direction"}),
    "gcp:compute/router:Router": frozenset({"network"}),
    "gcp:compute/routerNat:RouterNat": frozenset({"initialNatIps", "endpointTypes", "type"}),
    "gcp:compute/globalAddress:GlobalAddress": _ADDRESS,
    "gcp:compute/address:Address": _ADDRESS | {"networkTier", "subnetwork"},
    "gcp:compute/forwardingRule:ForwardingRule": _RULE | {"allPorts", "ports", "serviceLabel"},
    "gcp:compute/globalForwardingRule:GlobalForwardingRule": _RULE,
    "gcp:servicenetworking/connection:Connection": frozenset({"network", "service"}),
    "gcp:kms/cryptoKey:CryptoKey": frozenset({
        "purpose", "importOnly", "skipInitialVersionCreation", "destroyScheduledDuration",
        "cryptoKeyBackend", "versionTemplate.protectionLevel",
    }),
    "gcp:serviceaccount/account:Account": frozenset({"accountId", "project"}),
    "gcp:billing/budget:Budget": frozenset({"billingAccount"}),
    "gcp:accesscontextmanager/servicePerimeter:ServicePerimeter": frozenset(
        {"parent", "perimeterType"}
    ),
    "gcp:pubsub/subscription:Subscription": frozenset({"topic", "filter", "enableMessageOrdering"}),
    "gcp:pubsub/schema:Schema": frozenset({"type"}),
    "gcp:storage/bucket:Bucket": frozenset({
        "location", "project", "enableObjectRetention", "hierarchicalNamespace",
        "customPlacementConfig",
    }),
    "gcp:storage/notification:Notification": frozenset(
        {"bucket", "payloadFormat", "topic", "customAttributes", "eventTypes", "objectNamePrefix"}
    ),
    "gcp:bigquery/dataset:Dataset": frozenset({"location", "externalDatasetReference"}),
    "gcp:bigquery/table:Table": frozenset({
        "timePartitioning.type", "timePartitioning.field", "rangePartitioning",
        "materializedView.query",
    }),
    "gcp:bigquery/routine:Routine": frozenset({"routineType"}),
    "gcp:bigquery/datasetAccess:DatasetAccess": frozenset({
        "datasetId", "role", "userByEmail", "groupByEmail", "domain", "specialGroup", "iamMember",
        "view", "authorizedDataset", "routine", "condition", "project",
    }),
    "gcp:datacatalog/taxonomy:Taxonomy": frozenset({"region"}),
    "gcp:datacatalog/policyTag:PolicyTag": frozenset({"taxonomy"}),
    "gcp:dataflow/flexTemplateJob:FlexTemplateJob": frozenset(
        {"name", "region", "project", "numWorkers", "maxWorkers", "enableStreamingEngine"}
    ),
    "gcp:sql/databaseInstance:DatabaseInstance": frozenset({"region", "encryptionKeyName"}),
    "gcp:secretmanager/secret:Secret": frozenset({"replication", "secretType", "tags"}),
    "gcp:secretmanager/secretVersion:SecretVersion": frozenset({"secret", "secretData"}),
    "gcp:artifactregistry/repository:Repository": frozenset({"format", "kmsKeyName", "mode"}),
    "gcp:apigateway/apiConfig:ApiConfig": frozenset({
        "apiConfigId", "apiConfigIdPrefix", "openapiDocuments.document.path",
        "openapiDocuments.document.contents", "grpcServices.fileDescriptorSet",
    }),
    "gcp:vertex/aiEndpoint:AiEndpoint": frozenset({
        "location", "network", "encryptionSpec", "predictRequestResponseLoggingConfig",
        "dedicatedEndpointEnabled", "privateServiceConnectConfig",
    }),
    "gcp:vertex/aiFeatureGroup:AiFeatureGroup": frozenset({"bigQuery.bigQuerySource"}),
    "gcp:vertex/aiFeatureOnlineStore:AiFeatureOnlineStore": frozenset(
        {"embeddingManagement.enabled"}
    ),
    "gcp:vertex/aiMetadataStore:AiMetadataStore": frozenset({"encryptionSpec", "description"}),
    "gcp:vertex/aiTensorboard:AiTensorboard": frozenset({"region", "encryptionSpec"}),
    "gcp:workbench/instance:Instance": frozenset({
        "instanceOwners", "gceSetup.serviceAccounts", "gceSetup.vmImage",
        "gceSetup.networkInterfaces", "gceSetup.disablePublicIp", "gceSetup.tags",
        "gceSetup.enableIpForwarding", "gceSetup.confidentialInstanceConfig",
        "gceSetup.reservationAffinity",
        *(f"gceSetup.{disk}.{name}" for disk in ("bootDisk", "dataDisks") for name in _DISK),
    }),
    "gcp:monitoring/uptimeCheckConfig:UptimeCheckConfig": frozenset(
        {"monitoredResource", "resourceGroup", "checkerType", "httpCheck.requestMethod"}
    ),
    "gcp:logging/projectSink:ProjectSink": frozenset({"name", "project", "uniqueWriterIdentity"}),
    "gcp:container/cluster:Cluster": frozenset({
        "network", "subnetwork", "description", "enableAutopilot", "enableKubernetesAlpha",
        "enableTpu", "initialNodeCount", "networkingMode", "clusterIpv4Cidr",
        "defaultMaxPodsPerNode", "datapathProvider",
        "privateClusterConfig.masterIpv4CidrBlock",
    }),
    "gcp:container/nodePool:NodePool": frozenset({
        "namePrefix", "maxPodsPerNode", "nodeConfig.serviceAccount", "nodeConfig.oauthScopes",
        "nodeConfig.spot", "nodeConfig.preemptible", "nodeConfig.localSsdCount",
        "nodeConfig.bootDiskKmsKey",
    }),
}  # fmt: skip

"""What cannot be changed in place is planned as a replacement, and what can is not."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from localcloud.provider.immutable import FORCES_NEW
from localcloud.provider.lifecycle import Lifecycle
from localcloud.provider.schema import Shape, properties, resource
from tests.localcloud.provider.refusals import KEY
from tests.localcloud.provider.test_diff import diff
from tests.localcloud.provider.test_refusals import TABLE, changed

OTHER_KEY = KEY + "2"
# Type, property, another value; the base is that of the refusals.
REPLACED: list[tuple[str, str, Any]] = [
    ("gcp:projects/service:Service", "service", "run.googleapis.com"),
    ("gcp:projects/serviceIdentity:ServiceIdentity", "service", "run.googleapis.com"),
    ("gcp:projects/iAMMember:IAMMember", "role", "roles/bigquery.dataViewer"),
    ("gcp:projects/iAMMember:IAMMember", "member", "user:ana@example.com"),
    ("gcp:projects/iAMAuditConfig:IAMAuditConfig", "service", "storage.googleapis.com"),
    ("gcp:compute/network:Network", "name", "other"),
    ("gcp:compute/network:Network", "autoCreateSubnetworks", True),
    ("gcp:compute/subnetwork:Subnetwork", "network", "other"),
    ("gcp:compute/subnetwork:Subnetwork", "region", "us-east1"),
    ("gcp:compute/subnetwork:Subnetwork", "ipCidrRange", "10.0.0.0/24"),
    ("gcp:compute/firewall:Firewall", "name", "other"),
    ("gcp:compute/firewall:Firewall", "direction", "EGRESS"),
    ("gcp:compute/router:Router", "network", "other"),
    ("gcp:compute/routerNat:RouterNat", "router", "other"),
    ("gcp:compute/globalAddress:GlobalAddress", "prefixLength", 20),
    ("gcp:compute/globalAddress:GlobalAddress", "network", "other"),
    ("gcp:compute/address:Address", "address", "10.0.0.10"),
    ("gcp:compute/forwardingRule:ForwardingRule", "ipAddress", "10.0.0.10"),
    ("gcp:servicenetworking/connection:Connection", "network", "other"),
    ("gcp:kms/keyRing:KeyRing", "location", "us"),
    ("gcp:kms/cryptoKey:CryptoKey", "keyRing", "projects/p/locations/us/keyRings/ml"),
    ("gcp:kms/cryptoKey:CryptoKey", "purpose", "MAC"),
    ("gcp:kms/cryptoKey:CryptoKey", "destroyScheduledDuration", "86400s"),
    ("gcp:kms/cryptoKey:CryptoKey", "versionTemplate.protectionLevel", "HSM"),
    ("gcp:serviceaccount/account:Account", "accountId", "other-account"),
    ("gcp:iam/workloadIdentityPool:WorkloadIdentityPool", "workloadIdentityPoolId", "gitlab"),
    ("gcp:iam/workloadIdentityPoolProvider:WorkloadIdentityPoolProvider",
     "workloadIdentityPoolProviderId", "other"),
    ("gcp:orgpolicy/policy:Policy", "parent", "projects/q"),
    ("gcp:billing/budget:Budget", "billingAccount", "012345-567890-FEDCBA"),
    ("gcp:accesscontextmanager/servicePerimeter:ServicePerimeter", "perimeterType",
     "PERIMETER_TYPE_BRIDGE"),
    ("gcp:secretmanager/secret:Secret", "replication", {"userManaged": {"replicas": []}}),
    ("gcp:secretmanager/secret:Secret", "secretId", "other"),
    ("gcp:secretmanager/secretVersion:SecretVersion", "secretData", "w"),
    ("gcp:artifactregistry/repository:Repository", "format", "PYTHON"),
    ("gcp:artifactregistry/repository:Repository", "kmsKeyName", OTHER_KEY),
    ("gcp:artifactregistry/repository:Repository", "location", "us-east1"),
    ("gcp:pubsub/subscription:Subscription", "topic", "other"),
    ("gcp:pubsub/subscription:Subscription", "enableMessageOrdering", True),
    ("gcp:pubsub/subscription:Subscription", "filter", 'attributes:"a"'),
    ("gcp:pubsub/schema:Schema", "type", "PROTOCOL_BUFFER"),
    ("gcp:storage/bucket:Bucket", "name", "other-bucket"),
    ("gcp:storage/bucket:Bucket", "location", "EU"),
    ("gcp:storage/bucketObject:BucketObject", "name", "other.json"),
    ("gcp:storage/notification:Notification", "topic", "projects/p/topics/u"),
    ("gcp:bigquery/dataset:Dataset", "location", "EU"),
    ("gcp:bigquery/table:Table", "tableId", "other"),
    ("gcp:bigquery/table:Table", "timePartitioning.type", "HOUR"),
    ("gcp:bigquery/table:Table", "timePartitioning.field", "day"),
    ("gcp:bigquery/routine:Routine", "routineType", "PROCEDURE"),
    ("gcp:bigquery/datasetAccess:DatasetAccess", "view.tableId", "w"),
    ("gcp:datacatalog/taxonomy:Taxonomy", "region", "eu"),
    ("gcp:datacatalog/policyTag:PolicyTag", "taxonomy", "projects/p/locations/us/taxonomies/2"),
    ("gcp:bigquerydatapolicy/dataPolicy:DataPolicy", "dataPolicyId", "other"),
    ("gcp:dataflow/flexTemplateJob:FlexTemplateJob", "maxWorkers", 8),
    ("gcp:sql/databaseInstance:DatabaseInstance", "region", "us-east1"),
    ("gcp:sql/databaseInstance:DatabaseInstance", "encryptionKeyName", OTHER_KEY),
    ("gcp:sql/database:Database", "name", "other"),
    ("gcp:sql/user:User", "name", "other"),
    ("gcp:cloudrunv2/service:Service", "location", "us-east1"),
    ("gcp:cloudrunv2/job:Job", "name", "other"),
    ("gcp:cloudscheduler/job:Job", "region", "us-east1"),
    ("gcp:apigateway/api:Api", "apiId", "other"),
    ("gcp:apigateway/apiConfig:ApiConfig", "openapiDocuments[0].document.contents", "e30K"),
    ("gcp:apigateway/apiConfig:ApiConfig", "gatewayConfig.backendConfig.googleServiceAccount",
     "other@p.iam.gserviceaccount.com"),
    ("gcp:apigateway/gateway:Gateway", "region", "us-east1"),
    ("gcp:vertex/aiEndpoint:AiEndpoint", "encryptionSpec.kmsKeyName", OTHER_KEY),
    ("gcp:vertex/aiEndpoint:AiEndpoint", "predictRequestResponseLoggingConfig.samplingRate", 1),
    ("gcp:vertex/aiFeatureGroup:AiFeatureGroup", "bigQuery.bigQuerySource.inputUri", "bq://p.d.t"),
    ("gcp:vertex/aiFeatureGroupFeature:AiFeatureGroupFeature", "featureGroup", "other"),
    ("gcp:vertex/aiFeatureOnlineStore:AiFeatureOnlineStore", "name", "other"),
    ("gcp:vertex/aiFeatureOnlineStoreFeatureview:AiFeatureOnlineStoreFeatureview",
     "featureOnlineStore", "other"),
    ("gcp:vertex/aiMetadataStore:AiMetadataStore", "encryptionSpec", {"kmsKeyName": KEY}),
    ("gcp:vertex/aiTensorboard:AiTensorboard", "encryptionSpec.kmsKeyName", OTHER_KEY),
    ("gcp:workbench/instance:Instance", "gceSetup.disablePublicIp", False),
    ("gcp:workbench/instance:Instance", "gceSetup.bootDisk.kmsKey", OTHER_KEY),
    ("gcp:monitoring/uptimeCheckConfig:UptimeCheckConfig", "monitoredResource.labels",
     {"host": "other.example"}),
    ("gcp:logging/projectSink:ProjectSink", "name", "other"),
    ("gcp:logging/projectSink:ProjectSink", "uniqueWriterIdentity", False),
    ("gcp:container/cluster:Cluster", "datapathProvider", "LEGACY_DATAPATH"),
    ("gcp:container/cluster:Cluster", "privateClusterConfig.masterIpv4CidrBlock", "172.16.1.0/28"),
    ("gcp:container/nodePool:NodePool", "cluster", "other"),
    ("gcp:container/nodePool:NodePool", "nodeConfig.spot", True),
    ("docker:index/image:Image", "imageName", "us-docker.pkg.dev/p/images/train:2"),
    ("kubernetes:apps/v1:Deployment", "spec.selector.matchLabels.app", "other"),
    ("kubernetes:apps/v1:Deployment", "metadata.name", "other"),
]  # fmt: skip
IN_PLACE: list[tuple[str, str, Any]] = [
    ("gcp:compute/network:Network", "routingMode", "GLOBAL"),
    ("gcp:compute/subnetwork:Subnetwork", "ipCidrRange", "10.0.0.0/16"),
    ("gcp:compute/subnetwork:Subnetwork", "privateIpGoogleAccess", False),
    ("gcp:compute/firewall:Firewall", "priority", 900),
    ("gcp:compute/routerNat:RouterNat", "logConfig.filter", "ALL"),
    ("gcp:servicenetworking/connection:Connection", "reservedPeeringRanges", ["other"]),
    ("gcp:kms/cryptoKey:CryptoKey", "rotationPeriod", "2592000s"),
    ("gcp:iam/workloadIdentityPoolProvider:WorkloadIdentityPoolProvider", "attributeCondition",
     "false"),
    ("gcp:billing/budget:Budget", "amount.specifiedAmount.units", "200"),
    ("gcp:secretmanager/secret:Secret", "rotation.rotationPeriod", "86400s"),
    ("gcp:pubsub/topic:Topic", "messageRetentionDuration", "600s"),
    ("gcp:pubsub/subscription:Subscription", "ackDeadlineSeconds", 30),
    ("gcp:storage/bucket:Bucket", "storageClass", "NEARLINE"),
    ("gcp:bigquery/table:Table", "timePartitioning.expirationMs", 1000),
    ("gcp:dataflow/flexTemplateJob:FlexTemplateJob", "containerSpecGcsPath", "gs://b/u.json"),
    ("gcp:sql/databaseInstance:DatabaseInstance", "settings.tier", "db-custom-4-15360"),
    ("gcp:cloudrunv2/service:Service", "template.timeout", "30s"),
    ("gcp:cloudscheduler/job:Job", "schedule", "0 4 * * *"),
    ("gcp:apigateway/gateway:Gateway", "apiConfig",
     "projects/p/locations/global/apis/predictions/configs/v2"),
    ("gcp:vertex/aiEndpoint:AiEndpoint", "displayName", "other"),
    ("gcp:workbench/instance:Instance", "desiredState", "STOPPED"),
    ("gcp:monitoring/alertPolicy:AlertPolicy", "combiner", "AND"),
    ("gcp:logging/projectSink:ProjectSink", "filter", "severity>=ERROR"),
    ("gcp:container/nodePool:NodePool", "autoscaling.maxNodeCount", 5),
]  # fmt: skip


@pytest.fixture(scope="module")
def lifecycle() -> Lifecycle:
    return Lifecycle(None)


@pytest.mark.parametrize(("token", "path", "value"), REPLACED)
def test_an_immutable_property_is_planned_as_a_replacement(
    lifecycle: Lifecycle, token: str, path: str, value: Any
) -> None:
    base = TABLE[token][0]
    found = diff(lifecycle, token, copy.deepcopy(base), changed(base, path, value))
    assert [one for one in found.replaces if one.startswith(path)] == found.replaces != []


@pytest.mark.parametrize(("token", "path", "value"), IN_PLACE)
def test_what_google_can_change_is_changed_in_place(
    lifecycle: Lifecycle, token: str, path: str, value: Any
) -> None:
    base = TABLE[token][0]
    found = diff(lifecycle, token, copy.deepcopy(base), changed(base, path, value))
    assert found.changes
    assert found.replaces == []


def reach(token: str, path: str) -> bool:
    """Whether a property of this path is an input of the type."""
    allowed = resource(token).inputs
    for name in path.split("."):
        known = allowed.get(name)
        if known is None:
            return False
        shape: Shape | None = known.shape
        while shape is not None and shape.kind == "array":
            shape = shape.item
        allowed = properties(shape.cls) if shape is not None and shape.cls else {}
    return True


def test_the_table_names_only_properties_that_exist() -> None:
    missing = [
        (token, path) for token, paths in FORCES_NEW.items() for path in paths
        if not reach(token, path)
    ]  # fmt: skip
    assert missing == []

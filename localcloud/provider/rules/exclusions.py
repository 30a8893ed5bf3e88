"""Properties that exclude or need each other where no docstring says so in a fixed wording."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from localcloud.provider.check import Failure, dotted
from localcloud.provider.rules.given import Given, possible, present

type Count = Literal["at most one", "exactly one", "at least one", "together"]


@dataclass(frozen=True)
class Group:
    """Sibling properties, how many of them may be given, and where pulumi-gcp or Google says so."""

    count: Count
    names: tuple[str, ...]
    source: str
    within: str = ""
    """The path of the object they are properties of; empty for the resource itself."""


_MMV1: Final = "github.com/GoogleCloudPlatform/magic-modules/blob/main/mmv1/products"
_CONDITIONS: Final = (
    "conditionAbsent", "conditionMatchedLog", "conditionMonitoringQueryLanguage",
    "conditionPrometheusQueryLanguage", "conditionSql", "conditionThreshold",
)  # fmt: skip
_KINDS: Final = ("allowAll", "denyAll", "enforce", "values")

GROUPS: Final[dict[str, tuple[Group, ...]]] = {
    "gcp:storage/bucketObject:BucketObject": (
        Group("exactly one", ("content", "source"),
              "registry.terraform.io/providers/hashicorp/google/latest/docs/resources/storage_bucket_object"),
    ),
    "gcp:pubsub/subscription:Subscription": (
        Group("at most one", ("pushConfig", "bigqueryConfig", "cloudStorageConfig"),
              f"{_MMV1}/pubsub/Subscription.yaml"),
        Group("at most one", ("avroConfig", "textConfig"),
              "pubsub v1, discovery document of the API", "cloudStorageConfig"),
    ),
    "gcp:cloudscheduler/job:Job": (
        Group("exactly one", ("httpTarget", "pubsubTarget", "appEngineHttpTarget"),
              f"{_MMV1}/cloudscheduler/Job.yaml"),
        Group("at most one", ("oauthToken", "oidcToken"), f"{_MMV1}/cloudscheduler/Job.yaml",
              "httpTarget"),
        Group("at least one", ("data", "attributes"), "SDK docstring", "pubsubTarget"),
    ),
    "gcp:compute/firewall:Firewall": (
        Group("exactly one", ("allows", "denies"), f"{_MMV1}/compute/Firewall.yaml"),
        *(Group("at most one", pair, f"{_MMV1}/compute/Firewall.yaml")
          for pair in (("sourceServiceAccounts", "sourceTags"),
                       ("sourceServiceAccounts", "targetTags"),
                       ("targetServiceAccounts", "sourceTags"),
                       ("targetServiceAccounts", "targetTags"))),
    ),
    "gcp:compute/routerNat:RouterNat": (
        Group("at most one", ("enableDynamicPortAllocation", "enableEndpointIndependentMapping"),
              f"{_MMV1}/compute/RouterNat.yaml"),
    ),
    "gcp:compute/subnetwork:Subnetwork": (
        Group("at most one", ("ipCidrRange", "reservedInternalRange"),
              "cloud.google.com/vpc/docs/create-use-internal-ranges"),
    ),
    "gcp:compute/forwardingRule:ForwardingRule": (
        Group("at most one", ("target", "backendService"),
              "cloud.google.com/compute/docs/reference/rest/v1/forwardingRules"),
    ),
    "gcp:iam/workloadIdentityPoolProvider:WorkloadIdentityPoolProvider": (
        Group("exactly one", ("aws", "oidc", "saml", "x509"),
              f"{_MMV1}/iambeta/WorkloadIdentityPoolProvider.yaml"),
    ),
    "gcp:orgpolicy/policy:Policy": (
        Group("at most one", _KINDS, "orgpolicy v2, discovery document of the API",
              "spec.rules[]"),
        Group("at most one", _KINDS, "orgpolicy v2, discovery document of the API",
              "dryRunSpec.rules[]"),
    ),
    "gcp:billing/budget:Budget": (
        Group("exactly one", ("lastPeriodAmount", "specifiedAmount"),
              f"{_MMV1}/billingbudget/Budget.yaml", "amount"),
    ),
    "gcp:sql/databaseInstance:DatabaseInstance": (
        Group("at most one", ("clone", "restoreBackupContext"),
              "cloud.google.com/sql/docs/postgres/clone-instance"),
        Group("at most one", ("rootPassword", "rootPasswordWo"),
              "registry.terraform.io/providers/hashicorp/google/latest/docs/resources/sql_database_instance"),
    ),
    "gcp:sql/user:User": (
        Group("at most one", ("password", "passwordWo"),
              "registry.terraform.io/providers/hashicorp/google/latest/docs/resources/sql_user"),
    ),
    "gcp:secretmanager/secret:Secret": (
        Group("exactly one", ("auto", "userManaged"), f"{_MMV1}/secretmanager/Secret.yaml",
              "replication"),
    ),
    "gcp:secretmanager/secretVersion:SecretVersion": (
        Group("at most one", ("secretData", "secretDataWo"),
              f"{_MMV1}/secretmanager/SecretVersion.yaml"),
    ),
    "gcp:artifactregistry/repository:Repository": (
        Group("at most one", ("remoteRepositoryConfig", "virtualRepositoryConfig"),
              f"{_MMV1}/artifactregistry/Repository.yaml"),
        Group("at most one", ("condition", "mostRecentVersions"),
              "cloud.google.com/artifact-registry/docs/repositories/cleanup-policy",
              "cleanupPolicies[]"),
    ),
    "gcp:cloudrunv2/service:Service": (
        Group("at most one", ("httpGet", "tcpSocket", "grpc"), f"{_MMV1}/cloudrunv2/Service.yaml",
              "template.containers[].livenessProbe"),
        Group("at most one", ("httpGet", "tcpSocket", "grpc"), f"{_MMV1}/cloudrunv2/Service.yaml",
              "template.containers[].startupProbe"),
        Group("at most one", ("connector", "networkInterfaces"),
              "cloud.google.com/run/docs/configuring/vpc-direct-vpc", "template.vpcAccess"),
        Group("exactly one", ("secret", "cloudSqlInstance", "emptyDir", "nfs", "gcs"),
              "cloud.google.com/run/docs/reference/rest/v2/Volume", "template.volumes[]"),
        Group("at most one", ("value", "valueSource"),
              "cloud.google.com/run/docs/reference/rest/v2/Container#EnvVar",
              "template.containers[].envs[]"),
    ),
    "gcp:cloudrunv2/job:Job": (
        Group("at most one", ("connector", "networkInterfaces"),
              "cloud.google.com/run/docs/configuring/vpc-direct-vpc",
              "template.template.vpcAccess"),
    ),
    "gcp:vertex/aiFeatureOnlineStore:AiFeatureOnlineStore": (
        Group("exactly one", ("bigtable", "optimized"),
              f"{_MMV1}/vertexai/FeatureOnlineStore.yaml"),
        Group("at most one", ("embeddingManagement", "optimized"),
              f"{_MMV1}/vertexai/FeatureOnlineStore.yaml"),
    ),
    "gcp:vertex/aiFeatureOnlineStoreFeatureview:AiFeatureOnlineStoreFeatureview": (
        Group("exactly one", ("bigQuerySource", "featureRegistrySource"),
              f"{_MMV1}/vertexai/FeatureOnlineStoreFeatureview.yaml"),
    ),
    "gcp:workbench/instance:Instance": (
        Group("at most one", ("vmImage", "containerImage"),
              f"{_MMV1}/workbench/Instance.yaml", "gceSetup"),
    ),
    "gcp:monitoring/alertPolicy:AlertPolicy": (
        Group("exactly one", _CONDITIONS, f"{_MMV1}/monitoring/AlertPolicy.yaml", "conditions[]"),
        Group("at most one", ("count", "percent"), f"{_MMV1}/monitoring/AlertPolicy.yaml",
              "conditions[].conditionThreshold.trigger"),
        Group("at most one", ("count", "percent"), f"{_MMV1}/monitoring/AlertPolicy.yaml",
              "conditions[].conditionAbsent.trigger"),
    ),
    "gcp:monitoring/uptimeCheckConfig:UptimeCheckConfig": (
        Group("exactly one", ("httpCheck", "tcpCheck", "syntheticMonitor"),
              f"{_MMV1}/monitoring/UptimeCheckConfig.yaml"),
        Group("exactly one", ("monitoredResource", "resourceGroup", "syntheticMonitor"),
              f"{_MMV1}/monitoring/UptimeCheckConfig.yaml"),
        Group("at least one", ("authInfo", "port", "headers", "path", "useSsl", "maskHeaders"),
              f"{_MMV1}/monitoring/UptimeCheckConfig.yaml", "httpCheck"),
    ),
    "gcp:bigquery/table:Table": (
        Group("at most one", ("view", "materializedView"),
              "registry.terraform.io/providers/hashicorp/google/latest/docs/resources/bigquery_table"),
        Group("at most one", ("timePartitioning", "rangePartitioning"),
              "cloud.google.com/bigquery/docs/partitioned-tables"),
    ),
    "gcp:bigquery/datasetAccess:DatasetAccess": (
        Group("exactly one", ("authorizedDataset", "domain", "groupByEmail", "iamMember", "routine",
                              "specialGroup", "userByEmail", "view"),
              f"{_MMV1}/bigquery/DatasetAccess.yaml"),
    ),
    "gcp:bigquerydatapolicy/dataPolicy:DataPolicy": (
        Group("exactly one", ("predefinedExpression", "routine"),
              f"{_MMV1}/bigquerydatapolicy/DataPolicy.yaml", "dataMaskingPolicy"),
    ),
    "gcp:apigateway/apiConfig:ApiConfig": (
        Group("at most one", ("apiConfigId", "apiConfigIdPrefix"),
              f"{_MMV1}/apigateway/ApiConfig.yaml"),
        Group("exactly one", ("openapiDocuments", "grpcServices"),
              f"{_MMV1}/apigateway/ApiConfig.yaml"),
        Group("together", ("grpcServices", "managedServiceConfigs"),
              f"{_MMV1}/apigateway/ApiConfig.yaml"),
    ),
    "gcp:container/nodePool:NodePool": (
        Group("at most one", ("minNodeCount", "totalMinNodeCount"), "SDK docstring", "autoscaling"),
        Group("at most one", ("maxNodeCount", "totalMaxNodeCount"), "SDK docstring", "autoscaling"),
    ),
}  # fmt: skip


def judge(given: Given) -> Iterator[Failure]:
    """Properties given that exclude each other, or left out although one is needed."""
    for group in GROUPS.get(given.token, ()):
        for where, values in given.at(group.within) if group.within else [((), given.values)]:
            if isinstance(values, Mapping):
                yield from _judged(group, where, values)


def _judged(group: Group, where: tuple[str | int, ...], values: Mapping[str, object]
            ) -> Iterator[Failure]:  # fmt: skip
    there = [name for name in group.names if present(values, name)]
    maybe = [name for name in group.names if possible(values, name)]
    if group.count in ("at most one", "exactly one") and len(there) > 1:
        yield Failure(
            dotted((*where, there[1])), f"conflicts with {there[0]!r}; give only one of them"
        )
    if group.count in ("at least one", "exactly one") and not maybe:
        yield Failure(
            dotted((*where, group.names[0])), f"missing; give one of {', '.join(group.names)}"
        )
    if group.count == "together" and maybe and len(maybe) < len(group.names):
        left = next(name for name in group.names if name not in maybe)
        yield Failure(dotted((*where, left)), f"missing; it is needed with {maybe[0]!r}")

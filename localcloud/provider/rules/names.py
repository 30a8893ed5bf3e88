"""How Google wants names and references spelled, one entry a property, each with its source."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from localcloud.provider.check import Failure
from localcloud.provider.rules.given import Given


@dataclass(frozen=True)
class Spelling:
    """A pattern that a whole value must match, in words, and where Google says so."""

    pattern: str
    words: str
    source: str


_DISCOVERY: Final = "discovery document of the API"
_GCE_NAME: Final = Spelling(
    r"[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?",
    "1 to 63 lower-case letters, digits and hyphens, starting with a letter and not ending with a "
    "hyphen",
    "cloud.google.com/compute/docs/naming-resources",
)
_PUBSUB: Final = Spelling(
    r"(?!goog)[A-Za-z][A-Za-z0-9\-_.~+%]{2,254}",
    "3 to 255 letters, digits and -_.~+%, starting with a letter and not with `goog`",
    "cloud.google.com/pubsub/docs/pubsub-basics#resource_names",
)
_DATASET: Final = Spelling(
    r"[0-9A-Za-z_]{1,1024}",
    "letters, digits and underscores",
    "cloud.google.com/bigquery/docs/datasets#dataset-naming",
)
_TABLE: Final = Spelling(
    r"[^\x00-\x1f!-#%-,./:;<=>?@\[\]^`{|}~\\]{1,1024}",
    "letters, digits, underscores, dashes and spaces, at most 1,024",
    "cloud.google.com/bigquery/docs/tables#table_naming",
)
_KMS_NAME: Final = Spelling(
    r"[a-zA-Z0-9_-]{1,63}", "1 to 63 letters, digits, underscores and hyphens",
    f"cloudkms v1, {_DISCOVERY}",
)  # fmt: skip
_POOL: Final = Spelling(
    r"(?!gcp-)[a-z0-9-]{4,32}",
    "4 to 32 lower-case letters, digits and hyphens, not starting with `gcp-`",
    f"iam v1, {_DISCOVERY}",
)
_GKE_NAME: Final = Spelling(
    r"[a-z](?:[-a-z0-9]{0,38}[a-z0-9])?",
    "1 to 40 lower-case letters, digits and hyphens, starting with a letter",
    "cloud.google.com/kubernetes-engine/docs/reference/rest/v1/projects.locations.clusters",
)
_TAG_NAME: Final = Spelling(
    r"(?! )[\w\- ]{1,200}(?<! )",
    "letters, digits, underscores, dashes and inner spaces, at most 200",
    f"datacatalog v1, {_DISCOVERY}",
)


def _feature(longest: int) -> Spelling:
    return Spelling(
        rf"[a-z_][a-z0-9_]{{0,{longest - 1}}}",
        f"1 to {longest} lower-case letters, digits and underscores, not starting with a digit",
        f"aiplatform v1, {_DISCOVERY}",
    )


_DOMAIN: Final = Spelling(
    r"[a-z0-9-]+(?:\.[a-z0-9-]+)+", "a service's whole name, such as `pubsub.googleapis.com`",
    "cloud.google.com/service-usage/docs/list-services",
)  # fmt: skip
_POLICY: Final = r"accessPolicies/[0-9]+"

SPELLINGS: Final[dict[str, dict[str, Spelling]]] = {
    "gcp:pubsub/topic:Topic": {"name": _PUBSUB},
    "gcp:pubsub/subscription:Subscription": {
        "name": _PUBSUB,
        "deadLetterPolicy.deadLetterTopic": Spelling(
            r"projects/[^/]+/topics/[^/]+", "projects/PROJECT/topics/TOPIC",
            f"pubsub v1, {_DISCOVERY}"),
        "pushConfig.pushEndpoint": Spelling(
            r"https?://.+", "a URL that starts with https://",
            "cloud.google.com/pubsub/docs/push#properties_of_a_push_subscription"),
        "bigqueryConfig.table": Spelling(
            r"[^.:]+(?::[^.:]+)?[.:][^.]+\.[^.]+|[^.:]+(?::[^.:]+){1,2}\.[^.]+",
            "a table written PROJECT.DATASET.TABLE", f"pubsub v1, {_DISCOVERY}"),
        "cloudStorageConfig.bucket": Spelling(
            r"(?!gs:)[^/]+", "a bucket's name without `gs://`", f"pubsub v1, {_DISCOVERY}"),
    },
    "gcp:pubsub/schema:Schema": {"name": _PUBSUB},
    "gcp:storage/bucket:Bucket": {
        "name": Spelling(
            r"(?!goog)(?=[^.]{1,63}(?:\.|$))[a-z0-9][-_.a-z0-9]{1,220}[a-z0-9]",
            "3 to 63 lower-case letters, digits, hyphens, underscores and dots",
            "cloud.google.com/storage/docs/buckets#naming"),
    },
    "gcp:storage/bucketObject:BucketObject": {
        "name": Spelling(
            r"(?!\.well-known/acme-challenge/)(?!\.{1,2}$)[^\r\n]{1,1024}",
            "at most 1,024 characters without line breaks, and not `.` or `..`",
            "cloud.google.com/storage/docs/objects#naming"),
    },
    "gcp:storage/notification:Notification": {
        "topic": Spelling(
            r"(?://pubsub\.googleapis\.com/)?projects/[^/]+/topics/[^/]+|[^/]+",
            "a topic written projects/PROJECT/topics/TOPIC",
            "cloud.google.com/storage/docs/json_api/v1/notifications"),
    },
    "gcp:serviceaccount/account:Account": {
        "accountId": Spelling(
            r"[a-z](?:[-a-z0-9]{4,28}[a-z0-9])",
            "6 to 30 lower-case letters, digits and hyphens, starting with a letter",
            "cloud.google.com/iam/docs/service-accounts-create"),
    },
    "gcp:bigquery/dataset:Dataset": {"datasetId": _DATASET},
    "gcp:bigquery/datasetAccess:DatasetAccess": {"datasetId": _DATASET},
    "gcp:bigquery/table:Table": {"datasetId": _DATASET, "tableId": _TABLE},
    "gcp:bigquery/routine:Routine": {
        "datasetId": _DATASET,
        "routineId": Spelling(
            r"[0-9A-Za-z_]{1,256}", "at most 256 letters, digits and underscores",
            f"bigquery v2, {_DISCOVERY}"),
    },
    "gcp:bigquerydatapolicy/dataPolicy:DataPolicy": {
        "dataPolicyId": Spelling(
            r"[A-Za-z][0-9A-Za-z_]{0,255}", "letters, digits and underscores, a letter first",
            "cloud.google.com/bigquery/docs/column-data-masking"),
        "policyTag": Spelling(
            r"projects/[^/]+/locations/[^/]+/taxonomies/[^/]+/policyTags/[^/]+",
            "projects/PROJECT/locations/LOCATION/taxonomies/TAXONOMY/policyTags/TAG",
            f"bigquerydatapolicy v1, {_DISCOVERY}"),
    },
    "gcp:datacatalog/taxonomy:Taxonomy": {"displayName": _TAG_NAME},
    "gcp:datacatalog/policyTag:PolicyTag": {
        "displayName": _TAG_NAME,
        "taxonomy": Spelling(
            r"projects/[^/]+/locations/[^/]+/taxonomies/[^/]+",
            "projects/PROJECT/locations/LOCATION/taxonomies/TAXONOMY",
            f"datacatalog v1, {_DISCOVERY}"),
    },
    "gcp:dataflow/flexTemplateJob:FlexTemplateJob": {
        "name": Spelling(
            r"[a-z](?:[-a-z0-9]{0,1022}[a-z0-9])?",
            "lower-case letters, digits and hyphens, starting with a letter",
            f"dataflow v1b3, {_DISCOVERY}"),
        "containerSpecGcsPath": Spelling(
            r"gs://[^/]+/.+", "gs://BUCKET/OBJECT", f"dataflow v1b3, {_DISCOVERY}"),
        "stagingLocation": Spelling(r"gs://[^/]+(?:/.*)?", "gs://BUCKET/FOLDER",
                                    f"dataflow v1b3, {_DISCOVERY}"),
        "subnetwork": Spelling(
            r"(?:https://(?:www|compute)\.googleapis\.com/compute/[a-z0-9]+/)?"
            r"(?:projects/[^/]+/)?regions/[^/]+/subnetworks/[^/]+",
            "regions/REGION/subnetworks/SUBNETWORK", "SDK docstring"),
        "tempLocation": Spelling(r"gs://[^/]+(?:/.*)?", "gs://BUCKET/FOLDER",
                                 f"dataflow v1b3, {_DISCOVERY}"),
    },
    "gcp:kms/keyRing:KeyRing": {"name": _KMS_NAME},
    "gcp:kms/cryptoKey:CryptoKey": {
        "name": _KMS_NAME,
        "keyRing": Spelling(
            r"projects/[^/]+/locations/[^/]+/keyRings/[^/]+",
            "projects/PROJECT/locations/LOCATION/keyRings/RING", f"cloudkms v1, {_DISCOVERY}"),
    },
    "gcp:iam/workloadIdentityPool:WorkloadIdentityPool": {"workloadIdentityPoolId": _POOL},
    "gcp:iam/workloadIdentityPoolProvider:WorkloadIdentityPoolProvider": {
        "workloadIdentityPoolId": _POOL,
        "workloadIdentityPoolProviderId": _POOL,
        "oidc.issuerUri": Spelling(
            r"https://.+", "a URL that starts with https://", f"iam v1, {_DISCOVERY}"),
    },
    "gcp:orgpolicy/policy:Policy": {
        "name": Spelling(
            r"(?:projects|folders|organizations)/[^/]+/policies/[a-zA-Z0-9.]+",
            "projects/, folders/ or organizations/ID/policies/CONSTRAINT", "SDK docstring"),
        "parent": Spelling(
            r"(?:projects|folders|organizations)/[^/]+",
            "projects/ID, folders/ID or organizations/ID", f"orgpolicy v2, {_DISCOVERY}"),
    },
    "gcp:projects/service:Service": {"service": _DOMAIN},
    "gcp:projects/serviceIdentity:ServiceIdentity": {"service": _DOMAIN},
    "gcp:servicenetworking/connection:Connection": {"service": _DOMAIN},
    "gcp:projects/iAMAuditConfig:IAMAuditConfig": {
        "service": Spelling(
            r"allServices|[a-z0-9-]+(?:\.[a-z0-9-]+)+",
            "`allServices` or a service's whole name, such as `storage.googleapis.com`",
            "SDK docstring"),
    },
    "gcp:billing/budget:Budget": {
        "billingAccount": Spelling(
            r"(?:billingAccounts/)?[0-9A-Fa-f]{6}-[0-9A-Fa-f]{6}-[0-9A-Fa-f]{6}",
            "XXXXXX-XXXXXX-XXXXXX in hexadecimal digits",
            "cloud.google.com/billing/docs/how-to/find-billing-account-id"),
        "allUpdatesRule.pubsubTopic": Spelling(
            r"projects/[^/]+/topics/[^/]+", "projects/PROJECT/topics/TOPIC",
            f"billingbudgets v1, {_DISCOVERY}"),
        "allUpdatesRule.monitoringNotificationChannels[]": Spelling(
            r"projects/[^/]+/notificationChannels/[^/]+",
            "projects/PROJECT/notificationChannels/CHANNEL", f"billingbudgets v1, {_DISCOVERY}"),
        "budgetFilter.projects[]": Spelling(
            r"projects/[^/]+", "projects/PROJECT", f"billingbudgets v1, {_DISCOVERY}"),
        "amount.specifiedAmount.currencyCode": Spelling(
            r"[A-Z]{3}", "three capital letters of ISO 4217, such as USD",
            f"billingbudgets v1, {_DISCOVERY}"),
    },
    "gcp:accesscontextmanager/servicePerimeter:ServicePerimeter": {
        "parent": Spelling(_POLICY, "accessPolicies/NUMBER", "SDK docstring"),
        "name": Spelling(
            rf"{_POLICY}/servicePerimeters/[A-Za-z][A-Za-z0-9_]*",
            "accessPolicies/NUMBER/servicePerimeters/NAME, the name of letters, digits and _",
            "SDK docstring"),
        "status.resources[]": Spelling(
            r"projects/[0-9]+|//compute\.googleapis\.com/projects/.+/global/networks/.+",
            "projects/NUMBER", f"accesscontextmanager v1, {_DISCOVERY}"),
        "spec.resources[]": Spelling(
            r"projects/[0-9]+|//compute\.googleapis\.com/projects/.+/global/networks/.+",
            "projects/NUMBER", f"accesscontextmanager v1, {_DISCOVERY}"),
    },
    "gcp:sql/databaseInstance:DatabaseInstance": {
        "name": Spelling(
            r"[a-z][-a-z0-9]{0,97}",
            "1 to 98 lower-case letters, digits and hyphens, starting with a letter",
            "cloud.google.com/sql/docs/postgres/instance-settings#instance-id-2ndgen"),
        "settings.backupConfiguration.startTime": Spelling(
            r"(?:[01][0-9]|2[0-3]):[0-5][0-9]", "a time HH:MM", f"sqladmin v1, {_DISCOVERY}"),
        "settings.tier": Spelling(
            r"db-[A-Za-z0-9-]+|[DS][0-9]+", "a machine type such as `db-custom-2-7680`",
            "cloud.google.com/sql/docs/postgres/machine-series-overview"),
        "settings.ipConfiguration.privateNetwork": Spelling(
            r"(?:https://(?:www|compute)\.googleapis\.com/compute/[a-z0-9]+/|/)?"
            r"projects/[^/]+/global/networks/[^/]+",
            "projects/PROJECT/global/networks/NETWORK", f"sqladmin v1, {_DISCOVERY}"),
    },
    "gcp:secretmanager/secret:Secret": {
        "secretId": Spelling(
            r"[A-Za-z0-9_-]{1,255}", "letters, digits, hyphens and underscores",
            f"secretmanager v1, {_DISCOVERY}"),
        "topics[].name": Spelling(
            r"projects/[^/]+/topics/[^/]+", "projects/PROJECT/topics/TOPIC", "SDK docstring"),
    },
    "gcp:artifactregistry/repository:Repository": {
        "repositoryId": Spelling(
            _GCE_NAME.pattern, "1 to 63 lower-case letters, digits and hyphens, starting with a "
            "letter", "cloud.google.com/artifact-registry/docs/repositories/create-repos"),
        "cleanupPolicies[].condition.olderThan": Spelling(
            r"[0-9]+(?:\.[0-9]+)?[smhd]", "a number followed by s, m, h or d, such as `30d`",
            "cloud.google.com/artifact-registry/docs/repositories/cleanup-policy"),
        "cleanupPolicies[].condition.newerThan": Spelling(
            r"[0-9]+(?:\.[0-9]+)?[smhd]", "a number followed by s, m, h or d, such as `30d`",
            "cloud.google.com/artifact-registry/docs/repositories/cleanup-policy"),
    },
    "gcp:cloudrunv2/service:Service": {
        "name": Spelling(
            r"[a-z](?:[-a-z0-9]{0,47}[a-z0-9])?",
            "1 to 49 lower-case letters, digits and hyphens, starting with a letter",
            f"run v2, {_DISCOVERY}"),
        "template.containers[].envs[].name": Spelling(
            r"[^=\x00]+", "a name without `=`", f"run v2, {_DISCOVERY}"),
    },
    "gcp:cloudrunv2/job:Job": {
        "name": Spelling(
            _GCE_NAME.pattern, "1 to 63 lower-case letters, digits and hyphens, starting with a "
            "letter", "cloud.google.com/run/docs/create-jobs"),
        "template.template.containers[].envs[].name": Spelling(
            r"[^=\x00]+", "a name without `=`", f"run v2, {_DISCOVERY}"),
    },
    "gcp:cloudscheduler/job:Job": {
        "name": Spelling(
            r"[A-Za-z0-9_-]{1,500}", "at most 500 letters, digits, underscores and hyphens",
            f"cloudscheduler v1, {_DISCOVERY}"),
        "httpTarget.uri": Spelling(
            r"https?://.+", "a URL that starts with http:// or https://",
            f"cloudscheduler v1, {_DISCOVERY}"),
        "pubsubTarget.topicName": Spelling(
            r"projects/[^/]+/topics/[^/]+", "projects/PROJECT/topics/TOPIC",
            f"cloudscheduler v1, {_DISCOVERY}"),
    },
    "gcp:apigateway/apiConfig:ApiConfig": {
        "gatewayConfig.backendConfig.googleServiceAccount": Spelling(
            r"(?:projects/[^/]+/serviceAccounts/)?[^@/]+@[^@/]+",
            "a service account's e-mail", f"apigateway v1, {_DISCOVERY}"),
    },
    "gcp:apigateway/gateway:Gateway": {
        "apiConfig": Spelling(
            r"projects/[^/]+/locations/global/apis/[^/]+/configs/[^/]+",
            "projects/PROJECT/locations/global/apis/API/configs/CONFIG", "SDK docstring"),
    },
    "gcp:vertex/aiEndpoint:AiEndpoint": {
        "name": Spelling(
            r"[1-9][0-9]{0,9}",
            "numeric, with no leading zero and at most 10 digits; set `name` yourself",
            "SDK docstring"),
        "displayName": Spelling(
            r"(?s).{1,128}", "1 to 128 characters", f"aiplatform v1, {_DISCOVERY}"),
        "network": Spelling(
            r"projects/[^/]+/global/networks/[^/]+",
            "projects/PROJECT_NUMBER/global/networks/NETWORK", f"aiplatform v1, {_DISCOVERY}"),
        "predictRequestResponseLoggingConfig.bigqueryDestination.outputUri": Spelling(
            r"bq://[^.]+(?:\.[^.]+){0,2}", "bq://PROJECT.DATASET.TABLE",
            f"aiplatform v1, {_DISCOVERY}"),
    },
    "gcp:vertex/aiFeatureGroup:AiFeatureGroup": {
        "name": _feature(128),
        "bigQuery.bigQuerySource.inputUri": Spelling(
            r"bq://[^.]+\.[^.]+\.[^.]+", "bq://PROJECT.DATASET.TABLE",
            f"aiplatform v1, {_DISCOVERY}"),
    },
    "gcp:vertex/aiFeatureGroupFeature:AiFeatureGroupFeature": {"name": _feature(128)},
    "gcp:vertex/aiFeatureOnlineStore:AiFeatureOnlineStore": {"name": _feature(60)},
    "gcp:vertex/aiFeatureOnlineStoreFeatureview:AiFeatureOnlineStoreFeatureview": {
        "name": _feature(60),
        "bigQuerySource.uri": Spelling(
            r"bq://[^.]+\.[^.]+\.[^.]+", "bq://PROJECT.DATASET.VIEW",
            f"aiplatform v1, {_DISCOVERY}"),
    },
    "gcp:vertex/aiMetadataStore:AiMetadataStore": {
        "name": Spelling(
            r"[a-z0-9_-]{1,128}", "lower-case letters, digits, underscores and hyphens",
            f"aiplatform v1, {_DISCOVERY}"),
    },
    "gcp:vertex/aiTensorboard:AiTensorboard": {
        "displayName": Spelling(
            r"(?s).{1,128}", "1 to 128 characters", f"aiplatform v1, {_DISCOVERY}"),
    },
    "gcp:monitoring/alertPolicy:AlertPolicy": {
        "notificationChannels[]": Spelling(
            r"projects/[^/]+/notificationChannels/[^/]+",
            "projects/PROJECT/notificationChannels/CHANNEL", f"monitoring v3, {_DISCOVERY}"),
    },
    "gcp:monitoring/metricDescriptor:MetricDescriptor": {
        "type": Spelling(
            r"[a-z0-9-]+(?:\.[a-z0-9-]+)+/[A-Za-z0-9_./-]+",
            "DOMAIN/PATH, such as custom.googleapis.com/model/drift",
            f"monitoring v3, {_DISCOVERY}"),
        "labels[].key": Spelling(
            r"[a-z][a-z0-9_]{0,99}", "lower-case letters, digits and underscores, a letter first",
            f"monitoring v3, {_DISCOVERY}"),
    },
    "gcp:dns/managedZone:ManagedZone": {
        "name": _GCE_NAME,
        "dnsName": Spelling(r"(?:[^.\s]+\.)+", "a domain with its last dot, such as example.com.",
                            "cloud.google.com/dns/docs/zones"),
    },
    "gcp:dns/recordSet:RecordSet": {
        "name": Spelling(r"(?:[^.\s]+\.)+", "a domain with its last dot, such as www.example.com.",
                         "cloud.google.com/dns/docs/records"),
        "type": Spelling(r"[A-Z0-9]+", "a type of record in capitals, such as A or CNAME",
                         "cloud.google.com/dns/docs/records-overview"),
    },
    "gcp:logging/projectSink:ProjectSink": {
        "name": Spelling(
            r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}",
            "at most 100 letters, digits, underscores, hyphens and periods, the first a letter or "
            "digit", f"logging v2, {_DISCOVERY}"),
        "destination": Spelling(
            r"(?:storage|bigquery|pubsub|logging)\.googleapis\.com/.+",
            "a service and a resource, such as `bigquery.googleapis.com/projects/P/datasets/D`",
            "cloud.google.com/logging/docs/export/configure_export_v2"),
    },
    "gcp:logging/metric:Metric": {
        "name": Spelling(
            r"(?!/)[A-Za-z0-9_\-.,+!*',()%/]{1,100}",
            "at most 100 letters, digits and _-.,+!*',()%/, not starting with /",
            f"logging v2, {_DISCOVERY}"),
    },
    "gcp:container/cluster:Cluster": {
        "name": _GKE_NAME,
        "workloadIdentityConfig.workloadPool": Spelling(
            r"[^.]+\.svc\.id\.goog", "PROJECT.svc.id.goog",
            "cloud.google.com/kubernetes-engine/docs/how-to/workload-identity"),
    },
    "gcp:container/nodePool:NodePool": {"name": _GKE_NAME},
    "gcp:workbench/instance:Instance": {
        "name": _GCE_NAME,
        "location": Spelling(
            r"[a-z]+-[a-z]+[0-9]{1,2}-[a-z]", "a zone, such as `us-central1-a`",
            "cloud.google.com/vertex-ai/docs/workbench/instances/create"),
    },
    "docker:index/image:Image": {
        "imageName": Spelling(
            r"(?:[A-Za-z0-9.-]+(?::[0-9]+)?/)?[a-z0-9]+(?:[._/-]+[a-z0-9]+)*(?::[\w][\w.-]{0,127})?"
            r"(?:@sha256:[0-9a-f]{64})?",
            "REGISTRY/PATH:TAG, the path in lower case",
            "docs.docker.com/reference/cli/docker/image/tag"),
    },
} | {
    f"gcp:compute/{kind[0].lower()}{kind[1:]}:{kind}": {"name": _GCE_NAME}
    for kind in ("Network", "Subnetwork", "Firewall", "Router", "RouterNat", "GlobalAddress",
                 "ForwardingRule", "GlobalForwardingRule", "Address", "BackendService",
                 "RegionNetworkEndpointGroup", "ManagedSslCertificate", "URLMap", "SSLPolicy",
                 "TargetHttpsProxy")
}  # fmt: skip


def judge(given: Given) -> Iterator[Failure]:
    """Values that are not spelled as Google wants them."""
    for path, spelling in SPELLINGS.get(given.token, {}).items():
        for where, value in given.at(path):
            if isinstance(value, str) and not re.fullmatch(spelling.pattern, value):
                yield given.refuse(where, value, f"is not allowed; it must be {spelling.words}")

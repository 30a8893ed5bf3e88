"""The ids and outputs that Google would give to a resource.

The id follows the first format that `pulumi import` documents, or the table below where the
documents have none. Outputs that Google's servers would choose (times, numbers, etags) are derived
from the resource's URN, so that one resource keeps them; in a preview they are not known.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from localcloud.provider.schema import Resource
from localcloud.provider.values import UNKNOWN

# Ids that pulumi-gcp's documents do not show; from terraform-provider-google's SetId calls.
_FORMATS: Final = {
    "gcp:storage/bucket:Bucket": "{{name}}",
    "gcp:storage/bucketObject:BucketObject": "{{bucket}}-{{name}}",
    "gcp:storage/notification:Notification": None,
    "gcp:bigquery/table:Table": "projects/{{project}}/datasets/{{datasetId}}/tables/{{tableId}}",
    "gcp:serviceaccount/account:Account": (
        "projects/{{project}}/serviceAccounts/{{accountId}}@{{project}}.iam.gserviceaccount.com"
    ),
    "gcp:secretmanager/secretVersion:SecretVersion": None,
    "gcp:dataflow/flexTemplateJob:FlexTemplateJob": None,
    "gcp:dataflow/job:Job": None,
    "gcp:container/cluster:Cluster": (
        "projects/{{project}}/locations/{{location}}/clusters/{{name}}"
    ),
    "gcp:container/nodePool:NodePool": (
        "projects/{{project}}/locations/{{location}}/clusters/{{cluster}}/nodePools/{{name}}"
    ),
    "gcp:sql/databaseInstance:DatabaseInstance": "{{name}}",
    "gcp:sql/user:User": "{{name}}/{{host}}/{{instance}}",
    "docker:index/image:Image": "{{imageName}}",
}
_IAM_PARENTS: Final = {
    "gcp:storage/bucket": "b/{{bucket}}",
    "gcp:bigquery/dataset": "projects/{{project}}/datasets/{{datasetId}}",
    "gcp:serviceaccount/": "{{serviceAccountId}}",
    "gcp:projects/": "{{project}}",
    "gcp:kms/cryptoKey": "{{cryptoKeyId}}",
    "gcp:kms/keyRing": "{{keyRingId}}",
    "gcp:folder/": "{{folder}}",
    "gcp:organizations/": "{{orgId}}",
}
_IAM: Final = re.compile(r"(?:IAM|Iam)(Member|Binding|Policy)$")
_VARIABLE: Final = re.compile(r"\{\{([^}]+)\}\}")


@dataclass(frozen=True)
class Identity:
    """How a type is identified: its id's format, or none where the server chooses the id."""

    format: str | None

    @property
    def properties(self) -> frozenset[str]:
        """The inputs that are part of the id; a change of one is another resource."""
        return frozenset(_camel(name) for name in _VARIABLE.findall(self.format or ""))

    def of(self, properties: Mapping[str, Any]) -> str | None:
        """The id; None where the server chooses it or a part is not known."""
        if self.format is None:
            return None
        values = {name: properties.get(_camel(name)) for name in _VARIABLE.findall(self.format)}
        if any(not isinstance(value, str | int) for value in values.values()):
            return None
        named = _VARIABLE.sub(lambda found: _short(found[1], str(values[found[1]])), self.format)
        condition = properties.get("condition")
        if isinstance(condition, Mapping) and condition.get("title"):
            return f"{named}/{condition['title']}"
        return named


def identity(resource: Resource) -> Identity:
    """How resources of this type are identified."""
    if resource.token in _FORMATS:
        return Identity(_FORMATS[resource.token])
    kind = _IAM.search(resource.token)
    if kind:
        return Identity(_iam_format(resource, kind[1]))
    if resource.import_format is None or " " in resource.import_format:
        return Identity(None)
    names = {_camel(name) for name in _VARIABLE.findall(resource.import_format)}
    # A variable that is no input (monitoring's `name`) is chosen by the server.
    known = set(resource.inputs) | {"project"}
    return Identity(resource.import_format if names <= known else None)


def expanded(
    resource: Resource,
    id: str,  # noqa: A002 - Pulumi's own word
    whereabouts: Mapping[str, str | None],
) -> str:
    """The whole id of a short one, such as `orders` for `projects/p/topics/orders`.

    `pulumi import` takes ids without what the provider's configuration says; anything else is
    returned as it came.
    """
    template = identity(resource).format
    if template is None or _IAM.search(resource.token):
        return id
    names = _VARIABLE.findall(template)
    parts = id.split("/")
    if len(parts) > len(names) or len(template.split("/")) <= len(names):
        return id
    missing = names[: len(names) - len(parts)]
    values = {name: whereabouts.get(_camel(name)) for name in missing}
    if any(value is None for value in values.values()):
        return id
    values |= dict(zip(names[len(missing) :], parts, strict=True))
    return _VARIABLE.sub(lambda found: str(values[found[1]]), template)


def _iam_format(resource: Resource, kind: str) -> str | None:
    role = {"Member": "/{{role}}/{{member}}", "Binding": "/{{role}}", "Policy": ""}[kind]
    for prefix, parent in _IAM_PARENTS.items():
        if resource.token.startswith(prefix):
            return parent + role
    parents = [
        known.name
        for known in resource.inputs.values()
        if (known.required or known.name == "name")
        and known.name not in ("role", "member", "members", "policyData", "location", "region")
    ]
    own = parents[-1] if parents else None
    if own is None:
        return None
    title = _IAM.sub("", resource.title)
    collection = title[:1].lower() + title[1:] + ("s" if not title.endswith("y") else "")
    if collection.endswith("y"):
        collection = collection[:-1] + "ies"
    place = "/locations/{{location}}" if "location" in resource.inputs else ""
    place = "/locations/{{region}}" if "region" in resource.inputs else place
    return f"projects/{{{{project}}}}{place}/{collection}/{{{{{own}}}}}{role}"


def _camel(name: str) -> str:
    name = {"project_id": "project", "bucket_name": "bucket"}.get(name, name)
    head, *tail = name.split("_")
    return head + "".join(part.capitalize() for part in tail)


def _short(name: str, value: str) -> str:
    """`orders` of `projects/p/topics/orders`, unless the id is to hold the full name."""
    whole = (
        "role", "member", "parent", "serviceAccountId", "cryptoKeyId", "keyRing", "cryptoKey"
    )  # fmt: skip
    if _camel(name) in whole or not re.match(r"(projects|folders|organizations)/", value):
        return value
    return value.rpartition("/")[2]


def digits(text: str, count: int) -> str:
    """A number of `count` digits that follows from the text and has no leading zero."""
    number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:16])
    return str(10 ** (count - 1) + number % (9 * 10 ** (count - 1)))


def project_number(project: str) -> str:
    """The number that the local cloud gives to a project."""
    return digits(f"project {project}", 12)


def etag(text: str) -> str:
    """An opaque tag as IAM policies have."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()[:8]).decode()


def now() -> str:
    """The present time as Google's APIs write it."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def assigned_id(resource: Resource, properties: Mapping[str, Any], key: str) -> str:
    """An id as the server would choose one, from `key` (the URN)."""
    project = properties.get("project")
    number = digits(key, 16)
    match resource.token:
        case "gcp:secretmanager/secretVersion:SecretVersion":
            return f"{properties.get('secret')}/versions/{properties.get('version', '1')}"
        case "gcp:datacatalog/taxonomy:Taxonomy":
            return f"projects/{project}/locations/{properties.get('region')}/taxonomies/{number}"
        case "gcp:datacatalog/policyTag:PolicyTag":
            return f"{properties.get('taxonomy')}/policyTags/{number}"
        case "gcp:monitoring/alertPolicy:AlertPolicy":
            return f"projects/{project}/alertPolicies/{number}"
        case "gcp:monitoring/notificationChannel:NotificationChannel":
            return f"projects/{project}/notificationChannels/{number}"
        case "gcp:monitoring/metricDescriptor:MetricDescriptor":
            return f"projects/{project}/metricDescriptors/{properties.get('type')}"
        case "gcp:monitoring/uptimeCheckConfig:UptimeCheckConfig":
            return f"projects/{project}/uptimeCheckConfigs/{number}"
        case "gcp:monitoring/dashboard:Dashboard":
            return f"projects/{number}/dashboards/{digits(key, 12)}"
        case "gcp:storage/notification:Notification":
            return f"{properties.get('bucket')}/notificationConfigs/{digits(key, 3)}"
        case _:
            return number


type _Make = Callable[["_Known"], Any]


@dataclass(frozen=True)
class _Known:
    """What an output can be computed from."""

    resource: Resource
    properties: Mapping[str, Any]
    id: str | None
    urn: str
    time: Any

    def get(self, name: str) -> Any:
        return self.properties.get(name)

    def join(self, text: str) -> Any:
        """The text with its `{names}` filled, unknown when one of them is."""
        names = re.findall(r"\{(\w+)\}", text)
        parts = {
            name: self.id if name == "id" else self.number() if name == "number" else self.get(name)
            for name in names
        }
        if any(part is None or part is UNKNOWN for part in parts.values()):
            return UNKNOWN
        return text.format(**parts)

    def number(self) -> Any:
        project = self.get("project")
        return project_number(project) if isinstance(project, str) else UNKNOWN


_SELF_LINKS: Final = {
    "bigquery": "https://bigquery.googleapis.com/bigquery/v2/{id}",
    "compute": "https://www.googleapis.com/compute/v1/{id}",
    "container": "https://container.googleapis.com/v1/{id}",
    "cloudrunv2": "https://run.googleapis.com/v2/{id}",
    "dns": "https://dns.googleapis.com/dns/v1/{id}",
}

_BY_TOKEN: Final[dict[str, dict[str, str]]] = {
    "gcp:serviceaccount/account:Account": {
        "email": "{accountId}@{project}.iam.gserviceaccount.com",
        "member": "serviceAccount:{accountId}@{project}.iam.gserviceaccount.com",
        "name": "{id}",
    },
    "gcp:storage/bucket:Bucket": {
        "url": "gs://{name}",
        "selfLink": "https://www.googleapis.com/storage/v1/b/{name}",
        "projectNumber": "{number}",
    },
    "gcp:storage/bucketObject:BucketObject": {
        "outputName": "{name}",
        "selfLink": "https://www.googleapis.com/storage/v1/b/{bucket}/o/{name}",
        "mediaLink": "https://storage.googleapis.com/download/storage/v1/b/{bucket}/o/{name}?alt=media",
    },
    "gcp:artifactregistry/repository:Repository": {
        "name": "{repositoryId}",
        "registryUri": "{location}-docker.pkg.dev/{project}/{repositoryId}",
    },
    "gcp:secretmanager/secret:Secret": {"name": "projects/{number}/secrets/{secretId}"},
    "gcp:secretmanager/secretVersion:SecretVersion": {"name": "{id}", "version": "1"},
    "gcp:cloudrunv2/service:Service": {
        "uri": "https://{name}-{number}.{location}.run.app",
        "latestReadyRevision": "{id}/revisions/{name}-00001-a1b",
        "latestCreatedRevision": "{id}/revisions/{name}-00001-a1b",
    },
    "gcp:iam/workloadIdentityPool:WorkloadIdentityPool": {
        "name": "projects/{number}/locations/global/workloadIdentityPools/{workloadIdentityPoolId}",
        "state": "ACTIVE",
    },
    "gcp:iam/workloadIdentityPoolProvider:WorkloadIdentityPoolProvider": {
        "name": "projects/{number}/locations/global/workloadIdentityPools/"
        "{workloadIdentityPoolId}/providers/{workloadIdentityPoolProviderId}",
        "state": "ACTIVE",
    },
    "gcp:sql/databaseInstance:DatabaseInstance": {
        "connectionName": "{project}:{region}:{name}",
        "selfLink": "https://sqladmin.googleapis.com/sql/v1beta4/projects/{project}/instances/{name}",
        "serviceAccountEmailAddress": "p{number}@gcp-sa-cloud-sql.iam.gserviceaccount.com",
    },
    "gcp:cloudscheduler/job:Job": {"state": "ENABLED"},
    "gcp:logging/projectSink:ProjectSink": {
        "writerIdentity": "serviceAccount:service-{number}@gcp-sa-logging.iam.gserviceaccount.com",
    },
    "gcp:dataflow/flexTemplateJob:FlexTemplateJob": {"jobId": "{id}"},
    "gcp:storage/notification:Notification": {
        "selfLink": "https://www.googleapis.com/storage/v1/b/{id}",
    },
    "gcp:projects/service:Service": {},
}
# Values that the server alone chooses, of the documented form: unknown in a preview. Some are
# inputs too, for whoever brings a value along.
_CHOSEN: Final[dict[str, dict[str, str]]] = {
    "gcp:apigateway/api:Api": {
        "managedService": "{apiId}-{number}.apigateway.{project}.cloud.goog",
    },
    "gcp:apigateway/gateway:Gateway": {"defaultHostname": "{gatewayId}-{number}.gateway.dev"},
    # Addresses of RFC 5737 and RFC 1918: nobody is there.
    "gcp:compute/globalAddress:GlobalAddress": {"address": "203.0.113.10"},
    "gcp:monitoring/uptimeCheckConfig:UptimeCheckConfig": {"uptimeCheckId": "check-{number}"},
    "gcp:sql/databaseInstance:DatabaseInstance": {"privateIpAddress": "10.65.0.3"},
}
_TIMES: Final = re.compile(
    r"(?:[cC]reat|[uU]pdat|[mM]odif)\w*(?:Time|Timestamp)$|^timeCreated$|^updated$"
)
_NUMBERS: Final = {"uid": 0, "uniqueId": 21, "generatedId": 19, "numericId": 19, "instanceId": 19}


def outputs(
    resource: Resource,
    properties: Mapping[str, Any],
    *,
    id: str | None,  # noqa: A002 - Pulumi's own word
    urn: str,
    preview: bool,
) -> dict[str, Any]:
    """The outputs beyond `properties`, as Google would shape them.

    Args:
        resource: the schema.
        properties: the inputs with the provider's defaults.
        id: the resource's id, None where it is not known yet.
        urn: what server-chosen values are derived from.
        preview: leave what the server would choose unknown.
    """
    known = _Known(resource, properties, id, urn, UNKNOWN if preview else now())
    made: dict[str, Any] = {}
    for name in (*resource.computed, *filled(resource)):
        shape = resource.outputs[name]
        if name in properties:
            continue
        value = _output(known, name, preview)
        if value is None and shape.kind in ("array", "map"):
            value = UNKNOWN if preview else [] if shape.kind == "array" else {}
        if value is not None and value is not UNKNOWN:
            value = _typed(shape.kind, value)
        if value is None and preview:
            value = UNKNOWN
        if value is not None and (preview or value is not UNKNOWN):
            made[name] = value
    return made


def filled(resource: Resource) -> tuple[str, ...]:
    """Inputs that the server fills where the program leaves them out."""
    return tuple(one for one in _CHOSEN.get(resource.token, {}) if one in resource.inputs)


def _output(known: _Known, name: str, preview: bool) -> Any:
    own = _BY_TOKEN.get(known.resource.token, {})
    chosen = UNKNOWN if preview else None
    if name in _CHOSEN.get(known.resource.token, {}):
        return chosen or known.join(_CHOSEN[known.resource.token][name])
    if name in own:
        return known.join(own[name])
    if name == "selfLink" and known.resource.module in _SELF_LINKS:
        return known.join(_SELF_LINKS[known.resource.module])
    if name == "urls":
        return [known.join("https://{name}-{number}.{location}.run.app")]
    if name in ("etag", "fingerprint", "labelFingerprint"):
        return chosen or etag(f"{known.urn}{known.id}")
    if name in _NUMBERS:
        return chosen or _number(known, _NUMBERS[name])
    if _TIMES.search(name):
        return known.time
    match name:
        case "name":
            return known.id if known.id is not None else UNKNOWN
        case "enabled":
            return True
        case "reconciling":
            return False
        case "generation" | "observedGeneration":
            return chosen or "1"
        case "project":
            return known.get("project")
        case "number":
            return known.number()
        case "repoDigest":
            return chosen or _repo_digest(known)
        case _:
            return None


def _repo_digest(known: _Known) -> str:
    """Of an image that is recorded and not built: a digest of its name."""
    name = str(known.get("imageName"))
    digest = hashlib.sha256(f"{known.urn}{name}".encode()).hexdigest()
    return f"{name.rpartition(':')[0] or name}@sha256:{digest}"


def _number(known: _Known, count: int) -> str:
    if count:
        return digits(known.urn, count)
    text = hashlib.sha256(known.urn.encode()).hexdigest()
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:32]}"


def _typed(kind: str, value: Any) -> Any:
    if kind == "integer" and isinstance(value, str):
        return int(value) if value.isdecimal() else None
    return str(value) if kind == "string" and isinstance(value, int) else value

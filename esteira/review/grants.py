"""What a resource lets whom do, however its type words it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from esteira.review.plan import Resource
from esteira.review.values import shown
from localcloud.provider.values import UNKNOWN


@dataclass(frozen=True, kw_only=True, order=True)
class Grant:
    """One thing that one principal may do in one place. Equal ones are the same right."""

    member: str
    role: str
    where: str
    """`topic flights`, `project esteira-prod`."""
    condition: str = ""

    @property
    def to_everyone(self) -> bool:
        """Whether anybody on the internet has it, with or without an account of Google's."""
        return any(word in self.member for word in _EVERYONE)

    @property
    def to_a_project(self) -> bool:
        """Whether it follows from a role on a whole project."""
        return self.member in _PROJECTS


def is_grant(token: str) -> bool:
    """Whether resources of this type are grants and nothing else."""
    return bool(_IAM.search(token)) or token in _OTHERS


def of(resource: Resource | None) -> Iterator[Grant]:
    """Each grant that a resource makes; none if there is no resource."""
    if resource is None:
        return
    if _IAM.search(resource.type):
        yield from _iam(resource)
    elif found := _OTHERS.get(resource.type) or _BESIDE.get(resource.type):
        yield from found(resource)


def text(value: Any, resource: Resource | None = None, name: str = "") -> str:
    """A value in words. One that is not known yet is told by what it comes from."""
    if value is UNKNOWN:
        urns = resource.dependencies.get(name, ()) if resource else ()
        sources = sorted({urn.rpartition("::")[2] for urn in urns})
        return f"(from {', '.join(sources[:2])})" if sources else "(known after it is made)"
    return value if isinstance(value, str) else shown(value)


_EVERYONE: Final = ("allUsers", "allAuthenticatedUsers")
_PROJECTS: Final = ("projectReaders", "projectWriters")

# --- IAM -----------------------------------------------------------------------------------------

_IAM: Final = re.compile(r"(?:IAM|Iam)(Member|Binding|Policy)$")


def _iam(resource: Resource) -> Iterator[Grant]:
    inputs = resource.inputs
    where = _iam_place(resource)
    condition = _condition(inputs)
    if resource.type.endswith("Policy"):
        yield Grant(
            member="whoever its policy names",
            role=shown(inputs.get("policyData")),
            where=where,
            condition=condition,
        )
        return
    members = inputs.get("members")
    for member in members if isinstance(members, list) else [inputs.get("member")]:
        yield Grant(
            member=text(member, resource, "member"),
            role=text(inputs.get("role")),
            where=where,
            condition=condition,
        )


def _iam_place(resource: Resource) -> str:
    rest = {
        key: value
        for key, value in resource.inputs.items()
        if key not in ("member", "members", "role", "condition", "policyData", "location", "region")
    }
    named = {key: value for key, value in rest.items() if key != "project"} or rest
    words = [f"{key} {text(value, resource, key)}" for key, value in sorted(named.items())]
    return ", ".join(words) or "the whole project"


def _condition(inputs: Mapping[str, Any]) -> str:
    condition = inputs.get("condition")
    return f" if {shown(condition)}" if condition else ""


# --- BigQuery's own lists ------------------------------------------------------------------------

_BASIC: Final = {
    "READER": "roles/bigquery.dataViewer",
    "WRITER": "roles/bigquery.dataEditor",
    "OWNER": "roles/bigquery.dataOwner",
}
"""BigQuery takes either name of a role, and both give the same right."""
_READ: Final = "read access"
"""What an authorised view, routine or dataset gets; it has no role."""


def _dataset_access(resource: Resource) -> Iterator[Grant]:
    yield _entry(resource, resource.inputs)


def _dataset(resource: Resource) -> Iterator[Grant]:
    entries = resource.inputs.get("accesses")
    if entries is UNKNOWN:
        yield Grant(member=text(UNKNOWN, resource, "accesses"), role="access", where=_at(resource))
    for one in entries if isinstance(entries, list) else ():
        if isinstance(one, Mapping):
            yield _entry(resource, one, "accesses")


def _entry(resource: Resource, entry: Mapping[str, Any], within: str = "") -> Grant:
    """One entry of a dataset's list; `within` is the property that the list is of."""
    member, role = _who(resource, entry, within)
    if role is None:
        role = text(entry.get("role"), resource, within or "role")
    return Grant(
        member=member,
        role=_BASIC.get(role, role),
        where=_at(resource),
        condition=_condition(entry),
    )


def _at(resource: Resource) -> str:
    return f"dataset {text(resource.inputs.get('datasetId'), resource, 'datasetId')}"


def _who(resource: Resource, entry: Mapping[str, Any], within: str) -> tuple[str, str | None]:
    """Whom an entry names, and the right that follows from its kind; None if it has a role."""

    def known(name: str, *path: str) -> str:
        value: Any = entry[name]
        for key in path:
            value = value.get(key) if isinstance(value, Mapping) else value
        return text(value, resource, within or name)

    def full(name: str, *keys: str) -> str:
        """`dataset.table`, or where it comes from if all of it does."""
        parts = [known(name, *key.split(".")) for key in keys if key]
        return ".".join(dict.fromkeys(parts))

    if "authorizedDataset" in entry:
        kinds = entry["authorizedDataset"]
        kinds = kinds.get("targetTypes") if isinstance(kinds, Mapping) else None
        what = "every view" if kinds == ["VIEWS"] else f"everything ({text(kinds)})"
        name = full("authorizedDataset", "dataset.projectId", "dataset.datasetId")
        return f"{what} of dataset {name}", _READ
    if "view" in entry:
        return f"view {full('view', 'projectId', 'datasetId', 'tableId')}", _READ
    if "routine" in entry:
        return f"routine {full('routine', 'projectId', 'datasetId', 'routineId')}", _READ
    for name, prefix in _KINDS.items():
        if name in entry:
            address = known(name)
            if entry[name] is UNKNOWN or not prefix:
                return address, None
            if name == "userByEmail" and address.endswith(".gserviceaccount.com"):
                return f"serviceAccount:{address}", None
            return f"{prefix}:{address}", None
    return "nobody that is named", None


_KINDS: Final = {
    "userByEmail": "user",
    "groupByEmail": "group",
    "domain": "domain",
    "specialGroup": "",
    "iamMember": "",
}

# --- lists of access of Cloud Storage, and logins of Cloud SQL -----------------------------------


def _access_control(resource: Resource) -> Iterator[Grant]:
    inputs = resource.inputs
    yield Grant(
        member=text(inputs.get("entity"), resource, "entity"),
        role=text(inputs.get("role")),
        where=_bucket(resource),
    )


def _access_list(resource: Resource) -> Iterator[Grant]:
    entries: Any = resource.inputs.get("roleEntities")
    for one in entries if isinstance(entries, list) else ():
        role, _, member = text(one, resource, "roleEntities").partition(":")
        yield Grant(member=member, role=role, where=_bucket(resource))
    for name in ("predefinedAcl", "defaultAcl"):
        if value := resource.inputs.get(name):
            public = "public" in text(value)
            yield Grant(
                member="allUsers" if public else "whoever it names",
                role=f"{name} {text(value, resource, name)}",
                where=_bucket(resource),
            )


def _bucket(resource: Resource) -> str:
    words = [
        f"{key} {text(resource.inputs[key], resource, key)}"
        for key in ("bucket", "object")
        if key in resource.inputs
    ]
    objects = "new objects of " if "/defaultObject" in resource.type else ""
    return objects + ", ".join(words)


_LOGINS: Final = {
    "CLOUD_IAM_SERVICE_ACCOUNT": "serviceAccount:",
    "CLOUD_IAM_USER": "user:",
    "CLOUD_IAM_GROUP": "group:",
}


def _login(resource: Resource) -> Iterator[Grant]:
    inputs = resource.inputs
    name, kind = inputs.get("name"), inputs.get("type")
    prefix = _LOGINS.get(kind, "") if isinstance(kind, str) and name is not UNKNOWN else ""
    roles: Any = inputs.get("databaseRoles")
    suffix = f" as {_listed(roles)}" if roles else ""
    yield Grant(
        member=f"{prefix}{text(name, resource, 'name')}",
        role=f"{'a login' if kind in _LOGINS else 'a login with a password'}{suffix}",
        where=f"database instance {text(inputs.get('instance'), resource, 'instance')}",
    )


def _listed(values: Any) -> str:
    found: Sequence[Any] = values if isinstance(values, list) else [values]
    return ", ".join(text(one) for one in found)


type _Read = Callable[[Resource], Iterator[Grant]]

_OTHERS: Final[Mapping[str, _Read]] = {
    "gcp:bigquery/datasetAccess:DatasetAccess": _dataset_access,
    "gcp:storage/bucketAccessControl:BucketAccessControl": _access_control,
    "gcp:storage/bucketACL:BucketACL": _access_list,
    "gcp:storage/defaultObjectAccessControl:DefaultObjectAccessControl": _access_control,
    "gcp:storage/defaultObjectACL:DefaultObjectACL": _access_list,
    "gcp:storage/objectAccessControl:ObjectAccessControl": _access_control,
    "gcp:storage/objectACL:ObjectACL": _access_list,
}
"""Types that are grants and nothing else."""
_BESIDE: Final[Mapping[str, _Read]] = {
    "gcp:bigquery/dataset:Dataset": _dataset,
    "gcp:sql/user:User": _login,
}
"""Types that have other properties, too."""

"""Roles granted on resources: one member in the policy that the service itself keeps.

Read, change, write with the policy's etag, again when somebody else was faster: what a grant does
to the rest of the policy is nothing.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from localcloud.provider.clients import TIMEOUT, Clients
from localcloud.provider.errors import ServiceError
from localcloud.provider.realise.shapes import full, short

_ATTEMPTS: Final = 5
_LOCK: Final = threading.Lock()
"""Grants on one resource come at once; the engine would make them retry each other's etags."""

type Policy = dict[str, Any]


class _Member(ABC):
    """A member of a role on one resource; the id ends in `/role/member`."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    @abstractmethod
    def resource(self, properties: Mapping[str, Any]) -> str:
        """The id of the resource that the role is granted on."""

    @abstractmethod
    def policy(self, resource: str) -> Policy | None:
        """Its policy, None where the resource does not exist."""

    @abstractmethod
    def replace(self, resource: str, policy: Policy) -> None:
        """Write its policy; 409 or 412 when the etag is old."""

    def locate(self, properties: Mapping[str, Any]) -> str | None:
        # A grant that exists already is no conflict with Google: adding it again changes nothing.
        return None

    def create(self, properties: Mapping[str, Any]) -> str:
        resource = self.resource(properties)
        self._change(resource, properties, present=True)
        condition = (properties.get("condition") or {}).get("title")
        ending = f"/{condition}" if condition else ""
        return f"{resource}/{properties['role']}/{properties['member']}{ending}"

    def read(self, id: str, state: Mapping[str, Any]) -> dict[str, Any] | None:  # noqa: A002
        wanted = dict(state) or self._parsed(id)
        policy = self.policy(self.resource(wanted))
        if policy is None or _binding(policy, wanted, with_member=True) is None:
            return None
        seen = {"etag": policy.get("etag") or state.get("etag", "")}
        return seen if state else {**wanted, **seen}

    def update(self, id: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> str:  # noqa: A002
        return self.create(new)

    def delete(self, id: str, state: Mapping[str, Any]) -> None:  # noqa: A002
        resource = self.resource(state)
        if self.policy(resource) is not None:
            self._change(resource, state, present=False)

    def _parsed(self, id: str) -> dict[str, Any]:  # noqa: A002
        """The grant that an id to import names: `resource role member`, or with slashes."""
        if " " in id:
            resource, role, member = id.split(" ")[:3]
        else:
            resource, _, rest = id.partition("/roles/")
            name, _, member = rest.partition("/")
            role = f"roles/{name}"
        return {"role": role, "member": member, **self.named(resource)}

    @abstractmethod
    def named(self, resource: str) -> dict[str, Any]:
        """The inputs that lead to a resource's id."""

    def _change(self, resource: str, wanted: Mapping[str, Any], *, present: bool) -> None:
        for attempt in range(_ATTEMPTS):
            with _LOCK:
                policy = self.policy(resource)
                if policy is None:
                    raise ServiceError(resource, 404, "404 NOT_FOUND: it does not exist")
                if not _edit(policy, wanted, present=present):
                    return
                try:
                    self.replace(resource, policy)
                    return
                except ServiceError as error:
                    if error.code not in (409, 412) or attempt + 1 == _ATTEMPTS:
                        raise


def _binding(
    policy: Policy, wanted: Mapping[str, Any], *, with_member: bool
) -> dict[str, Any] | None:
    for binding in policy.get("bindings", []):
        same_condition = _condition(binding.get("condition")) == _condition(wanted.get("condition"))
        if binding.get("role") == wanted["role"] and same_condition:
            members = [member.lower() for member in binding.get("members", [])]
            if not with_member or str(wanted["member"]).lower() in members:
                return binding
    return None


def _condition(condition: Mapping[str, Any] | None) -> tuple[str, str]:
    held = condition or {}
    return str(held.get("title", "")), str(held.get("expression", ""))


def _edit(policy: Policy, wanted: Mapping[str, Any], *, present: bool) -> bool:
    """Put the member in or take it out; whether anything changed."""
    held = _binding(policy, wanted, with_member=True)
    if (held is not None) == present:
        return False
    if held is not None:
        mine = str(wanted["member"]).lower()
        held["members"] = [one for one in held["members"] if one.lower() != mine]
        policy["bindings"] = [one for one in policy["bindings"] if one["members"]]
        return True
    binding = _binding(policy, wanted, with_member=False)
    if binding is None:
        binding = {"role": wanted["role"], "members": []}
        if wanted.get("condition"):
            binding["condition"] = dict(wanted["condition"])
            policy["version"] = 3
        policy.setdefault("bindings", []).append(binding)
    binding.setdefault("members", []).append(wanted["member"])
    return True


class _PubsubMember(_Member):
    collection: ClassVar[str]
    property: ClassVar[str]

    def resource(self, properties: Mapping[str, Any]) -> str:
        return full(self.collection, properties[self.property], properties.get("project"))

    def named(self, resource: str) -> dict[str, Any]:
        _, project, _, name = resource.split("/")
        return {"project": project, self.property: name}

    def policy(self, resource: str) -> Policy | None:
        from google.api_core.exceptions import NotFound
        from google.protobuf import json_format

        try:
            held = self._clients.publisher.get_iam_policy(
                request={"resource": resource}, retry=None, timeout=TIMEOUT
            )
        except NotFound:
            return None
        return json_format.MessageToDict(held)

    def replace(self, resource: str, policy: Policy) -> None:
        from google.api_core.exceptions import Aborted
        from google.iam.v1 import iam_policy_pb2, policy_pb2
        from google.protobuf import json_format

        message = json_format.ParseDict(policy, policy_pb2.Policy())
        try:
            self._clients.publisher.set_iam_policy(
                request=iam_policy_pb2.SetIamPolicyRequest(resource=resource, policy=message),
                retry=None,
                timeout=TIMEOUT,
            )
        except Aborted as error:
            raise ServiceError(resource, 409, str(error)) from error


class TopicMember(_PubsubMember):
    """`gcp:pubsub:TopicIAMMember`."""

    collection = "topics"
    property = "topic"


class SubscriptionMember(_PubsubMember):
    """`gcp:pubsub:SubscriptionIAMMember`."""

    collection = "subscriptions"
    property = "subscription"


class BucketMember(_Member):
    """`gcp:storage:BucketIAMMember`."""

    def resource(self, properties: Mapping[str, Any]) -> str:
        return f"b/{str(properties['bucket']).removeprefix('b/')}"

    def named(self, resource: str) -> dict[str, Any]:
        return {"bucket": resource.removeprefix("b/")}

    def policy(self, resource: str) -> Policy | None:
        # A policy with conditions is answered to those who know of them.
        return self._clients.storage_rest.find(
            f"/storage/v1/{resource}/iam", optionsRequestedPolicyVersion=3
        )

    def replace(self, resource: str, policy: Policy) -> None:
        self._clients.storage_rest.call("PUT", f"/storage/v1/{resource}/iam", None, policy)


class _RunMember(_Member):
    collection: ClassVar[str]

    def resource(self, properties: Mapping[str, Any]) -> str:
        name = str(properties["name"])
        if "/" in name:
            return name
        place = f"projects/{properties['project']}/locations/{properties['location']}"
        return f"{place}/{self.collection}/{name}"

    def named(self, resource: str) -> dict[str, Any]:
        parts = resource.split("/")
        return {"project": parts[1], "location": parts[3], "name": parts[5]}

    def policy(self, resource: str) -> Policy | None:
        return self._clients.rest.find(f"/v2/{resource}:getIamPolicy")

    def replace(self, resource: str, policy: Policy) -> None:
        self._clients.rest.call("POST", f"/v2/{resource}:setIamPolicy", None, {"policy": policy})


class RunServiceMember(_RunMember):
    """`gcp:cloudrunv2:ServiceIamMember`."""

    collection = "services"


class RunJobMember(_RunMember):
    """`gcp:cloudrunv2:JobIamMember`."""

    collection = "jobs"


class DatasetMember(_Member):
    """`gcp:bigquery:DatasetIamMember`: an entry of the dataset's own access list."""

    # cloud.google.com/bigquery/docs/access-control-basic-roles: a dataset answers with these.
    _BASIC: ClassVar = {
        "roles/bigquery.dataViewer": "READER",
        "roles/bigquery.dataEditor": "WRITER",
        "roles/bigquery.dataOwner": "OWNER",
    }
    _KINDS: ClassVar = {
        "user": "userByEmail",
        "serviceAccount": "userByEmail",
        "group": "groupByEmail",
        "domain": "domain",
    }

    def resource(self, properties: Mapping[str, Any]) -> str:
        return f"projects/{properties['project']}/datasets/{short(properties['datasetId'])}"

    def named(self, resource: str) -> dict[str, Any]:
        _, project, _, dataset = resource.split("/")
        return {"project": project, "datasetId": dataset}

    def policy(self, resource: str) -> Policy | None:
        dataset = self._clients.bigquery.find(f"/{resource}")
        if dataset is None:
            return None
        bindings: dict[str, dict[str, Any]] = {}
        for entry in dataset.get("access", []):
            member = self._member(entry)
            if member is None:
                continue
            back = {basic: role for role, basic in self._BASIC.items()}
            role = str(back.get(entry["role"], entry["role"]))
            binding = bindings.setdefault(role, {"role": role, "members": []})
            binding["members"].append(member)
        kept = [entry for entry in dataset.get("access", []) if self._member(entry) is None]
        return {"bindings": list(bindings.values()), "etag": dataset.get("etag"), "kept": kept}

    def replace(self, resource: str, policy: Policy) -> None:
        access = list(policy["kept"])
        for binding in policy["bindings"]:
            role = self._BASIC.get(binding["role"], binding["role"])
            access += [{"role": role, **self._entry(member)} for member in binding["members"]]
        self._clients.bigquery.call("PATCH", f"/{resource}", None, {"access": access})

    def _member(self, entry: Mapping[str, Any]) -> str | None:
        """Who an entry lets in, as IAM writes it; None for views and Google's own groups."""
        if "iamMember" in entry:
            return str(entry["iamMember"])
        if "userByEmail" in entry:
            email = str(entry["userByEmail"])
            return f"serviceAccount:{email}" if "gserviceaccount" in email else f"user:{email}"
        for kind in ("group", "domain"):
            if self._KINDS[kind] in entry:
                return f"{kind}:{entry[self._KINDS[kind]]}"
        return None

    def _entry(self, member: str) -> dict[str, str]:
        kind, _, name = member.partition(":")
        return {self._KINDS[kind]: name} if kind in self._KINDS else {"iamMember": member}

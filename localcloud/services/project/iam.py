"""Allow policies of projects, keys and service accounts: kept, checked, changed by etag."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from localcloud.rest.errors import Aborted, InvalidArgument
from localcloud.rest.store import Documents
from localcloud.services.project.guard import Guard, violated

_MEMBER: Final = re.compile(r"(user|group|serviceAccount|domain|principal|principalSet):(\S+)")
_PUBLIC: Final = ("allUsers", "allAuthenticatedUsers")
_POOL: Final = re.compile(
    r"//iam\.googleapis\.com/(projects/[^/]+/.*/workloadIdentityPools/[^/]+)/"
)


class Policies:
    """Policies by the full name of their resource."""

    def __init__(self, documents: Documents, guard: Guard) -> None:
        self._documents = documents
        self._guard = guard

    def get(self, resource: str) -> dict[str, Any]:
        """The policy; an empty one where none was set."""
        stored = self._documents.find(f"iam:{resource}")
        if stored is None:
            return {"version": 1, "etag": "ACAB"}
        return {**stored.value, "etag": stored.etag}

    def set(self, project: str, resource: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Replace the policy.

        Raises:
            Aborted: its etag is not the current one.
            InvalidArgument: a role or a member is wrong, or a service account or pool is missing.
            FailedPrecondition: an organisation policy allows no such member.
        """
        policy = dict(body.get("policy") or {})
        with self._documents.transaction():
            if policy.pop("etag", None) not in (None, self.get(resource)["etag"]):
                raise Aborted(
                    "There were concurrent policy changes. Please retry the whole "
                    "read-modify-write with exponential backoff."
                )
            for binding in policy.get("bindings", ()):
                self._check(project, policy, binding)
            self._documents.put(f"iam:{resource}", {"version": 1, **policy})
        return self.get(resource)

    def _check(self, project: str, policy: Mapping[str, Any], binding: Mapping[str, Any]) -> None:
        role = binding.get("role", "")
        if not re.fullmatch(r"(projects/[^/]+/|organizations/[^/]+/)?roles/[\w.]+", role):
            raise InvalidArgument(f"Role {role} is not supported for this resource.")
        if "condition" in binding and policy.get("version") != 3:
            raise InvalidArgument(
                "Specified policy contains a conditional role binding; set its version to 3."
            )
        for member in binding.get("members", ()):
            found = _MEMBER.fullmatch(member)
            if found is None and member not in _PUBLIC:
                raise InvalidArgument(f"Invalid member: '{member}'.")
            self._check_member(project, member)

    def _check_member(self, project: str, member: str) -> None:
        kind, _, name = member.partition(":")
        account = re.fullmatch(rf"[^@]+@{re.escape(project)}\.iam\.gserviceaccount\.com", name)
        if kind == "serviceAccount" and account and not self._documents.find(f"account:{name}"):
            raise InvalidArgument(f"Service account {name} does not exist.")
        pool = _POOL.match(name)
        if kind == "principalSet" and pool and not self._documents.find(f"pool:{pool[1]}"):
            raise InvalidArgument(
                f"Identity Pool does not exist ({pool[1]}). Please check that you specified a "
                "valid resource name as returned in the `name` attribute in the configuration API."
            )
        constraint = "iam.allowedPolicyMemberDomains"
        rules = self._guard.constraint(project, constraint).get("rules", [])
        if kind in ("user", "group", "domain") and any("values" in rule for rule in rules):
            raise violated(
                constraint,
                "One or more users named in the policy do not belong to a permitted customer.",
            )

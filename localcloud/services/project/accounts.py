"""IAM, v1: service accounts, their policies, and workload identity pools."""

from __future__ import annotations

import re
from typing import Any, Final

from localcloud.rest.app import Handler, Request
from localcloud.rest.errors import AlreadyExists, InvalidArgument, NotFound
from localcloud.rest.store import Documents
from localcloud.services.project.guard import Guard
from localcloud.services.project.iam import Policies
from localcloud.services.storage.buckets import project_number

_PREFIX: Final = "iam.projects.serviceAccounts"
_POOLS: Final = "iam.projects.locations.workloadIdentityPools"
_ID: Final = re.compile(r"[a-z][a-z0-9-]{4,28}[a-z0-9]")


class Accounts:
    """The methods."""

    def __init__(self, documents: Documents, guard: Guard, policies: Policies) -> None:
        self._documents = documents
        self._guard = guard
        self._policies = policies

    def handlers(self) -> dict[str, Handler]:
        """Handlers by method id."""
        return {
            f"{_PREFIX}.create": self._create,
            f"{_PREFIX}.get": self._get,
            f"{_PREFIX}.disable": self._disable,
            f"{_PREFIX}.enable": self._enable,
            f"{_PREFIX}.getIamPolicy": self._get_policy,
            f"{_PREFIX}.setIamPolicy": self._set_policy,
            f"{_POOLS}.create": self._create_pool,
            f"{_POOLS}.get": self._get_pool,
        }

    async def _create(self, request: Request) -> dict[str, Any]:
        project = request.path["name"].removeprefix("projects/")
        self._allow(project, "create", f"projects/{project}")
        self._guard.check_enforced(
            project,
            "iam.disableServiceAccountCreation",
            "Service account creation is not allowed on this project.",
        )
        account_id = request.body.get("accountId", "")
        if not _ID.fullmatch(account_id):
            raise InvalidArgument(
                f"account_id: '{account_id}' must have 6 to 30 lower-case letters, digits and "
                "hyphens, begin with a letter and not end with a hyphen."
            )
        email = f"{account_id}@{project}.iam.gserviceaccount.com"
        if self._documents.get(f"account:{email}") is not None:
            raise AlreadyExists(
                f"Service account {account_id} already exists within project projects/{project}."
            )
        account = {
            "name": f"projects/{project}/serviceAccounts/{email}",
            "projectId": project,
            "uniqueId": str(10**20 + self._documents.next_number()),
            "email": email,
            **request.body.get("serviceAccount", {}),
        }
        self._documents.put(f"account:{email}", account)
        return account

    async def _get(self, request: Request) -> dict[str, Any]:
        return self._existing(request.path["name"], "get")

    async def _disable(self, request: Request) -> dict[str, Any]:
        account = self._existing(request.path["name"], "disable")
        self._documents.put(f"account:{account['email']}", {**account, "disabled": True})
        return {}

    async def _enable(self, request: Request) -> dict[str, Any]:
        account = self._existing(request.path["name"], "enable")
        account.pop("disabled", None)
        self._documents.put(f"account:{account['email']}", account)
        return {}

    async def _get_policy(self, request: Request) -> dict[str, Any]:
        return self._policies.get(self._existing(request.path["resource"], "getIamPolicy")["name"])

    async def _set_policy(self, request: Request) -> dict[str, Any]:
        account = self._existing(request.path["resource"], "setIamPolicy")
        return self._policies.set(account["projectId"], account["name"], request.body)

    async def _create_pool(self, request: Request) -> dict[str, Any]:
        _, project, *_ = request.path["parent"].split("/")
        self._guard.allow(
            project, "iam", "iam.workloadIdentityPools.create", request.path["parent"]
        )
        pool = request.query.get("workloadIdentityPoolId", "")
        name = f"projects/{project_number(project)}/locations/global/workloadIdentityPools/{pool}"
        if self._documents.get(f"pool:{name}") is not None:
            raise AlreadyExists(f"Requested entity already exists: {name}.")
        made = {**request.body, "name": name, "state": "ACTIVE"}
        self._documents.put(f"pool:{name}", made)
        operation = f"{name}/operations/{self._documents.next_number()}"
        kind = "type.googleapis.com/google.iam.v1beta.WorkloadIdentityPool"
        return {"name": operation, "done": True, "response": {"@type": kind, **made}}

    async def _get_pool(self, request: Request) -> dict[str, Any]:
        _, project, *_, pool = request.path["name"].split("/")
        self._guard.allow(project, "iam", "iam.workloadIdentityPools.get", request.path["name"])
        name = f"projects/{project_number(project)}/locations/global/workloadIdentityPools/{pool}"
        found = self._documents.get(f"pool:{name}")
        if found is None:
            raise NotFound(f"Requested entity was not found: {name}.")
        return found

    def _existing(self, name: str, verb: str) -> dict[str, Any]:
        _, project, _, email = name.split("/")
        self._allow(project, verb, name)
        account = self._documents.get(f"account:{email}")
        if account is None or project not in ("-", account["projectId"]):
            raise NotFound(f"Unknown service account: {email}.")
        return account

    def _allow(self, project: str, verb: str, resource: str) -> None:
        self._guard.allow(project, "iam", f"iam.serviceAccounts.{verb}", resource)

"""Billing of a project, and the organisation policies that hold for it."""

from __future__ import annotations

from typing import Any, Final

from localcloud.rest.app import Handler, Request
from localcloud.rest.errors import AlreadyExists, InvalidArgument, NotFound
from localcloud.rest.store import Documents
from localcloud.services.project.guard import Guard
from localcloud.services.storage.buckets import project_number

_POLICIES: Final = "orgpolicy.projects.policies"
_ACCOUNT: Final = "billingAccounts/00AA00-000000-00AA00"


class Rules:
    """The methods of `cloudbilling` and `orgpolicy`."""

    def __init__(self, documents: Documents, guard: Guard) -> None:
        self._documents = documents
        self._guard = guard

    def handlers(self) -> dict[str, Handler]:
        """Handlers by method id."""
        return {
            "cloudbilling.projects.getBillingInfo": self._billing,
            "cloudbilling.projects.updateBillingInfo": self._bill,
            f"{_POLICIES}.create": self._create,
            f"{_POLICIES}.get": self._get,
            f"{_POLICIES}.delete": self._delete,
            f"{_POLICIES}.getEffectivePolicy": self._effective,
        }

    async def _billing(self, request: Request) -> dict[str, Any]:
        project = request.path["name"].removeprefix("projects/")
        self._guard.allow(
            project, "cloudbilling", "resourcemanager.projects.get", f"projects/{project}"
        )
        return self._shown(project)

    async def _bill(self, request: Request) -> dict[str, Any]:
        project = request.path["name"].removeprefix("projects/")
        self._guard.allow(
            project,
            "cloudbilling",
            "resourcemanager.projects.createBillingAssignment",
            f"projects/{project}",
        )
        account = request.body.get("billingAccountName", "")
        self._documents.put(
            f"billing:{project}",
            {"billingAccountName": account, "billingEnabled": bool(account)},
        )
        return self._shown(project)

    def _shown(self, project: str) -> dict[str, Any]:
        stored = self._documents.get(f"billing:{project}") or {
            "billingAccountName": _ACCOUNT,
            "billingEnabled": True,
        }
        return {"name": f"projects/{project}/billingInfo", "projectId": project, **stored}

    async def _create(self, request: Request) -> dict[str, Any]:
        project = request.path["parent"].removeprefix("projects/")
        constraint = request.body.get("name", "").rpartition("/")[2]
        if not constraint:
            raise InvalidArgument("policy.name is required: projects/PROJECT/policies/CONSTRAINT.")
        self._allow(project, "orgpolicy.policies.create")
        if self._documents.get(f"orgpolicy:{project}:{constraint}") is not None:
            raise AlreadyExists(f"Policy for constraint {constraint} already exists.")
        self._documents.put(f"orgpolicy:{project}:{constraint}", request.body)
        return self._policy(project, constraint, request.body)

    async def _get(self, request: Request) -> dict[str, Any]:
        project, constraint = _named(request)
        self._allow(project, "orgpolicy.policy.get")
        stored = self._documents.get(f"orgpolicy:{project}:{constraint}")
        if stored is None:
            raise NotFound(f"Requested entity was not found: {request.path['name']}.")
        return self._policy(project, constraint, stored)

    async def _delete(self, request: Request) -> dict[str, Any]:
        project, constraint = _named(request)
        self._allow(project, "orgpolicy.policies.delete")
        if not self._documents.delete(f"orgpolicy:{project}:{constraint}"):
            raise NotFound(f"Requested entity was not found: {request.path['name']}.")
        return {}

    async def _effective(self, request: Request) -> dict[str, Any]:
        project, constraint = _named(request)
        self._allow(project, "orgpolicy.policy.get")
        spec = self._guard.constraint(project, constraint)
        return self._policy(project, constraint, {"spec": spec})

    def _policy(self, project: str, constraint: str, body: dict[str, Any]) -> dict[str, Any]:
        number = project_number(project)
        return {**body, "name": f"projects/{number}/policies/{constraint}"}

    def _allow(self, project: str, permission: str) -> None:
        self._guard.allow(project, "orgpolicy", permission, f"projects/{project}")


def _named(request: Request) -> tuple[str, str]:
    _, project, _, constraint = request.path["name"].split("/")
    return project, constraint

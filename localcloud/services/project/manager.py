"""Resource Manager, v3: projects, their state, their IAM policies; and IAM's deny policies."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import unquote

from localcloud.rest.app import Handler, Request
from localcloud.rest.errors import InvalidArgument, NotFound
from localcloud.rest.store import Documents
from localcloud.services.project.guard import Guard
from localcloud.services.project.iam import Policies
from localcloud.services.storage.buckets import project_number

_API: Final = "cloudresourcemanager"
_MOST: Final = 100
"""Permissions that one request can test."""
_NOT_OF_PROJECTS: Final = ("accesscontextmanager.", "billing.", "resourcemanager.organizations.")


class Manager:
    """The methods. Any project exists here; one that was deleted is on its way out."""

    def __init__(self, documents: Documents, guard: Guard, policies: Policies) -> None:
        self._documents = documents
        self._guard = guard
        self._policies = policies

    def handlers(self) -> dict[str, Handler]:
        """Handlers by method id."""
        return {
            f"{_API}.projects.get": self._get,
            f"{_API}.projects.delete": self._delete,
            f"{_API}.projects.getIamPolicy": self._get_policy,
            f"{_API}.projects.setIamPolicy": self._set_policy,
            f"{_API}.projects.testIamPermissions": self._test,
            "iam.policies.createPolicy": self._deny,
            "iam.policies.delete": self._undeny,
        }

    async def _get(self, request: Request) -> dict[str, Any]:
        project = self._allowed(request.path["name"], "resourcemanager.projects.get")
        return self._shown(project)

    async def _delete(self, request: Request) -> dict[str, Any]:
        project = self._allowed(request.path["name"], "resourcemanager.projects.delete")
        self._documents.put(f"project:{project}", {"state": "DELETE_REQUESTED"})
        kind = "type.googleapis.com/google.cloud.resourcemanager.v3.Project"
        return {
            "name": f"operations/dp.{project_number(project)}",
            "done": True,
            "response": {"@type": kind, **self._shown(project)},
        }

    async def _get_policy(self, request: Request) -> dict[str, Any]:
        project = self._allowed(request.path["resource"], "resourcemanager.projects.getIamPolicy")
        return self._policies.get(f"projects/{project}")

    async def _set_policy(self, request: Request) -> dict[str, Any]:
        project = self._allowed(request.path["resource"], "resourcemanager.projects.setIamPolicy")
        return self._policies.set(project, f"projects/{project}", request.body)

    async def _test(self, request: Request) -> dict[str, Any]:
        project = self._allowed(request.path["resource"], "")
        asked = request.body.get("permissions", [])
        if len(asked) > _MOST:
            raise InvalidArgument(f"permissions: at most {_MOST} can be tested, not {len(asked)}.")
        for one in asked:
            if one.startswith(_NOT_OF_PROJECTS):
                raise InvalidArgument(f"Permission {one} is not valid for this resource.")
        denied = self._guard.denied(project)
        held = [one for one in asked if one not in denied]
        return {"permissions": held} if held else {}

    async def _deny(self, request: Request) -> dict[str, Any]:
        project = _attached(request.path["parent"])
        name = f"{request.path['parent']}/{request.query['policyId']}"
        self._documents.put(f"deny:{project}:{request.query['policyId']}", request.body)
        return _denial(name, {**request.body, "name": name, "kind": "DenyPolicy"})

    async def _undeny(self, request: Request) -> dict[str, Any]:
        parent, _, policy = request.path["name"].rpartition("/")
        project = _attached(parent)
        if not self._documents.delete(f"deny:{project}:{policy}"):
            raise NotFound(f"Policy '{request.path['name']}' not found.")
        return _denial(request.path["name"], {"name": request.path["name"]})

    def _allowed(self, name: str, permission: str) -> str:
        project = name.removeprefix("projects/")
        self._guard.allow(project, _API, permission, f"projects/{project}")
        return project

    def _shown(self, project: str) -> dict[str, Any]:
        stored = self._documents.get(f"project:{project}") or {"state": "ACTIVE"}
        return {
            "name": f"projects/{project_number(project)}",
            "projectId": project,
            "displayName": project,
            "state": stored["state"],
        }


def _attached(parent: str) -> str:
    """The project of `policies/<attachment point>/denypolicies`, decoded or not."""
    point, _, kind = unquote(parent).removeprefix("policies/").rpartition("/")
    host, _, project = point.partition("/projects/")
    if host != f"{_API}.googleapis.com" or kind != "denypolicies":
        raise InvalidArgument(
            f"parent: '{parent}' must be policies/{_API}.googleapis.com%2Fprojects%2FPROJECT/"
            "denypolicies; other attachment points and kinds do not exist here."
        )
    return project


def _denial(name: str, policy: dict[str, Any]) -> dict[str, Any]:
    kind = "type.googleapis.com/google.iam.v2.Policy"
    return {"name": f"{name}/operations/1", "done": True, "response": {"@type": kind, **policy}}

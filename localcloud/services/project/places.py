"""Where things can be: Compute Engine's regions with their quotas, networks, and the locations
that each API offers.

The regions are some of Google's; API Gateway is, as there, in fewer of them.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, Final

from localcloud.rest.app import Handler, Request
from localcloud.rest.discovery import Api
from localcloud.rest.errors import ApiError
from localcloud.rest.store import Documents
from localcloud.services.project.guard import Guard, PermissionDenied
from localcloud.services.project.usage import limit_of

REGIONS: Final = (
    "africa-south1",
    "asia-east1",
    "asia-northeast1",
    "asia-south1",
    "asia-southeast1",
    "australia-southeast1",
    "europe-north1",
    "europe-southwest1",
    "europe-west1",
    "europe-west2",
    "europe-west3",
    "europe-west4",
    "northamerica-northeast1",
    "southamerica-east1",
    "us-central1",
    "us-east1",
    "us-east4",
    "us-west1",
    "us-west2",
)
GATEWAYS: Final = frozenset(
    {
        "asia-east1",
        "asia-northeast1",
        "australia-southeast1",
        "europe-west1",
        "europe-west2",
        "us-central1",
        "us-east1",
        "us-east4",
        "us-west2",
    }
)
"""https://cloud.google.com/api-gateway/docs/deployment-model, the regions of gateways."""
LOCATED: Final = {
    "aiplatform": "v1",
    "apigateway": "v1",
    "artifactregistry": "v1",
    "cloudkms": "v1",
    "cloudscheduler": "v1",
    "notebooks": "v2",
    "run": "v1",
}
"""APIs that list their locations, and the version that does."""
_NETWORK: Final = "compute#network"


class LateApi(Api):
    """A document that is read when first called: Compute Engine's takes a quarter of a second.

    Args:
        name: such as `compute`.
        version: such as `v1`.
        prefix: what the paths of its calls begin with.
        alias: whether the prefix is the API's host, put before its own paths.
    """

    def __init__(self, name: str, version: str, prefix: str, *, alias: bool = False) -> None:
        self.name, self.version = name, version
        self._prefix = prefix
        self._aliases = {prefix: "/"} if alias else {}

    @cached_property
    def _api(self) -> Api:
        return Api.load(self.name, self.version, aliases=self._aliases)

    @property
    def methods(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self._api.methods

    def match(self, http_method: str, path: str) -> tuple[str, dict[str, str]] | None:
        return self._api.match(http_method, path) if path.startswith(self._prefix) else None

    def validate_query(self, method_id: str, pairs: Any) -> dict[str, Any]:
        return self._api.validate_query(method_id, pairs)

    def validate_body(self, schema: str, body: Any) -> Any:
        return self._api.validate_body(schema, body)


class Places:
    """The methods."""

    def __init__(self, documents: Documents, guard: Guard) -> None:
        self._documents = documents
        self._guard = guard

    def handlers(self) -> dict[str, Handler]:
        """Handlers by method id."""
        return {
            "compute.projects.get": self._project,
            "compute.regions.get": self._region,
            "compute.networks.get": self._network,
            "compute.networks.delete": self._delete_network,
            **{f"{api}.projects.locations.list": self._locations(api) for api in LOCATED},
        }

    async def _project(self, request: Request) -> dict[str, Any]:
        project = request.path["project"]
        self._allow(project, "compute.projects.get", f"projects/{project}")
        return {
            "kind": "compute#project",
            "name": project,
            "quotas": [self._quota(project, "cpus_all_regions")],
        }

    async def _region(self, request: Request) -> dict[str, Any]:
        project, region = request.path["project"], request.path["region"]
        resource = f"projects/{project}/regions/{region}"
        self._allow(project, "compute.regions.get", resource)
        if region not in REGIONS:
            raise _legacy(404, "notFound", f"The resource '{resource}' was not found")
        return {
            "kind": "compute#region",
            "name": region,
            "status": "UP",
            "quotas": [self._quota(project, one) for one in ("cpus", "in_use_addresses")],
        }

    async def _network(self, request: Request) -> dict[str, Any]:
        project, network = self._existing(request, "compute.networks.get")
        return {"kind": _NETWORK, "name": network, **self._stored(project, network)}

    async def _delete_network(self, request: Request) -> dict[str, Any]:
        project, network = self._existing(request, "compute.networks.delete")
        self._documents.delete(f"network:{project}:{network}")
        name = f"operation-{self._documents.next_number()}"
        return {"kind": "compute#operation", "name": name, "status": "DONE"}

    def _existing(self, request: Request, permission: str) -> tuple[str, str]:
        project, network = request.path["project"], request.path["network"]
        resource = f"projects/{project}/global/networks/{network}"
        self._allow(project, permission, resource)
        if self._documents.get(f"network:{project}:{network}") is None:
            raise _legacy(404, "notFound", f"The resource '{resource}' was not found")
        return project, network

    def _stored(self, project: str, network: str) -> dict[str, Any]:
        return self._documents.get(f"network:{project}:{network}") or {}

    def _quota(self, project: str, metric: str) -> dict[str, Any]:
        limit = limit_of(self._documents, project, "compute", metric)
        return {"metric": metric.upper(), "limit": float(limit), "usage": 0.0}

    def _locations(self, api: str) -> Handler:
        async def answer(request: Request) -> dict[str, Any]:
            parent = request.path["name"]
            project = parent.removeprefix("projects/")
            self._guard.allow(project, api, f"{api}.locations.list", parent)
            offered = [one for one in REGIONS if api != "apigateway" or one in GATEWAYS]
            return {
                "locations": [
                    {"name": f"{parent}/locations/{one}", "locationId": one} for one in offered
                ]
            }

        return answer

    def _allow(self, project: str, permission: str, resource: str) -> None:
        try:
            self._guard.allow(project, "compute", permission, resource)
        except PermissionDenied as denied:
            if denied.details[0]["reason"] == "SERVICE_DISABLED":
                raise
            message = f"Required '{permission}' permission for '{resource}'"
            raise _legacy(403, "forbidden", message) from None


class _LegacyError(ApiError):
    """An error as Compute Engine writes it: no status, no details."""

    def body(self) -> dict[str, Any]:
        error = {"message": self.message, "domain": "global", "reason": self.status}
        return {"error": {"code": self.code, "message": self.message, "errors": [error]}}


def _legacy(code: int, reason: str, message: str) -> ApiError:
    return _LegacyError(code, reason, message)

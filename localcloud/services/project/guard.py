"""What stands between a caller and a project: APIs that are off, denied permissions, constraints.

Whoever reaches the local cloud may do everything, until something says otherwise in the words of
Google's own APIs: an IAM deny policy denies permissions, Service Usage switches an API off, an
organisation policy restricts. So a refusal can be had here as there.
"""

from __future__ import annotations

from typing import Any, Final

from localcloud.rest.errors import ApiError, FailedPrecondition
from localcloud.rest.store import Documents
from localcloud.services.storage.buckets import project_number

ON_AT_FIRST: Final = frozenset(
    {
        "bigquery",
        "bigquerystorage",
        "cloudapis",
        "cloudtrace",
        "datastore",
        "logging",
        "monitoring",
        "servicemanagement",
        "serviceusage",
        "sql-component",
        "storage",
        "storage-api",
        "storage-component",
    }
)
"""What Google switches on in a new project."""
UNRESTRICTED: Final[dict[str, Any]] = {"rules": [{"allowAll": True}]}


class PermissionDenied(ApiError):
    """403, with the reason as Google gives it.

    Args:
        message: for a person.
        reason: of the `ErrorInfo`.
        domain: whose reason it is.
        metadata: of the `ErrorInfo`.
    """

    def __init__(self, message: str, reason: str, domain: str, metadata: dict[str, str]) -> None:
        super().__init__(
            403,
            "PERMISSION_DENIED",
            message,
            [
                {
                    "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                    "reason": reason,
                    "domain": domain,
                    "metadata": metadata,
                }
            ],
        )


class Guard:
    """Decides for all APIs of this package.

    Args:
        documents: the state they share.
        own: the local cloud's own project, in which every API is on from the start.
    """

    def __init__(self, documents: Documents, own: str) -> None:
        self._documents = documents
        self._own = own

    def allow(self, project: str, api: str, permission: str, resource: str) -> None:
        """Let a call pass.

        Args:
            project: its id.
            api: short name of the API that is called, such as `cloudkms`.
            permission: what the call needs, such as `cloudkms.keyRings.create`.
            resource: the full name of what it acts on.

        Raises:
            PermissionDenied: the API is off, or the permission is denied.
        """
        if not self.enabled(project, api):
            number = project_number(project)
            host = f"{api}.googleapis.com"
            raise PermissionDenied(
                f"{host} has not been used in project {number} before or it is disabled. Enable it "
                f"by visiting https://console.developers.google.com/apis/api/{host}/overview?"
                f"project={number} then retry. If you enabled this API recently, wait a few "
                "minutes for the action to propagate to our systems and retry.",
                "SERVICE_DISABLED",
                "googleapis.com",
                {"service": host, "consumer": f"projects/{number}"},
            )
        if permission in self.denied(project):
            raise PermissionDenied(
                f"Permission '{permission}' denied on resource '//{api}.googleapis.com/{resource}' "
                "(or it may not exist).",
                "IAM_PERMISSION_DENIED",
                f"{api}.googleapis.com",
                {"permission": permission, "resource": resource},
            )

    def enabled(self, project: str, api: str) -> bool:
        """Whether an API is on."""
        stored = self._documents.get(f"api:{project}:{api}")
        if stored is not None:
            return bool(stored["enabled"])
        return project == self._own or api in ON_AT_FIRST

    def switch(self, project: str, api: str, *, on: bool) -> None:
        """Switch an API on or off."""
        self._documents.put(f"api:{project}:{api}", {"enabled": on})

    def denied(self, project: str) -> set[str]:
        """Permissions that a deny policy of the project denies to everybody."""
        found: set[str] = set()
        for stored in self._documents.list(f"deny:{project}:"):
            for rule in stored.value.get("rules", ()):
                for full in rule.get("denyRule", {}).get("deniedPermissions", ()):
                    host, _, verb = full.partition("/")
                    found.add(f"{host.removesuffix('.googleapis.com')}.{verb}")
        return found

    def constraint(self, project: str, name: str) -> dict[str, Any]:
        """The rules in force for a constraint, as an organisation policy's `spec`."""
        stored = self._documents.get(f"orgpolicy:{project}:{name}")
        return dict(stored["spec"]) if stored and "spec" in stored else dict(UNRESTRICTED)

    def check_location(self, project: str, location: str) -> None:
        """Hold a location against `gcp.resourceLocations`.

        Raises:
            FailedPrecondition: it is not among those allowed.
        """
        rules = self.constraint(project, "gcp.resourceLocations").get("rules", [])
        values = [rule["values"].get("allowedValues", []) for rule in rules if "values" in rule]
        allowed = {
            value.removeprefix("in:").removesuffix("-locations")
            for group in values
            for value in group
        }
        if values and not any(location == one or location.startswith(f"{one}-") for one in allowed):
            raise violated(
                "gcp.resourceLocations",
                f"'{location}' violates constraint 'constraints/gcp.resourceLocations' on the "
                f"resource 'projects/{project}'.",
            )

    def check_enforced(self, project: str, name: str, message: str) -> None:
        """Hold a call against a constraint that is either enforced or not.

        Raises:
            FailedPrecondition: it is enforced.
        """
        if any(rule.get("enforce") for rule in self.constraint(project, name).get("rules", [])):
            raise violated(name, message)


def violated(constraint: str, message: str) -> FailedPrecondition:
    """The refusal of an organisation policy."""
    return FailedPrecondition(
        message,
        [
            {
                "@type": "type.googleapis.com/google.rpc.PreconditionFailure",
                "violations": [
                    {"type": f"constraints/{constraint}", "description": message},
                ],
            }
        ],
    )

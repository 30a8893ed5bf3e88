"""What Google refused, and what to do about it: which permission, on what, who can give it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Final

_RINGS: Final = "cloudkms.projects.locations.keyRings"
PERMISSIONS: Final = {
    "cloudbilling.projects.getBillingInfo": "resourcemanager.projects.get",
    f"{_RINGS}.create": "cloudkms.keyRings.create",
    f"{_RINGS}.cryptoKeys.create": "cloudkms.cryptoKeys.create",
    f"{_RINGS}.cryptoKeys.get": "cloudkms.cryptoKeys.get",
    f"{_RINGS}.cryptoKeys.getIamPolicy": "cloudkms.cryptoKeys.getIamPolicy",
    f"{_RINGS}.cryptoKeys.patch": "cloudkms.cryptoKeys.update",
    f"{_RINGS}.cryptoKeys.setIamPolicy": "cloudkms.cryptoKeys.setIamPolicy",
    f"{_RINGS}.get": "cloudkms.keyRings.get",
    "cloudresourcemanager.projects.get": "resourcemanager.projects.get",
    "cloudresourcemanager.projects.getIamPolicy": "resourcemanager.projects.getIamPolicy",
    "cloudresourcemanager.projects.setIamPolicy": "resourcemanager.projects.setIamPolicy",
    "cloudresourcemanager.projects.testIamPermissions": "resourcemanager.projects.get",
    "compute.networks.get": "compute.networks.get",
    "compute.projects.get": "compute.projects.get",
    "compute.regions.get": "compute.regions.get",
    "iam.projects.locations.workloadIdentityPools.get": "iam.workloadIdentityPools.get",
    "iam.projects.serviceAccounts.create": "iam.serviceAccounts.create",
    "iam.projects.serviceAccounts.get": "iam.serviceAccounts.get",
    "iam.projects.serviceAccounts.getIamPolicy": "iam.serviceAccounts.getIamPolicy",
    "iam.projects.serviceAccounts.setIamPolicy": "iam.serviceAccounts.setIamPolicy",
    "orgpolicy.projects.policies.getEffectivePolicy": "orgpolicy.policy.get",
    "serviceusage.operations.get": "serviceusage.operations.get",
    "serviceusage.services.batchEnable": "serviceusage.services.enable",
    "serviceusage.services.batchGet": "serviceusage.services.get",
    "serviceusage.services.consumerQuotaMetrics.list": "serviceusage.quotas.get",
    "storage.buckets.get": "storage.buckets.get",
    "storage.buckets.getIamPolicy": "storage.buckets.getIamPolicy",
    "storage.buckets.insert": "storage.buckets.create",
    "storage.buckets.patch": "storage.buckets.update",
    "storage.buckets.setIamPolicy": "storage.buckets.setIamPolicy",
    "storage.projects.serviceAccount.get": "resourcemanager.projects.get",
}
"""By method: the permission it needs, for APIs that do not say which one was missing."""
ROLES: Final = (
    ("serviceusage.services.enable", "roles/serviceusage.serviceUsageAdmin"),
    ("serviceusage.services.use", "roles/serviceusage.serviceUsageConsumer"),
    ("serviceusage.", "roles/serviceusage.serviceUsageViewer"),
    ("resourcemanager.projects.get", "roles/browser"),
    ("resourcemanager.", "roles/resourcemanager.projectIamAdmin"),
    ("iam.workloadIdentityPools.", "roles/iam.workloadIdentityPoolViewer"),
    ("iam.serviceAccounts.", "roles/iam.serviceAccountAdmin"),
    ("orgpolicy.", "roles/orgpolicy.policyViewer"),
    ("cloudkms.locations.", "roles/cloudkms.viewer"),
    ("cloudkms.", "roles/cloudkms.admin"),
    ("storage.", "roles/storage.admin"),
    ("compute.", "roles/compute.viewer"),
    ("aiplatform.locations.", "roles/aiplatform.viewer"),
    ("apigateway.locations.", "roles/apigateway.viewer"),
    ("artifactregistry.locations.", "roles/artifactregistry.reader"),
    ("cloudscheduler.locations.", "roles/cloudscheduler.viewer"),
    ("notebooks.locations.", "roles/notebooks.viewer"),
    ("run.locations.", "roles/run.viewer"),
)
"""The least predefined role with a permission; the first whose beginning fits, exact ones first."""
ADMINISTRATORS: Final = (
    "an owner of the project, or whoever has roles/resourcemanager.projectIamAdmin there"
)
_NAMED: Final = re.compile(r"(?:Permission|Required|have) '?([a-z][A-Za-z]+(?:\.[A-Za-z]+){2,})")
_CONSTRAINT: Final = re.compile(r"constraints/([\w.]+)")


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why something cannot be done, and how to mend it."""

    problem: str
    mend: tuple[str, ...] = ()
    """Commands, or what to do where no command does it."""
    who: str = ""
    """Who can do that."""
    permission: str = ""
    resource: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For programs; what does not apply is left out."""
        every = {
            "problem": self.problem,
            "permission": self.permission,
            "resource": self.resource,
            "mend": list(self.mend),
            "who": self.who,
        }
        return {key: value for key, value in every.items() if value}


class Refused(RuntimeError):
    """Something that cannot go on without a person.

    Args:
        refusal: what to tell them.
        code: the HTTP status, 0 when Google was not asked.
        reason: Google's own word for it, such as `SERVICE_DISABLED`.
        api: host of an API that is off.
    """

    def __init__(self, refusal: Refusal, *, code: int = 0, reason: str = "", api: str = "") -> None:
        super().__init__("\n".join((refusal.problem, *refusal.mend)))
        self.refusal = refusal
        self.code = code
        self.reason = reason
        self.api = api


def refused(problem: str, *mend: str, who: str = "") -> Refused:
    """A refusal of our own."""
    return Refused(Refusal(problem=problem, mend=mend, who=who))


def explain(error: Any, method: str, project: str, principal: str) -> Refused:
    """A Google client's `HttpError` as something a person can act on.

    Args:
        error: as it was raised.
        method: the method's id in the discovery document.
        project: id of the project.
        principal: who called, as IAM writes it; may be empty.
    """
    code = int(error.resp.status)
    body = _body(error)
    message = str(body.get("message") or error.reason or error)
    info = _detail(body, "ErrorInfo")
    reason = str(info.get("reason") or body.get("status") or "")
    metadata: dict[str, str] = info.get("metadata", {})

    def told(refusal: Refusal, api: str = "") -> Refused:
        return Refused(refusal, code=code, reason=reason, api=api)

    if reason == "SERVICE_DISABLED":
        host = metadata.get("service", f"{method.partition('.')[0]}.googleapis.com")
        return told(
            Refusal(
                problem=f"{host} is off in {project}",
                mend=(f"gcloud services enable {host} --project={project}",),
                who="whoever has roles/serviceusage.serviceUsageAdmin on the project",
            ),
            host,
        )
    if "billing" in reason.lower() or "billing must be enabled" in message.lower():
        return told(no_billing(project, message))
    if constraint := _constraint(body, message):
        return told(
            Refusal(
                problem=f"the organisation policy {constraint} forbids it: {message}",
                mend=(
                    f"gcloud org-policies describe {constraint} --effective --project={project}",
                    "ask for an exception for this project, or choose settings that it allows",
                ),
                who="whoever has roles/orgpolicy.policyAdmin in the organisation",
            )
        )
    if code == 403:
        return told(_denied(message, metadata, method, project, principal))
    return told(Refusal(problem=f"{method} answered {code}: {message}"))


def no_billing(project: str, message: str = "") -> Refusal:
    """The project has no billing account."""
    detail = f" ({message})" if message else ""
    return Refusal(
        problem=f"{project} has no billing account{detail}",
        mend=(f"gcloud billing projects link {project} --billing-account=ACCOUNT_ID",),
        who="whoever has roles/billing.user on a billing account and "
        "roles/billing.projectManager on the project",
    )


def role_with(permission: str) -> str:
    """The least predefined role we know with a permission; empty when we know none."""
    for beginning, role in ROLES:
        whole = not beginning.endswith(".")
        if permission == beginning or (not whole and permission.startswith(beginning)):
            return role
    return ""


def grant(project: str, role: str, principal: str) -> str:
    """The command that grants a role on the project."""
    member = principal or "user:YOU@EXAMPLE.COM"
    # A binding without a condition has to say so where the policy has others with one.
    return (
        f"gcloud projects add-iam-policy-binding {project} --member={member} --role={role} "
        "--condition=None"
    )


def _denied(
    message: str, metadata: dict[str, str], method: str, project: str, principal: str
) -> Refusal:
    named = _NAMED.search(message)
    permission = (
        metadata.get("permission") or (named[1] if named else "") or PERMISSIONS.get(method, "")
    )
    resource = metadata.get("resource") or f"projects/{project}"
    role = role_with(permission)
    caller = principal or "the caller"
    lacks = permission or f"a permission that {method} needs"
    return Refusal(
        problem=f"{caller} lacks {lacks} on {resource}: {message}",
        mend=(grant(project, role, principal),) if role else (),
        who=ADMINISTRATORS,
        permission=permission,
        resource=resource,
    )


def _body(error: Any) -> dict[str, Any]:
    try:
        found = json.loads(error.content)["error"]
    except (ValueError, KeyError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}


def _detail(body: dict[str, Any], kind: str) -> dict[str, Any]:
    details = (one for one in body.get("details", ()) if isinstance(one, dict))
    return next((one for one in details if str(one.get("@type", "")).endswith(f".{kind}")), {})


def _constraint(body: dict[str, Any], message: str) -> str:
    violations = _detail(body, "PreconditionFailure").get("violations", ())
    for text in (*(str(one.get("type", "")) for one in violations), message):
        if found := _CONSTRAINT.search(text):
            return found[1].rstrip(".")
    return ""

"""Who may do what: identities of workloads, grants on projects, keys, federation."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Final

from policies import dataflow, run
from policies.checks import DEFAULT_ACCOUNTS, at, for_types, members, own_account
from policies.rule import HOUSE, Level, Resource, Rule, Severity

GRANTS: Final = (
    "gcp:projects/iAMMember:IAMMember",
    "gcp:projects/iAMBinding:IAMBinding",
    "gcp:projects/iAMPolicy:IAMPolicy",
    "gcp:folder/iAMMember:IAMMember",
    "gcp:folder/iAMBinding:IAMBinding",
    "gcp:organizations/iAMMember:IAMMember",
    "gcp:organizations/iAMBinding:IAMBinding",
)
"""Grants on a project or above."""
BASIC: Final = ("roles/owner", "roles/editor", "roles/viewer")
IMPERSONATION: Final = ("roles/iam.serviceAccountUser", "roles/iam.serviceAccountTokenCreator")
GITHUB: Final = "token.actions.githubusercontent.com"
COMPARISON: Final = re.compile(
    r"(?P<what>(?:assertion|attribute|google)\.[\w.]+)\s*"
    r"(?:==|\.startsWith\(|\.matches\(|in\s*\[)\s*(?P<quote>['\"])(?P<to>[^'\"]*)(?P=quote)"
)
"""One claim held to a text, in the Common Expression Language."""
REPOSITORY: Final = re.compile(
    r"\.(repository|repository_id|repository_owner|repository_owner_id|sub|subject)$"
)


def _grants(resource: Resource) -> Iterator[tuple[str, str]]:
    """Every role with every one who gets it."""
    if "policyData" in resource.props.keys():  # noqa: SIM118 - reads no value
        for binding in json.loads(resource.props["policyData"]).get("bindings", []):
            for member in binding.get("members", []):
                yield binding["role"], member
        return
    role = str(resource.props.get("role"))
    # A role that neither rule minds settles it, whoever gets it: members are often not known yet.
    if _wide(role) or role in IMPERSONATION:
        for member in members(resource.props):
            yield role, member


def _wide(role: str) -> bool:
    return role in BASIC or role.lower().endswith("admin")


def _no_wide_roles(resource: Resource) -> Iterator[str]:
    for role, member in _grants(resource):
        if member.startswith("serviceAccount:") and _wide(role):
            yield f"grants `{role}` to `{member}`"


def _no_default_accounts(resource: Resource) -> Iterator[str]:
    role = resource.props.get("role", "a role")
    for member in members(resource.props):
        if member.startswith("serviceAccount:") and member.endswith(DEFAULT_ACCOUNTS):
            yield f"grants `{role}` to the default account `{member}`"


def _no_impersonation(resource: Resource) -> Iterator[str]:
    for role, member in _grants(resource):
        if role in IMPERSONATION:
            yield f"grants `{role}` to `{member}` for every service account there is"


def _forbidden(resource: Resource) -> Iterator[str]:
    yield "a key lives for years and can be copied by whoever sees it"


def _condition(resource: Resource) -> Iterator[str]:
    condition = str(at(resource.props, "attributeCondition") or "")
    if not condition.strip():
        yield "`attributeCondition` is not set: every account of the issuer is let in"
        return
    if "?" in condition or "!" in condition.replace("!=", ""):
        yield "`attributeCondition` negates or chooses; it has to say who is let in, joined by `&&`"
        return
    # Each way of being let in has to be narrow, so every alternative is judged for itself.
    for part in condition.split("||"):
        held = [one for one in COMPARISON.finditer(part) if one["to"].strip("*./ ")]
        if not held:
            yield f"`attributeCondition` holds no claim to a value in `{part.strip()}`"
        elif GITHUB in str(at(resource.props, "oidc.issuerUri") or "") and not any(
            REPOSITORY.search(one["what"]) for one in held
        ):
            yield f"`attributeCondition` lets in every repository of GitHub: `{part.strip()}`"


RULES: Final = (
    Rule(
        name="workload-service-account",
        description="A workload runs as an identity of its own, not as the project's default.",
        remedy="Set its service account (component WorkloadIdentity).",
        references=(HOUSE,),
        level=Level.MANDATORY,
        severity=Severity.HIGH,
        types=(run.SERVICE, run.JOB, dataflow.FLEX_JOB, dataflow.JOB),
        checks=(
            for_types((run.SERVICE,), own_account("template.serviceAccount")),
            for_types((run.JOB,), own_account("template.template.serviceAccount")),
            for_types((dataflow.FLEX_JOB, dataflow.JOB), own_account("serviceAccountEmail")),
        ),
    ),
    Rule(
        name="project-no-wide-roles",
        description="No service account has a basic or admin role on a project or above, and no "
        "default account has any.",
        remedy="Grant a narrow role on the resource (component WorkloadIdentity).",
        references=("CIS 1.5", "CKV_GCP_117", "CKV_GCP_42", "CKV_GCP_46"),
        level=Level.MANDATORY,
        severity=Severity.CRITICAL,
        types=GRANTS,
        checks=(_no_wide_roles, _no_default_accounts),
    ),
    Rule(
        name="project-no-impersonation",
        description="Nobody may act as every service account of a project.",
        remedy="Grant the role on the one service account (serviceaccount.IAMMember).",
        references=("CIS 1.6", "CKV_GCP_41", "CKV_GCP_49"),
        level=Level.MANDATORY,
        severity=Severity.HIGH,
        types=GRANTS,
        checks=(_no_impersonation,),
    ),
    Rule(
        name="no-service-account-keys",
        description="There are no keys of service accounts.",
        remedy="Use the identity of where the workload runs, or Workload Identity Federation.",
        references=("CIS 1.4", "CKV2_GCP_3"),
        level=Level.MANDATORY,
        severity=Severity.CRITICAL,
        types=("gcp:serviceaccount/key:Key",),
        checks=(_forbidden,),
    ),
    Rule(
        name="federation-condition",
        description="An identity provider lets in named accounts only.",
        remedy="Set `attributeCondition`, e.g. `assertion.repository == 'owner/name'`.",
        references=("CKV_GCP_118", "CKV_GCP_125"),
        level=Level.MANDATORY,
        severity=Severity.CRITICAL,
        types=("gcp:iam/workloadIdentityPoolProvider:WorkloadIdentityPoolProvider",),
        checks=(_condition,),
    ),
)

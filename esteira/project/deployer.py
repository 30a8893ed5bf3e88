"""What whoever deploys needs: roles for the account, permissions for `esteira doctor STACK`.

By module of Pulumi's provider, because that is what a program makes things of. A test holds this
table against every resource of every stack.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from components import service_agents
from components.workload_identity import PROJECT_ROLES
from esteira.project.grants import Binding

IAM_ADMIN: Final = "roles/resourcemanager.projectIamAdmin"
CONDITION_TITLE: Final = "Only roles of workloads and agents"
_ROLES_IN_LIST: Final = 10
"""The most values that `hasOnly` takes; longer lists are split."""
FORBIDDEN: Final = ("roles/owner", "roles/editor", "roles/iam.securityAdmin")
"""Roles that the account must not have: they would make this list pointless."""


@dataclass(frozen=True, kw_only=True)
class Need:
    """What the resources of a module need on the project."""

    role: str
    why: str
    permissions: tuple[str, ...]
    """Those that Google can be asked about on a project."""


@dataclass(frozen=True, kw_only=True)
class Elsewhere:
    """What a module needs outside the project, which bootstrap does not grant."""

    role: str
    on: str
    setting: str
    """The setting that makes such resources."""


def _need(role: str, why: str, *permissions: str) -> Need:
    return Need(role=role, why=why, permissions=permissions)


NEEDS: Final[Mapping[str, Need]] = {
    "apigateway": _need(
        "roles/apigateway.admin",
        "gateways of the prediction API",
        "apigateway.apis.create",
        "apigateway.gateways.create",
    ),
    "artifactregistry": _need(
        "roles/artifactregistry.admin",
        "repositories and who reads them; images are pushed",
        "artifactregistry.repositories.create",
        "artifactregistry.repositories.setIamPolicy",
        "artifactregistry.repositories.uploadArtifacts",
    ),
    "bigquery": _need(
        "roles/bigquery.admin",
        "datasets, tables, views, and who reads them",
        "bigquery.datasets.create",
        "bigquery.datasets.setIamPolicy",
        "bigquery.tables.create",
    ),
    "bigquerydatapolicy": _need(
        "roles/bigquerydatapolicy.admin",
        "masking of columns that hold personal data",
        "bigquery.dataPolicies.create",
    ),
    "cloudrunv2": _need(
        "roles/run.admin",
        "services and jobs, and who calls them",
        "run.services.create",
        "run.services.setIamPolicy",
        "run.jobs.create",
        "run.jobs.setIamPolicy",
    ),
    "cloudscheduler": _need(
        "roles/cloudscheduler.admin", "schedules", "cloudscheduler.jobs.create"
    ),
    "compute": _need(
        "roles/compute.networkAdmin",
        "network, subnetwork, router, addresses",
        "compute.networks.create",
        "compute.subnetworks.create",
        "compute.routers.create",
        "compute.addresses.create",
    ),
    "compute/firewall": _need(
        "roles/compute.securityAdmin",
        "firewall rules, which network administrators may not make",
        "compute.firewalls.create",
    ),
    "container": _need("roles/container.admin", "GKE clusters", "container.clusters.create"),
    "dataflow": _need(
        "roles/dataflow.admin",
        "the streaming job; admin reads its buckets and machines to launch it",
        "dataflow.jobs.create",
    ),
    "datacatalog": _need(
        "roles/datacatalog.policyTagAdmin",
        "policy tags of columns that hold personal data, and who sees them",
        "datacatalog.taxonomies.create",
        "datacatalog.taxonomies.setIamPolicy",
    ),
    "dns": _need("roles/dns.admin", "private zones", "dns.managedZones.create"),
    "iam": _need(
        "roles/iam.workloadIdentityPoolAdmin",
        "the pool through which GitHub deploys",
        "iam.workloadIdentityPools.create",
        "iam.workloadIdentityPoolProviders.create",
    ),
    "kms": _need(
        "roles/cloudkms.admin",
        "key ring, keys, and which service agents use them; not to encrypt or decrypt",
        "cloudkms.keyRings.create",
        "cloudkms.cryptoKeys.create",
        "cloudkms.cryptoKeys.setIamPolicy",
    ),
    "logging": _need(
        "roles/logging.configWriter",
        "sinks and log-based metrics",
        "logging.sinks.create",
        "logging.logMetrics.create",
    ),
    "monitoring": _need(
        "roles/monitoring.editor",
        "alert policies, channels, dashboards, uptime checks",
        "monitoring.alertPolicies.create",
        "monitoring.notificationChannels.create",
        "monitoring.dashboards.create",
        "monitoring.uptimeCheckConfigs.create",
    ),
    "networkconnectivity": _need(
        "roles/networkconnectivity.consumerNetworkAdmin",
        "Private Service Connect policies",
        "networkconnectivity.serviceConnectionPolicies.create",
    ),
    "projects": _need(
        "roles/serviceusage.serviceUsageAdmin",
        "switches APIs on and asks for their service agents",
        "serviceusage.services.enable",
        "serviceusage.services.use",
    ),
    "projects/iam": _need(
        IAM_ADMIN,
        "the few roles that workloads and service agents can have only on a project; a condition "
        "lets it grant no others",
        "resourcemanager.projects.getIamPolicy",
        "resourcemanager.projects.setIamPolicy",
    ),
    "pubsub": _need(
        "roles/pubsub.admin",
        "topics, subscriptions, schemas, and who uses them",
        "pubsub.topics.create",
        "pubsub.topics.setIamPolicy",
        "pubsub.subscriptions.create",
        "pubsub.subscriptions.setIamPolicy",
        "pubsub.schemas.create",
    ),
    "secretmanager": _need(
        "roles/secretmanager.admin",
        "secrets and who reads them",
        "secretmanager.secrets.create",
        "secretmanager.secrets.setIamPolicy",
    ),
    "serviceaccount": _need(
        "roles/iam.serviceAccountAdmin",
        "an account for each workload, and who may act as it",
        "iam.serviceAccounts.create",
        "iam.serviceAccounts.setIamPolicy",
    ),
    "serviceaccount/act": _need(
        "roles/iam.serviceAccountUser",
        "runs workloads as their accounts, which do not exist yet when this is granted; whoever "
        "may make accounts and set their policies gains nothing by it",
        "iam.serviceAccounts.actAs",
    ),
    "servicenetworking": _need(
        "roles/servicenetworking.networksAdmin",
        "private service access to managed services",
        "servicenetworking.services.addPeering",
    ),
    "sql": _need(
        "roles/cloudsql.admin",
        "instances, databases, users",
        "cloudsql.instances.create",
        "cloudsql.databases.create",
        "cloudsql.users.create",
    ),
    "storage": _need(
        "roles/storage.admin",
        "buckets, notifications, templates, and who reads them",
        "storage.buckets.create",
        "storage.buckets.setIamPolicy",
    ),
    "vertex": _need(
        "roles/aiplatform.admin",
        "endpoints, metadata store, Tensorboard, feature store",
        "aiplatform.endpoints.create",
        "aiplatform.endpoints.setIamPolicy",
    ),
    "workbench": _need("roles/notebooks.admin", "notebook instances", "notebooks.instances.create"),
}
"""By module of the `gcp` package. An entry with a `/` is for some types of its module only."""
ELSEWHERE: Final[Mapping[str, Elsewhere]] = {
    "accesscontextmanager": Elsewhere(
        role="roles/accesscontextmanager.policyAdmin",
        on="the organisation",
        setting="security.accessPolicy",
    ),
    "billing": Elsewhere(
        role="roles/billing.costsManager", on="the billing account", setting="budget.billingAccount"
    ),
    "orgpolicy": Elsewhere(
        role="roles/orgpolicy.policyAdmin", on="the organisation", setting="security.guardRails"
    ),
}
_IAM_TYPES: Final = ("iAMMember", "iAMBinding", "iAMPolicy", "iAMAuditConfig")
_FIREWALL_TYPES: Final = ("firewall", "securityPolicy", "networkFirewallPolicy")


def modules(tokens: Iterable[str]) -> set[str]:
    """The keys of `NEEDS` and `ELSEWHERE` that resource types need; unknown modules as they are.

    Args:
        tokens: such as `gcp:pubsub/topic:Topic`. Types of other packages need nothing here: images
            are pushed with the permissions of `artifactregistry`.
    """
    found: set[str] = set()
    for token in tokens:
        package, _, rest = token.partition(":")
        if package != "gcp":
            continue
        module, _, kind = rest.partition("/")
        kind = kind.partition(":")[0]
        if module == "projects" and kind in _IAM_TYPES:
            found.add("projects/iam")
        elif module == "organizations" and kind.startswith("iAM"):
            found.add("organizations")
        elif module == "compute" and kind.startswith(_FIREWALL_TYPES):
            found.add("compute/firewall")
        else:
            found.add(module)
            if module == "serviceaccount":
                found.add("serviceaccount/act")
    return found


def bindings(member: str) -> list[Binding]:
    """The account's roles on the project: all of `NEEDS`, so that an option that is switched on
    later needs no second bootstrap."""
    return [
        Binding(role=need.role, member=member, condition=_condition(need.role))
        for need in NEEDS.values()
    ]


def _condition(role: str) -> Mapping[str, str] | None:
    """Whoever may set a project's IAM policy could make itself owner: not with this condition.

    https://cloud.google.com/iam/docs/setting-limits-on-granting-roles
    """
    if role != IAM_ADMIN:
        return None
    roles = sorted({*PROJECT_ROLES, *service_agents.ROLES.values()})
    groups = [roles[at : at + _ROLES_IN_LIST] for at in range(0, len(roles), _ROLES_IN_LIST)]
    return {
        "title": CONDITION_TITLE,
        "description": "What Esteira's workloads and Google's service agents need on the project.",
        "expression": " || ".join(_has_only(group) for group in groups),
    }


def _has_only(roles: Sequence[str]) -> str:
    listed = ", ".join(f"'{role}'" for role in roles)
    return f"api.getAttribute('iam.googleapis.com/modifiedGrantsByRole', []).hasOnly([{listed}])"


def excessive(policy: Mapping[str, object], member: str) -> list[str]:
    """Warnings about roles of the account that are wider than this list."""
    found: list[str] = []
    every = policy.get("bindings", ())
    for binding in every if isinstance(every, list) else ():
        role = str(binding.get("role"))
        unlimited = role == IAM_ADMIN and "condition" not in binding
        if member in binding.get("members", ()) and (role in FORBIDDEN or unlimited):
            found.append(
                f"{member} also has {role}{' without a condition' if unlimited else ''}, which "
                "is more than it needs; take it away: gcloud projects remove-iam-policy-binding "
                f"PROJECT --member={member} --role={role} --condition=None"
            )
    return found

"""Check: organisation policies that would stop what the stack makes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from esteira.project.finding import Context, Finding, Status, ok

_GITHUB: Final = "https://token.actions.githubusercontent.com"
_GOOGLE: Final = "under:organizations/433637338589"
"""The organisation of Google's own projects, which managed services are peered from
(as Google's documents for constraints/compute.restrictVpcPeering name it)."""
_INGRESS: Final = {
    "INGRESS_TRAFFIC_ALL": "all",
    "INGRESS_TRAFFIC_INTERNAL_ONLY": "internal",
    "INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER": "internal-and-cloud-load-balancing",
}
_CONTINENTS: Final = {
    "africa": "africa-",
    "asia": "asia-",
    "australia": "australia-",
    "eu": "europe-",
    "europe": "europe-",
    "northamerica": "northamerica-",
    "southamerica": "southamerica-",
    "us": "us-",
}
"""Value groups of `gcp.resourceLocations`, and how the names of their regions begin. `eu` leaves
out some countries of `europe`: those are told by Google when something is made."""
FINE: Final = (
    "compute.requireShieldedVm",
    "compute.restrictSharedVpcSubnetworks",
    "compute.vmExternalIpAccess",
    "iam.automaticIamGrantsForDefaultServiceAccounts",
    "iam.disableServiceAccountKeyCreation",
    "sql.restrictPublicIp",
    "storage.publicAccessPrevention",
    "storage.uniformBucketLevelAccess",
)
"""Constraints that many organisations have, and that never stop this platform: it has no keys, no
public addresses, no shared network, and only uniform, private buckets. None of them is asked
about."""


@dataclass(frozen=True)
class Rules:
    """The effective policy of one constraint."""

    rules: Sequence[Mapping[str, Any]]

    @property
    def enforced(self) -> bool:
        """For a constraint that is on or off."""
        return any(one.get("enforce") for one in self.rules)

    @property
    def denies_all(self) -> bool:
        """Nothing is allowed."""
        return any(one.get("denyAll") for one in self.rules)

    @property
    def allowed(self) -> list[str] | None:
        """The only values that are allowed; None for any."""
        if self.denies_all:
            return []
        values = [one["values"] for one in self.rules if "values" in one]
        listed = [value for one in values for value in one.get("allowedValues", ())]
        return listed or None

    @property
    def denied(self) -> list[str]:
        """Values that are not allowed."""
        values = [one["values"] for one in self.rules if "values" in one]
        return [value for one in values for value in one.get("deniedValues", ())]

    def allows(self, value: str) -> bool:
        """Whether a value passes, spelt with or without Google's `is:`."""
        spelt = (value, f"is:{value}")
        if any(one in self.denied for one in spelt):
            return False
        return self.allowed is None or any(one in self.allowed for one in spelt)


Judge = Callable[[Context, Rules], tuple[str, str] | None]
"""What is wrong and how to mend it; None when nothing is."""


def _locations(context: Context, rules: Rules) -> tuple[str, str] | None:
    region = context.settings.location

    def holds(value: str) -> bool:
        name = value.removeprefix("is:").removeprefix("in:").removesuffix("-locations")
        return region == name or region.startswith(_CONTINENTS.get(name, f"{name}-"))

    allowed = rules.allowed
    if any(holds(one) for one in rules.denied) or (
        allowed is not None and not any(holds(one) for one in allowed)
    ):
        return (
            f"{region} is not among the locations allowed: {', '.join(allowed or ['none'])}",
            "pulumi config set esteira:location REGION, one of those",
        )
    return None


def _domains(context: Context, rules: Rules) -> tuple[str, str] | None:
    people = [
        *context.settings.access.readers,
        *context.settings.access.sensitive_readers,
        *context.settings.workbench.users,
    ]
    if rules.allowed is None or not people:
        return None
    return (
        (
            f"members are limited to {', '.join(rules.allowed)}; the settings name "
            f"{', '.join(sorted(set(people)))}"
        ),
        "name only people and groups of those customers, or ask for an exception",
    )


def _services(context: Context, rules: Rules) -> tuple[str, str] | None:
    stopped = [one for one in context.plan.apis if not rules.allows(f"{one}.googleapis.com")]
    if not stopped:
        return None
    return f"these APIs may not be used: {', '.join(stopped)}", "ask for them, or switch them off"


def _cmek(context: Context, rules: Rules) -> tuple[str, str] | None:
    used = [one for one in context.plan.apis if f"{one}.googleapis.com" in _plain(rules.denied)]
    if not used or context.settings.security.customer_managed_keys:
        return None
    return (
        f"{', '.join(used)} may hold no data without a customer-managed key",
        "pulumi config set --path esteira:security.customerManagedKeys true",
    )


def _keys(context: Context, rules: Rules) -> tuple[str, str] | None:
    mine = (f"projects/{context.project}", f"under:projects/{context.project}")
    allowed = rules.allowed
    if not context.settings.security.customer_managed_keys or allowed is None:
        return None
    if any(one in allowed for one in mine):
        return None
    if any(one.startswith(("under:folders/", "under:organizations/")) for one in allowed):
        # Whether the project lies below cannot be told from here.
        return None
    return (
        (
            f"keys may come only from {', '.join(allowed) or 'nowhere'}, and this stack's are in "
            f"{context.project}"
        ),
        f"ask for under:projects/{context.project}",
    )


def _peering(context: Context, rules: Rules) -> tuple[str, str] | None:
    if not context.plan.of("gcp:servicenetworking/connection:"):
        return None
    allowed = rules.allowed
    if allowed is None or _GOOGLE in allowed:
        return None
    return (
        "the network may not be peered with Google's, which private access to Cloud SQL needs",
        (f"ask for {_GOOGLE}, which is Google, or set esteira:database.enabled to false"),
    )


def _ingress(context: Context, rules: Rules) -> tuple[str, str] | None:
    used = {
        _INGRESS.get(str(one.inputs.get("ingress", "INGRESS_TRAFFIC_ALL")), "all")
        for one in context.plan.of("gcp:cloudrunv2/service:")
    }
    if stopped := sorted(one for one in used if not rules.allows(one)):
        return (
            f"Cloud Run services may not have the ingress {', '.join(stopped)}",
            "ask for it, or switch the prediction API off: esteira:serving.api",
        )
    return None


def _accounts(context: Context, rules: Rules) -> tuple[str, str] | None:
    del context
    if not rules.enforced:
        return None
    return "no service account may be made", "ask for an exception: each workload has one"


def _federation(context: Context, rules: Rules) -> tuple[str, str] | None:
    if context.settings.github.repository is None or rules.allows(_GITHUB):
        return None
    return "tokens of GitHub may not be taken", f"ask for {_GITHUB}"


JUDGES: Final[Mapping[str, Judge]] = {
    "compute.restrictVpcPeering": _peering,
    "gcp.resourceLocations": _locations,
    "gcp.restrictCmekCryptoKeyProjects": _keys,
    "gcp.restrictNonCmekServices": _cmek,
    "gcp.restrictServiceUsage": _services,
    "iam.allowedPolicyMemberDomains": _domains,
    "iam.disableServiceAccountCreation": _accounts,
    "iam.workloadIdentityPoolProviders": _federation,
    "run.allowedIngress": _ingress,
}
"""By constraint: whether it stops this stack."""


def organisation(context: Context) -> Iterable[Finding]:
    """None of the organisation's policies stops this stack."""
    policies = context.api("orgpolicy", "v2").projects().policies()
    passed = 0
    for constraint, judge in JUDGES.items():
        name = f"projects/{context.project}/policies/{constraint}"
        found = context.calls.read(policies.getEffectivePolicy(name=name)) or {}
        wrong = judge(context, Rules(found.get("spec", {}).get("rules", ())))
        if wrong is None:
            passed += 1
            continue
        problem, mend = wrong
        yield Finding(
            subject="Organisation policy",
            status=Status.FAILURE,
            found=f"{constraint}: {problem}",
            means="Google refuses what breaks it, in the middle of an `up`",
            mend=(
                mend,
                (
                    f"gcloud org-policies describe {constraint} --effective "
                    f"--project={context.project}"
                ),
            ),
            who="whoever has roles/orgpolicy.policyAdmin in the organisation",
        )
    yield ok("Organisation policy", f"{passed} of {len(JUDGES)} constraints do not stop this stack")


def _plain(values: Iterable[str]) -> list[str]:
    return [value.removeprefix("is:") for value in values]

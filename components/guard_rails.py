"""Organisation policies on one project: Google itself refuses what the platform never does.

The policy pack judges what this program declares; these also hold whoever uses the console or
another program. Who deploys needs `roles/orgpolicy.policyAdmin`, which only an organisation has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_gcp as gcp

from components import checks
from components.child_opts import child_opts

ENFORCED: Final = {
    "compute.requireOsLogin": "who logs in to a machine is known by name",
    "compute.requireShieldedVm": "a machine starts only what was signed",
    "compute.skipDefaultNetworkCreation": "no network with an open firewall",
    "iam.automaticIamGrantsForDefaultServiceAccounts": "default accounts are no editors",
    "iam.disableServiceAccountKeyCreation": "no key that lives for years",
    "iam.disableServiceAccountKeyUpload": "nor one from outside",
    "sql.restrictAuthorizedNetworks": "no range of addresses opens a database",
    "sql.restrictPublicIp": "no database has a public address",
    "storage.publicAccessPrevention": "no bucket is public",
    "storage.uniformBucketLevelAccess": "no object has rights of its own",
}
"""Constraints that are on or off, and what each keeps; cloud.google.com/resource-manager/docs/
organization-policy/org-policy-constraints."""
INTERNAL: Final = ("is:internal", "is:internal-and-cloud-load-balancing")
"""Ingress of Cloud Run that is not open to the internet."""


@dataclass(frozen=True, kw_only=True)
class GuardRailsArgs:
    """What the guard rails hold.

    Raises:
        InvalidArgs: at construction, when no region is allowed.
    """

    project: str
    regions: Sequence[str]
    """Where resources may be made."""
    public_services: bool = False
    """Whether a Cloud Run service may be reached from the internet (by who may invoke it): API
    Gateway calls from there."""

    def __post_init__(self) -> None:
        if not self.regions:
            raise checks.InvalidArgs("GuardRails", "regions", self.regions, "at least one region")


class GuardRails(pulumi.ComponentResource):
    """Policies of one project, by constraint."""

    policies: dict[str, gcp.orgpolicy.Policy]

    def __init__(
        self, name: str, *, args: GuardRailsArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("esteira:guard_rails:GuardRails", name, {}, opts)
        rule = gcp.orgpolicy.PolicySpecRuleArgs
        values = gcp.orgpolicy.PolicySpecRuleValuesArgs
        rules = {constraint: rule(enforce="TRUE") for constraint in ENFORCED}
        rules["compute.vmExternalIpAccess"] = rule(deny_all="TRUE")
        rules["gcp.resourceLocations"] = rule(
            values=values(allowed_values=[f"in:{region}-locations" for region in args.regions])
        )
        if not args.public_services:
            rules["run.allowedIngress"] = rule(values=values(allowed_values=list(INTERNAL)))
        self.policies = {
            constraint: gcp.orgpolicy.Policy(
                f"{name}-{constraint}",
                name=f"projects/{args.project}/policies/{constraint}",
                parent=f"projects/{args.project}",
                spec=gcp.orgpolicy.PolicySpecArgs(rules=[one]),
                opts=child_opts(self),
            )
            for constraint, one in sorted(rules.items())
        }
        self.register_outputs({"constraints": list(self.policies)})

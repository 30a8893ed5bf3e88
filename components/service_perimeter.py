"""A VPC Service Controls perimeter: data of a project leaves it only through named doors."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_gcp as gcp

from components import checks
from components.child_opts import child_opts

RESTRICTED: Final = (
    "aiplatform",
    "artifactregistry",
    "bigquery",
    "bigquerydatapolicy",
    "cloudkms",
    "cloudscheduler",
    "compute",
    "datacatalog",
    "dataflow",
    "iamcredentials",
    "logging",
    "monitoring",
    "notebooks",
    "pubsub",
    "run",
    "secretmanager",
    "servicecontrol",
    "sqladmin",
    "storage",
)
"""Services whose data a perimeter can keep in, of those that a stack uses
(cloud.google.com/vpc-service-controls/docs/supported-products)."""
NAME: Final = (re.compile(r"[A-Za-z][A-Za-z0-9_]{0,49}"), "1 to 50 letters, digits and underscores")
NUMBER: Final = (re.compile(r"[0-9]+"), "the number of an access policy")
IDENTITIES: Final = ("user:", "group:", "serviceAccount:", "principal:", "principalSet:")


@dataclass(frozen=True, kw_only=True)
class ServicePerimeterArgs:
    """What a perimeter needs.

    Raises:
        InvalidArgs: at construction, when the policy is no number, a service cannot be restricted,
            or a member is none that a perimeter knows.
    """

    access_policy: str
    """Number of the organisation's access policy."""
    project_number: pulumi.Input[str]
    services: Sequence[str] = RESTRICTED
    """APIs, by their short names, whose data stays in; all that can when not given."""
    members: Sequence[str] = ()
    """Who may reach in from outside. Without the identity that deploys, the next deployment from
    outside is refused."""

    def __post_init__(self) -> None:
        who = "ServicePerimeter"
        checks.matches(who, "access_policy", self.access_policy, NUMBER)
        for service in self.services:
            checks.one_of(who, "services", service, RESTRICTED)
        for member in self.members:
            if not member.startswith(IDENTITIES):
                raise checks.InvalidArgs(
                    who, "members", member, f"members that start with {', '.join(IDENTITIES)}"
                )


class ServicePerimeter(pulumi.ComponentResource):
    """Perimeter `<name>` around one project."""

    perimeter: gcp.accesscontextmanager.ServicePerimeter

    def __init__(
        self, name: str, *, args: ServicePerimeterArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        checks.matches("ServicePerimeter", "name", name, NAME)
        super().__init__("esteira:service_perimeter:ServicePerimeter", name, {}, opts)
        acm = gcp.accesscontextmanager
        project = pulumi.Output.concat("projects/", args.project_number)
        entry = acm.ServicePerimeterStatusIngressPolicyArgs(
            title="Members reach in",
            ingress_from=acm.ServicePerimeterStatusIngressPolicyIngressFromArgs(
                identities=list(args.members),
                # From anywhere: who it is decides, not where from.
                sources=[
                    acm.ServicePerimeterStatusIngressPolicyIngressFromSourceArgs(access_level="*")
                ],
            ),
            ingress_to=acm.ServicePerimeterStatusIngressPolicyIngressToArgs(
                resources=[project],
                operations=[
                    acm.ServicePerimeterStatusIngressPolicyIngressToOperationArgs(service_name="*")
                ],
            ),
        )
        parent = f"accessPolicies/{args.access_policy}"
        self.perimeter = acm.ServicePerimeter(
            name,
            name=f"{parent}/servicePerimeters/{name}",
            parent=parent,
            title=name,
            description="Data stays in the project",
            perimeter_type="PERIMETER_TYPE_REGULAR",
            status=acm.ServicePerimeterStatusArgs(
                resources=[project],
                restricted_services=[f"{service}.googleapis.com" for service in args.services],
                ingress_policies=[entry] if args.members else None,
            ),
            opts=child_opts(self),
        )
        self.register_outputs({"name": self.perimeter.name})

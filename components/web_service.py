"""A Cloud Run service that named callers reach over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_gcp as gcp

from components import checks
from components.child_opts import child_opts
from components.cloud_run import SERVICE_NAME, Container, Probes, service_template

REACH: Final = {
    "internal": "INGRESS_TRAFFIC_INTERNAL_ONLY",
    "load-balancer": "INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER",
    "anywhere": "INGRESS_TRAFFIC_ALL",
}
"""From where requests are let in; the caller has to be one of `callers` in any case. `internal`:
this project's networks, Pub/Sub, Scheduler and the like. `load-balancer`: also a load balancer of
this project. `anywhere`: also the public address, which API Gateway uses."""
EVERYBODY: Final = ("allUsers", "allAuthenticatedUsers")


@dataclass(frozen=True, kw_only=True)
class WebServiceArgs:
    """What a service needs.

    Raises:
        InvalidArgs: at construction, when a value is out of range, or everybody would be let in.
    """

    location: str
    container: Container
    """What each instance runs."""
    service_account: pulumi.Input[str]
    """E-mail of the identity that the service runs as."""
    callers: Mapping[str, pulumi.Input[str]]
    """Who may call it: members as IAM writes them, by a short name."""
    reach: str = "internal"
    """One of `REACH`."""
    probes: Probes
    """How Cloud Run finds out that it has started, and still lives."""
    description: str
    min_instances: int = 0
    on_first_request: bool = False
    """Whether a deployment starts no instance to try it: one that cannot start shows only later."""
    max_instances: int = 3
    concurrency: int = 80
    """Requests that one instance takes at once."""
    timeout_seconds: int = 60
    """For one request."""
    subnetwork: pulumi.Input[str] | None = None
    """Through which all traffic leaves; Google's own way out when not given."""
    kms_key: pulumi.Input[str] | None = None
    deletion_protection: bool = False
    released: bool = False
    """Whether revisions and traffic are changed by releases: they are made as given here once, and
    left alone from then on."""

    def __post_init__(self) -> None:
        who = "WebService"
        checks.one_of(who, "reach", self.reach, REACH)
        checks.between(who, "max_instances", self.max_instances, 1, 1000)
        checks.between(who, "min_instances", self.min_instances, 0, self.max_instances)
        checks.between(who, "concurrency", self.concurrency, 1, 1000)
        checks.between(who, "timeout_seconds", self.timeout_seconds, 1, 3600, "seconds")
        for label, member in self.callers.items():
            if isinstance(member, str) and member in EVERYBODY:
                raise checks.InvalidArgs(
                    who, f"callers[{label!r}]", member, "a named account or group, not everybody"
                )


class WebService(pulumi.ComponentResource):
    """Cloud Run service `<name>`; Cloud Run itself asks each caller who it is."""

    service: gcp.cloudrunv2.Service
    invokers: dict[str, gcp.cloudrunv2.ServiceIamMember]
    """By the short name of the caller."""

    def __init__(
        self, name: str, *, args: WebServiceArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        checks.matches("WebService", "name", name, SERVICE_NAME)
        super().__init__("esteira:web_service:WebService", name, {}, opts)
        self.service = gcp.cloudrunv2.Service(
            name,
            name=name,
            location=args.location,
            description=args.description,
            ingress=REACH[args.reach],
            deletion_protection=args.deletion_protection,
            template=service_template(
                args.container,
                service_account=args.service_account,
                timeout_seconds=args.timeout_seconds,
                min_instances=args.min_instances,
                max_instances=args.max_instances,
                concurrency=args.concurrency,
                probes=args.probes,
                on_first_request=args.on_first_request,
                subnetwork=args.subnetwork,
                kms_key=args.kms_key,
            ),
            opts=child_opts(
                self, ignore_changes=["template", "traffics"] if args.released else None
            ),
        )
        self.invokers = {
            label: gcp.cloudrunv2.ServiceIamMember(
                f"{name}-invoker-{label}",
                name=self.service.name,
                location=args.location,
                role="roles/run.invoker",
                member=member,
                opts=child_opts(self),
            )
            for label, member in args.callers.items()
        }
        self.register_outputs({"uri": self.service.uri, "id": self.service.id})

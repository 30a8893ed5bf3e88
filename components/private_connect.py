"""Private Service Connect: Google's APIs at an address of our own network.

The names of Google's APIs resolve, inside the network, to one private address, so that traffic to
them never has a public destination and the firewall can refuse all others.

A *private endpoint* of Vertex AI is something else and is not made here: it has a service
attachment only once the first model is deployed to it, and the forwarding rule to that belongs to
the release that deploys (docs/decisions/0007 has the commands).
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_gcp as gcp

from components import checks
from components.child_opts import child_opts

DOMAINS: Final = ("googleapis.com", "gcr.io", "pkg.dev", "run.app")
"""Domains that Google serves there and workloads use: APIs, base images and our own, Cloud Run
(cloud.google.com/vpc/docs/about-accessing-google-apis-endpoints)."""
BUNDLES: Final = ("all-apis", "vpc-sc")
NAME: Final = (
    re.compile(r"[a-z][a-z0-9]{0,19}"),
    "1 to 20 lower-case letters and digits, starting with a letter",
)
"""The name of a forwarding rule to Google's APIs, by the same document."""


@dataclass(frozen=True, kw_only=True)
class PrivateConnectArgs:
    """What the connection needs.

    Raises:
        InvalidArgs: at construction, when the address is no private one, or the bundle unknown.
    """

    network: pulumi.Input[str]
    region: str
    """Where Service Directory keeps its entry."""
    address: str
    """A private IPv4 address outside every range of the network."""
    bundle: str = "all-apis"
    """`all-apis`, or `vpc-sc` for those alone that VPC Service Controls protect."""

    def __post_init__(self) -> None:
        who = "PrivateConnect"
        checks.one_of(who, "bundle", self.bundle, BUNDLES)
        allowed = "a private IPv4 address outside every range of the network, e.g. `10.66.0.2`"
        try:
            address = ipaddress.IPv4Address(self.address)
        except ValueError as error:
            raise checks.InvalidArgs(who, "address", self.address, allowed) from error
        if not address.is_private:
            raise checks.InvalidArgs(who, "address", self.address, allowed)


class PrivateConnect(pulumi.ComponentResource):
    """Forwarding rule `<name>` to Google's APIs, and the private zones that lead there."""

    address: gcp.compute.GlobalAddress
    rule: gcp.compute.GlobalForwardingRule
    zones: dict[str, gcp.dns.ManagedZone]
    """By domain."""

    def __init__(
        self, name: str, *, args: PrivateConnectArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        checks.matches("PrivateConnect", "name", name, NAME)
        super().__init__("esteira:private_connect:PrivateConnect", name, {}, opts)
        self.address = gcp.compute.GlobalAddress(
            name,
            name=name,
            description="Google's APIs",
            purpose="PRIVATE_SERVICE_CONNECT",
            address_type="INTERNAL",
            address=args.address,
            network=args.network,
            opts=child_opts(self),
        )
        self.rule = gcp.compute.GlobalForwardingRule(
            name,
            name=name,
            target=args.bundle,
            network=args.network,
            ip_address=self.address.id,
            # Empty: this kind of rule takes none, and the provider's default is EXTERNAL.
            load_balancing_scheme="",
            service_directory_registrations=(
                gcp.compute.GlobalForwardingRuleServiceDirectoryRegistrationsArgs(
                    service_directory_region=args.region
                )
            ),
            opts=child_opts(self),
        )
        self.zones = {domain: self._zone(name, domain, args) for domain in DOMAINS}
        self.register_outputs({"address": self.address.address})

    def _zone(self, name: str, domain: str, args: PrivateConnectArgs) -> gcp.dns.ManagedZone:
        slug = domain.replace(".", "-")
        # Names must not resolve to an address that does not answer yet.
        opts = child_opts(self, depends_on=[self.rule])
        zone = gcp.dns.ManagedZone(
            f"{name}-{slug}",
            name=f"{name}-{slug}",
            dns_name=f"{domain}.",
            description=f"{domain} by Private Service Connect",
            visibility="private",
            private_visibility_config=gcp.dns.ManagedZonePrivateVisibilityConfigArgs(
                networks=[
                    gcp.dns.ManagedZonePrivateVisibilityConfigNetworkArgs(network_url=args.network)
                ]
            ),
            opts=opts,
        )
        for suffix, kind, name_, data in (
            ("apex", "A", f"{domain}.", args.address),
            ("all", "CNAME", f"*.{domain}.", f"{domain}."),
        ):
            gcp.dns.RecordSet(
                f"{name}-{slug}-{suffix}",
                managed_zone=zone.name,
                name=name_,
                type=kind,
                ttl=300,
                rrdatas=[data],
                opts=opts,
            )
        return zone

"""A network of our own, in which nothing has a public address and nothing comes in from outside.

Two subjects have files of their own: `private_connect.py`, how Google's APIs are reached, and
`firewall.py`, who may talk to whom.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

import pulumi
import pulumi_gcp as gcp

from components import checks
from components.child_opts import child_opts


@dataclass(frozen=True, kw_only=True)
class PrivateNetworkArgs:
    """What a network needs.

    Raises:
        InvalidArgs: at construction, when a range is no private one, or too small, or two overlap.
    """

    region: str
    cidr: str = "10.64.0.0/20"
    """Private addresses of the subnetwork; one for each worker and instance, at least a /26."""
    services_cidr: str | None = None
    """Private addresses that Google's managed services (Cloud SQL) take in the network, at least a
    /24; without it there is no private service access."""
    nat: bool = False
    """Whether instances without a public address reach the internet, through Cloud NAT."""

    def __post_init__(self) -> None:
        own = _range("cidr", self.cidr, 26)
        if self.services_cidr is not None:
            services = _range("services_cidr", self.services_cidr, 24)
            if own.overlaps(services):
                raise checks.InvalidArgs(
                    "PrivateNetwork",
                    "services_cidr",
                    self.services_cidr,
                    f"a range that does not overlap `cidr`, {self.cidr}: Google refuses to peer "
                    "with it",
                )


class PrivateNetwork(pulumi.ComponentResource):
    """Network and subnetwork `<name>`, with private access to Google's APIs and flow logs."""

    network: gcp.compute.Network
    subnetwork: gcp.compute.Subnetwork

    services: gcp.servicenetworking.Connection | None = None
    """Private service access: what needs an address of `services_cidr` has to wait for it."""
    router: gcp.compute.Router | None = None

    def __init__(
        self, name: str, *, args: PrivateNetworkArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        checks.matches("PrivateNetwork", "name", name, checks.SERVICE)
        super().__init__("esteira:private_network:PrivateNetwork", name, {}, opts)
        self.network = gcp.compute.Network(
            name,
            name=name,
            auto_create_subnetworks=False,
            routing_mode="REGIONAL",
            opts=child_opts(self),
        )
        self.subnetwork = gcp.compute.Subnetwork(
            name,
            name=name,
            network=self.network.id,
            region=args.region,
            ip_cidr_range=args.cidr,
            private_ip_google_access=True,
            log_config=gcp.compute.SubnetworkLogConfigArgs(
                aggregation_interval="INTERVAL_5_SEC",
                flow_sampling=0.5,
                metadata="INCLUDE_ALL_METADATA",
            ),
            opts=child_opts(self),
        )
        if args.services_cidr is not None:
            self.services = self._services(name, args.services_cidr)
        if args.nat:
            self.router = self._nat(name, args.region)
        self.register_outputs({"network": self.network.id, "subnetwork": self.subnetwork.id})

    @property
    def services_ready(self) -> pulumi.Output[str]:
        """The network, known once managed services can take addresses in it.

        Raises:
            LookupError: the network was made without `services_cidr`.
        """
        if self.services is None:
            raise LookupError("the network has no private service access; give `services_cidr`")
        return pulumi.Output.all(self.network.id, self.services.urn).apply(
            lambda known: str(known[0])
        )

    def _services(self, name: str, cidr: str) -> gcp.servicenetworking.Connection:
        services = ipaddress.IPv4Network(cidr)
        reserved = gcp.compute.GlobalAddress(
            f"{name}-services",
            name=f"{name}-services",
            description="Addresses of Google's managed services",
            purpose="VPC_PEERING",
            address_type="INTERNAL",
            address=str(services.network_address),
            prefix_length=services.prefixlen,
            network=self.network.id,
            opts=child_opts(self),
        )
        return gcp.servicenetworking.Connection(
            f"{name}-services",
            network=self.network.id,
            service="servicenetworking.googleapis.com",
            reserved_peering_ranges=[reserved.name],
            # A project that was used before may have a connection: its ranges are set anew.
            update_on_creation_fail=True,
            # Google keeps it busy for days after the last instance is gone, so that it could not
            # be deleted with the stack; it goes with the network.
            deletion_policy="ABANDON",
            opts=child_opts(self),
        )

    def _nat(self, name: str, region: str) -> gcp.compute.Router:
        router = gcp.compute.Router(
            name, name=name, network=self.network.id, region=region, opts=child_opts(self)
        )
        gcp.compute.RouterNat(
            name,
            name=name,
            router=router.name,
            region=region,
            nat_ip_allocate_option="AUTO_ONLY",
            source_subnetwork_ip_ranges_to_nat="LIST_OF_SUBNETWORKS",
            subnetworks=[
                gcp.compute.RouterNatSubnetworkArgs(
                    name=self.subnetwork.id, source_ip_ranges_to_nats=["ALL_IP_RANGES"]
                )
            ],
            log_config=gcp.compute.RouterNatLogConfigArgs(enable=True, filter="ALL"),
            opts=child_opts(self),
        )
        return router


def _range(argument: str, cidr: str, longest: int) -> ipaddress.IPv4Network:
    example = "10.64.0.0/20" if argument == "cidr" else "10.65.0.0/20"
    allowed = f"a private IPv4 range of /8 to /{longest}, e.g. `{example}`"
    try:
        network = ipaddress.IPv4Network(cidr)
    except ValueError as error:
        raise checks.InvalidArgs("PrivateNetwork", argument, cidr, allowed) from error
    if not network.is_private or not 8 <= network.prefixlen <= longest:
        raise checks.InvalidArgs("PrivateNetwork", argument, cidr, allowed)
    return network

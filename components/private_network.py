"""A network of our own, in which workers have no public address and still reach Google's APIs."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_gcp as gcp

from components import checks
from components.child_opts import child_opts

DATAFLOW_TAG: Final = "dataflow"
"""The tag that Dataflow puts on its workers."""
DATAFLOW_PORTS: Final = ["12345-12346"]
"""Over which Dataflow's workers talk to each other, by Google's document on its firewall rules."""


@dataclass(frozen=True, kw_only=True)
class PrivateNetworkArgs:
    """What a network needs.

    Raises:
        InvalidArgs: at construction, when the range is no private one, or too small.
    """

    region: str
    cidr: str = "10.64.0.0/20"
    """Private addresses of the subnetwork; one for each worker and instance, at least a /26."""

    def __post_init__(self) -> None:
        allowed = "a private IPv4 range of /8 to /26, e.g. `10.64.0.0/20`"
        try:
            network = ipaddress.IPv4Network(self.cidr)
        except ValueError as error:
            raise checks.InvalidArgs("PrivateNetwork", "cidr", self.cidr, allowed) from error
        if not network.is_private or not 8 <= network.prefixlen <= 26:
            raise checks.InvalidArgs("PrivateNetwork", "cidr", self.cidr, allowed)


class PrivateNetwork(pulumi.ComponentResource):
    """Network and subnetwork `<name>`, with private access to Google's APIs and flow logs.

    Nothing comes in from outside: the only rule lets Dataflow's workers talk to each other.
    """

    network: gcp.compute.Network
    subnetwork: gcp.compute.Subnetwork

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
        gcp.compute.Firewall(
            f"{name}-dataflow",
            name=f"{name}-dataflow",
            network=self.network.id,
            description="Dataflow workers exchange data with each other",
            direction="INGRESS",
            allows=[gcp.compute.FirewallAllowArgs(protocol="tcp", ports=DATAFLOW_PORTS)],
            source_tags=[DATAFLOW_TAG],
            target_tags=[DATAFLOW_TAG],
            opts=child_opts(self),
        )
        self.register_outputs({"network": self.network.id, "subnetwork": self.subnetwork.id})

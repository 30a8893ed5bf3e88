"""The network that workers and instances run in, and where traffic in it may go."""

from __future__ import annotations

from typing import Final

import pulumi

from components.firewall import Firewall, FirewallArgs
from components.private_connect import PrivateConnect, PrivateConnectArgs
from components.private_network import PrivateNetwork, PrivateNetworkArgs
from stacks.settings import Settings

NAME: Final = "esteira"
GOOGLE: Final = ("199.36.153.4/30", "199.36.153.8/30")
"""restricted.googleapis.com and private.googleapis.com
(cloud.google.com/vpc/docs/configure-private-google-access#ip-addr-defaults)."""


def lay(settings: Settings, opts: pulumi.ResourceOptions) -> PrivateNetwork | None:
    """Make the network, where the settings want one."""
    wanted = settings.network
    if not wanted.private:
        return None
    network = PrivateNetwork(
        NAME,
        args=PrivateNetworkArgs(
            region=settings.location,
            cidr=wanted.cidr,
            services_cidr=wanted.services_cidr if settings.database.enabled else None,
            nat=wanted.nat,
        ),
        opts=opts,
    )
    Firewall(
        NAME, args=FirewallArgs(network=network.network.id, egress=egress(settings)), opts=opts
    )
    if wanted.private_connect:
        PrivateConnect(
            NAME,
            args=PrivateConnectArgs(
                network=network.network.id,
                region=settings.location,
                address=wanted.api_address,
                bundle="vpc-sc" if settings.security.access_policy else "all-apis",
            ),
            opts=opts,
        )
    return network


def egress(settings: Settings) -> dict[str, tuple[str, ...]] | None:
    """Where traffic may go, by what is there; everywhere where this is None.

    Only with Private Service Connect do Google's APIs have addresses that a rule can name; and
    with Cloud NAT, the internet is wanted.
    """
    wanted = settings.network
    if wanted.nat or not wanted.private_connect:
        return None
    services = {"services": (wanted.services_cidr,)} if settings.database.enabled else {}
    return {
        "network": (wanted.cidr,),
        **services,
        "google": (f"{wanted.api_address}/32", *GOOGLE),
    }

"""Who may talk to whom in a network: nobody, except those who are named here.

What is refused is logged. With `egress` there is also a list of where traffic may go, and nothing
else leaves: a workload that was taken over can then send what it reads nowhere.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
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
LAST: Final = 65_534
"""The priority of what denies: after every other rule, before Google's own two at 65535."""
ANYWHERE: Final = "0.0.0.0/0"


@dataclass(frozen=True, kw_only=True)
class FirewallArgs:
    """What a firewall needs.

    Raises:
        InvalidArgs: at construction, when where traffic may go is no range of addresses, or
            everywhere.
    """

    network: pulumi.Input[str]
    egress: Mapping[str, Sequence[str]] | None = None
    """Where traffic may go: ranges, by what is there. Everywhere when not given. The network's own
    range has to be among them where its instances talk to each other."""

    def __post_init__(self) -> None:
        for where, ranges in (self.egress or {}).items():
            checks.matches("Firewall", "egress", where, checks.SERVICE)
            for cidr in ranges:
                _narrow(where, cidr)


class Firewall(pulumi.ComponentResource):
    """Rules `<name>-...` of one network."""

    rules: list[gcp.compute.Firewall]

    def __init__(
        self, name: str, *, args: FirewallArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("esteira:firewall:Firewall", name, {}, opts)
        everything = [gcp.compute.FirewallDenyArgs(protocol="all")]
        logged = gcp.compute.FirewallLogConfigArgs(metadata="INCLUDE_ALL_METADATA")
        self.rules = [
            gcp.compute.Firewall(
                f"{name}-dataflow",
                name=f"{name}-dataflow",
                network=args.network,
                description="Dataflow workers exchange data with each other",
                direction="INGRESS",
                allows=[gcp.compute.FirewallAllowArgs(protocol="tcp", ports=DATAFLOW_PORTS)],
                source_tags=[DATAFLOW_TAG],
                target_tags=[DATAFLOW_TAG],
                opts=child_opts(self),
            ),
            gcp.compute.Firewall(
                f"{name}-deny-ingress",
                name=f"{name}-deny-ingress",
                network=args.network,
                description="Nothing else comes in",
                direction="INGRESS",
                priority=LAST,
                denies=everything,
                source_ranges=[ANYWHERE],
                log_config=logged,
                opts=child_opts(self),
            ),
        ]
        for where, ranges in (args.egress or {}).items():
            self.rules.append(
                gcp.compute.Firewall(
                    f"{name}-to-{where}",
                    name=f"{name}-to-{where}",
                    network=args.network,
                    description=f"Traffic may go to {where}",
                    direction="EGRESS",
                    allows=[gcp.compute.FirewallAllowArgs(protocol="all")],
                    destination_ranges=list(ranges),
                    opts=child_opts(self),
                )
            )
        if args.egress is not None:
            self.rules.append(
                gcp.compute.Firewall(
                    f"{name}-deny-egress",
                    name=f"{name}-deny-egress",
                    network=args.network,
                    description="Nothing else leaves",
                    direction="EGRESS",
                    priority=LAST,
                    denies=everything,
                    destination_ranges=[ANYWHERE],
                    log_config=logged,
                    # A rule that allows has to be there before the one that denies the rest.
                    opts=child_opts(self, depends_on=list(self.rules)),
                )
            )
        self.register_outputs({"rules": [rule.name for rule in self.rules]})


def _narrow(where: str, cidr: str) -> None:
    allowed = "an IPv4 range, e.g. `10.64.0.0/20`; leave `egress` out to let traffic go everywhere"
    try:
        network = ipaddress.IPv4Network(cidr)
    except ValueError as error:
        raise checks.InvalidArgs("Firewall", f"egress[{where!r}]", cidr, allowed) from error
    if network.prefixlen == 0:
        raise checks.InvalidArgs("Firewall", f"egress[{where!r}]", cidr, allowed)

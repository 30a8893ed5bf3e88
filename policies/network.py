"""Networks, subnetworks and firewall rules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from policies import dataflow
from policies.checks import ANYWHERE, at, each, for_types, is_true, shown, texts
from policies.rule import Level, Resource, Rule, Severity

NETWORK: Final = "gcp:compute/network:Network"
SUBNETWORK: Final = "gcp:compute/subnetwork:Subnetwork"
FIREWALL: Final = "gcp:compute/firewall:Firewall"
PROJECT: Final = "gcp:organizations/project:Project"
ADMINISTRATION: Final = {22: "SSH", 3389: "RDP"}
PLAIN: Final = (None, "", "PRIVATE", "PRIVATE_RFC_1918")
"""Purposes of a subnetwork that holds machines."""


def _no_open_administration(resource: Resource) -> Iterator[str]:
    open_ports = {
        port
        for _, allowed in each(resource.props, "allows.*")
        for port in ADMINISTRATION
        if _lets_in(allowed, port)
    }
    if open_ports and _from_anywhere(resource):
        for port in sorted(open_ports):
            yield f"lets {ADMINISTRATION[port]} (port {port}) in from anywhere"


def _lets_in(allowed: Any, port: int) -> bool:
    if str(at(allowed, "protocol")).lower() not in ("all", "tcp", "6"):
        return False
    ports = texts(at(allowed, "ports"))
    # Without ports, all of the protocol's are meant.
    return not ports or any(_within(port, one) for one in ports)


def _within(port: int, ports: str) -> bool:
    first, _, last = ports.partition("-")
    return int(first) <= port <= int(last or first)


def _from_anywhere(resource: Resource) -> bool:
    ranges = texts(resource.props.get("sourceRanges"))
    if ranges:
        return any(one in ANYWHERE for one in ranges)
    # With no source at all, Google takes every address.
    return not (
        texts(resource.props.get("sourceTags"))
        or texts(resource.props.get("sourceServiceAccounts"))
    )


def _not_inward(resource: Resource) -> str | None:
    if at(resource.props, "direction") == "EGRESS":
        return "lets nothing in"
    return "switched off" if at(resource.props, "disabled") is True else None


def _no_machines(resource: Resource) -> str | None:
    purpose = at(resource.props, "purpose")
    return None if purpose in PLAIN else f"{purpose} holds no machines"


def _flow_logs(resource: Resource) -> Iterator[str]:
    if "logConfig" not in resource.props.keys():  # noqa: SIM118 - an empty one means Google's own
        yield "`logConfig` is not set"


def _own_subnetworks(resource: Resource) -> Iterator[str]:
    if at(resource.props, "name") == "default":
        yield "`name` is `default`"
    automatic = at(resource.props, "autoCreateSubnetworks")
    if automatic is not False:
        yield f"`autoCreateSubnetworks` is {shown(automatic)}; it has to be false"


def _no_default_made(resource: Resource) -> Iterator[str]:
    if at(resource.props, "autoCreateNetwork") is not False:
        yield "`autoCreateNetwork` is not false: the project gets a default network"


def _in_own_network(resource: Resource) -> Iterator[str]:
    network = at(resource.props, "network")
    if network in (None, "", "default") and not at(resource.props, "subnetwork"):
        yield "neither `subnetwork` nor `network` is set: workers run in the default network"


RULES: Final = (
    Rule(
        name="firewall-no-open-administration",
        description="No firewall rule lets SSH or RDP in from anywhere.",
        remedy="Narrow `sourceRanges`; 35.235.240.0/20 is Identity-Aware Proxy.",
        references=("CIS 3.6", "CIS 3.7", "CKV_GCP_2", "CKV_GCP_3"),
        level=Level.MANDATORY,
        severity=Severity.CRITICAL,
        types=(FIREWALL,),
        checks=(_no_open_administration,),
        spared=_not_inward,
    ),
    Rule(
        name="subnetwork-flow-logs",
        description="A subnetwork logs its flows.",
        remedy="Set `logConfig`.",
        references=("CIS 3.8", "CKV_GCP_26"),
        level=Level.MANDATORY,
        severity=Severity.MEDIUM,
        types=(SUBNETWORK,),
        checks=(_flow_logs,),
        spared=_no_machines,
    ),
    Rule(
        name="subnetwork-private-access",
        description="Machines without a public address reach Google's APIs.",
        remedy="Set `privateIpGoogleAccess` to true.",
        references=("CKV_GCP_74",),
        level=Level.MANDATORY,
        severity=Severity.MEDIUM,
        types=(SUBNETWORK,),
        checks=(is_true("privateIpGoogleAccess"),),
        spared=_no_machines,
    ),
    Rule(
        name="no-default-network",
        description="Nothing runs in a default network, whose firewall is open.",
        remedy="Make a network without automatic subnetworks (setting `network.private`).",
        references=("CIS 3.1",),
        level=Level.IN_PROD,
        severity=Severity.HIGH,
        types=(NETWORK, PROJECT, dataflow.FLEX_JOB, dataflow.JOB),
        checks=(
            for_types((NETWORK,), _own_subnetworks),
            for_types((PROJECT,), _no_default_made),
            for_types((dataflow.FLEX_JOB, dataflow.JOB), _in_own_network),
        ),
    ),
)

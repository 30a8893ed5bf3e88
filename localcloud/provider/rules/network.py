"""What the compute API wants of networks beyond the spelling of single values."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from localcloud.provider.check import Failure, dotted
from localcloud.provider.rules.given import Given, possible, present

_PORTS: Final = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?")
_PROTOCOLS: Final = frozenset({"tcp", "udp", "icmp", "esp", "ah", "sctp", "ipip", "all"})
_WITH_PORTS: Final = frozenset({"tcp", "udp", "sctp", "6", "17", "132"})
_TOP: Final = 65535
_LONGEST_PREFIX: Final = 29
_DYNAMIC_LEAST: Final = 32


def _firewall(given: Given) -> Iterator[Failure]:
    """cloud.google.com/firewall/docs/firewalls; sources as pulumi-gcp's own check of them."""
    sources = ("sourceRanges", "sourceTags", "sourceServiceAccounts")
    if given.values.get("direction", "INGRESS") in ("INGRESS", "") and not any(
        possible(given.values, name) for name in sources
    ):
        yield Failure("sourceRanges", f"missing; INGRESS needs one of {', '.join(sources)}")
    for kind in ("allows", "denies"):
        for where, rule in given.at(f"{kind}[]"):
            if isinstance(rule, Mapping):
                yield from _rule(given, where, rule)


def _rule(given: Given, where: tuple[str | int, ...], rule: Mapping[str, Any]) -> Iterator[Failure]:
    protocol = rule.get("protocol")
    if not isinstance(protocol, str):
        return
    number = protocol.isdecimal() and int(protocol) <= 255
    if not number and protocol.lower() not in _PROTOCOLS:
        yield given.refuse(
            (*where, "protocol"), protocol,
            f"is no protocol; give one of {', '.join(sorted(_PROTOCOLS))} or a number to 255",
        )  # fmt: skip
    elif present(rule, "ports") and protocol.lower() not in _WITH_PORTS:
        yield Failure(
            dotted((*where, "ports")), f"{protocol} has no ports; leave them out or use tcp or udp"
        )
    ports = rule.get("ports")
    for index, port in enumerate(ports if isinstance(ports, list) else ()):
        found = _PORTS.fullmatch(port) if isinstance(port, str) else None
        if isinstance(port, str) and (
            found is None or not 0 <= int(found[1]) <= int(found[2] or found[1]) <= _TOP
        ):
            yield given.refuse(
                (*where, "ports", index), port, "is no port; write 443 or 8000-8080, up to 65535"
            )


def _nat(given: Given) -> Iterator[Failure]:
    """Docstrings of RouterNat and mmv1/products/compute/RouterNat.yaml of magic-modules."""
    values = given.values
    option = values.get("natIpAllocateOption")
    if option == "AUTO_ONLY":
        for name in ("natIps", "initialNatIps"):
            if present(values, name):
                yield Failure(name, "only allowed with natIpAllocateOption 'MANUAL_ONLY'")
    if option == "MANUAL_ONLY" and not any(
        possible(values, name) for name in ("natIps", "initialNatIps")
    ):
        yield Failure("natIps", "missing; natIpAllocateOption 'MANUAL_ONLY' needs the addresses")
    subnetworks = values.get("sourceSubnetworkIpRangesToNat")
    if subnetworks == "LIST_OF_SUBNETWORKS" and not possible(values, "subnetworks"):
        yield Failure("subnetworks", "missing; 'LIST_OF_SUBNETWORKS' needs the list")
    everything = isinstance(subnetworks, str) and subnetworks.startswith("ALL_")
    if everything and present(values, "subnetworks"):
        yield Failure(
            "subnetworks", "only allowed with sourceSubnetworkIpRangesToNat 'LIST_OF_SUBNETWORKS'"
        )
    if present(values, "maxPortsPerVm") and values.get("enableDynamicPortAllocation") in (
        None, False,
    ):  # fmt: skip
        yield Failure("maxPortsPerVm", "only allowed with enableDynamicPortAllocation")
    if values.get("enableDynamicPortAllocation") is True:
        for name in ("minPortsPerVm", "maxPortsPerVm"):
            ports = given.one(name)
            if isinstance(ports, int) and (ports < _DYNAMIC_LEAST or ports & (ports - 1)):
                yield given.refuse(
                    (name,), ports,
                    "must be a power of two, at least 32, with enableDynamicPortAllocation",
                )  # fmt: skip


def _subnetwork(given: Given) -> Iterator[Failure]:
    """Docstrings of Subnetwork; cloud.google.com/vpc/docs/subnets#valid-ranges."""
    values = given.values
    purpose = values.get("purpose")
    if not any(
        possible(values, name)
        for name in ("ipCidrRange", "reservedInternalRange", "ipCollection")
    ) and values.get("stackType") != "IPV6_ONLY":  # fmt: skip
        yield Failure("ipCidrRange", "missing; give it, or reservedInternalRange")
    for path in ("ipCidrRange", "secondaryIpRanges[].ipCidrRange"):
        for where, text in given.at(path):
            try:
                network = ipaddress.ip_network(str(text), strict=False)
            except ValueError:
                continue
            if network.version != 4 or network.prefixlen > _LONGEST_PREFIX:
                yield given.refuse(where, text, "must be an IPv4 range of /29 or larger")
            elif str(network.network_address) != str(text).partition("/")[0]:
                yield given.refuse(where, text, f"has host bits set; write {network}")
    if purpose == "REGIONAL_MANAGED_PROXY" and not possible(values, "role"):
        yield Failure("role", "missing; REGIONAL_MANAGED_PROXY needs 'ACTIVE' or 'BACKUP'")
    if isinstance(purpose, str) and purpose.endswith("_MANAGED_PROXY") and present(
        values, "logConfig"
    ):  # fmt: skip
        yield Failure("logConfig", f"not supported with purpose {purpose!r}")


def _global_address(given: Given) -> Iterator[Failure]:
    """cloud.google.com/vpc/docs/configure-private-services-access."""
    values = given.values
    if values.get("purpose") != "VPC_PEERING":
        return
    if values.get("addressType", "EXTERNAL") == "EXTERNAL":
        yield Failure("addressType", "VPC_PEERING needs 'INTERNAL'")
    for name in ("network", "prefixLength"):
        if not possible(values, name):
            yield Failure(name, "missing; VPC_PEERING needs it")


def _address(given: Given) -> Iterator[Failure]:
    text = given.one("address")
    try:
        ipaddress.ip_address(text if isinstance(text, str) and text else "0.0.0.0")  # noqa: S104
    except ValueError:
        yield given.refuse(("address",), text, "is no IP address")


def _record(given: Given) -> Iterator[Failure]:
    """cloud.google.com/dns/docs/records-overview: A and AAAA hold addresses."""
    version = {"A": 4, "AAAA": 6}.get(str(given.values.get("type")))
    for where, text in given.at("rrdatas[]"):
        if version is None:
            return
        try:
            fits = ipaddress.ip_address(str(text)).version == version
        except ValueError:
            fits = False
        if not fits:
            yield given.refuse(where, text, f"is no IPv{version} address")


JUDGES: Final[dict[str, Callable[[Given], Iterator[Failure]]]] = {
    "gcp:compute/firewall:Firewall": _firewall,
    "gcp:compute/routerNat:RouterNat": _nat,
    "gcp:compute/subnetwork:Subnetwork": _subnetwork,
    "gcp:compute/globalAddress:GlobalAddress": _global_address,
    "gcp:compute/address:Address": _address,
    "gcp:dns/recordSet:RecordSet": _record,
}

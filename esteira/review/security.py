"""What a change makes wider or narrower: who may do what, who can reach what, and what protects."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from esteira.review import grants
from esteira.review.grants import text
from esteira.review.plan import Change, Kind, Resource
from esteira.review.protections import Area, Direction, judge
from esteira.review.values import shown
from localcloud.provider.values import UNKNOWN


@dataclass(frozen=True, kw_only=True)
class SecurityChange:
    """One thing that a security reviewer has to see."""

    direction: Direction
    area: Area
    resource: Resource
    what: str
    loud: bool = False
    """Whether it opens something to everyone, or a whole project."""


_ANYWHERE: Final = ("0.0.0.0/0", "::/0")


def changes(plan: Iterable[Change]) -> tuple[SecurityChange, ...]:
    """What the changes of a plan make wider, different and narrower, in that order."""
    planned = tuple(plan)
    found = [*_grants(planned)]
    for one in planned:
        if not grants.is_grant(one.resource.type):
            found += _whole(one)
            found += _properties(one)
    ranks = {direction: rank for rank, direction in enumerate(Direction)}
    areas = {area: rank for rank, area in enumerate(Area)}
    return tuple(
        sorted(
            found,
            key=lambda one: (
                ranks[one.direction],
                not one.loud,
                areas[one.area],
                one.resource.urn,
                one.what,
            ),
        )
    )


# --- who may do what -------------------------------------------------------------------------


def _grants(plan: Iterable[Change]) -> Iterator[SecurityChange]:
    """Grants given and taken. One that only moves to another name in the program is neither."""
    given: dict[grants.Grant, Resource] = {}
    taken: dict[grants.Grant, Resource] = {}
    for one in plan:
        given |= dict.fromkeys(grants.of(one.new), one.resource)
        taken |= dict.fromkeys(grants.of(one.old), one.resource)
    for sign, direction, word in (
        (given, Direction.WIDER, "gets"),
        (taken, Direction.NARROWER, "loses"),
    ):
        other = taken if sign is given else given
        for grant in sorted(sign.keys() - other.keys()):
            resource = sign[grant]
            project = grant.to_a_project or resource.type.startswith(
                ("gcp:projects/", "gcp:folder/", "gcp:organizations/")
            )
            yield SecurityChange(
                direction=direction,
                area=Area.PUBLIC if grant.to_everyone else Area.IAM,
                resource=resource,
                what=f"{grant.member} {word} {grant.role} on {grant.where}{grant.condition}",
                loud=direction is Direction.WIDER and (grant.to_everyone or project),
            )


# --- resources that are security as a whole -----------------------------------------------------


def _whole(change: Change) -> Iterator[SecurityChange]:
    one = change.resource
    come, gone = change.old is None, change.new is None
    if one.type == "gcp:serviceaccount/key:Key" and not gone:
        yield _said(
            change, Direction.WIDER, Area.IDENTITY, "a key that anyone can carry away", True
        )
    elif one.type == "gcp:serviceaccount/account:Account" and (come or gone):
        word = "a new identity" if come else "an identity goes"
        yield _said(change, Direction.CHANGED, Area.IDENTITY, f"{word}: {_account(one)}")
    elif one.type == "gcp:compute/firewall:Firewall":
        yield from _firewall(change)
    elif one.type == "gcp:kms/cryptoKey:CryptoKey" and gone:
        what = "the key goes; what it encrypts cannot be read any more"
        yield _said(change, Direction.CHANGED, Area.ENCRYPTION, what, True)
    elif one.type in _GUARDS and (come or gone):
        direction = Direction.NARROWER if come else Direction.WIDER
        word = "is put up" if come else "is taken down"
        yield _said(change, direction, _GUARDS[one.type][0], f"{_GUARDS[one.type][1]} {word}", gone)
    elif one.type in _DOORS and (come or gone):
        direction = Direction.WIDER if come else Direction.NARROWER
        word = "opens" if come else "closes"
        yield _said(change, direction, Area.NETWORK, f"{_DOORS[one.type]} {word}")
    if change.kind is not Kind.DELETE and come:
        yield from _exposed(change)


_GUARDS: Final = {
    "gcp:accesscontextmanager/servicePerimeter:ServicePerimeter": (Area.NETWORK, "a perimeter"),
    "gcp:orgpolicy/policy:Policy": (Area.NETWORK, "an organisation policy"),
    "gcp:projects/organizationPolicy:OrganizationPolicy": (Area.NETWORK, "an organisation policy"),
    "gcp:projects/iAMAuditConfig:IAMAuditConfig": (Area.IAM, "the audit log of data access"),
}
_DOORS: Final = {
    "gcp:compute/routerNat:RouterNat": "a way out to the internet (Cloud NAT)",
    "gcp:compute/networkPeering:NetworkPeering": "a peering with another network",
    "gcp:servicenetworking/connection:Connection": "a peering with Google's service network",
    "gcp:compute/vPNTunnel:VPNTunnel": "a VPN tunnel",
    "gcp:apigateway/gateway:Gateway": "a public API gateway",
    "gcp:iam/workloadIdentityPoolProvider:WorkloadIdentityPoolProvider": (
        "a way in for identities of another provider"
    ),
}


def _account(one: Resource) -> str:
    return text(one.inputs.get("accountId", one.name))


def _firewall(change: Change) -> Iterator[SecurityChange]:
    one = change.resource
    before = _opened_by(change.old) if change.old else set[str]()
    after = _opened_by(change.new) if change.new else set[str]()
    denied = _denied_by(change.old) if change.old else set[str]()
    denies = _denied_by(change.new) if change.new else set[str]()
    for more, direction, word in (
        (after - before, Direction.WIDER, "lets in"),
        (before - after, Direction.NARROWER, "no longer lets in"),
        (denied - denies, Direction.WIDER, "no longer denies"),
        (denies - denied, Direction.NARROWER, "denies"),
    ):
        if more:
            loud = direction is Direction.WIDER and any(
                anywhere in rule for rule in more for anywhere in _ANYWHERE
            )
            what = f"{word} {'; '.join(sorted(more))}"
            yield SecurityChange(
                direction=direction, area=Area.NETWORK, resource=one, what=what, loud=loud
            )


def _opened_by(resource: Resource) -> set[str]:
    return _rules(resource, "allows")


def _denied_by(resource: Resource) -> set[str]:
    return _rules(resource, "denies")


def _rules(resource: Resource, kind: str) -> set[str]:
    inputs = resource.inputs
    rules = inputs.get(kind)
    if inputs.get("disabled") is True or not isinstance(rules, list):
        return set()
    outward = inputs.get("direction") == "EGRESS"
    ranges = inputs.get("destinationRanges" if outward else "sourceRanges")
    others = [*_strings(inputs.get("sourceTags")), *_strings(inputs.get("sourceServiceAccounts"))]
    ends = _strings(ranges) or others or ["0.0.0.0/0"]
    return {
        f"{'to' if outward else 'from'} {end} {_protocol(rule)}" for rule in rules for end in ends
    }


def _protocol(rule: Any) -> str:
    if not isinstance(rule, Mapping):
        return shown(rule)
    ports = ",".join(_strings(rule.get("ports")))
    return f"{text(rule.get('protocol'))}{':' + ports if ports else ''}"


def _strings(value: Any) -> list[str]:
    return [text(one) for one in value] if isinstance(value, list) else []


# --- properties that open, close or protect ------------------------------------------------------


def _properties(change: Change) -> Iterator[SecurityChange]:
    if change.old is None or change.new is None:
        return
    for one in change.differences:
        if one.moved:
            old, new = UNKNOWN, f"(from {', '.join(one.moved)})"
        else:
            old, new = one.old, one.new
        for path, before, after in _leaves(one.path, old, new):
            if found := judge(path, before, after):
                loud = found == (Direction.WIDER, Area.PUBLIC)
                yield _said(change, *found, f"{path}: {_side(before)} → {_side(after)}", loud)


def _leaves(path: str, old: Any, new: Any) -> Iterator[tuple[str, Any, Any]]:
    """What lies inside of an object that comes or goes as a whole."""
    inside = old if new is None else new if old is None else None
    if isinstance(inside, Mapping):
        for key, value in inside.items():
            yield from _leaves(f"{path}.{key}", value if new is None else None,
                               None if new is None else value)  # fmt: skip
    else:
        yield path, old, new


def _side(value: Any) -> str:
    return "not set" if value is None else text(value)


def _exposed(change: Change) -> Iterator[SecurityChange]:
    """What a new resource opens from the start."""
    assert change.new is not None
    inputs = change.new.inputs
    if inputs.get("ingress") == "INGRESS_TRAFFIC_ALL":
        yield _said(change, Direction.WIDER, Area.PUBLIC, "reached from the whole internet", True)
    if str(inputs.get("loadBalancingScheme")).startswith("EXTERNAL") and _is_forwarding(change.new):
        yield _said(change, Direction.WIDER, Area.PUBLIC, "an address on the whole internet", True)
    if inputs.get("invokerIamDisabled") is True:
        yield _said(change, Direction.WIDER, Area.PUBLIC, "called without any permission", True)
    ip = (inputs.get("settings") or {}).get("ipConfiguration") or {}
    if isinstance(ip, Mapping) and ip.get("ipv4Enabled") is True:
        yield _said(change, Direction.WIDER, Area.PUBLIC, "has a public address", True)


def _is_forwarding(resource: Resource) -> bool:
    return resource.type.endswith("ForwardingRule")


def _said(
    change: Change, direction: Direction, area: Area, what: str, loud: bool = False
) -> SecurityChange:
    return SecurityChange(
        direction=direction, area=area, resource=change.resource, what=what, loud=loud
    )

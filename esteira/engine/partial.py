"""What of a stack can be destroyed while some of its components stay."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

_ROOT: Final = "pulumi:pulumi:Stack"


def destroyable(deployment: Mapping[str, Any], kept: Collection[str]) -> list[str]:
    """The resources that go when components of these types stay, as Pulumi names them.

    What lies in a component that stays also stays, and all that it needs: what it is made with,
    what it waits for, and what it is a part of. Whatever stays needs the stack itself.

    Args:
        deployment: The stack's state, as Pulumi exports it.
        kept: Types of components, `esteira:module:Class`.
    """
    resources: dict[str, Mapping[str, Any]] = {
        one["urn"]: one for one in deployment.get("resources", ())
    }
    inside = set[str]()
    # A state lists what a resource is a part of before the resource.
    for urn, one in resources.items():
        if one["type"] in kept or one.get("parent") in inside:
            inside.add(urn)
    stay = set[str]()
    waiting = list(inside)
    while waiting:
        urn = waiting.pop()
        if urn not in stay and urn in resources:
            stay.add(urn)
            waiting += _needs(resources[urn])
    return [
        urn
        for urn, one in resources.items()
        if urn not in stay and not (stay and one["type"] == _ROOT)
    ]


def _needs(resource: Mapping[str, Any]) -> Iterator[str]:
    if parent := resource.get("parent"):
        yield parent
    if provider := resource.get("provider"):
        # `urn::id`, of which the id is the last part.
        yield provider.rpartition("::")[0]
    yield from resource.get("dependencies", ())
    for urns in (resource.get("propertyDependencies") or {}).values():
        yield from urns or ()

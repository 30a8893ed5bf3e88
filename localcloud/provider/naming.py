"""Names for resources that the program leaves unnamed, as the real providers make them.

pulumi-gcp appends a hyphen and seven hexadecimal digits to the resource's name in the program,
pulumi-kubernetes eight. The digits come from the engine's seed, and a resource keeps the name that
it was given for as long as it is not replaced.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Mapping
from typing import Any, Final, Literal

from localcloud.provider.check import DEFAULTS, Failure
from localcloud.provider.schema import Resource
from localcloud.provider.values import Secret

type Mode = Literal["propose", "enforce", "disable"]

GCP_DIGITS: Final = 7
KUBERNETES_DIGITS: Final = 8
# Limits that pulumi-gcp sets where Google's own is below its usual 255.
_LONGEST: Final = {
    "gcp:storage/bucket:Bucket": 63,
    "gcp:compute/network:Network": 63,
    "gcp:compute/subnetwork:Subnetwork": 63,
    "gcp:container/cluster:Cluster": 40,
    "gcp:cloudrunv2/service:Service": 49,
    "gcp:cloudrunv2/job:Job": 63,
}
_USUAL: Final = 255
_LOWER_CASE: Final = frozenset({"gcp:storage/bucket:Bucket"})


def autoname(
    resource: Resource,
    inputs: dict[str, Any],
    *,
    name: str,
    olds: Mapping[str, Any] | None,
    seed: bytes,
    proposed: tuple[str, Mode] | None = None,
) -> list[Failure]:
    """Fill `name` in place where the program left it out and the type takes one.

    Args:
        resource: its schema.
        inputs: the new inputs.
        name: the resource's name in the program.
        olds: the inputs of the last deployment, if there was one.
        seed: the engine's random bytes for this resource.
        proposed: what the project's `pulumi:autonaming` asks for.
    """
    inputs.pop(DEFAULTS, None)
    known = resource.inputs.get("name")
    if known is None or known.required or known.shape.kind != "string":
        return []
    if "name" in inputs:
        return []
    if re.search(r"I(?:AM|am)(?:Member|Binding|Policy)$", resource.token):
        # Here `name` names the resource that the grant is on.
        return [Failure("name", "missing required property; it names what the role is granted on")]
    if olds and "name" in olds and "name" in olds.get(DEFAULTS, []):
        inputs["name"] = olds["name"]
    elif proposed and proposed[1] == "disable":
        return [Failure("name", "missing; automatic naming is switched off in this project")]
    elif proposed and proposed[1] == "enforce":
        inputs["name"] = proposed[0]
    else:
        longest = _LONGEST.get(resource.token, _USUAL)
        made = unique(name, seed, GCP_DIGITS, longest)
        inputs["name"] = made.lower() if resource.token in _LOWER_CASE else made
    inputs[DEFAULTS] = ["name"]
    return []


def unique(name: str, seed: bytes, digits: int, longest: int) -> str:
    """`name-` and hexadecimal digits from the seed, no longer than `longest` characters."""
    random = hashlib.sha256(seed).hexdigest() if seed else secrets.token_hex(32)
    return f"{name[: longest - digits - 1]}-{random[:digits]}"


def was_autonamed(inputs: Mapping[str, Any]) -> bool:
    """Whether the provider chose the name."""
    filled = inputs.get(DEFAULTS, [])
    return "name" in (filled.value if isinstance(filled, Secret) else filled)

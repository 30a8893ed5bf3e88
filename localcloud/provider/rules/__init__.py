"""Rules of Google that the SDK's types do not carry, checked before anything is made.

Each is what Google's API or pulumi-gcp itself enforces; a name that Google would refuse after
minutes of deployment is refused in the preview. Where they come from:

- `documented`: docstrings of the SDK in their fixed wordings (ranges, lengths, exclusions);
- `listed`: enumerations of Google's discovery documents;
- `names`, `exclusions`, `ranges`: tables, each entry with its source;
- `forms`: what looks the same everywhere (keys, principals, labels, addresses, schedules);
- `network`, `data`, `guards`, `serving`, `operations`, `kubernetes`: what takes more than a table.

What is unknown passes, and what is secret is never shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from localcloud.provider.check import Failure
from localcloud.provider.rules import (
    data,
    documented,
    exclusions,
    forms,
    guards,
    kubernetes,
    listed,
    names,
    network,
    operations,
    ranges,
    serving,
)
from localcloud.provider.rules.given import Given
from localcloud.provider.schema import Resource
from localcloud.provider.values import Path

_JUDGES: Final = network.JUDGES | data.JUDGES | guards.JUDGES | serving.JUDGES | operations.JUDGES


def judge(
    resource: Resource, inputs: Mapping[str, Any], hidden: Iterable[Path] = ()
) -> list[Failure]:
    """What Google would refuse in these inputs.

    Args:
        resource: the schema that the inputs passed.
        inputs: plain values; unknown ones pass.
        hidden: the paths whose values are secret.
    """
    own = {name: value for name, value in inputs.items() if not name.startswith("__")}
    given = Given(resource.token, own, frozenset(hidden))
    if resource.package == "kubernetes":
        return list(kubernetes.judge(given))
    found = [
        *names.judge(given),
        *forms.judge(given),
        *exclusions.judge(given),
        *ranges.judge(given),
        *listed.judge(given),
        *documented.judge(resource, given),
        *(_JUDGES[given.token](given) if given.token in _JUDGES else ()),
    ]
    # A table and a docstring may say the same; the first to name a property speaks.
    return list({failure.property: failure for failure in reversed(found)}.values())[::-1]

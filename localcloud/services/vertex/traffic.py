"""The split of an endpoint's traffic over its deployed models."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping
from typing import Final

from localcloud.rest.errors import InvalidArgument

# In a deployment request this key stands for the model being deployed, which has no id yet.
NEW_MODEL: Final = "0"


def check(split: Mapping[str, int], deployed: Collection[str]) -> None:
    """
    Raises:
        InvalidArgument: a key is no deployed model, a share is negative, or the sum is not 100.
    """
    if not split:
        return
    unknown = sorted(set(split) - set(deployed))
    if unknown:
        known = ", ".join(sorted(deployed)) or "none"
        raise InvalidArgument(
            f"traffic_split names {', '.join(unknown)}, which the Endpoint has not deployed; "
            f"deployed model ids: {known}."
        )
    negative = {key: share for key, share in split.items() if share < 0}
    if negative:
        raise InvalidArgument(f"Shares of traffic_split must be from 0 to 100, got {negative}.")
    if sum(split.values()) != 100:
        raise InvalidArgument(
            f"The values of traffic_split must sum to 100, got {sum(split.values())}: "
            f"{dict(split)}."
        )


def choose(split: Mapping[str, int]) -> str | None:
    """A deployed model id drawn by its share; None when nobody has any."""
    ids = [key for key, share in split.items() if share > 0]
    if len(ids) <= 1:
        return ids[0] if ids else None
    return random.choices(ids, [split[key] for key in ids])[0]

"""Pulumi's shapes of a resource to those of Google's APIs, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from localcloud.provider.configuration import ATTRIBUTION


def short(name: Any) -> str:
    """`orders` of `projects/p/topics/orders`."""
    return str(name).rpartition("/")[2]


def full(collection: str, name: Any, project: Any) -> str:
    """`projects/p/topics/orders` of `orders`; a full name stays as it is."""
    return str(name) if "/" in str(name) else f"projects/{project}/{collection}/{name}"


def project_of(name: str) -> str:
    """`p` of `projects/p/topics/orders`."""
    return name.split("/")[1]


def labels_seen(actual: Mapping[str, str], state: Mapping[str, Any]) -> dict[str, Any]:
    """Label outputs: what the service holds, and of it what the program asked for."""
    effective = dict(actual)
    if not state:
        return {
            "labels": {k: v for k, v in effective.items() if k not in ATTRIBUTION} or None,
            "effectiveLabels": effective,
            "pulumiLabels": effective,
        }
    own = {key: effective[key] for key in state.get("labels") or {} if key in effective}
    given = {key: effective[key] for key in state.get("pulumiLabels") or {} if key in effective}
    return {
        "labels": own if own or "labels" in state else None,
        "effectiveLabels": effective,
        "pulumiLabels": given,
    }


def taken(properties: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """The named properties that are there, under their own names."""
    return {name: properties[name] for name in names if properties.get(name) is not None}


def without_empty(value: Any) -> Any:
    """The value with empty strings left out of its maps: unset, as pulumi-gcp reads them."""
    if isinstance(value, Mapping):
        return {key: without_empty(item) for key, item in value.items() if item != ""}
    return [without_empty(item) for item in value] if isinstance(value, list) else value

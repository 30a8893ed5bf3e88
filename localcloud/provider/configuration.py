"""What a provider instance was configured with: project, region, default labels."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from localcloud.provider.check import Failure, check_fields
from localcloud.provider.schema import Shape, provider_inputs

ATTRIBUTION: Final = {"goog-pulumi-provisioned": "true"}
"""The label that pulumi-gcp adds unless `addPulumiAttributionLabel` is false."""

# Given to every provider by the engine or the SDK, and in no schema.
_PROTOCOL: Final = {"version", "pluginDownloadURL", "__internal"}


@dataclass(frozen=True)
class Configuration:
    """One provider instance's settings; `project` is None where none was given."""

    package: str = "gcp"
    project: str | None = None
    region: str | None = None
    zone: str | None = None
    namespace: str | None = None
    labels: dict[str, str] = field(default_factory=dict)
    """What every resource that takes labels gets, the attribution label included."""


def configuration(
    package: str,
    values: Mapping[str, Any],
    *,
    project: str | None = None,
    region: str | None = None,
) -> Configuration:
    """The configuration from checked values (plain), with what the local cloud falls back to."""
    values = parsed(package, values)
    labels = {str(k): str(v) for k, v in (values.get("defaultLabels") or {}).items()}
    if values.get("addPulumiAttributionLabel", True):
        labels = {**ATTRIBUTION, **labels}
    environment = os.environ.get
    return Configuration(
        package=package,
        project=values.get("project") or environment("GOOGLE_CLOUD_PROJECT") or project,
        region=values.get("region") or environment("GOOGLE_REGION") or region,
        zone=values.get("zone") or environment("GOOGLE_ZONE"),
        namespace=values.get("namespace"),
        labels=labels if package == "gcp" else {},
    )


def check_configuration(package: str, values: Mapping[str, Any]) -> list[Failure]:
    """What is wrong with a provider's configuration."""
    allowed = provider_inputs(package)
    own = {key: value for key, value in values.items() if key not in _PROTOCOL}
    _, failures = check_fields(allowed, parsed(package, own))
    return failures


def parsed(package: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values with what the engine passes as JSON text read as what it is."""
    allowed = provider_inputs(package)

    def read(name: str, value: Any) -> Any:
        shape = allowed[name].shape if name in allowed else Shape("any")
        if isinstance(value, str) and shape.kind in ("object", "map", "array", "boolean"):
            try:
                return json.loads(value)
            except ValueError:
                return value
        return value

    return {name: read(name, value) for name, value in values.items()}

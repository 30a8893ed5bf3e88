"""The properties that a resource will have: inputs, with the provider's defaults filled in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from localcloud.provider.configuration import ATTRIBUTION, Configuration
from localcloud.provider.schema import Property, Resource
from localcloud.provider.values import UNKNOWN

# terraform-provider-google: these default to true in the state, and a destroy then fails.
PROTECTED: Final = {
    "gcp:bigquery/table:Table",
    "gcp:cloudrunv2/job:Job",
    "gcp:cloudrunv2/service:Service",
    "gcp:cloudrunv2/workerPool:WorkerPool",
    "gcp:container/cluster:Cluster",
    "gcp:sql/databaseInstance:DatabaseInstance",
    "gcp:alloydb/cluster:Cluster",
}
# Where a location left out is not the provider's region.
_LOCATIONS: Final = {"bigquery": "US"}
_WHEREABOUTS: Final = ("project", "region", "zone", "location")


def planned(
    resource: Resource, inputs: Mapping[str, Any], configuration: Configuration
) -> dict[str, Any]:
    """Inputs (plain values) with project, location, labels and documented defaults."""
    properties = {key: value for key, value in inputs.items() if not key.startswith("__")}
    if resource.package != "gcp":
        return properties
    properties |= {
        name: value
        for name, value in whereabouts(resource, configuration).items()
        if name not in properties and value is not None
    }
    for name, known in resource.inputs.items():
        if name not in properties and known.default is not None:
            default = _default(known)
            if default is not None:
                properties[name] = default
    if resource.token in PROTECTED:
        properties.setdefault("deletionProtection", True)
    return properties | labels(resource, properties, configuration)


def whereabouts(resource: Resource, configuration: Configuration) -> dict[str, str | None]:
    """Project, region, zone and location as this provider instance would choose them."""
    chosen: dict[str, str | None] = {}
    for name in _WHEREABOUTS:
        known = resource.inputs.get(name)
        if (known is None and name != "project") or (known is not None and known.required):
            continue
        if name == "project" and known is None and "project" not in resource.outputs:
            continue
        if name == "location":
            chosen[name] = _LOCATIONS.get(resource.module) or configuration.region
        else:
            chosen[name] = getattr(configuration, name)
    return chosen


def labels(
    resource: Resource, properties: Mapping[str, Any], configuration: Configuration
) -> dict[str, Any]:
    """`pulumiLabels` and `effectiveLabels` where the type has them."""
    if "pulumiLabels" not in resource.outputs:
        return {}
    own = properties.get("labels", {})
    if own is UNKNOWN:
        return {"pulumiLabels": UNKNOWN, "effectiveLabels": UNKNOWN}
    merged = {**configuration.labels, **own}
    return {"pulumiLabels": merged, "effectiveLabels": dict(merged)}


def attributed(properties: dict[str, Any], state: Mapping[str, Any]) -> dict[str, Any]:
    """The properties without an attribution label that the existing resource does not have.

    pulumi-gcp's `pulumiAttributionLabelAdditionStrategy` is CREATION_ONLY unless told otherwise.
    """
    held = state.get("pulumiLabels")
    if not isinstance(held, Mapping) or not isinstance(properties.get("pulumiLabels"), Mapping):
        return properties
    return properties | {
        name: {
            key: value
            for key, value in properties[name].items()
            if key not in ATTRIBUTION or key in held
        }
        for name in ("pulumiLabels", "effectiveLabels")
    }


def missing_project(
    resource: Resource, inputs: Mapping[str, Any], configuration: Configuration
) -> bool:
    """Whether a project is needed and none is known."""
    known = resource.inputs.get("project")
    return (
        resource.package == "gcp"
        and known is not None
        and not known.required
        and "project" not in inputs
        and configuration.project is None
    )


def _default(known: Property) -> Any:
    text = known.default or ""
    match known.shape.kind:
        case "string":
            return text
        case "boolean" if text in ("true", "false"):
            return text == "true"
        case "integer" if text.lstrip("-").isdecimal():
            return int(text)
        case "number":
            try:
                return float(text)
            except ValueError:
                return None
        case _:
            return None

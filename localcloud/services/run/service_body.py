"""What may be asked of a Cloud Run service."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from localcloud.rest.errors import InvalidArgument, Unimplemented
from localcloud.services.run import containers
from localcloud.services.run.names import short
from localcloud.services.run.traffic import check_traffic

_UNSUPPORTED: Final = ("buildConfig", "multiRegionSettings", "iapEnabled")


def check_service(name: str, body: Mapping[str, Any], revisions: Collection[str]) -> dict[str, Any]:
    """What the caller decides about a service, checked, with Google's defaults.

    Args:
        name: the service's full name.
        body: as given.
        revisions: the short names of the revisions that exist.

    Raises:
        InvalidArgument: it is wrong.
        NotFound: traffic for a revision that does not exist.
        Unimplemented: it is right, but nothing that the local cloud does.
    """
    service_id = short(name)
    for field in _UNSUPPORTED:
        if body.get(field):
            raise Unimplemented(f"service.{field} is not supported by the local cloud.")
    container = containers.check_template(body.get("template"), "template", "service")
    template = dict(body["template"])
    template.setdefault("timeout", "300s")
    template.setdefault("maxInstanceRequestConcurrency", 80)
    port = {"name": "http1", "containerPort": containers.DEFAULT_PORT}
    template["containers"] = [{"ports": [port], **container}]
    for holder, scaling in (
        ("template.scaling", template.get("scaling") or {}),
        ("scaling", body.get("scaling") or {}),
    ):
        low = scaling.get("minInstanceCount", 0)
        high = scaling.get("maxInstanceCount", 0)
        if low < 0 or high < 0 or (high and low > high):
            raise InvalidArgument(
                f"{holder}: min_instance_count {low} must be at least 0 and at most "
                f"max_instance_count {high}."
            )
    custom = template.get("revision")
    if custom and not (custom.startswith(f"{service_id}-") and len(custom) <= 63):
        raise InvalidArgument(
            f"template.revision: '{custom}' must start with '{service_id}-' and have at most "
            "63 characters."
        )
    return {
        "ingress": "INGRESS_TRAFFIC_ALL",
        "launchStage": "GA",
        **body,
        "name": name,
        "template": template,
        "traffic": check_traffic(body.get("traffic") or [], {*revisions, custom or ""}),
    }

"""What a product's people look at: its stream, its serving, its models; and what products share.

Each is put together from what the stack has made of the products, so none is left out, and a
threshold that is drawn is the one that an alert opens at. A test looks for every metric of
`components.metric_types` and of `workloads.telemetry` on them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import pulumi

from components.dashboard import Dashboard, DashboardArgs, Panel
from stacks.alerts.desk import Desk, Watched
from stacks.dashboards import models, serving, stream
from stacks.dashboards.platform import cost, database

__all__ = ["PRODUCT_DASHBOARDS", "cost", "database", "lay"]

PRODUCT_DASHBOARDS: Final = ("stream", "serving", "models")
"""What there is a dashboard of, for each product; of the stream where it takes anything in."""


def lay(about: Watched, desk: Desk, opts: pulumi.ResourceOptions) -> dict[str, Dashboard]:
    """Make the dashboards of one product, by what they show."""
    shown: Mapping[str, list[Panel]] = {
        "stream": stream.panels(about, desk),
        "serving": serving.panels(about, desk),
        "models": models.panels(about, desk),
    }
    return {
        what: Dashboard(
            f"{about.product}-{what}",
            args=DashboardArgs(title=f"{about.product}: {what}", panels=panels),
            opts=opts,
        )
        for what, panels in shown.items()
        if panels
    }

"""The alerts of one product, and those of what products share.

Each has a page of the same name in docs/runbooks/: what it means, how to look, how to mend.
"""

from __future__ import annotations

import pulumi

from components.alert_policy import AlertPolicy
from stacks.alerts import ingestion, models, serving
from stacks.alerts.desk import Desk, Watched
from stacks.options import AlertScope


def lay(about: Watched, desk: Desk, opts: pulumi.ResourceOptions) -> list[AlertPolicy]:
    """Make the alerts of one product."""
    if desk.settings.alerts.scope is AlertScope.MODELS:
        return models.measured(about, desk, opts)
    return [
        *ingestion.streams(about, desk, opts),
        *ingestion.jobs(about, desk, opts),
        *serving.services(about.services, about, desk, opts),
        *serving.endpoint(about, desk, opts),
        *models.models(about, desk, opts),
    ]

"""A metric of our own, declared before anything writes it.

An alert on a metric that Cloud Monitoring has never heard of is refused; so whoever makes the alert
lets it wait for this.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_gcp as gcp

from components import checks
from components.child_opts import child_opts
from components.metric_types import MetricType

PREFIX: Final = "custom.googleapis.com/"


@dataclass(frozen=True, kw_only=True)
class CustomMetricArgs:
    """What a metric is. It is a gauge of real numbers, written for the resource `global`.

    Raises:
        InvalidArgs: at construction, when the type is not a custom one.
    """

    type: str
    """`custom.googleapis.com/...`."""
    title: str
    description: str
    labels: Sequence[tuple[str, str]] = ()
    """Name and description of each."""
    unit: str = "1"
    """As UCUM writes it."""

    def __post_init__(self) -> None:
        if not self.type.startswith(PREFIX) or self.type == PREFIX:
            raise checks.InvalidArgs("CustomMetric", "type", self.type, f"`{PREFIX}...`")
        names = [name for name, _ in self.labels]
        if len(set(names)) != len(names):
            raise checks.InvalidArgs("CustomMetric", "labels", names, "each label once")


class CustomMetric(pulumi.ComponentResource):
    """Metric descriptor `<name>`."""

    descriptor: gcp.monitoring.MetricDescriptor
    metric: MetricType
    """As alerts and dashboards select it."""

    def __init__(
        self, name: str, *, args: CustomMetricArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("esteira:custom_metric:CustomMetric", name, {}, opts)
        monitoring = gcp.monitoring
        self.descriptor = monitoring.MetricDescriptor(
            name,
            type=args.type,
            metric_kind="GAUGE",
            value_type="DOUBLE",
            display_name=args.title,
            description=args.description,
            unit=args.unit,
            labels=[
                monitoring.MetricDescriptorLabelArgs(
                    key=key, value_type="STRING", description=description
                )
                for key, description in args.labels
            ],
            opts=child_opts(self),
        )
        self.metric = metric_type(args)
        self.register_outputs({"type": self.descriptor.type})


def metric_type(args: CustomMetricArgs) -> MetricType:
    """What `components.series` has to know of it."""
    return MetricType(
        type=args.type,
        kind="GAUGE",
        value="DOUBLE",
        resource="global",
        labels=frozenset(name for name, _ in args.labels),
        unit=args.unit,
        source="declared by CustomMetric",
    )

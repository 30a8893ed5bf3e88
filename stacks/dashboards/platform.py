"""What products share: what it all costs, and the database."""

from __future__ import annotations

from collections.abc import Sequence

import pulumi

from components import metric_types as metrics
from components.dashboard import Dashboard, DashboardArgs, Note, Panel
from stacks.alerts.desk import HOUR, Desk, Watched
from stacks.alerts.platform import BUSY_CPU, CONNECTIONS, FULL_DISK
from stacks.dashboards.charts import apart


def cost(products: Sequence[Watched], desk: Desk, opts: pulumi.ResourceOptions) -> Dashboard:
    """Make the dashboard of what grows the bill, for all products.

    Cloud Monitoring has no metric of money: the bill comes a day later, by Billing. It has what the
    bill counts.
    """
    names = ", ".join(one.product for one in products)
    project = desk.settings.project
    panels: list[Panel] = [
        Note(
            content=f"What grows the bill of **{project}** ({names}). In money it is told by "
            f"[Billing](https://console.cloud.google.com/billing?project={project})."
        ),
        apart("Bytes that queries read", metrics.BYTES_BILLED, "ALIGN_DELTA", "bytes an hour", None,
              period_seconds=HOUR),
        apart("Processors of Dataflow", metrics.DATAFLOW_CPUS, "ALIGN_MEAN", "vCPU hours an hour",
              "resource.labels.job_name", period_seconds=HOUR),
        apart("Instances of Cloud Run", metrics.INSTANCE_TIME, "ALIGN_RATE", "instances",
              "resource.labels.service_name"),
        apart("Nodes of endpoints", metrics.REPLICAS, "ALIGN_MEAN", "node hours an hour",
              "resource.labels.endpoint_id", period_seconds=HOUR),
        apart("Executions of jobs", metrics.EXECUTIONS, "ALIGN_DELTA", "executions an hour",
              "resource.labels.job_name", period_seconds=HOUR),
        apart("Stored in buckets", metrics.STORED_BYTES, "ALIGN_MEAN", "bytes",
              "resource.labels.bucket_name", period_seconds=HOUR),
    ]  # fmt: skip
    return Dashboard(
        "platform-cost", args=DashboardArgs(title="platform: cost", panels=panels), opts=opts
    )


def database(
    instance: pulumi.Input[str], products: Sequence[Watched], opts: pulumi.ResourceOptions
) -> Dashboard:
    """Make the dashboard of the Cloud SQL instance `project:name`, which all products share."""
    where: dict[str, pulumi.Input[str]] = {"resource.labels.database_id": instance}
    names = ", ".join(one.product for one in products)
    panels: list[Panel] = [
        Note(content=f"The PostgreSQL of releases, records, logs and features, of {names}."),
        apart("Processors", metrics.DATABASE_CPU, "ALIGN_MEAN", "share", None, where=where,
              reducer="REDUCE_MAX", threshold=BUSY_CPU),
        apart("Disk", metrics.DATABASE_DISK, "ALIGN_MEAN", "share", None, where=where,
              reducer="REDUCE_MAX", threshold=FULL_DISK),
        apart("Connections, by database", metrics.DATABASE_CONNECTIONS, "ALIGN_MEAN",
              "connections", "metric.labels.database", where=where, threshold=CONNECTIONS),
    ]  # fmt: skip
    return Dashboard(
        "platform-database",
        args=DashboardArgs(title="platform: database", panels=panels),
        opts=opts,
    )

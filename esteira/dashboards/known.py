"""Every metric that our queries may ask for, with its labels."""

from __future__ import annotations

from typing import Final

from components.metric_types import BACKLOG, OLDEST_UNACKED, RESOURCES, UNDELIVERABLE, MetricType
from esteira.dashboards.naming import Naming
from stacks.alerts.ingestion import dead_letters_metric
from workloads import telemetry
from workloads.product import Product

SERVER: Final = {
    "esteira_requests_total": ("protocol", "code"),
    "esteira_request_seconds_bucket": ("le",),
    "esteira_request_seconds_sum": (),
    "esteira_request_seconds_count": (),
    "esteira_batch_rows_bucket": ("le",),
    "esteira_batch_rows_sum": (),
    "esteira_batch_rows_count": (),
    "esteira_requests_under_way": (),
    "esteira_requests_limit": (),
    "esteira_queue_rows": (),
    "esteira_queue_rows_limit": (),
    "esteira_arriving_bytes": (),
    "esteira_arriving_bytes_limit": (),
    "esteira_ready": (),
    "esteira_log_queue_rows": (),
    "esteira_log_queue_rows_limit": (),
    "esteira_log_sent_total": (),
    "esteira_log_dropped_total": (),
    "esteira_model_info": ("version", "run", "variant", "deployed_model_id"),
}
"""What a model server tells at `/metrics`, with its labels beside `product`. A test asks one."""
SCRAPED: Final = ("product", "job", "instance")
"""Labels of each: what the server says, and what Prometheus adds."""
_STREAM: Final[tuple[MetricType, ...]] = (BACKLOG, OLDEST_UNACKED, UNDELIVERABLE)


def dead_letters(product: str, naming: Naming) -> str:
    """The name of the log-based metric that counts what ingestion set aside."""
    metric = f"logging.googleapis.com/user/{dead_letters_metric(product)}"
    return naming.metric(metric, "dataflow_step")


def scraped() -> dict[str, set[str]]:
    """Metrics of our servers, and their labels."""
    return {name: {*SCRAPED, *labels} for name, labels in SERVER.items()}


def monitored(naming: Naming, products: tuple[Product, ...]) -> dict[str, set[str]]:
    """Metrics of Cloud Monitoring, and their labels."""
    known = {
        naming.ours(one): {"project_id", *(name for name, _ in one.labels)}
        for one in telemetry.CUSTOM_METRICS
    }
    known |= {naming.googles(one): {*RESOURCES[one.resource], *one.labels} for one in _STREAM}
    known |= {
        dead_letters(one.name, naming): {"monitored_resource", "job_name", "field", "source"}
        for one in products
        if one.own
    }
    return known

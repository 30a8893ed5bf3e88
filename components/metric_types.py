"""The metrics of Google Cloud that alerts and dashboards use: what each is, and where that is said.

A misspelt metric, or an aligner that does not fit one, is no error anywhere: the alert just never
fires. So nothing is watched that is not in this table, and `components.series` holds every use of
an entry to its kind, its value type, its resource and its labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_LIST: Final = "https://cloud.google.com/monitoring/api/"
_A_B: Final = f"{_LIST}metrics_gcp_a_b"
_C: Final = f"{_LIST}metrics_gcp_c"
_D_H: Final = f"{_LIST}metrics_gcp_d_h"
_I_O: Final = f"{_LIST}metrics_gcp_i_o"
_P_Z: Final = f"{_LIST}metrics_gcp_p_z"
_RESOURCES: Final = f"{_LIST}resources"

RESOURCES: Final[dict[str, frozenset[str]]] = {
    "aiplatform.googleapis.com/Endpoint": frozenset(
        {"resource_container", "location", "endpoint_id"}
    ),
    "cloud_run_job": frozenset({"project_id", "job_name", "location"}),
    "cloud_run_revision": frozenset(
        {"project_id", "service_name", "revision_name", "location", "configuration_name"}
    ),
    "cloudsql_database": frozenset({"project_id", "database_id", "region"}),
    "dataflow_job": frozenset({"project_id", "job_name", "region"}),
    "gcs_bucket": frozenset({"project_id", "bucket_name", "location"}),
    "global": frozenset({"project_id"}),
    "pubsub_subscription": frozenset({"project_id", "subscription_id"}),
    "pubsub_topic": frozenset({"project_id", "topic_id"}),
    "uptime_url": frozenset({"project_id", "host"}),
}
"""Monitored resources and their labels, by https://cloud.google.com/monitoring/api/resources."""


@dataclass(frozen=True, kw_only=True)
class MetricType:
    """One metric, as Google's list of metrics describes it."""

    type: str
    """Its name at Google."""
    kind: str
    """`GAUGE`, `DELTA` or `CUMULATIVE`."""
    value: str
    """`INT64`, `DOUBLE`, `BOOL` or `DISTRIBUTION`."""
    resource: str
    """The monitored resource that it is written for, a key of `RESOURCES`."""
    labels: frozenset[str] = frozenset()
    """The metric's own labels, beyond those of the resource."""
    unit: str = "1"
    """As UCUM writes it."""
    source: str = ""
    """The page that says so."""


def _metric(
    type: str,  # noqa: A002 - the API's own word
    kind: str,
    value: str,
    resource: str,
    source: str,
    *labels: str,
    unit: str = "1",
) -> MetricType:
    return MetricType(
        type=type,
        kind=kind,
        value=value,
        resource=resource,
        labels=frozenset(labels),
        unit=unit,
        source=source,
    )


_ENDPOINT: Final = "aiplatform.googleapis.com/Endpoint"
_ONLINE: Final = "aiplatform.googleapis.com/prediction/online"
_SUBSCRIPTION: Final = "pubsub.googleapis.com/subscription"
_SQL: Final = "cloudsql.googleapis.com/database"

RESPONSES: Final = _metric(
    f"{_ONLINE}/response_count", "DELTA", "INT64", _ENDPOINT, _A_B,
    "deployed_model_id", "response_code", "spot",
)  # fmt: skip
LATENCIES: Final = _metric(
    f"{_ONLINE}/prediction_latencies", "DELTA", "DISTRIBUTION", _ENDPOINT, _A_B,
    "deployed_model_id", "latency_type", "spot", unit="ms",
)  # fmt: skip
PRIVATE_RESPONSES: Final = _metric(
    f"{_ONLINE}/private/response_count", "DELTA", "INT64", _ENDPOINT, _A_B,
    "deployed_model_id", "response_code",
)  # fmt: skip
"""Of a private endpoint. Its `response_code` is a number, where the public one's is text."""
PRIVATE_LATENCIES: Final = _metric(
    f"{_ONLINE}/private/prediction_latencies", "DELTA", "DISTRIBUTION", _ENDPOINT, _A_B,
    "deployed_model_id", unit="ms",
)  # fmt: skip
REPLICAS: Final = _metric(
    f"{_ONLINE}/replicas", "GAUGE", "INT64", _ENDPOINT, _A_B, "deployed_model_id", "spot"
)
CPU: Final = _metric(
    f"{_ONLINE}/cpu/utilization", "GAUGE", "DOUBLE", _ENDPOINT, _A_B,
    "deployed_model_id", "replica_id", "spot",
)  # fmt: skip
"""Of the processors of a replica together; above 1 where more than one of them is busy."""
PREDICTIONS: Final = _metric(
    f"{_ONLINE}/prediction_count", "DELTA", "INT64", _ENDPOINT, _A_B, "deployed_model_id", "spot"
)
BYTES_BILLED: Final = _metric(
    # Written for `global`, whatever its name suggests.
    "bigquery.googleapis.com/query/scanned_bytes_billed", "DELTA", "INT64", "global", _A_B,
    "priority", unit="By",
)  # fmt: skip
DATABASE_CPU: Final = _metric(
    f"{_SQL}/cpu/utilization", "GAUGE", "DOUBLE", "cloudsql_database", _C, unit="10^2.%"
)
DATABASE_DISK: Final = _metric(
    f"{_SQL}/disk/utilization", "GAUGE", "DOUBLE", "cloudsql_database", _C, unit="10^2.%"
)
DATABASE_CONNECTIONS: Final = _metric(
    f"{_SQL}/postgresql/num_backends", "GAUGE", "INT64", "cloudsql_database", _C, "database"
)
DATAFLOW_FAILED: Final = _metric(
    "dataflow.googleapis.com/job/is_failed", "GAUGE", "INT64", "dataflow_job", _D_H
)
"""Not written for a job that fails before it is launched."""
DATAFLOW_LAG: Final = _metric(
    "dataflow.googleapis.com/job/system_lag", "GAUGE", "INT64", "dataflow_job", _D_H,
    "job_id", unit="s",
)  # fmt: skip
DATAFLOW_AGE: Final = _metric(
    "dataflow.googleapis.com/job/data_watermark_age", "GAUGE", "INT64", "dataflow_job", _D_H,
    "job_id", unit="s",
)  # fmt: skip
"""How old the newest event is up to which everything has been processed: freshness."""
DATAFLOW_CPUS: Final = _metric(
    "dataflow.googleapis.com/job/current_num_vcpus", "GAUGE", "INT64", "dataflow_job", _D_H,
    "job_id",
)  # fmt: skip
UPTIME: Final = _metric(
    "monitoring.googleapis.com/uptime_check/check_passed", "GAUGE", "BOOL", "uptime_url", _I_O,
    "check_id", "checked_resource_id", "checker_location", "checker_ip_address",
    "contained_value", "error_code",
)  # fmt: skip
BACKLOG: Final = _metric(
    f"{_SUBSCRIPTION}/num_undelivered_messages", "GAUGE", "INT64", "pubsub_subscription", _P_Z
)
OLDEST_UNACKED: Final = _metric(
    f"{_SUBSCRIPTION}/oldest_unacked_message_age", "GAUGE", "INT64", "pubsub_subscription", _P_Z,
    unit="s",
)  # fmt: skip
UNDELIVERABLE: Final = _metric(
    f"{_SUBSCRIPTION}/dead_letter_message_count", "DELTA", "INT64", "pubsub_subscription", _P_Z,
    "response_code",
)  # fmt: skip
PUBLISHED: Final = _metric(
    "pubsub.googleapis.com/topic/send_request_count", "DELTA", "INT64", "pubsub_topic", _P_Z,
    "response_class", "response_code",
)  # fmt: skip
EXECUTIONS: Final = _metric(
    "run.googleapis.com/job/completed_execution_count", "DELTA", "INT64", "cloud_run_job", _P_Z,
    "result",
)  # fmt: skip
REQUESTS: Final = _metric(
    "run.googleapis.com/request_count", "DELTA", "INT64", "cloud_run_revision", _P_Z,
    "response_code", "response_code_class",
)  # fmt: skip
REQUEST_LATENCIES: Final = _metric(
    "run.googleapis.com/request_latencies", "DELTA", "DISTRIBUTION", "cloud_run_revision", _P_Z,
    "response_code", "response_code_class", unit="ms",
)  # fmt: skip
INSTANCE_TIME: Final = _metric(
    "run.googleapis.com/container/billable_instance_time", "DELTA", "DOUBLE",
    "cloud_run_revision", _P_Z, unit="s",
)  # fmt: skip
CONCURRENCY: Final = _metric(
    "run.googleapis.com/container/max_request_concurrencies", "DELTA", "DISTRIBUTION",
    "cloud_run_revision", _P_Z, "state",
)  # fmt: skip
"""Requests that an instance had at once, at most."""
SERVICE_CPU: Final = _metric(
    "run.googleapis.com/container/cpu/utilizations", "DELTA", "DISTRIBUTION",
    "cloud_run_revision", _P_Z, "container_name", unit="10^2.%",
)  # fmt: skip
STORED_BYTES: Final = _metric(
    "storage.googleapis.com/storage/v2/total_bytes", "GAUGE", "DOUBLE", "gcs_bucket", _P_Z,
    "storage_class", "type", unit="By",
)  # fmt: skip

TABLE: Final[dict[str, MetricType]] = {
    one.type: one
    for one in (
        RESPONSES, LATENCIES, PRIVATE_RESPONSES, PRIVATE_LATENCIES, REPLICAS, CPU, PREDICTIONS,
        BYTES_BILLED, DATABASE_CPU, DATABASE_DISK, DATABASE_CONNECTIONS, DATAFLOW_FAILED,
        DATAFLOW_LAG, DATAFLOW_AGE, DATAFLOW_CPUS, UPTIME, BACKLOG, OLDEST_UNACKED,
        UNDELIVERABLE, PUBLISHED, EXECUTIONS, REQUESTS, REQUEST_LATENCIES, INSTANCE_TIME,
        CONCURRENCY, SERVICE_CPU, STORED_BYTES,
    )
}  # fmt: skip
"""Every metric of Google's that is used, by type."""

# Which aligner takes what: enum Aggregation.Aligner of Google's reference of Cloud Monitoring,
# https://cloud.google.com/monitoring/api/ref_v3/rest/v3/projects.alertPolicies#Aligner
_COUNTERS: Final = frozenset({"DELTA", "CUMULATIVE"})
_NUMBERS: Final = frozenset({"INT64", "DOUBLE"})
ALIGNERS: Final[dict[str, tuple[frozenset[str], frozenset[str]]]] = {
    "ALIGN_DELTA": (_COUNTERS, _NUMBERS | {"DISTRIBUTION"}),
    "ALIGN_RATE": (_COUNTERS, _NUMBERS),
    "ALIGN_MIN": (frozenset({"GAUGE"}), _NUMBERS),
    "ALIGN_MAX": (frozenset({"GAUGE"}), _NUMBERS),
    "ALIGN_MEAN": (frozenset({"GAUGE"}), _NUMBERS),
    "ALIGN_SUM": (frozenset({"GAUGE", "DELTA"}), _NUMBERS | {"DISTRIBUTION"}),
    "ALIGN_NEXT_OLDER": (frozenset({"GAUGE"}), _NUMBERS | {"BOOL"}),
    "ALIGN_FRACTION_TRUE": (frozenset({"GAUGE"}), frozenset({"BOOL"})),
    "ALIGN_PERCENTILE_50": (frozenset({"GAUGE", "DELTA"}), frozenset({"DISTRIBUTION"})),
    "ALIGN_PERCENTILE_95": (frozenset({"GAUGE", "DELTA"}), frozenset({"DISTRIBUTION"})),
    "ALIGN_PERCENTILE_99": (frozenset({"GAUGE", "DELTA"}), frozenset({"DISTRIBUTION"})),
}
"""By aligner, the kinds and the value types that it takes."""

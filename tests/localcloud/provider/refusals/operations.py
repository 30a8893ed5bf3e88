"""Alerts, channels, dashboards, uptime checks and logs."""

from __future__ import annotations

from typing import Final

from tests.localcloud.provider.refusals import GONE, LONG, Table

OPERATIONS: Final[Table] = {
    "gcp:monitoring/alertPolicy:AlertPolicy": (
        {"displayName": "backlog", "combiner": "OR", "severity": "WARNING",
         "notificationChannels": ["projects/p/notificationChannels/1"],
         "userLabels": {"team": "ml"}, "alertStrategy": {"autoClose": "1800s"},
         "conditions": [{"displayName": "old", "conditionThreshold": {
             "filter": 'metric.type="run.googleapis.com/request_latencies"',
             "comparison": "COMPARISON_GT", "duration": "300s", "thresholdValue": 600,
             "trigger": {"count": 1},
             "aggregations": [{"alignmentPeriod": "60s", "perSeriesAligner": "ALIGN_MAX"}]}}]},
        [
            ("displayName", LONG, "at most 512"),
            ("combiner", "ANY", "is not one of AND, OR"),
            ("severity", "BAD", "is not one of CRITICAL"),
            ("conditions", GONE, "missing required"),
            ("conditions", [{"displayName": "none"}], "give one of conditionAbsent",
             "conditions[0].conditionAbsent"),
            ("conditions[0].conditionAbsent", {"duration": "300s", "filter": "f"},
             "conflicts with", "conditions[0].conditionThreshold"),
            ("conditions[0].conditionThreshold.filter", GONE, "which time series"),
            ("conditions[0].conditionThreshold.comparison", ">", "is not one of COMPARISON_GT"),
            ("conditions[0].conditionThreshold.comparison", GONE, "missing required"),
            ("conditions[0].conditionThreshold.duration", "90s", "whole minutes"),
            ("conditions[0].conditionThreshold.duration", "5m", "whole minutes"),
            ("conditions[0].conditionThreshold.trigger.percent", 50.0, "conflicts with 'count'"),
            ("conditions[0].conditionThreshold.aggregations[0].alignmentPeriod", "10s",
             "from 60s"),
            ("conditions[0].conditionThreshold.aggregations[0].alignmentPeriod", GONE,
             "perSeriesAligner needs it"),
            ("conditions[0].conditionThreshold.aggregations[0].perSeriesAligner", "MAX",
             "is not one of ALIGN_NONE"),
            ("conditions", [{"displayName": "log", "conditionMatchedLog": {"filter": "f"}}],
             "conditionMatchedLog needs it", "alertStrategy.notificationRateLimit"),
            ("notificationChannels[0]", "slack", "notificationChannels/CHANNEL"),
            ("userLabels", {"Team": "ml"}, "is no label", 'userLabels["Team"]'),
            ("alertStrategy.autoClose", "60s", "at least 1800s"),
        ],
    ),
    "gcp:monitoring/notificationChannel:NotificationChannel": (
        {"type": "email", "displayName": "On call",
         "labels": {"email_address": "ml-on-call@example.com"}},
        [
            ("type", GONE, "missing required"),
            ("labels", {}, "needs it", "labels.email_address"),
            ("labels.email_address", "on-call", "is no e-mail address"),
            ("type", "pubsub", "needs it", "labels.topic"),
            ("type", "slack", "needs it", "labels.channel_name"),
            ("displayName", LONG, "at most 512"),
        ],
    ),
    "gcp:monitoring/metricDescriptor:MetricDescriptor": (
        {"type": "custom.googleapis.com/esteira/drift", "metricKind": "GAUGE",
         "valueType": "DOUBLE", "labels": [{"key": "feature", "valueType": "STRING"}]},
        [
            ("type", "drift", "DOMAIN/PATH"),
            ("metricKind", "COUNTER", "is not one of"),
            ("valueType", "FLOAT", "is not one of BOOL"),
            ("labels[0].key", "Feature", "lower-case letters"),
        ],
    ),
    "gcp:monitoring/dashboard:Dashboard": (
        {"dashboardJson": '{"displayName": "ML", "gridLayout": {"widgets": []}}'},
        [
            ("dashboardJson", "ML", "is no JSON"),
            ("dashboardJson", "{}", "displayName"),
            ("dashboardJson", '{"displayName": "ML", "gridLayout": {}, "mosaicLayout": {}}',
             "give one layout"),
            ("dashboardJson", GONE, "missing required"),
        ],
    ),
    "gcp:monitoring/uptimeCheckConfig:UptimeCheckConfig": (
        {"displayName": "predict", "timeout": "10s", "period": "60s",
         "httpCheck": {"path": "/health", "port": 443, "useSsl": True},
         "monitoredResource": {"type": "uptime_url", "labels": {"host": "predict.example"}}},
        [
            ("timeout", GONE, "missing required"),
            ("timeout", "90s", "from 1s to 60s"),
            ("period", "30s", "is not one of 60s, 300s"),
            ("httpCheck", GONE, "give one of httpCheck, tcpCheck"),
            ("httpCheck", {}, "give one of authInfo", "httpCheck.authInfo"),
            ("httpCheck.port", 0, "from 1 to 65535"),
            ("tcpCheck", {"port": 1}, "conflicts with 'httpCheck'"),
            ("monitoredResource", GONE, "give one of monitoredResource"),
            ("selectedRegions", ["MARS"], "is not one of USA", "selectedRegions[0]"),
            ("httpCheck.requestMethod", "PUT", "is not one of"),
        ],
    ),
    "gcp:logging/projectSink:ProjectSink": (
        {"name": "audit", "destination": "bigquery.googleapis.com/projects/p/datasets/d",
         "uniqueWriterIdentity": True, "filter": 'logName:"cloudaudit"'},
        [
            ("name", "audit logs", "underscores, hyphens and periods"),
            ("destination", "projects/p/datasets/d", "a service and a resource"),
            ("destination", GONE, "missing required"),
        ],
    ),
    "gcp:logging/metric:Metric": (
        {"name": "rejects", "filter": "severity>=ERROR",
         "valueExtractor": "EXTRACT(jsonPayload.latency)",
         "labelExtractors": {"reason": "EXTRACT(jsonPayload.reason)"},
         "metricDescriptor": {"metricKind": "DELTA", "valueType": "DISTRIBUTION",
                              "labels": [{"key": "reason", "valueType": "STRING"}]},
         "bucketOptions": {"exponentialBuckets": {"numFiniteBuckets": 10, "growthFactor": 2,
                                                  "scale": 1}}},
        [
            ("filter", GONE, "missing required"),
            ("name", "/rejects", "not starting with /"),
            ("name", "n" * 101, "at most 100"),
            ("valueExtractor", GONE, "DISTRIBUTION metric needs it"),
            ("valueExtractor", "jsonPayload.latency", "EXTRACT(field)"),
            ("metricDescriptor.valueType", "INT64", "only allowed with valueType",
             "bucketOptions"),
            ("metricDescriptor.metricKind", "COUNTER", "is not one of DELTA"),
            ("labelExtractors", {"cause": "EXTRACT(jsonPayload.cause)"}, "names no label",
             "labelExtractors.cause"),
            ("bucketOptions.exponentialBuckets.growthFactor", 1, "greater than 1"),
        ],
    ),
}  # fmt: skip

"""Bounds of numbers, durations and lists that no docstring states in a fixed wording."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from localcloud.provider.check import Failure
from localcloud.provider.rules.given import Given

_SECONDS: Final = re.compile(r"(\d+(?:\.\d{1,9})?)s")


@dataclass(frozen=True)
class Bounds:
    """Inclusive bounds and where Google states them.

    `unit` is `s` for a duration written as seconds with an `s`, `items` for a list's length, and
    otherwise only words for the message.
    """

    low: float | None
    high: float | None
    source: str
    unit: str = ""
    zero: bool = False
    """Whether 0 is taken too, as a way to say none or the default."""

    def words(self) -> str:
        """The bounds as a person would say them."""
        unit = f" {self.unit}" if self.unit and self.unit != "s" else self.unit
        if self.high is None:
            return f"at least {self.low:.15g}{unit}"
        if self.low is None:
            return f"at most {self.high:.15g}{unit}"
        return f"from {self.low:.15g}{unit} to {self.high:.15g}{unit}"


def _discovery(api: str) -> str:
    return f"{api}, discovery document of the API"


_PUBSUB: Final = _discovery("pubsub v1")
_RETENTION: Final = Bounds(600, 2_678_400, _PUBSUB, "s")
_BACKOFF: Final = Bounds(0, 600, _PUBSUB, "s")
_KMS: Final = _discovery("cloudkms v1")
_RUN: Final = "cloud.google.com/run/quotas"
_SQL: Final = _discovery("sqladmin v1")
_MONITORING: Final = _discovery("monitoring v3")
_PORT: Final = Bounds(1, 65535, _discovery("run v2"))
_IDLE: Final = "cloud.google.com/nat/docs/tune-nat-configuration"

BOUNDS: Final[dict[str, dict[str, Bounds]]] = {
    "gcp:pubsub/topic:Topic": {"messageRetentionDuration": _RETENTION},
    "gcp:pubsub/subscription:Subscription": {
        "ackDeadlineSeconds": Bounds(10, 600, _PUBSUB, zero=True),
        "messageRetentionDuration": _RETENTION,
        "retryPolicy.minimumBackoff": _BACKOFF,
        "retryPolicy.maximumBackoff": _BACKOFF,
        "expirationPolicy.ttl": Bounds(86_400, None, _PUBSUB, "s"),
        "cloudStorageConfig.maxDuration": Bounds(60, 600, _PUBSUB, "s"),
        "cloudStorageConfig.maxBytes": Bounds(1000, 10 * 1024**3, _PUBSUB, "bytes"),
        "cloudStorageConfig.maxMessages": Bounds(1000, None, _PUBSUB, "messages"),
    },
    "gcp:storage/bucket:Bucket": {
        "lifecycleRules": Bounds(0, 100, "cloud.google.com/storage/quotas#buckets", "items"),
        "lifecycleRules[].condition.age": Bounds(
            0, None, "cloud.google.com/storage/docs/lifecycle#age", "days"
        ),
        "retentionPolicy.retentionPeriod": Bounds(
            1,
            3_155_760_000,
            "cloud.google.com/storage/docs/bucket-lock#retention-periods",
            "seconds",
        ),
    },
    "gcp:bigquery/dataset:Dataset": {
        "defaultPartitionExpirationMs": Bounds(1, None, _discovery("bigquery v2"), "ms", zero=True),
        "maxTimeTravelHours": Bounds(48, 168, _discovery("bigquery v2"), "hours"),
    },
    "gcp:bigquery/table:Table": {
        "timePartitioning.expirationMs": Bounds(1, None, _discovery("bigquery v2"), "ms"),
        "clusterings": Bounds(
            1, 4, "cloud.google.com/bigquery/docs/clustered-tables#limitations", "items"
        ),
        "rangePartitioning.range.interval": Bounds(
            1, None, "cloud.google.com/bigquery/docs/partitioned-tables#integer_range"
        ),
    },
    "gcp:kms/cryptoKey:CryptoKey": {
        "rotationPeriod": Bounds(86_400, 3_153_600_000, _KMS, "s"),
        "destroyScheduledDuration": Bounds(
            86_400, 10_368_000, "cloud.google.com/kms/docs/destroy-restore", "s"
        ),
    },
    "gcp:secretmanager/secret:Secret": {
        "rotation.rotationPeriod": Bounds(3600, 3_153_600_000, _discovery("secretmanager v1"), "s"),
        "versionDestroyTtl": Bounds(
            86_400,
            86_400_000,
            "cloud.google.com/secret-manager/docs/delay-destruction-of-secret-versions",
            "s",
        ),
    },
    "gcp:cloudrunv2/service:Service": {
        "template.timeout": Bounds(
            1, 3600, "cloud.google.com/run/docs/configuring/request-timeout", "s"
        ),
        "template.maxInstanceRequestConcurrency": Bounds(
            1, 1000, "cloud.google.com/run/docs/about-concurrency", zero=True
        ),
        "template.scaling.minInstanceCount": Bounds(0, None, _RUN),
        "template.scaling.maxInstanceCount": Bounds(0, None, _RUN),
        "template.containers[].ports.containerPort": _PORT,
        "traffics[].percent": Bounds(0, 100, _discovery("run v2")),
    },
    "gcp:cloudrunv2/job:Job": {
        "template.taskCount": Bounds(1, 10_000, _RUN, "tasks", zero=True),
        "template.parallelism": Bounds(0, None, _RUN),
        "template.template.maxRetries": Bounds(
            0, 10, "cloud.google.com/run/docs/configuring/max-retries"
        ),
        "template.template.timeout": Bounds(
            1, 604_800, "cloud.google.com/run/docs/configuring/task-timeout", "s"
        ),
    },
    "gcp:cloudscheduler/job:Job": {
        "retryConfig.retryCount": Bounds(0, 5, _discovery("cloudscheduler v1")),
        "retryConfig.maxDoublings": Bounds(0, None, _discovery("cloudscheduler v1")),
        "attemptDeadline": Bounds(15, 86_415, _discovery("cloudscheduler v1"), "s", zero=True),
    },
    "gcp:sql/databaseInstance:DatabaseInstance": {
        "settings.diskSize": Bounds(10, 65_536, "cloud.google.com/sql/docs/quotas", "GB"),
        "settings.maintenanceWindow.day": Bounds(1, 7, _SQL),
        "settings.maintenanceWindow.hour": Bounds(0, 23, _SQL),
        "settings.backupConfiguration.transactionLogRetentionDays": Bounds(1, 35, _SQL, "days"),
        "settings.backupConfiguration.backupRetentionSettings.retainedBackups": Bounds(
            1, 365, "cloud.google.com/sql/docs/postgres/backup-recovery/backups", "backups"
        ),
        "settings.insightsConfig.queryStringLength": Bounds(
            256, 1_048_576, "cloud.google.com/sql/docs/postgres/using-query-insights", "bytes"
        ),
        "settings.insightsConfig.queryPlansPerMinute": Bounds(
            0, 200, "cloud.google.com/sql/docs/postgres/using-query-insights"
        ),
    },
    "gcp:monitoring/alertPolicy:AlertPolicy": {
        "conditions": Bounds(1, 6, _MONITORING, "items"),
        "conditions[].conditionThreshold.duration": Bounds(0, None, _MONITORING, "s"),
        "conditions[].conditionThreshold.trigger.percent": Bounds(0, 100, _MONITORING),
        "conditions[].conditionThreshold.aggregations[].alignmentPeriod": Bounds(
            60, 90_000, _MONITORING, "s"
        ),
        "conditions[].conditionAbsent.duration": Bounds(120, None, _MONITORING, "s"),
        "conditions[].conditionAbsent.aggregations[].alignmentPeriod": Bounds(
            60, 90_000, _MONITORING, "s"
        ),
        "alertStrategy.autoClose": Bounds(
            1800, None, "cloud.google.com/monitoring/alerts/incidents-events#closing", "s"
        ),
    },
    "gcp:monitoring/uptimeCheckConfig:UptimeCheckConfig": {
        "timeout": Bounds(1, 60, _MONITORING, "s"),
        "httpCheck.port": Bounds(1, 65535, _MONITORING),
        "tcpCheck.port": Bounds(1, 65535, _MONITORING),
    },
    "gcp:billing/budget:Budget": {
        "thresholdRules[].thresholdPercent": Bounds(0, None, _discovery("billingbudgets v1")),
        "allUpdatesRule.monitoringNotificationChannels": Bounds(
            0, 5, _discovery("billingbudgets v1"), "items"
        ),
    },
    "gcp:compute/subnetwork:Subnetwork": {
        "secondaryIpRanges": Bounds(0, 170, "cloud.google.com/vpc/docs/quota#per_network", "items"),
    },
    "gcp:dns/recordSet:RecordSet": {
        "ttl": Bounds(0, 2_147_483_647, "cloud.google.com/dns/docs/records", "seconds"),
    },
    "gcp:compute/globalAddress:GlobalAddress": {
        "prefixLength": Bounds(
            8, 96, "cloud.google.com/vpc/docs/configure-private-services-access"
        ),
    },
    "gcp:compute/firewall:Firewall": {
        "sourceServiceAccounts": Bounds(0, 10, "SDK docstring", "items"),
        "targetServiceAccounts": Bounds(0, 10, "SDK docstring", "items"),
    },
    "gcp:compute/routerNat:RouterNat": {
        "minPortsPerVm": Bounds(2, 65_536, _IDLE),
        "maxPortsPerVm": Bounds(64, 65_536, _IDLE),
        "rules[].ruleNumber": Bounds(0, 65_000, "SDK docstring"),
    },
    "gcp:vertex/aiEndpoint:AiEndpoint": {
        "predictRequestResponseLoggingConfig.samplingRate": Bounds(0, 1, "SDK docstring"),
    },
    "gcp:vertex/aiFeatureOnlineStore:AiFeatureOnlineStore": {
        "bigtable.autoScaling.cpuUtilizationTarget": Bounds(
            10, 80, _discovery("aiplatform v1"), "%", zero=True
        ),
    },
    "gcp:iam/workloadIdentityPoolProvider:WorkloadIdentityPoolProvider": {
        "oidc.allowedAudiences": Bounds(0, 10, _discovery("iam v1"), "items"),
    },
    "gcp:dataflow/flexTemplateJob:FlexTemplateJob": {
        "maxWorkers": Bounds(1, 1000, "SDK docstring", "workers"),
        "numWorkers": Bounds(1, 1000, _discovery("dataflow v1b3"), "workers"),
    },
    "gcp:container/nodePool:NodePool": {
        "nodeConfig.diskSizeGb": Bounds(10, None, "SDK docstring", "GB"),
        "maxPodsPerNode": Bounds(
            8, 256, "cloud.google.com/kubernetes-engine/docs/how-to/flexible-pod-cidr"
        ),
    },
    "gcp:workbench/instance:Instance": {
        "gceSetup.acceleratorConfigs[].coreCount": Bounds(1, None, _discovery("notebooks v2")),
    },
}


def judge(given: Given) -> Iterator[Failure]:
    """Numbers, durations and lists out of their bounds."""
    for path, bounds in BOUNDS.get(given.token, {}).items():
        for where, value in given.at(path):
            if bounds.unit == "items":
                if isinstance(value, list) and not _within(bounds, len(value)):
                    yield given.refuse(where, f"{len(value)} items", _why(bounds))
                continue
            number = _number(bounds, value)
            if number is not None and not _within(bounds, number):
                yield given.refuse(where, value, _why(bounds))


def _why(bounds: Bounds) -> str:
    return f"is out of range; it must be {bounds.words()}"


def _number(bounds: Bounds, value: Any) -> float | None:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    if bounds.unit == "s" and isinstance(value, str):
        found = _SECONDS.fullmatch(value)
        return float(found[1]) if found else None
    return None


def _within(bounds: Bounds, number: float) -> bool:
    if number == 0 and bounds.zero:
        return True
    return (bounds.low is None or number >= bounds.low) and (
        bounds.high is None or number <= bounds.high
    )

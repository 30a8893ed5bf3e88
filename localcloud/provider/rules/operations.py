"""What Cloud Monitoring and Cloud Logging want beyond single values."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from localcloud.provider.check import Failure, dotted
from localcloud.provider.rules.given import Given, possible, present
from localcloud.provider.values import UNKNOWN

_MINUTE: Final = 60
_FILTER_LENGTH: Final = 2048
_LAYOUTS: Final = ("gridLayout", "mosaicLayout", "rowLayout", "columnLayout")
# cloud.google.com/monitoring/api/ref_v3/rest/v3/projects.notificationChannelDescriptors/list
_CHANNELS: Final[dict[str, tuple[str, ...]]] = {
    "email": ("email_address",),
    "sms": ("number",),
    "pubsub": ("topic",),
    "webhook_tokenauth": ("url",),
    "webhook_basicauth": ("url",),
    "slack": ("channel_name",),
    "pagerduty": (),
}

_ADDRESSES: Final[dict[str, tuple[tuple[str, str, str], ...]]] = {
    "email": (("email_address", r"[^@\s]+@[^@\s]+\.[^@\s]+", "is no e-mail address"),),
    "pubsub": (
        ("topic", r"projects/[^/]+/topics/[^/]+", "must be written projects/PROJECT/topics/TOPIC"),
    ),
}


def _policy(given: Given) -> Iterator[Failure]:
    """cloud.google.com/monitoring/api/ref_v3/rest/v3/projects.alertPolicies."""
    for kind in ("conditionThreshold", "conditionAbsent"):
        for where, condition in given.at(f"conditions[].{kind}"):
            if isinstance(condition, Mapping):
                yield from _metric(given, (*where,), condition)
    logs = any(True for _ in given.at("conditions[].conditionMatchedLog"))
    strategy = given.values.get("alertStrategy")
    if logs and strategy is not UNKNOWN:
        held = strategy if isinstance(strategy, Mapping) else {}
        if not possible(held, "notificationRateLimit"):
            yield Failure(
                "alertStrategy.notificationRateLimit", "missing; conditionMatchedLog needs it"
            )


def _metric(
    given: Given, where: tuple[str | int, ...], condition: Mapping[str, Any]
) -> Iterator[Failure]:
    text = condition.get("filter")
    if text in (None, ""):
        yield Failure(dotted((*where, "filter")), "missing; say which time series it watches")
    elif isinstance(text, str) and text is not UNKNOWN and len(text) > _FILTER_LENGTH:
        yield Failure(dotted((*where, "filter")), f"has {len(text)} characters; at most 2048")
    duration = condition.get("duration")
    seconds = re.fullmatch(r"(\d+)(?:\.0+)?s", duration) if isinstance(duration, str) else None
    if isinstance(duration, str) and duration is not UNKNOWN and (
        seconds is None or int(seconds[1]) % _MINUTE
    ):  # fmt: skip
        yield given.refuse((*where, "duration"), duration, "must be whole minutes, such as '300s'")
    listed = condition.get("aggregations")
    for index, one in enumerate(listed if isinstance(listed, list) else ()):
        if (
            isinstance(one, Mapping)
            and one.get("perSeriesAligner") not in (None, "", "ALIGN_NONE")
            and not possible(one, "alignmentPeriod")
        ):
            yield Failure(
                dotted((*where, "aggregations", index, "alignmentPeriod")),
                "missing; perSeriesAligner needs it",
            )


def _channel(given: Given) -> Iterator[Failure]:
    kind = given.values.get("type")
    labels = given.values.get("labels")
    if not isinstance(kind, str) or labels is UNKNOWN:
        return
    held = labels if isinstance(labels, Mapping) else {}
    for name in _CHANNELS.get(kind, ()):
        if not possible(held, name):
            yield Failure(dotted(("labels", name)), f"missing; a channel of type {kind!r} needs it")
    for name, form, words in _ADDRESSES.get(kind, ()):
        value = held.get(name)
        if isinstance(value, str) and value is not UNKNOWN and not re.fullmatch(form, value):
            yield given.refuse(("labels", name), value, words)


def _dashboard(given: Given) -> Iterator[Failure]:
    """cloud.google.com/monitoring/api/ref_v3/rest/v1/projects.dashboards."""
    text = given.one("dashboardJson")
    if not isinstance(text, str):
        return
    try:
        board = json.loads(text)
    except ValueError as error:
        yield Failure("dashboardJson", f"is no JSON: {error}")
        return
    if not isinstance(board, Mapping) or not board.get("displayName"):
        yield Failure("dashboardJson", "must be a JSON object with a displayName")
        return
    layouts = [name for name in _LAYOUTS if name in board]
    if len(layouts) > 1:
        yield Failure("dashboardJson", f"has {' and '.join(layouts)}; give one layout")


def _log_metric(given: Given) -> Iterator[Failure]:
    """logging v2, discovery document: LogMetric."""
    kind = given.one("metricDescriptor.valueType")
    if kind == "DISTRIBUTION" and not possible(given.values, "valueExtractor"):
        yield Failure("valueExtractor", "missing; a DISTRIBUTION metric needs it")
    if isinstance(kind, str) and kind != "DISTRIBUTION" and present(given.values, "bucketOptions"):
        yield Failure("bucketOptions", f"only allowed with valueType 'DISTRIBUTION', not {kind!r}")
    extractor = given.one("valueExtractor")
    if isinstance(extractor, str) and extractor and not re.match(
        r"(?:REGEXP_)?EXTRACT\(", extractor
    ):  # fmt: skip
        yield given.refuse(
            ("valueExtractor",), extractor, "must be EXTRACT(field) or REGEXP_EXTRACT(field, regex)"
        )
    descriptor = given.values.get("metricDescriptor")
    labels = descriptor.get("labels") if isinstance(descriptor, Mapping) else descriptor
    keys = [
        one.get("key") if isinstance(one, Mapping) else one
        for one in (labels if isinstance(labels, list) else [labels])
    ]
    extractors = given.one("labelExtractors")
    for name in extractors if isinstance(extractors, Mapping) else ():
        if UNKNOWN not in keys and name not in keys:
            yield Failure(
                dotted(("labelExtractors", name)), "names no label of metricDescriptor.labels"
            )


JUDGES: Final[dict[str, Callable[[Given], Iterator[Failure]]]] = {
    "gcp:monitoring/alertPolicy:AlertPolicy": _policy,
    "gcp:monitoring/notificationChannel:NotificationChannel": _channel,
    "gcp:monitoring/dashboard:Dashboard": _dashboard,
    "gcp:logging/metric:Metric": _log_metric,
}

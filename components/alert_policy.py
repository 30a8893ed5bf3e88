"""What is wrong, how bad that is, who is told, and where they read how to mend it.

Conditions compare series with a threshold, ask a PromQL query, or match log entries. The Monitoring
Query Language is left out: Google no longer develops it (since 22 October 2024).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import pulumi
import pulumi_gcp as gcp

from components import checks
from components.child_opts import child_opts
from components.series import Series, whole_minutes

SEVERITIES: Final = ("CRITICAL", "ERROR", "WARNING")
MISSING: Final = {
    "ignore": "EVALUATION_MISSING_DATA_INACTIVE",
    "alert": "EVALUATION_MISSING_DATA_ACTIVE",
    "wait": "EVALUATION_MISSING_DATA_NO_OP",
}
"""What no data means: all is well, something is wrong, or what it was before."""
FILTER_LENGTH: Final = 2048
"""The most characters that Cloud Monitoring takes in a filter."""
LINKS: Final = 3
"""The most links that Cloud Monitoring takes in a policy's documentation."""
AUTO_CLOSE: Final = (30 * 60, 7 * 86_400)
"""Least and most seconds after which an incident without data is closed."""


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """Series, or the ratio of two, on the wrong side of a number for some time.

    Raises:
        InvalidArgs: at construction, when not exactly one side is given, or a span does not fit.
    """

    title: str
    series: Series
    """What is compared."""
    above: float | None = None
    """The series may not exceed it; exactly one of this and `below`."""
    below: float | None = None
    """The series may not fall under it."""
    over: Series | None = None
    """Divides `series`: of the same period, and grouped by the same labels."""
    for_seconds: int = 0
    """How long it has to last; whole minutes."""
    missing: str = "ignore"
    """One of `MISSING`. Counts only where `for_seconds` is a minute or more."""

    def __post_init__(self) -> None:
        who = f"Threshold {self.title!r}"
        if (self.above is None) == (self.below is None):
            raise checks.InvalidArgs(
                who, "above", self.above, "a number in exactly one of `above` and `below`"
            )
        whole_minutes(who, "for_seconds", self.for_seconds)
        checks.one_of(who, "missing", self.missing, MISSING)
        if self.over is not None and (
            self.over.period_seconds != self.series.period_seconds
            or self.over.group_by != self.series.group_by
        ):
            raise checks.InvalidArgs(
                who,
                "over",
                (self.over.period_seconds, self.over.group_by),
                "the period and the groups of `series`: a ratio is taken point by point",
            )


@dataclass(frozen=True, kw_only=True)
class Query:
    """A PromQL query that has a result for some time.

    For metrics that are only there once something was written: a threshold on one is refused until
    then, and for up to ten minutes after. A query can be told not to look.

    Raises:
        InvalidArgs: at construction, when the query is empty or a span does not fit.
    """

    title: str
    query: str
    """In PromQL; any result is one too many."""
    for_seconds: int = 0
    """How long it has to have one; whole minutes."""
    every_seconds: int = 60
    """How often it is asked; a multiple of 30 seconds."""

    def __post_init__(self) -> None:
        who = f"Query {self.title!r}"
        if not self.query.strip():
            raise checks.InvalidArgs(who, "query", self.query, "a PromQL query")
        whole_minutes(who, "for_seconds", self.for_seconds)
        checks.between(who, "every_seconds", self.every_seconds, 30, 86_400, "seconds")
        if self.every_seconds % 30:
            raise checks.InvalidArgs(
                who, "every_seconds", self.every_seconds, "a multiple of 30 seconds"
            )


@dataclass(frozen=True, kw_only=True)
class LogMatch:
    """A log entry that should not be there. It is told of at most once in `quiet_seconds`.

    Raises:
        InvalidArgs: at construction, when the filter is empty or the span does not fit.
    """

    title: str
    filter: str
    """In the language of Cloud Logging."""
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    """By name, `EXTRACT(field)` or `REGEXP_EXTRACT(field, "...")`: what the notification tells."""
    quiet_seconds: int = 300
    """How long it is not told of again."""

    def __post_init__(self) -> None:
        who = f"LogMatch {self.title!r}"
        if not self.filter.strip():
            raise checks.InvalidArgs(who, "filter", self.filter, "a filter of log entries")
        for extractor in self.labels.values():
            if not extractor.startswith(("EXTRACT(", "REGEXP_EXTRACT(")):
                raise checks.InvalidArgs(
                    who, "labels", extractor, "EXTRACT(field) or REGEXP_EXTRACT(field, regex)"
                )
        checks.between(who, "quiet_seconds", self.quiet_seconds, 60, 86_400, "seconds")


@dataclass(frozen=True, kw_only=True)
class AlertPolicyArgs:
    """What an alert needs.

    Raises:
        InvalidArgs: at construction, when nobody would be told, nothing would be watched, or
            Google would refuse how it is put together.
    """

    title: str
    """What is wrong, as whoever is woken up reads it."""
    conditions: Sequence[Threshold | Query | LogMatch]
    """Any one of them opens an incident. A `Query` or a `LogMatch` stands alone."""
    severity: str
    """One of `SEVERITIES`: the product fails, will fail, or may."""
    summary: str
    """What it means, in a sentence or two."""
    runbook: str
    """Where it says how to mend it."""
    channels: Sequence[pulumi.Input[str]]
    """`projects/.../notificationChannels/...` that are told."""
    labels: Mapping[str, str]
    """Of the policy: the provider's default labels do not reach it."""
    notes: str = ""
    """What else whoever is told needs to know; stands below the runbook."""
    links: Mapping[str, str] = field(default_factory=dict[str, str])
    """By name, where else to look: `https://`, two at most beside the runbook."""
    auto_close_seconds: int = 86_400
    """An incident without data for so long is closed. 30 minutes to a week."""
    remind_seconds: int | None = None
    """An incident that stays open is told of again after so long; once only when not given."""
    enabled: bool = True
    """Whether it opens incidents."""
    after: Sequence[pulumi.Resource] = ()
    """What Google has to know first: descriptors of metrics that nothing has written yet."""

    def __post_init__(self) -> None:
        who = f"AlertPolicy {self.title!r}"
        checks.one_of(who, "severity", self.severity, SEVERITIES)
        checks.between(who, "auto_close_seconds", self.auto_close_seconds, *AUTO_CLOSE, "seconds")
        checks.between(who, "remind_seconds", self.remind_seconds, 1_800, 172_800, "seconds")
        for name in ("conditions", "channels"):
            if not getattr(self, name):
                raise checks.InvalidArgs(who, name, [], "at least one")
        checks.between(who, "conditions", len(self.conditions), 1, 6, "conditions")
        alone = [one for one in self.conditions if not isinstance(one, Threshold)]
        if alone and len(self.conditions) > 1:
            raise checks.InvalidArgs(
                who,
                "conditions",
                alone[0].title,
                "a query or a log match alone: Google allows no other condition beside it",
            )
        checks.between(who, "links", len(self.links), 0, LINKS - 1, "links beside the runbook")
        for address in self.links.values():
            if not address.startswith("https://"):
                raise checks.InvalidArgs(who, "links", address, "addresses with https://")
        if not self.runbook:
            raise checks.InvalidArgs(who, "runbook", self.runbook, "where it says how to mend it")

    @property
    def quiet_seconds(self) -> int | None:
        """The limit on notifications, which Google allows for log matches only, and demands."""
        return next((x.quiet_seconds for x in self.conditions if isinstance(x, LogMatch)), None)


class AlertPolicy(pulumi.ComponentResource):
    """Alert policy `<name>`."""

    policy: gcp.monitoring.AlertPolicy

    def __init__(
        self, name: str, *, args: AlertPolicyArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        checks.matches("AlertPolicy", "name", name, checks.SERVICE)
        super().__init__("esteira:alert_policy:AlertPolicy", name, {}, opts)
        monitoring = gcp.monitoring
        # Google takes no relative link.
        links = {"Runbook": args.runbook} if args.runbook.startswith("https://") else {}
        self.policy = monitoring.AlertPolicy(
            name,
            display_name=args.title,
            combiner="OR",
            conditions=[_condition(one) for one in args.conditions],
            severity=args.severity,
            documentation=monitoring.AlertPolicyDocumentationArgs(
                subject=args.title,
                content="\n\n".join(
                    text for text in (args.summary, f"Runbook: {args.runbook}", args.notes) if text
                ),
                mime_type="text/markdown",
                links=[
                    monitoring.AlertPolicyDocumentationLinkArgs(display_name=name, url=address)
                    for name, address in {**links, **args.links}.items()
                ]
                or None,
            ),
            alert_strategy=_strategy(args),
            notification_channels=list(args.channels),
            user_labels=dict(args.labels),
            enabled=args.enabled,
            opts=child_opts(self, depends_on=list(args.after)),
        )
        self.register_outputs({"policy": self.policy.name})


def _strategy(args: AlertPolicyArgs) -> gcp.monitoring.AlertPolicyAlertStrategyArgs:
    monitoring = gcp.monitoring
    return monitoring.AlertPolicyAlertStrategyArgs(
        auto_close=f"{args.auto_close_seconds}s",
        notification_rate_limit=None
        if args.quiet_seconds is None
        else monitoring.AlertPolicyAlertStrategyNotificationRateLimitArgs(
            period=f"{args.quiet_seconds}s"
        ),
        notification_channel_strategies=None
        if args.remind_seconds is None
        else [
            monitoring.AlertPolicyAlertStrategyNotificationChannelStrategyArgs(
                notification_channel_names=list(args.channels),
                renotify_interval=f"{args.remind_seconds}s",
            )
        ],
    )


def _condition(
    condition: Threshold | Query | LogMatch,
) -> gcp.monitoring.AlertPolicyConditionArgs:
    monitoring = gcp.monitoring
    if isinstance(condition, Threshold):
        return monitoring.AlertPolicyConditionArgs(
            display_name=condition.title, condition_threshold=_threshold(condition)
        )
    if isinstance(condition, Query):
        return monitoring.AlertPolicyConditionArgs(
            display_name=condition.title,
            condition_prometheus_query_language=(
                monitoring.AlertPolicyConditionConditionPrometheusQueryLanguageArgs(
                    query=condition.query,
                    duration=f"{condition.for_seconds}s",
                    evaluation_interval=f"{condition.every_seconds}s",
                    disable_metric_validation=True,
                )
            ),
        )
    return monitoring.AlertPolicyConditionArgs(
        display_name=condition.title,
        condition_matched_log=monitoring.AlertPolicyConditionConditionMatchedLogArgs(
            filter=condition.filter, label_extractors=dict(condition.labels) or None
        ),
    )


def _threshold(
    condition: Threshold,
) -> gcp.monitoring.AlertPolicyConditionConditionThresholdArgs:
    monitoring = gcp.monitoring
    series, over = condition.series, condition.over
    return monitoring.AlertPolicyConditionConditionThresholdArgs(
        filter=_short(condition.title, series.filter()),
        aggregations=[
            monitoring.AlertPolicyConditionConditionThresholdAggregationArgs(
                alignment_period=f"{series.period_seconds}s",
                per_series_aligner=series.aligner,
                cross_series_reducer=series.reducer,
                group_by_fields=list(series.group_by) or None,
            )
        ],
        denominator_filter=None if over is None else _short(condition.title, over.filter()),
        denominator_aggregations=None
        if over is None
        else [
            monitoring.AlertPolicyConditionConditionThresholdDenominatorAggregationArgs(
                alignment_period=f"{over.period_seconds}s",
                per_series_aligner=over.aligner,
                cross_series_reducer=over.reducer,
                group_by_fields=list(over.group_by) or None,
            )
        ],
        comparison="COMPARISON_LT" if condition.above is None else "COMPARISON_GT",
        threshold_value=condition.below if condition.above is None else condition.above,
        duration=f"{condition.for_seconds}s",
        trigger=monitoring.AlertPolicyConditionConditionThresholdTriggerArgs(count=1),
        # Google refuses to be told where the condition has no duration.
        evaluation_missing_data=MISSING[condition.missing] if condition.for_seconds else None,
    )


def _short(title: str, text: pulumi.Input[str]) -> pulumi.Input[str]:
    """The filter, once it is known not to be longer than Cloud Monitoring takes."""
    if isinstance(text, str):
        checks.between(f"Threshold {title!r}", "filter", len(text), 1, FILTER_LENGTH, "characters")
    return text

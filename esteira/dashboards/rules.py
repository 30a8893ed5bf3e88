"""Prometheus' rules: what is computed once for many who ask, and what people are told of.

The thresholds are those of the stack, `esteira:alerts` in `Pulumi.<stack>.yaml`, and each alert has
the runbook of the stack's alert that tells of the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from components.metric_types import BACKLOG, OLDEST_UNACKED, UNDELIVERABLE
from esteira.dashboards import known
from esteira.dashboards.naming import Naming
from esteira.dashboards.promql import check
from stacks.alerts.desk import runbook
from stacks.alerts.models import HELD, STALE_TABLE, STALE_TABLE_MEANS
from stacks.settings import Settings
from workloads import telemetry
from workloads.notifications.kinds import MONITORED
from workloads.product import Product
from workloads.serving.metrics import SECONDS

SATURATED: Final = 0.8
"""Share of a limit of the server from which on there is little left for a burst."""
NEWEST: Final = "8d"
"""How far back the newest verdict of a monitor is looked for: it writes once a day, or once a week,
and Prometheus forgets a number after five minutes."""
QUANTILES: Final = (50, 95, 99)

RATE: Final = "product_code:esteira_requests:rate5m"
ERRORS: Final = "product:esteira_request_errors:ratio_rate5m"
REFUSED: Final = "product:esteira_requests_refused:ratio_rate5m"
DROPPED: Final = "product:esteira_log_dropped:increase15m"
SATURATION: Final = "product_limit:esteira_saturation:max"
SEVERITIES: Final = {"CRITICAL": "critical", "ERROR": "error", "WARNING": "warning"}


class Unmeasurable(ValueError):
    """An alert that could never open."""


def latency(quantile: int) -> str:
    """The name of a recorded quantile, seconds."""
    return f"product:esteira_request_seconds:p{quantile}_rate5m"


RECORDED: Final = {
    RATE: {"product", "code"},
    ERRORS: {"product"},
    REFUSED: {"product"},
    DROPPED: {"product"},
    SATURATION: {"product", "limit"},
    **{latency(quantile): {"product"} for quantile in QUANTILES},
}
"""What rules record, and the labels that it has."""


@dataclass(frozen=True, kw_only=True)
class Alert:
    """One alert of one product."""

    name: str
    query: str
    runbook: str
    severity: str
    title: str
    summary: str
    wait: str = "0m"
    """How long it has to be so."""


def document(settings: Settings, products: tuple[Product, ...], naming: Naming) -> dict[str, Any]:
    """The file of rules.

    Raises:
        BadQuery: a query asks for what there is not.
    """
    groups: list[dict[str, Any]] = [{"name": "esteira-servers", "rules": list(_recorded())}]
    there: dict[str, set[str]] = {**known.scraped(), **known.monitored(naming, products)}
    for rule in groups[0]["rules"]:
        check(rule["expr"], there)
    for product in products:
        alerts = (*serving(product, settings), *models(product, settings, naming),
                  *stream(product, settings, naming))  # fmt: skip
        for alert in alerts:
            check(alert.query, {**there, **RECORDED})
        groups.append(
            {
                "name": f"esteira-{product.name}",
                "rules": [_written(one, product, settings) for one in alerts],
            }
        )
    return {"groups": groups}


def _recorded() -> Iterator[dict[str, Any]]:
    def rate(metric: str, by: str, where: str = "") -> str:
        return f"sum by ({by}) (rate({metric}{where}[5m]))"

    every = rate("esteira_requests_total", "product")

    def share(codes: str) -> str:
        # Of what never happened there is no series: its share is none, and not unknown.
        some = rate("esteira_requests_total", "product", f'{{code=~"{codes}"}}')
        return f"({some} or 0 * {every}) / {every}"

    yield {"record": RATE, "expr": rate("esteira_requests_total", "product, code")}
    yield {"record": ERRORS, "expr": share("5..")}
    yield {"record": REFUSED, "expr": share("429")}
    buckets = rate("esteira_request_seconds_bucket", "product, le")
    for quantile in QUANTILES:
        yield {
            "record": latency(quantile),
            "expr": f"histogram_quantile({quantile / 100:g}, {buckets})",
        }
    for limit, used in (
        ("requests", "esteira_requests_under_way / esteira_requests_limit"),
        ("rows", "esteira_queue_rows / esteira_queue_rows_limit"),
        ("bytes", "esteira_arriving_bytes / esteira_arriving_bytes_limit"),
        ("log", "esteira_log_queue_rows / esteira_log_queue_rows_limit"),
    ):
        yield {
            "record": SATURATION,
            "expr": f"max by (product) ({used})",
            "labels": {"limit": limit},
        }
    yield {
        "record": DROPPED,
        "expr": "sum by (product) (increase(esteira_log_dropped_total[15m]))",
    }


def serving(product: Product, settings: Settings) -> tuple[Alert, ...]:
    """Alerts on what servers tell themselves.

    Raises:
        Unmeasurable: latency may be longer than servers measure.
    """
    alerts, of = settings.alerts, f'{{product="{product.name}"}}'
    if alerts.latency_ms >= SECONDS[-1] * 1000:
        raise Unmeasurable(
            f"esteira:alerts.latencyMs is {alerts.latency_ms}; allowed here: below "
            f"{SECONDS[-1] * 1000:g}, where the last bucket of workloads.serving.metrics ends"
        )
    return (
        Alert(
            name="EsteiraServingErrors",
            query=f"{ERRORS}{of} > {alerts.error_share:g}",
            wait="5m",
            runbook="endpoint-errors",
            severity="CRITICAL",
            title="the endpoint fails",
            summary=f"More than {alerts.error_share:.1%} of answers are 5xx.",
        ),
        Alert(
            name="EsteiraServingSlow",
            query=f"{latency(99)}{of} > {alerts.latency_ms / 1000:g}",
            wait="5m",
            runbook="endpoint-latency",
            severity="WARNING",
            title="the endpoint is slow",
            summary=f"One in a hundred predictions takes longer than {alerts.latency_ms} ms.",
        ),
        Alert(
            name="EsteiraServingSaturated",
            query=f"max by (product) ({SATURATION}{of}) > {SATURATED:g} "
            f"or {REFUSED}{of} > {alerts.error_share:g}",
            wait="5m",
            runbook="serving-saturated",
            severity="WARNING",
            title="a server is at its limits",
            summary=f"A server has used {SATURATED:.0%} of one of its limits, or refuses more than "
            f"{alerts.error_share:.1%} of requests with 429.",
        ),
        Alert(
            name="EsteiraPredictionLogDropped",
            query=f"{DROPPED}{of} > 0",
            runbook="prediction-log-dropped",
            severity="ERROR",
            title="predictions are missing from the log",
            summary="The prediction log has no row of answers that were given: neither monitors "
            "nor canaries see them.",
        ),
    )


def models(product: Product, settings: Settings, naming: Naming) -> tuple[Alert, ...]:
    """Alerts on what monitors and retraining write to Cloud Monitoring."""

    def newest(metric: telemetry.CustomMetric, **labels: str) -> str:
        where = ",".join(
            f'{label}="{value}"'
            for label, value in {telemetry.PRODUCT: product.name, **labels}.items()
        )
        return f"max(last_over_time({naming.ours(metric)}{{{where}}}[{NEWEST}]))"

    days = settings.alerts.stale_model_days
    stale = product.monitoring.stale_after / timedelta(hours=1)
    return (
        *(
            Alert(
                name=f"Esteira{_camel(kind.name)}",
                query=f"{newest(telemetry.MONITOR_ALARM, **{telemetry.KIND: kind.name})} > 0.5",
                runbook=kind.name,
                severity=kind.severity,
                title=kind.title,
                summary=kind.means,
            )
            for kind in MONITORED
        ),
        *(
            Alert(
                name=f"EsteiraRetraining{_camel(reason)}",
                query=f"{newest(telemetry.RETRAINING_HELD, **{telemetry.REASON: reason})} > 0.5",
                runbook=f"retraining-{reason}",
                severity="WARNING",
                title=title,
                summary=summary,
            )
            for reason, _, title, summary in HELD
        ),
        Alert(
            name="EsteiraStaleModel",
            query=f"{newest(telemetry.MODEL_AGE)} > {days}",
            runbook="stale-model",
            severity="WARNING",
            title="the model is old",
            summary=f"No model newer than {days} days has passed the gate.",
        ),
        Alert(
            name="EsteiraStaleTable",
            query=f"{newest(telemetry.TABLE_AGE)} > {stale:g}",
            runbook="stale-table",
            severity="WARNING",
            title=STALE_TABLE,
            summary=STALE_TABLE_MEANS,
        ),
    )


def stream(product: Product, settings: Settings, naming: Naming) -> tuple[Alert, ...]:
    """Alerts on what waits to be taken in; none of a product that takes in nothing itself."""
    alerts = settings.alerts
    made: list[Alert] = []
    for source in product.streams:
        plural = source.contract.PLURAL
        of = f'{{subscription_id="{subscription(product, plural)}"}}'
        words = _camel(plural)
        made += [
            Alert(
                name=f"Esteira{words}Backlog",
                query=f"max({naming.googles(BACKLOG)}{of}) > {alerts.backlog_messages}",
                wait="10m",
                runbook="stream-backlog",
                severity="WARNING",
                title=f"{plural} pile up",
                summary="Events arrive faster than ingestion stores them.",
            ),
            Alert(
                name=f"Esteira{words}OldestUnacked",
                query=f"max({naming.googles(OLDEST_UNACKED)}{of}) "
                f"> {alerts.oldest_unacked_seconds}",
                wait="5m",
                runbook="stream-oldest-unacked",
                severity="ERROR",
                title=f"{plural} are not taken in",
                summary=f"A message has waited for {alerts.oldest_unacked_seconds} s.",
            ),
            Alert(
                name=f"Esteira{words}Undeliverable",
                query=f"sum(increase({naming.googles(UNDELIVERABLE)}{of}[15m])) > 0",
                runbook="undeliverable-messages",
                severity="ERROR",
                title=f"{plural} cannot be delivered",
                summary="Pub/Sub gave a message up; it is kept on the dead-letter topic.",
            ),
        ]
    if product.own:
        made.append(
            Alert(
                name="EsteiraDeadLetters",
                query=f"sum(increase({set_aside(product, naming)}[1h])) "
                f"> {alerts.dead_letters_per_hour}",
                runbook="dead-letters",
                severity="WARNING",
                title="many messages break their contract",
                summary=f"Ingestion has set aside more than {alerts.dead_letters_per_hour} "
                "messages in an hour.",
            )
        )
    return tuple(made)


def subscription(product: Product, plural: str) -> str:
    """The subscription that ingestion reads, as `components.event_stream` names it."""
    return f"{product.name}-{plural}-ingestion"


def set_aside(product: Product, naming: Naming) -> str:
    """What ingestion set aside. Google wants to know of which resource, where several have it."""
    name = known.dead_letters(product.name, naming)
    return f'{name}{{monitored_resource="dataflow_step"}}' if naming is Naming.GOOGLE else name


def _written(alert: Alert, product: Product, settings: Settings) -> dict[str, Any]:
    labels: Mapping[str, str] = {
        "severity": SEVERITIES[alert.severity],
        "environment": settings.environment.value,
        "product": product.name,
        "owner": product.owner,
        "alert": alert.runbook,
    }
    return {
        "alert": alert.name,
        "expr": alert.query,
        **({} if alert.wait == "0m" else {"for": alert.wait}),
        "labels": dict(labels),
        "annotations": {
            "summary": f"{product.name}: {alert.title}",
            "description": alert.summary,
            "runbook_url": runbook(settings, alert.runbook),
        },
    }


def _camel(words: str) -> str:
    return "".join(word.capitalize() for word in words.replace("_", "-").split("-"))

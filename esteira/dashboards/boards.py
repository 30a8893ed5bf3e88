"""What Grafana shows: of each product its servers, models and streams, and all side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from components.metric_types import BACKLOG, OLDEST_UNACKED, UNDELIVERABLE
from esteira.dashboards import rules
from esteira.dashboards.grafana import MONITORING, Board, Graph, Query
from esteira.dashboards.naming import Naming
from stacks.alerts.desk import runbook
from stacks.dashboards.models import ALL_ROWS, ANSWERED, DIVERGENCE
from stacks.settings import Settings
from workloads import telemetry
from workloads.product import Product

OVERVIEW: Final = "esteira-overview"


def boards(settings: Settings, products: tuple[Product, ...], naming: Naming) -> list[Board]:
    """Every dashboard, the overview first."""
    made = [overview(settings, products, naming)]
    for product in products:
        made += [serving(product, settings), models(product, settings, naming)]
        if product.own:
            made.append(stream(product, settings, naming))
    return made


def overview(settings: Settings, products: tuple[Product, ...], naming: Naming) -> Board:
    """All products side by side."""
    alerts = settings.alerts
    of = "{product=~" + f'"{"|".join(one.name for one in products)}"' + "}"

    def recorded(title: str, name: str, unit: str, threshold: float | None, page: str) -> Graph:
        return Graph(
            title=title,
            queries=[Query(query=f"max by (product) ({name}{of})", legend="{{product}}")],
            unit=unit,
            threshold=threshold,
            runbook=runbook(settings, page) if page else "",
        )

    alarm, age = naming.ours(telemetry.MONITOR_ALARM), naming.ours(telemetry.MODEL_AGE)
    return Board(
        uid=OVERVIEW,
        title="Esteira: all products",
        note=f"**{settings.environment.value}**: "
        + ", ".join(f"[{one.name}](/d/{_uid(one, 'serving')})" for one in products),
        tags=[],
        graphs=[
            Graph(
                title="Requests",
                queries=[
                    Query(query=f"sum by (product) ({rules.RATE}{of})", legend="{{product}}")
                ],
                unit="reqps",
            ),
            recorded("Share of errors", rules.ERRORS, "percentunit", alerts.error_share,
                     "endpoint-errors"),
            recorded("Latency, 99th percentile", rules.latency(99), "s", alerts.latency_ms / 1000,
                     "endpoint-latency"),
            recorded("Saturation", rules.SATURATION, "percentunit", rules.SATURATED,
                     "serving-saturated"),
            recorded("Rows missing from the log, in 15 minutes", rules.DROPPED, "short", 0,
                     "prediction-log-dropped"),
            Graph(
                title="Alarms of the monitors",
                source=MONITORING,
                queries=[
                    Query(
                        query=f"max by (product, kind) (last_over_time({alarm}{of}"
                        f"[{rules.NEWEST}]))",
                        legend="{{product}} {{kind}}",
                    )
                ],
                unit="short",
                threshold=0.5,
            ),
            Graph(
                title="Age of the models",
                source=MONITORING,
                queries=[
                    Query(
                        query=f"max by (product) (last_over_time({age}{of}[{rules.NEWEST}]))",
                        legend="{{product}}",
                    )
                ],
                unit="d",
                threshold=alerts.stale_model_days,
                runbook=runbook(settings, "stale-model"),
            ),
        ],
    )  # fmt: skip


def serving(product: Product, settings: Settings) -> Board:
    """What the servers of a product tell at `/metrics`."""
    alerts, of = settings.alerts, f'{{product="{product.name}"}}'

    def mean(name: str) -> str:
        return f"sum(rate({name}_sum{of}[5m])) / sum(rate({name}_count{of}[5m]))"

    def total(name: str) -> str:
        return f"sum(esteira_{name}{of})"

    return Board(
        uid=_uid(product, "serving"),
        title=f"{product.name}: serving",
        note=_note(product, "What the model servers answer, how fast, how busy they are."),
        tags=[product.name, product.owner],
        graphs=[
            Graph(
                title="Answers, by code",
                queries=[Query(query=f"{rules.RATE}{of}", legend="{{code}}")],
                unit="reqps",
                stacked=True,
            ),
            Graph(
                title="Share of errors, and of what is refused",
                queries=[
                    Query(query=f"{rules.ERRORS}{of}", legend="5xx"),
                    Query(query=f"{rules.REFUSED}{of}", legend="429"),
                ],
                unit="percentunit",
                threshold=alerts.error_share,
                runbook=runbook(settings, "endpoint-errors"),
            ),
            Graph(
                title="Latency",
                queries=[
                    *(
                        Query(query=f"{rules.latency(quantile)}{of}", legend=f"{quantile} %")
                        for quantile in rules.QUANTILES
                    ),
                    Query(query=mean("esteira_request_seconds"), legend="mean"),
                ],
                unit="s",
                threshold=alerts.latency_ms / 1000,
                runbook=runbook(settings, "endpoint-latency"),
            ),
            Graph(
                title="Saturation: how much of each limit the busiest server has used",
                queries=[Query(query=f"{rules.SATURATION}{of}", legend="{{limit}}")],
                unit="percentunit",
                threshold=rules.SATURATED,
                runbook=runbook(settings, "serving-saturated"),
            ),
            Graph(
                title="Versions: servers that answer with each",
                queries=[
                    Query(
                        query=f"count by (version, variant) (esteira_model_info{of})",
                        legend="version {{version}}, {{variant}}",
                    )
                ],
                unit="short",
                stacked=True,
            ),
            Graph(
                title="Servers",
                queries=[
                    Query(query=f"count(esteira_ready{of})", legend="running"),
                    Query(query=total("ready"), legend="ready"),
                ],
                unit="short",
            ),
            Graph(
                title="Under way",
                queries=[
                    Query(query=total("requests_under_way"), legend="requests"),
                    Query(query=total("queue_rows"), legend="rows that wait for the model"),
                ],
                unit="short",
            ),
            Graph(
                title="Rows in one call of the model",
                queries=[
                    Query(query=mean("esteira_batch_rows"), legend="mean"),
                    Query(
                        query="histogram_quantile(0.95, sum by (le) "
                        f"(rate(esteira_batch_rows_bucket{of}[5m])))",
                        legend="95 %",
                    ),
                ],
                unit="short",
            ),
            Graph(
                title="Prediction log",
                queries=[
                    Query(query=f"sum(rate(esteira_log_sent_total{of}[5m]))", legend="rows sent/s"),
                    Query(query=f"{rules.DROPPED}{of}", legend="rows missing, in 15 minutes"),
                    Query(query=total("log_queue_rows"), legend="rows that wait"),
                ],
                unit="short",
                runbook=runbook(settings, "prediction-log-dropped"),
            ),
            Graph(
                title="Bodies that are arriving",
                queries=[Query(query=total("arriving_bytes"), legend="bytes")],
                unit="bytes",
            ),
        ],
    )


def models(product: Product, settings: Settings, naming: Naming) -> Board:
    """What monitors write of a product to Cloud Monitoring."""
    alerts = settings.alerts

    def graph(
        title: str,
        metric: telemetry.CustomMetric,
        *labels: str,
        unit: str = "short",
        threshold: float | None = None,
        page: str = "",
        where: Mapping[str, str] | None = None,
    ) -> Graph:
        of = {telemetry.PRODUCT: product.name, **(where or {})}
        selected = ", ".join(f'{label}="{value}"' for label, value in of.items())
        newest = f"last_over_time({naming.ours(metric)}{{{selected}}}[{rules.NEWEST}])"
        by = f" by ({', '.join(labels)})" if labels else ""
        legend = " ".join(f"{{{{{label}}}}}" for label in labels) or product.name
        return Graph(
            title=title,
            source=MONITORING,
            queries=[Query(query=f"max{by} ({newest})", legend=legend)],
            unit=unit,
            threshold=threshold,
            description=metric.description,
            runbook=runbook(settings, page) if page else "",
        )

    return Board(
        uid=_uid(product, "models"),
        title=f"{product.name}: models",
        note=_note(product, "Whether the model still fits the world."),
        tags=[product.name, product.owner],
        graphs=[
            graph("Drift by feature", telemetry.DRIFT_SCORE, telemetry.FEATURE,
                  threshold=alerts.drift_score, page="drift", where=DIVERGENCE),
            graph("Drift by reference and statistic: the worst feature", telemetry.DRIFT_SCORE,
                  telemetry.REFERENCE, telemetry.STATISTIC, page="drift", where=ALL_ROWS),
            graph("Drift of the predictions", telemetry.PREDICTION_DRIFT, telemetry.FEATURE,
                  page="prediction-drift", where=ANSWERED),
            graph("Performance: score, and whether it is estimated", telemetry.PERFORMANCE,
                  telemetry.METRIC, telemetry.ESTIMATED, page="performance", where=ALL_ROWS),
            graph("Concept drift: growth of the error", telemetry.ERROR_GROWTH,
                  unit="percentunit", page="concept-drift"),
            graph("Alarms of the monitors", telemetry.MONITOR_ALARM, telemetry.KIND,
                  threshold=0.5),
            graph("Age of the model", telemetry.MODEL_AGE, unit="d",
                  threshold=alerts.stale_model_days, page="stale-model"),
            graph("Retraining held back", telemetry.RETRAINING_HELD, telemetry.REASON,
                  threshold=0.5, page="retraining-rejected"),
            graph("Freshness: age of each table", telemetry.TABLE_AGE, telemetry.TABLE, unit="h"),
        ],
    )  # fmt: skip


def stream(product: Product, settings: Settings, naming: Naming) -> Board:
    """What waits to be taken in, by Cloud Monitoring's word."""
    alerts = settings.alerts

    def each(name: str, form: str) -> list[Query]:
        return [
            Query(
                query=form.format(
                    f'{name}{{subscription_id="{rules.subscription(product, plural)}"}}'
                ),
                legend=plural,
            )
            for plural in sorted(one.contract.PLURAL for one in product.streams)
        ]

    graphs: list[Graph] = []
    if product.streams:
        graphs += [
            Graph(
                title="Messages that wait",
                source=MONITORING,
                queries=each(naming.googles(BACKLOG), "max({})"),
                unit="short",
                threshold=alerts.backlog_messages,
                runbook=runbook(settings, "stream-backlog"),
            ),
            Graph(
                title="Age of the oldest",
                source=MONITORING,
                queries=each(naming.googles(OLDEST_UNACKED), "max({})"),
                unit="s",
                threshold=alerts.oldest_unacked_seconds,
                runbook=runbook(settings, "stream-oldest-unacked"),
            ),
            Graph(
                title="Given up by Pub/Sub, in 15 minutes",
                source=MONITORING,
                queries=each(naming.googles(UNDELIVERABLE), "sum(increase({}[15m]))"),
                unit="short",
                threshold=0,
                runbook=runbook(settings, "undeliverable-messages"),
            ),
        ]
    graphs.append(
        Graph(
            title="Set aside by ingestion in an hour, by field",
            source=MONITORING,
            queries=[
                Query(
                    query=f"sum by (field) (increase({rules.set_aside(product, naming)}[1h]))",
                    legend="{{field}}",
                )
            ],
            unit="short",
            runbook=runbook(settings, "dead-letters"),
        )
    )
    return Board(
        uid=_uid(product, "stream"),
        title=f"{product.name}: stream",
        note=_note(product, "Events on their way in: waiting, set aside."),
        tags=[product.name, product.owner],
        graphs=graphs,
    )


def _uid(product: Product, what: str) -> str:
    return f"{product.name}-{what}"


def _note(product: Product, text: str) -> str:
    return f"**{product.name}**, owned by {product.owner}. {text} [All products](/d/{OVERVIEW})"

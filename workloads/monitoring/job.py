"""One run of a product's monitors over one window.

It measures, stores, judges what is stored, asks for a retraining, writes the report, the record of
the incident, and last the metrics that alerts are on. Each step writes over what an attempt before
it has written, so that a run which was killed anywhere is run again and adds nothing twice.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time
from typing import Any, Final, Protocol
from zoneinfo import ZoneInfo

import msgspec

from workloads.database import DatabaseSettings
from workloads.monitoring import gauges, model_monitoring, report, tables, timelines, verdicts
from workloads.monitoring.champion import Champion
from workloads.monitoring.measuring import Measured, measure
from workloads.monitoring.publishing import Metrics, Point, reports
from workloads.monitoring.store import Past, PastFeature, PastScore, Store, Subject
from workloads.monitoring.verdicts import Finding
from workloads.monitoring.window import Window
from workloads.notifications.incident import IncidentRecord, encode, latest_path
from workloads.product import Product

log = logging.getLogger(__name__)

BY_HAND: Final = "start it by hand: `esteira train {product}`"
AGAIN: Final = "the monitor asks again with its next attempt, and with each window of the alarm"
_FAULT: Final = (
    "Nothing by itself: what differs between training and serving is a fault to be mended, and a "
    "model trained on it would learn the fault."
)
_MONDAY: Final = datetime(2001, 1, 1)  # noqa: DTZ001  # a wall clock's, of any zone


class NotAsked(RuntimeError):
    """Retraining could not be asked for. Says why."""

    def __init__(self, reason: str, *, passing: bool) -> None:
        self.passing = passing
        """Whether another attempt may succeed."""
        super().__init__(reason)


class Retraining(Protocol):
    """Whoever trains again on request."""

    def __call__(
        self, product: Product, reason: str, evidence: dict[str, Any], as_of: datetime | None
    ) -> str:
        """Ask; the same evidence twice is one request.

        Returns:
            What will be done about it, one plain sentence.

        Raises:
            NotAsked: it cannot be asked for.
        """
        ...


class Measurements(Protocol):
    """Where measurements are kept."""

    def write(self, measured: Measured) -> int: ...
    def history(self, version: str, window: Window, count: int) -> dict[Subject, list[Past]]: ...
    def scores(self, version: str, window: Window, count: int) -> list[PastScore]: ...
    def trend(
        self, version: str, window: Window, count: int, features: Collection[str]
    ) -> list[PastFeature]: ...
    def unfinished(self, window: Window, at: datetime) -> list[tuple[str, Window]]: ...


class Gauges(Protocol):
    """Where alerts look."""

    def write(self, points: Sequence[Point], at: datetime) -> None: ...


class Objects(Protocol):
    """Where reports lie."""

    @property
    def uri(self) -> str: ...
    def write(self, name: str, content: bytes | str, content_type: str) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Edge:
    """Everything outside that a run reads from or writes to."""

    champion: Callable[[Product], Champion]
    measure: Callable[..., Measured]
    store: Measurements
    objects: Objects
    gauges: Gauges
    retraining: Retraining
    follow: Callable[[Product, Champion], None] = lambda *_: None
    """Has Vertex AI's own monitors watch the champion too."""

    @classmethod
    def of(cls, product: Product, database: DatabaseSettings | None = None) -> Edge:
        """BigQuery, Cloud Storage, Cloud Monitoring and PostgreSQL, as the environment has them.

        Args:
            product: whose.
            database: where requests for retraining go; the environment's when not given.
        """
        return cls(
            champion=Champion.of,
            measure=measure,
            store=Store(product),
            objects=reports(product),
            gauges=Metrics(),
            retraining=_Requests(database),
            follow=model_monitoring.follow,
        )


@dataclass(frozen=True)
class _Requests:
    """The controller of retraining, by its table of requests."""

    database: DatabaseSettings | None

    def __call__(
        self, product: Product, reason: str, evidence: dict[str, Any], as_of: datetime | None
    ) -> str:
        import psycopg

        from workloads.database import NoCertificates
        from workloads.retraining import requests

        try:
            requests.ask(
                product,
                requests.Reason(reason),
                evidence,
                by="monitor",
                as_of=as_of,
                database=self.database,
            )
        except requests.RecordsUnreachable as error:
            raise NotAsked(str(error), passing=True) from error
        except (requests.NoRetraining, NoCertificates) as error:
            raise NotAsked(str(error), passing=False) from error
        except psycopg.Error as error:
            raise NotAsked(f"PostgreSQL does not answer: {error}", passing=True) from error
        return (
            "A retraining has been asked for; it starts when its cool-down has passed and its "
            "budget allows, and the gate judges what it makes."
        )


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a run found and did."""

    product: str
    window: Window
    model_version: str
    measurements: int
    findings: tuple[Finding, ...]
    """One of each kind of monitor, the gravest kind first."""
    incident: IncidentRecord | None
    report: str
    """`gs://...html`."""
    performance: tuple[dict[str, Any], ...]
    """Of this window and of earlier ones whose labels have come since: rows of the table."""
    faults: tuple[str, ...] = ()
    """Of the schema."""
    unasked: str = ""
    """Why a retraining that was due could not be asked for, where another attempt may."""

    @property
    def verdict(self) -> str:
        """The gravest of all kinds: `schema`, `alarm`, `drifted`, `unknown` or `quiet`."""
        found = {one.verdict for one in self.findings}
        if verdicts.SCHEMA in found:
            return verdicts.SCHEMA
        if any(one.alarm for one in self.findings):
            return "alarm"
        if "drifted" in found:
            return "drifted"
        return "quiet" if "quiet" in found else "unknown"


def last_window(product: Product, now: datetime) -> Window:
    """The last whole window before a moment; windows follow each other from a Monday on."""
    ours = product.monitoring
    zone = ZoneInfo(ours.time_zone)
    today = datetime.combine(now.astimezone(zone).date(), time())
    whole = (today - _MONDAY) // ours.window
    end = _MONDAY + whole * ours.window
    # By the wall clock, so that a day on which clocks change is one day.
    return Window(start=(end - ours.window).replace(tzinfo=zone), end=end.replace(tzinfo=zone))


def monitor(
    product: Product,
    window: Window | None = None,
    *,
    at: datetime | None = None,
    as_of: datetime | None = None,
    edge: Edge | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Outcome:
    """Watch one product over one window.

    Args:
        product: the declaration.
        window: of the questions' event time; the last whole one when not given.
        at: the moment of measuring, by which labels are mature; now when not given.
        as_of: for data that are replayed: a retraining is asked for as if it were then.
        edge: the outside; as the environment has it when not given.
        progress: is told each step.

    Raises:
        NoSuchVersion: no model was released yet.
        StoreRefused: BigQuery did not take the measurements.
        google.api_core.exceptions.GoogleAPICallError: it refused to be read.
    """
    now = datetime.now(UTC) if at is None else at
    window = last_window(product, now) if window is None else window
    edge = Edge.of(product) if edge is None else edge
    champion = edge.champion(product)
    before = product.monitoring.of - 1
    earlier = edge.store.unfinished(window, now)
    progress(f"measuring {window.start:%Y-%m-%d} to {window.end:%Y-%m-%d}")
    measured = edge.measure(champion, window, at=now, earlier=earlier)
    progress(f"storing {len(measured.all) + len(measured.rated)} measurements")
    count = edge.store.write(measured)
    scores = edge.store.scores(champion.number, window, max(before, timelines.WINDOWS))
    sliced = any(one.performance.slice for one in measured.rated)
    findings = tuple(
        verdicts.judge(
            product,
            measured,
            edge.store.history(champion.number, window, before),
            scores,
            champion.expected,
            # Scored on the hold-out only where there is something to hold against them.
            champion.parts if sliced else None,
        )
    )
    name = report_name(window)
    place = f"{edge.objects.uri}/{name}"
    action, unasked = _act(product, measured, findings, edge.retraining, as_of)
    told = verdicts.incidents(product, findings, window, report=place, action=action)
    found = told[0] if told else None
    progress("writing the report")
    trend = edge.store.trend(
        champion.number,
        window,
        timelines.WINDOWS,
        {one.feature for _, one in timelines.worst(measured)},
    )
    page = report.render(product, measured, findings, scores, trend, champion, found)
    edge.objects.write(name, page, "text/html; charset=utf-8")
    for record in told:
        path = latest_path(product.name, record.kind).rpartition("/")[2]
        edge.objects.write(path, encode(record), "application/json")
    points = gauges.points(product, measured, findings, champion.manifest.training.end, now)
    edge.gauges.write(points, datetime.now(UTC))
    edge.follow(product, champion)
    return Outcome(
        product=product.name,
        window=window,
        model_version=champion.number,
        measurements=count,
        findings=findings,
        incident=found,
        report=place,
        performance=tuple(
            {
                **tables.performance_row(
                    one.performance,
                    model_version=one.version,
                    measured_at=now,
                    estimated=one.estimated,
                )
            }
            for one in measured.rated
        ),
        faults=measured.faults,
        unasked=unasked,
    )


def report_name(window: Window) -> str:
    """The name of a window's report in the product's folder."""
    return f"{window.start:%Y%m%dT%H%M}-{window.end:%Y%m%dT%H%M}.html"


def _act(
    product: Product,
    measured: Measured,
    findings: Sequence[Finding],
    retraining: Retraining,
    as_of: datetime | None,
) -> tuple[str, str]:
    """Ask for a retraining where that may help: what will be done, and what could not be."""
    alarms = [one for one in findings if one.alarm]
    if not alarms:
        return "", ""
    if any(one.kind == verdicts.SKEW for one in alarms):
        return _FAULT, ""
    kinds = [one.kind for one in alarms if one.kind in verdicts.RETRAINED]
    worse = {verdicts.PERFORMANCE, verdicts.CONCEPT_DRIFT} & set(kinds)
    evidence = {
        # A window is one reason, however often it is looked at.
        "key": f"{measured.version}/{measured.window.end.astimezone(UTC).isoformat()}",
        "kinds": kinds,
        "window": [measured.window.start.isoformat(), measured.window.end.isoformat()],
        "model_version": measured.version,
        "top": [msgspec.to_builtins(one) for one in alarms[0].top],
    }
    try:
        return retraining(product, "performance" if worse else "drift", evidence, as_of), ""
    except NotAsked as error:
        log.warning("retraining of %s was not asked for: %s", product.name, error)
        next_ = AGAIN if error.passing else BY_HAND.format(product=product.name)
        text = f"Retraining could not be asked for ({error}); {next_}."
        return text, str(error) if error.passing else ""

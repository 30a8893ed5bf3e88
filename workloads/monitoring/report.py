"""The report of one window: one HTML page that needs nothing else, plots included."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

from workloads.monitoring import tables, timelines
from workloads.monitoring.champion import Champion
from workloads.monitoring.measuring import Measured
from workloads.monitoring.reference import Feature, Histogram
from workloads.monitoring.store import PastFeature, PastScore
from workloads.monitoring.verdicts import Finding
from workloads.notifications.incident import IncidentRecord
from workloads.plotting.svg import CHAMPION, NEUTRAL, Plot
from workloads.product import Product

LISTED: Final = 200
"""Scores in the table; all of them are in the monitoring dataset."""
_CATEGORIES: Final = 12
_STYLE: Final = """
body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;
color:#111827;background:#fff}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}
table{border-collapse:collapse;width:100%;font-size:13px}
th,td{border-bottom:1px solid #e5e7eb;padding:.3rem .5rem;text-align:left}
td.n{text-align:right;font-variant-numeric:tabular-nums}
.alarm,.drifted,.schema{color:#9a3412;font-weight:600}.unknown{color:#6b7280}
figure{display:inline-block;margin:.5rem .5rem .5rem 0}
"""


def render(
    product: Product,
    measured: Measured,
    findings: Sequence[Finding],
    past: Sequence[PastScore],
    trend: Sequence[PastFeature],
    champion: Champion,
    incident: IncidentRecord | None,
) -> str:
    """The page.

    Args:
        product: the declaration.
        measured: the window.
        findings: what each kind of monitor says of it.
        past: the gate's metric of the windows before.
        trend: scores of the worst features in the windows before.
        champion: the model that is watched.
        incident: what came of it.
    """
    window = measured.window
    title = f"{product.name}, {window.start:%d %B %Y} to {window.end:%d %B %Y}"
    parts = [
        "<!doctype html>",
        f'<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>',
        f"<style>{_STYLE}</style></head><body>",
        f"<h1>{escape(title)}</h1>",
        _model(product, measured, champion),
        _incident(incident),
        "<h2>Verdicts</h2>",
        _findings(findings),
        *(f'<p class="schema">{escape(one)}</p>' for one in measured.faults),
        "<h2>Performance</h2>",
        _performance(product, measured, past, champion.expected),
        "<h2>Distributions</h2>",
        _distributions(measured),
        "<h2>Scores over time</h2>",
        _courses(measured, trend),
        "<h2>Tables and servers</h2>",
        _service(measured),
        "<h2>Scores</h2>",
        _scores(measured),
        "</body></html>",
    ]
    return "\n".join(part for part in parts if part) + "\n"


def _model(product: Product, measured: Measured, champion: Champion) -> str:
    manifest = champion.manifest
    return (
        f"<p>Version {escape(measured.version)}, which learned from "
        f"{manifest.training.start:%d %B %Y} to {manifest.training.end:%d %B %Y} "
        f"({manifest.training.rows} rows) and scored {escape(product.gate.metric)} "
        f"{champion.expected:.4f} on {manifest.holdout.rows} rows held out. Measured at "
        f"{measured.at:%d %B %Y, %H:%M %Z}.</p>"
    )


def _incident(found: IncidentRecord | None) -> str:
    if found is None:
        return "<p>No alarm.</p>"
    return (
        f'<p class="alarm">Alarm: {escape(found.kind)}, {escape(found.severity.lower())}, since '
        f"{found.since:%d %B %Y}. {escape(found.action)}</p>"
    )


def _findings(findings: Sequence[Finding]) -> str:
    rows = [
        (
            one.kind,
            f'<span class="{one.verdict}">{escape(one.verdict)}</span>'
            + (' <span class="alarm">alarm</span>' if one.alarm else ""),
            escape(one.feature),
            escape(one.statistic),
            _figure(one.score),
            _figure(one.threshold),
            escape(one.reason),
        )
        for one in findings
    ]
    return _table(
        ("Monitor", "Verdict", "Worst", "Statistic", "Score", "Threshold", "Reason"), rows
    )


def _performance(
    product: Product, measured: Measured, past: Sequence[PastScore], expected: float
) -> str:
    plot = timelines.performance(product, measured, past, expected)
    figure = "" if plot is None else f"<figure>{plot.render()}</figure>"
    rows = [
        (
            f"{one.performance.window.start:%d %b} to {one.performance.window.end:%d %b %Y}",
            escape(one.performance.slice or "all rows"),
            escape(one.performance.metric),
            "estimated" if one.estimated else "by labels",
            _figure(one.performance.value)
            if one.performance.value is not None
            else '<span class="unknown">unknown</span>',
            _figure(one.performance.low),
            _figure(one.performance.high),
            str(one.performance.labelled),
            str(one.performance.waiting),
            escape(one.performance.reason),
        )
        for one in measured.rated
    ]
    heads = (
        "Window", "Rows of", "Metric", "How", "Value", "Low", "High", "Labelled", "Waiting",
        "Reason",
    )  # fmt: skip
    return figure + _table(heads, rows)


def _distributions(measured: Measured) -> str:
    shown: list[str] = []
    worst = timelines.worst(measured)
    for reference, before, after in (
        (tables.TRAINING, "training", "window"),
        (tables.SKEW, "feature query", "as served"),
        (tables.ANSWERS, "hold-out", "window"),
    ):
        counts = measured.counts.get(reference, {})
        if reference not in measured.before:
            continue
        known = {one.name: one for one in measured.before[reference].features}
        for name in [one.feature for of, one in worst if of == reference]:
            if name in known and name in counts and known[name].counts.values:
                plot = _distribution(known[name], counts[name], before, after)
                shown.append(f"<figure>{plot.render()}</figure>")
    return "".join(shown) or "<p>There is nothing to show.</p>"


def _courses(measured: Measured, trend: Sequence[PastFeature]) -> str:
    plots = timelines.scores(measured, trend)
    return "".join(f"<figure>{one.render()}</figure>" for one in plots) or (
        "<p>There is nothing to show.</p>"
    )


def _distribution(feature: Feature, after: Histogram, was: str, now: str) -> Plot:
    first, second = (
        [cell / max(1, one.values) for cell in one.cells] for one in (feature.counts, after)
    )
    if feature.kind == "text":
        order = sorted(range(len(first)), key=lambda one: -max(first[one], second[one]))[
            :_CATEGORIES
        ]
        names = [
            feature.categories[one] if one < len(feature.categories) else "others" for one in order
        ]
        top = max((max(first[one], second[one]) for one in order), default=1.0)
        plot = Plot(feature.name, "share", "", (0, top * 1.1 or 1.0), (-0.7, len(order) - 0.3))
        plot.rows(names)
        plot.dots([(first[one], at + 0.12) for at, one in enumerate(order)], NEUTRAL, was, size=4)
        plot.dots([(second[one], at - 0.12) for at, one in enumerate(order)], CHAMPION, now, size=4)
        return plot
    edges = feature.edges
    # Bins hold equal shares of the reference: a density would be all spikes.
    top = max([*first, *second, 1e-6])
    plot = Plot(
        feature.name,
        "bins of the reference, lowest first; outside at either end",
        "share of rows",
        (0, len(edges) + 1),
        (0, top * 1.15),
    )
    bounds = [float(one) for one in range(len(first) + 1)]
    plot.bars(bounds, first, NEUTRAL)
    steps = [
        point
        for at, height in enumerate(second)
        for point in ((float(at), height), (float(at + 1), height))
    ]
    plot.line(steps, CHAMPION, now)
    plot.dots([], NEUTRAL, was)
    return plot


def _service(measured: Measured) -> str:
    service = measured.service
    median, slow = service.latency_ms
    told = (
        f"<p>Servers were asked about {service.rows} rows, {service.errors} of them in vain; half "
        f"of all answers took less than {_figure(median)} ms, 99 of 100 less than {_figure(slow)} "
        "ms.</p>"
        if service.rows
        else "<p>Servers were asked nothing in this window.</p>"
    )
    rows = [
        (
            escape(one.feature),
            _figure(one.score),
            _figure(one.threshold),
            f'<span class="{one.verdict.value}">'
            + {"quiet": "fresh", "drifted": "stale", "unknown": "unknown"}[one.verdict.value]
            + "</span>",
        )
        for one in measured.of(tables.FRESHNESS)
    ]
    return told + _table(("Table", "Hours since it was written to", "Allowed", "Verdict"), rows)


def _scores(measured: Measured) -> str:
    ranked = sorted(
        (each for each in measured.all if each[0] != tables.FRESHNESS),
        key=lambda each: (
            ["drifted", "unknown", "quiet"].index(each[1].verdict.value),
            -(each[1].score or 0) / max(each[1].threshold, 1e-12),
        ),
    )
    rows = [
        (
            escape(one.feature),
            escape(one.slice or "all rows"),
            escape(reference),
            escape(one.statistic),
            _figure(one.score),
            _figure(one.threshold),
            _figure(one.p_value),
            str(one.rows),
            f'<span class="{one.verdict.value}">{one.verdict.value}</span>',
        )
        for reference, one in ranked[:LISTED]
    ]
    heads = (
        "Feature", "Rows of", "Held against", "Statistic", "Score", "Threshold", "p", "Rows",
        "Verdict",
    )  # fmt: skip
    more = len(ranked) - len(rows)
    rest = f"<p>{more} more are in the monitoring dataset.</p>" if more > 0 else ""
    return _table(heads, rows) + rest


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(one)}</th>" for one in heads)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>\n" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table>"


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"

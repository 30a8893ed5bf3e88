"""A dashboard of Cloud Monitoring, put together from series, text and logs.

The document is written with sorted keys and no value that changes by itself, so that a second
preview is empty.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import pulumi
import pulumi_gcp as gcp

from components import checks
from components.child_opts import child_opts
from components.series import Series

COLUMNS: Final = 48
"""Of the grid. A tile is half of it wide."""
TILE: Final = (24, 16)
"""Width and height of a chart."""
TILES: Final = 100
"""The most that Google allows on a dashboard."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of a chart, or several where the series is grouped."""

    series: Series
    """What is drawn."""
    legend: str
    """What it is called."""
    over: Series | None = None
    """Divides `series`."""


@dataclass(frozen=True, kw_only=True)
class Chart:
    """Lines over time.

    Raises:
        InvalidArgs: at construction, when it has no line.
    """

    title: str
    lines: Sequence[Line]
    """At least one."""
    unit: str
    """What the vertical axis counts, as people read it."""
    threshold: float | None = None
    """Above it an alert opens; drawn across the chart."""

    def __post_init__(self) -> None:
        if not self.lines:
            raise checks.InvalidArgs(f"Chart {self.title!r}", "lines", [], "at least one")


@dataclass(frozen=True, kw_only=True)
class Promql:
    """A chart of what a PromQL query answers."""

    title: str
    query: str
    """In PromQL."""
    unit: str
    """What the vertical axis counts, as people read it."""
    legend: str = ""
    """What each line is called; its labels when not given."""


@dataclass(frozen=True, kw_only=True)
class Note:
    """Text in Markdown, as wide as the dashboard."""

    content: str
    """In Markdown."""


@dataclass(frozen=True, kw_only=True)
class Logs:
    """The latest log entries that a filter takes."""

    title: str
    filter: str
    """In Cloud Logging's language."""


type Panel = Chart | Promql | Note | Logs


@dataclass(frozen=True, kw_only=True)
class DashboardArgs:
    """What a dashboard shows.

    Raises:
        InvalidArgs: at construction, when it shows nothing or too much.
    """

    title: str
    panels: Sequence[Panel]
    """`Chart`, `Promql`, `Note` or `Logs`, from left to right, then down."""

    def __post_init__(self) -> None:
        checks.between("Dashboard", "panels", len(self.panels), 1, TILES, "panels")


class Dashboard(pulumi.ComponentResource):
    """Dashboard `<name>`."""

    dashboard: gcp.monitoring.Dashboard

    def __init__(
        self, name: str, *, args: DashboardArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("esteira:dashboard:Dashboard", name, {}, opts)
        self.dashboard = gcp.monitoring.Dashboard(
            name,
            dashboard_json=pulumi.Output.json_dumps(document(args), sort_keys=True),
            opts=child_opts(self),
        )
        self.register_outputs({"dashboard": self.dashboard.id})


def document(args: DashboardArgs) -> dict[str, Any]:
    """The dashboard by the names of Cloud Monitoring's API; filters may be known only later."""
    tiles: list[dict[str, Any]] = []
    x = y = 0
    for panel in args.panels:
        wide, high = (COLUMNS, 6) if isinstance(panel, Note) else TILE
        if x + wide > COLUMNS:
            x, y = 0, y + TILE[1]
        tiles.append(
            {"xPos": x, "yPos": y, "width": wide, "height": high, "widget": _widget(panel)}
        )
        if isinstance(panel, Note):
            y += high
        else:
            x += wide
    return {
        "displayName": args.title,
        "mosaicLayout": {"columns": COLUMNS, "tiles": tiles},
    }


def _widget(panel: Panel) -> dict[str, Any]:
    if isinstance(panel, Note):
        return {"text": {"content": panel.content, "format": "MARKDOWN"}}
    if isinstance(panel, Logs):
        return {"title": panel.title, "logsPanel": {"filter": panel.filter}}
    if isinstance(panel, Promql):
        sets = [_data_set({"prometheusQuery": panel.query}, panel.legend)]
    else:
        sets = [_data_set(_query(line), line.legend) for line in panel.lines]
    chart: dict[str, Any] = {
        "dataSets": sets,
        "yAxis": {"label": panel.unit, "scale": "LINEAR"},
    }
    if isinstance(panel, Chart) and panel.threshold is not None:
        chart["thresholds"] = [{"label": "alert", "value": panel.threshold, "targetAxis": "Y1"}]
    return {"title": panel.title, "xyChart": chart}


def _data_set(query: dict[str, Any], legend: str) -> dict[str, Any]:
    return {
        "timeSeriesQuery": query,
        "plotType": "LINE",
        "targetAxis": "Y1",
        **({"legendTemplate": legend} if legend else {}),
    }


def _query(line: Line) -> dict[str, Any]:
    if line.over is None:
        return {"timeSeriesFilter": _part(line.series)}
    return {
        "timeSeriesFilterRatio": {
            "numerator": _part(line.series),
            "denominator": _part(line.over),
        }
    }


def _part(series: Series) -> dict[str, Any]:
    return {"filter": series.filter(), "aggregation": series.aggregation()}

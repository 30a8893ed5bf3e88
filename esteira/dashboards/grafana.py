"""Grafana's dashboards, in its classic JSON model, which every version since 8 imports.

Nothing in them is counted up or made by chance, so that a new generation of what has not changed is
the same file: the `uid` follows from the name, `id` and `version` are left to Grafana.
https://grafana.com/docs/grafana/latest/dashboards/build-dashboards/view-dashboard-json-model/
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

SCHEMA: Final = 39
"""Of Grafana 11; a newer Grafana moves it up by itself when it imports it."""
COLUMNS: Final = 24
WIDTH: Final = 12
HEIGHT: Final = 8
NOTE_HEIGHT: Final = 2
SERVERS: Final = "servers"
MONITORING: Final = "monitoring"
SOURCES: Final = {
    SERVERS: "Prometheus that scrapes the model servers",
    MONITORING: "Prometheus that answers for Cloud Monitoring",
}
"""The variables by which whoever looks says which data source is asked."""


@dataclass(frozen=True, kw_only=True)
class Query:
    """A query, and what each of its series is called."""

    query: str
    legend: str


@dataclass(frozen=True, kw_only=True)
class Graph:
    """Lines over time."""

    title: str
    queries: Sequence[Query]
    unit: str
    """Grafana's id of a unit: `s`, `reqps`, `percentunit`, `short`, `bytes`, `d`."""
    source: str = SERVERS
    threshold: float | None = None
    """Above it an alert opens; drawn across."""
    description: str = ""
    runbook: str = ""
    """Where it says what to do above the threshold."""
    stacked: bool = False


@dataclass(frozen=True, kw_only=True)
class Board:
    """A dashboard."""

    uid: str
    title: str
    note: str
    """In Markdown, above everything."""
    graphs: Sequence[Graph]
    tags: Sequence[str]

    def __post_init__(self) -> None:
        if not 1 <= len(self.uid) <= 40:
            raise ValueError(f"uid is {self.uid!r}; allowed: 1 to 40 characters, by Grafana")


def document(board: Board) -> dict[str, Any]:
    """The dashboard as Grafana takes it."""
    panels: list[dict[str, Any]] = [_note(board.note)]
    for number, graph in enumerate(board.graphs):
        row, column = divmod(number, COLUMNS // WIDTH)
        place = {
            "x": column * WIDTH, "y": NOTE_HEIGHT + row * HEIGHT, "w": WIDTH, "h": HEIGHT,
        }  # fmt: skip
        panels.append(_panel(graph, number + 2, place))
    used = [name for name in SOURCES if any(graph.source == name for graph in board.graphs)]
    return {
        "uid": board.uid,
        "title": board.title,
        "tags": ["esteira", *board.tags],
        "timezone": "utc",
        "editable": False,
        "graphTooltip": 1,
        "refresh": "1m",
        "schemaVersion": SCHEMA,
        "time": {"from": "now-24h", "to": "now"},
        "templating": {"list": [_variable(name) for name in used]},
        "annotations": {"list": []},
        "links": [],
        "panels": panels,
    }


def _variable(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "label": SOURCES[name],
        "type": "datasource",
        "query": "prometheus",
        "regex": "",
        "hide": 0,
        "multi": False,
        "includeAll": False,
        "refresh": 1,
        "skipUrlSync": False,
        "options": [],
    }


def _note(content: str) -> dict[str, Any]:
    return {
        "id": 1,
        "type": "text",
        "title": "",
        "gridPos": {"x": 0, "y": 0, "w": COLUMNS, "h": NOTE_HEIGHT},
        "options": {"mode": "markdown", "content": content},
    }


def _panel(graph: Graph, number: int, place: dict[str, int]) -> dict[str, Any]:
    source = {"type": "prometheus", "uid": f"${{{graph.source}}}"}
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if graph.threshold is not None:
        steps.append({"color": "red", "value": graph.threshold})
    custom = {
        "drawStyle": "line",
        "fillOpacity": 20 if graph.stacked else 0,
        "lineWidth": 1,
        "showPoints": "auto",
        "stacking": {"group": "A", "mode": "normal" if graph.stacked else "none"},
        "thresholdsStyle": {"mode": "off" if graph.threshold is None else "line"},
    }
    # Grafana takes whole addresses only.
    linked = graph.runbook.startswith("https://")
    return {
        "id": number,
        "type": "timeseries",
        "title": graph.title,
        "description": graph.description,
        "datasource": source,
        "gridPos": place,
        "fieldConfig": {
            "defaults": {
                "unit": graph.unit,
                "min": 0,
                "custom": custom,
                "thresholds": {"mode": "absolute", "steps": steps},
            },
            "overrides": [],
        },
        "options": {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
        "links": [{"title": "Runbook", "url": graph.runbook, "targetBlank": True}]
        if linked
        else [],
        "targets": [
            {
                "refId": chr(ord("A") + position),
                "datasource": source,
                "expr": query.query,
                "legendFormat": query.legend,
                "range": True,
            }
            for position, query in enumerate(graph.queries)
        ],
    }

"""The sorts of charts that several dashboards have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pulumi

from components.dashboard import Chart, Line, Note
from components.metric_types import MetricType
from components.series import Series
from stacks.alerts.desk import MINUTES, Watched

type Where = Mapping[str, pulumi.Input[str]]


def header(about: Watched, text: str) -> Note:
    """Whose dashboard it is, and what it shows."""
    return Note(content=f"**{about.product}**, owned by {about.owner}. {text}")


def lines(
    title: str,
    metric: MetricType,
    aligner: str,
    unit: str,
    wheres: Sequence[tuple[str, Where]],
    threshold: float | None = None,
) -> Chart:
    """A metric of several things, a line each.

    Args:
        title, unit, threshold: as `Chart`.
        metric, aligner: as `Series`.
        wheres: the legend and the labels of each line.
    """
    return Chart(
        title=title,
        unit=unit,
        threshold=threshold,
        lines=[
            Line(series=Series(metric=metric, aligner=aligner, where=where), legend=legend)
            for legend, where in wheres
        ],
    )


def apart(
    title: str,
    metric: MetricType,
    aligner: str,
    unit: str,
    label: str | None,
    *,
    where: Where | None = None,
    reducer: str = "REDUCE_SUM",
    period_seconds: int = 5 * MINUTES,
    threshold: float | None = None,
) -> Chart:
    """A metric, apart by one of its labels.

    Args:
        title, unit, threshold: as `Chart`.
        metric, aligner, where, reducer, period_seconds: as `Series`.
        label: `resource.labels.job_name`, `metric.labels.result`; one line when not given.
    """
    series = Series(
        metric=metric,
        aligner=aligner,
        where=where or {},
        period_seconds=period_seconds,
        reducer=reducer,
    )
    if label is None:
        line = Line(series=series, legend=title)
    else:
        line = Line(series=replace(series, group_by=(label,)), legend=f"${{{label}}}")
    return Chart(title=title, unit=unit, threshold=threshold, lines=[line])

"""The names by which workloads are watched: custom metrics they write, and lines they log.

Whoever writes them and the alerts and dashboards that read them share this module; it is cheap to
import, since the Pulumi program does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

PRODUCT: Final = "product"
FEATURE: Final = "feature"
KIND: Final = "kind"
REASON: Final = "reason"
METRIC: Final = "metric"
ESTIMATED: Final = "estimated"
TABLE: Final = "table"
STATISTIC: Final = "statistic"
REFERENCE: Final = "reference"
SLICE: Final = "slice"
ALL: Final = "all"
"""The slice that holds all rows; the others are `column=value`. An empty label is as good as none,
and could not be asked for."""


@dataclass(frozen=True, kw_only=True)
class CustomMetric:
    """A gauge of our own, written for the monitored resource `global`."""

    type: str
    title: str
    description: str
    unit: str
    """As UCUM writes it."""
    labels: tuple[tuple[str, str], ...]
    """Name and description of each."""


_PRODUCT: Final = (PRODUCT, "Name of the ML product")
_SLICE: Final = (SLICE, "`column=value`; `all` for all rows")

DRIFT_SCORE: Final = CustomMetric(
    type="custom.googleapis.com/esteira/drift_score",
    title="Drift score",
    description="How far a feature in the window last looked at lies from a reference, by each "
    "statistic",
    unit="1",
    labels=(
        _PRODUCT,
        (FEATURE, "Name of the feature"),
        (STATISTIC, "Which distance or share: `jensen_shannon`, `psi`, `missing`, ..."),
        (REFERENCE, "`training`, `training-served` or `raw`: see workloads.monitoring.tables"),
        _SLICE,
    ),
)
MODEL_AGE: Final = CustomMetric(
    type="custom.googleapis.com/esteira/model_age_days",
    title="Age of the serving model",
    description="Days since the end of the data that the serving model has learned from",
    unit="d",
    labels=(_PRODUCT,),
)
MONITOR_ALARM: Final = CustomMetric(
    type="custom.googleapis.com/esteira/monitor_alarm",
    title="Alarm of a monitor",
    description="1 while a monitor's verdict is that something is wrong, after its corrections for "
    "many tests and for windows that come and go; 0 while it is not; nothing while it cannot tell",
    unit="1",
    labels=(
        _PRODUCT,
        (KIND, "What is monitored: one of workloads.notifications.incident.KINDS"),
    ),
)
RETRAINING_HELD: Final = CustomMetric(
    type="custom.googleapis.com/esteira/retraining_held",
    title="Retraining held back",
    description="1 while retraining does not help for this reason, 0 while it is not so",
    unit="1",
    labels=(_PRODUCT, (REASON, "`rejected`: the gate refused the newest model; `budget`: used up")),
)
PREDICTION_DRIFT: Final = CustomMetric(
    type="custom.googleapis.com/esteira/prediction_drift_score",
    title="Drift of the predictions",
    description="How far what the model answered in the window last looked at lies from what it "
    "answered on the hold-out, by each statistic",
    unit="1",
    labels=(
        _PRODUCT,
        (FEATURE, "`value`: the number answered; `answer`: the class; `lower`, `upper`: bounds"),
        (STATISTIC, "Which distance or share: `jensen_shannon`, `psi`, `missing`, ..."),
    ),
)
PERFORMANCE: Final = CustomMetric(
    type="custom.googleapis.com/esteira/performance",
    title="Performance of the serving model",
    description="A score of the model's answers in the window last looked at; nothing while it is "
    "unknown",
    unit="1",
    labels=(
        _PRODUCT,
        (METRIC, "Which score: `roc_auc`, `mae`, ..."),
        (ESTIMATED, "`false`: by labels that have come in; `true`: without labels"),
        _SLICE,
    ),
)
ERROR_GROWTH: Final = CustomMetric(
    type="custom.googleapis.com/esteira/error_growth",
    title="Growth of the model's errors",
    description="By which share of what it was on the hold-out the mean error has grown, in the "
    "window last looked at: concept drift",
    unit="1",
    labels=(_PRODUCT,),
)
TABLE_AGE: Final = CustomMetric(
    type="custom.googleapis.com/esteira/table_age_hours",
    title="Age of a table",
    description="Hours since a table of the product was last written to",
    unit="h",
    labels=(_PRODUCT, (TABLE, "Name of the table")),
)
CUSTOM_METRICS: Final = (
    DRIFT_SCORE,
    MODEL_AGE,
    MONITOR_ALARM,
    RETRAINING_HELD,
    PREDICTION_DRIFT,
    PERFORMANCE,
    ERROR_GROWTH,
    TABLE_AGE,
)

DEAD_LETTER: Final = "dead letter: field=%s source=%s"
"""Logged for each dead letter. Not what the field held: that may be personal."""
DEAD_LETTER_START: Final = "dead letter: "
GATE_DECISION: Final = "gate decision: product=%s approved=%s"
"""Logged for each decision of the gate."""
GATE_DECISION_START: Final = "gate decision: "

"""A product small enough to know every row of: sensors that are read again and again."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from msgspec import Meta

from workloads.contracts import Contract
from workloads.product import Arrival, Features, Gate, Label, Monitoring, Product, Source, Task

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
_SQL = """
SELECT *
FROM (
  SELECT
    sensor,
    read_at,
    temperature,
    temperature > 30 AS hot_now,
    AVG(temperature) OVER past AS mean_temperature,
    COUNT(*) OVER past AS readings,
    mode,
    serviced_at,
    CAST(NULL AS BOOL) AS broken
  FROM {readings}
  WHERE read_at < @end
  WINDOW past AS (PARTITION BY sensor ORDER BY read_at ROWS UNBOUNDED PRECEDING)
)
WHERE read_at >= @start
"""


class Reading(Contract, frozen=True, kw_only=True):
    """What one sensor said at one moment."""

    NAME = "reading"
    PLURAL = "readings"
    VERSION = 1
    IDENTITY = "reading_id"
    EVENT_TIME = "read_at"

    reading_id: Annotated[str, Meta(description="Of the reading")]
    sensor: Annotated[str, Meta(description="Which one")]
    read_at: Annotated[datetime, Meta(tz=True, description="When")]
    temperature: Annotated[float, Meta(description="Degrees Celsius")] | None = None
    mode: Annotated[str, Meta(description="How it was read")] | None = None
    serviced_at: Annotated[datetime, Meta(tz=True, description="Last service")] | None = None


class Asked(Contract, frozen=True, kw_only=True):
    """What a model is told: one field of each kind."""

    NAME = "asked"
    PLURAL = "asked"
    VERSION = 1

    sensor: Annotated[str, Meta(description="Which one")]
    temperature: Annotated[float, Meta(description="Degrees Celsius")] | None = None
    hot_now: Annotated[bool, Meta(description="Above 30 degrees")] | None = None
    mean_temperature: Annotated[float, Meta(description="Of all so far")] | None = None
    readings: Annotated[int, Meta(description="So far")] | None = None
    mode: Annotated[str, Meta(description="How it was read")] | None = None
    serviced_at: Annotated[datetime, Meta(tz=True, description="Last service")] | None = None


def sensors(template: Product, name: str, folder: Path) -> Product:
    """The product, with what it does not say taken from another."""
    file = folder / "features.sql"
    file.write_text(_SQL)
    return dataclasses.replace(
        template,
        name=name,
        task=Task.CLASSIFICATION,
        sources=(Source(contract=Reading, arrival=Arrival.STREAM),),
        features=Features(sql=file, entity="sensor", event_time="read_at", request=Asked),
        label=Label(column="broken", maturity=timedelta(days=1)),
        gate=Gate(metric="roc_auc", floor=0.5, minimum_gain=0.0),
        monitoring=Monitoring(),
    )


def reading(sensor: str, read_at: datetime, **more: Any) -> dict[str, Any]:
    """One row."""
    nothing = {"temperature": None, "mode": None, "serviced_at": None}
    number = f"{sensor}-{read_at.isoformat()}"
    return {"reading_id": number, "sensor": sensor, "read_at": read_at, **nothing, **more}


def tables(*rows: dict[str, Any]) -> dict[str, pd.DataFrame]:
    """What `load_rows` takes."""
    frame = pd.DataFrame(list(rows))
    for column in ("read_at", "serviced_at"):
        frame[column] = pd.to_datetime(frame[column], utc=True)
    return {"readings": frame}

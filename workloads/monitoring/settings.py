"""What a monitoring job is told by its environment: which product, and which window."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Self

from pydantic import AwareDatetime, Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class MonitoringSettings(BaseSettings):
    """Environment of the Cloud Run job `<product>-monitor`.

    Its schedule starts it as it is, for the last whole window; who starts it for another, as a
    replay does, overrides the window and the moment. The records are `workloads.database`'s, where
    the stack has them.
    """

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)

    google_cloud_project: Annotated[str, Field(min_length=1, description="Project of the product")]
    google_cloud_location: Annotated[
        str, Field(min_length=1, description="Region of the Model Registry")
    ]
    product: Annotated[
        str,
        Field(pattern="^[a-z]([a-z0-9-]{0,28}[a-z0-9])?$", description="Name of the ML product"),
    ]
    window_start: Annotated[
        AwareDatetime | None,
        Field(description="First instant of the window; empty: the last whole one"),
    ] = None
    window_end: Annotated[
        AwareDatetime | None, Field(description="First instant after the window")
    ] = None
    measured_at: Annotated[
        AwareDatetime | None,
        Field(description="Look, and ask for retraining, as if it were then: for replayed data"),
    ] = None
    cloud_run_execution: Annotated[
        str, Field(description="Name of the job's execution, set by Cloud Run")
    ] = ""

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        given: tuple[datetime | None, ...] = (self.window_start, self.window_end)
        if (given[0] is None) != (given[1] is None):
            raise ValueError(
                f"WINDOW_START is {given[0]} and WINDOW_END is {given[1]}; allowed: both or none"
            )
        return self

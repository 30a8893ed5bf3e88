"""What a task of batch prediction is told by its environment."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class BatchPredictionSettings(BaseSettings):
    """Environment of one task. Cloud Run sets the variables that begin with `CLOUD_RUN_`."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)

    google_cloud_project: Annotated[str, Field(min_length=1, description="Project of the product")]
    google_cloud_location: Annotated[
        str, Field(min_length=1, description="Region of the Model Registry")
    ]
    product: Annotated[
        str,
        Field(pattern="^[a-z]([a-z0-9-]{0,28}[a-z0-9])?$", description="Name of the ML product"),
    ]
    prediction_date: Annotated[
        date | None,
        Field(
            description="Day whose questions are predicted, YYYY-MM-DD in the product's time zone; "
            "empty: today"
        ),
    ] = None
    cloud_run_task_index: Annotated[int, Field(ge=0, description="Which task this is")] = 0
    cloud_run_task_count: Annotated[int, Field(ge=1, description="How many tasks there are")] = 1

    @model_validator(mode="after")
    def _index_below_count(self) -> Self:
        if self.cloud_run_task_index >= self.cloud_run_task_count:
            raise ValueError(
                f"CLOUD_RUN_TASK_INDEX is {self.cloud_run_task_index}; allowed: below "
                f"CLOUD_RUN_TASK_COUNT, {self.cloud_run_task_count}"
            )
        return self

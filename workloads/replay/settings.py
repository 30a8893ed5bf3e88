"""What the replay is told by its environment."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class ReplaySettings(BaseSettings):
    """Environment of a replay that runs as a workload of its own."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore")

    google_cloud_project: Annotated[str, Field(min_length=1, description="Project of the product")]
    product: Annotated[str, Field(min_length=1, description="Name of the ML product")]
    replay_start: Annotated[datetime, Field(description="First moment to replay, with time zone")]
    replay_end: Annotated[datetime, Field(description="First moment not to replay")]
    replay_speed: Annotated[
        float, Field(ge=0, description="How many times faster than it happened; 0: unpaced")
    ] = 0
    replay_poison: Annotated[int, Field(ge=0, description="Messages that break the contract")] = 0
    replay_duplicates: Annotated[int, Field(ge=0, description="Messages sent twice")] = 0
    replay_late: Annotated[int, Field(ge=0, description="Messages stamped too long ago")] = 0
    replay_checkpoint: Annotated[
        Path | None, Field(description="File from which a replay that was cut off goes on")
    ] = None

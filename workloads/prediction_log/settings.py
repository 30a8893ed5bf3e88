"""What the service that writes the log to PostgreSQL is told by its environment."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from workloads.database import DatabaseSettings


class PredictionLogSettings(DatabaseSettings):
    """Environment of the service. Cloud Run sets `PORT`."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)

    host: Annotated[str, Field(description="Address to listen on")] = "0.0.0.0"  # noqa: S104
    port: Annotated[int, Field(ge=0, le=65535, description="Port to listen on")] = 8080
    grace_seconds: Annotated[
        int, Field(ge=0, le=600, description="Time for rows under way when told to end")
    ] = 8

"""What the tracking server is told by its environment."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from workloads.database import DatabaseSettings


class TrackingSettings(DatabaseSettings):
    """Environment of the server. Cloud Run sets `PORT`."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)

    artifacts: Annotated[
        str,
        Field(pattern="^gs://[^/]+/[^/].*[^/]$", description="Folder that holds the runs' files"),
    ]
    allowed_hosts: Annotated[
        str,
        Field(
            pattern=r"^[^\s,]+(,[^\s,]+)*$",
            description="Host headers that are answered, by commas; `*` stands for any characters",
        ),
    ]
    port: Annotated[int, Field(ge=1, le=65535, description="Port to listen on")] = 8080
    host: Annotated[
        str,
        Field(description="Address to listen on"),
    ] = "0.0.0.0"  # noqa: S104
    grace_seconds: Annotated[
        int, Field(ge=0, le=600, description="Time for requests under way when told to end")
    ] = 8

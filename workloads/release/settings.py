"""What a release job is told by its environment: which product, and what to do."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from workloads.tracking.client import ADDRESS

FOLDER: Final = "releases"
"""Of the product's bucket of models; outcomes of jobs lie there."""
Command = Literal["status", "promote", "advance", "abort", "rollback", "history"]


class ReleaseSettings(BaseSettings):
    """Environment of the Cloud Run job `<product>-release`.

    Its schedule starts it as it is, to advance; `esteira release` starts it with the variables
    that begin with `RELEASE_`. The records are `workloads.database`'s.
    """

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)

    google_cloud_project: Annotated[str, Field(min_length=1, description="Project of the product")]
    google_cloud_location: Annotated[
        str, Field(min_length=1, description="Region that models serve in")
    ]
    product: Annotated[
        str,
        Field(pattern="^[a-z]([a-z0-9-]{0,28}[a-z0-9])?$", description="Name of the ML product"),
    ]
    service_account: Annotated[
        str, Field(description="Identity of the model's container; empty: the project's default")
    ] = ""
    serving_max_replicas: Annotated[
        int | None, Field(ge=1, description="Replicas at most; none: as many as the product says")
    ] = None
    release_command: Annotated[Command, Field(description="What to do")] = "advance"
    release_version: Annotated[
        str, Field(min_length=1, description="Number or alias of the version to promote")
    ] = "challenger"
    release_strategy: Annotated[
        Literal["policy", "direct"],
        Field(description="Through shadow and canary, or straight to full"),
    ] = "policy"
    release_approved: Annotated[
        bool, Field(description="Promote whatever the gate says; a person answers for it")
    ] = False
    release_forced: Annotated[
        bool, Field(description="Advance whatever the evidence says; a person answers for it")
    ] = False
    release_wait_seconds: Annotated[
        int, Field(ge=0, le=86_400, description="How long to wait for another release to end")
    ] = 0
    release_reason: Annotated[str, Field(max_length=500, description="Why, for the records")] = ""
    release_limit: Annotated[
        int, Field(ge=1, le=10_000, description="Lines of the history that are shown")
    ] = 100
    release_actor: Annotated[
        str, Field(max_length=200, description="Who asked for it; empty: the job itself")
    ] = ""
    mlflow_tracking_uri: Annotated[
        str,
        Field(
            pattern=rf"^{ADDRESS}/?$",
            description="Address of the MLflow whose registry follows; empty: there is none",
        ),
    ] = ""
    cloud_run_execution: Annotated[
        str,
        Field(
            pattern="^([a-z][a-z0-9-]{0,60}[a-z0-9])?$",
            description="Name of the execution, which Cloud Run sets; names the outcome's object",
        ),
    ] = ""

"""What training is told by its environment: the command line here, the trigger on Google Cloud."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from workloads.tracking.client import ADDRESS


class TrainingSettings(BaseSettings):
    """Environment of whatever submits training runs."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)

    google_cloud_project: Annotated[str, Field(min_length=1, description="Project of the product")]
    google_cloud_location: Annotated[
        str, Field(min_length=1, description="Region that pipelines run in")
    ]
    product: Annotated[
        str,
        Field(pattern="^[a-z]([a-z0-9-]{0,28}[a-z0-9])?$", description="Name of the ML product"),
    ]
    training_image: Annotated[
        str, Field(min_length=1, description="Container that every step runs in")
    ]
    serving_image: Annotated[
        str, Field(min_length=1, description="Container that the registered model is served by")
    ]
    service_account: Annotated[
        str, Field(description="Identity of the run; empty: the project's default")
    ] = ""
    mlflow_tracking_uri: Annotated[
        str,
        Field(
            pattern=rf"^{ADDRESS}/?$",
            description="Address of the MLflow that runs are logged to; empty: they are not",
        ),
    ] = ""
    cloud_run_execution: Annotated[
        str,
        Field(
            pattern="^([a-z][a-z0-9-]{0,60}[a-z0-9])?$",
            description="Name of the execution, which Cloud Run sets; the run is named after it",
        ),
    ] = ""

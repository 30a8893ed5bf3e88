"""What a model server is told by its environment: Vertex AI's variables, and which model it is."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class ServingSettings(BaseSettings):
    """Environment of a model server. Vertex AI sets the variables that begin with `AIP_`."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)

    product: Annotated[
        str,
        Field(pattern="^[a-z]([a-z0-9-]{0,28}[a-z0-9])?$", description="Name of the ML product"),
    ]
    aip_storage_uri: Annotated[
        str, Field(pattern="^gs://[^/]+/.+$", description="Folder of the model's artefacts")
    ]
    aip_http_port: Annotated[
        int, Field(ge=0, le=65535, description="Port to listen on; 0 lets the system choose")
    ] = 8080
    aip_health_route: Annotated[
        str, Field(pattern="^/", description="Answers 200 when the model is ready")
    ] = "/health"
    aip_predict_route: Annotated[str, Field(pattern="^/", description="Takes rows")] = "/predict"
    model_sha256: Annotated[
        str,
        Field(
            pattern="^([0-9a-f]{64})?$",
            description="What the registry says the model's SHA-256 is; empty: the manifest's word",
        ),
    ] = ""
    host: Annotated[str, Field(description="Address to listen on")] = "0.0.0.0"  # noqa: S104
    max_body_bytes: Annotated[
        int, Field(ge=1024, le=1_500_000, description="Largest request; Vertex AI takes 1.5 MB")
    ] = 1_048_576
    grace_seconds: Annotated[
        int, Field(ge=0, le=600, description="Time for requests under way when told to end")
    ] = 10

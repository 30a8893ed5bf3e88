"""What the starter service is told by its environment."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class StarterSettings(BaseSettings):
    """Environment of the service that launches batch ingestion when a file lands."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore")

    google_cloud_project: Annotated[str, Field(min_length=1, description="Project of the product")]
    google_cloud_location: Annotated[
        str, Field(min_length=1, description="Region that Dataflow jobs run in")
    ]
    product: Annotated[
        str,
        Field(pattern="^[a-z]([a-z0-9-]{0,28}[a-z0-9])?$", description="Name of the ML product"),
    ]
    template: Annotated[
        str,
        Field(pattern="^gs://[^/]+/.+$", description="Specification of the batch flex template"),
    ]
    temp_location: Annotated[
        str, Field(pattern="^gs://[^/]+(/.*)?$", description="Where jobs keep temporary files")
    ]
    worker_service_account: Annotated[
        str, Field(description="Identity of the jobs' workers; empty: the project's default")
    ] = ""
    subnetwork: Annotated[
        str, Field(description="Subnetwork of the jobs' workers; empty: the default network")
    ] = ""
    kms_key_name: Annotated[
        str, Field(description="Key that encrypts the jobs' state; empty: Google's")
    ] = ""
    public_ips: Annotated[
        bool, Field(description="Whether the jobs' workers may have public addresses")
    ] = False
    max_concurrent_jobs: Annotated[
        int,
        Field(
            ge=1,
            le=100,
            description="Jobs of this product at once; above it, the push waits and comes again",
        ),
    ] = 2
    host: Annotated[str, Field(description="Address to listen on")] = "0.0.0.0"  # noqa: S104
    port: Annotated[int, Field(ge=0, le=65535, description="Port to listen on")] = 8080

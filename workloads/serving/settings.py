"""What a model server is told by its environment: Vertex AI's variables, and which model it is.

On Vertex AI a server is started for one model, whose folder it is given. On Cloud Run it is started
once, and finds the model that is released by its alias in the Model Registry.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AliasChoices, Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class ServingSettings(BaseSettings):
    """Environment of a model server. Vertex AI sets the variables that begin with `AIP_`."""

    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", env_ignore_empty=True, populate_by_name=True
    )

    product: Annotated[
        str,
        Field(pattern="^[a-z]([a-z0-9-]{0,28}[a-z0-9])?$", description="Name of the ML product"),
    ]
    aip_storage_uri: Annotated[
        str,
        Field(
            pattern="^(gs://[^/]+/.+)?$",
            description="Folder of the model's artefacts; empty where `model_alias` is set",
        ),
    ] = ""
    model_alias: Annotated[
        str,
        Field(
            pattern="^([a-z][a-z0-9-]{0,126}[a-z0-9])?$",
            description="Alias in the Model Registry of the version that is served, e.g. champion; "
            "empty where `aip_storage_uri` is set",
        ),
    ] = ""
    model_refresh_seconds: Annotated[
        int,
        Field(ge=1, le=86_400, description="Age at which the answer of the registry is asked anew"),
    ] = 60
    google_cloud_project: Annotated[
        str, Field(description="Project of the Model Registry; needed with `model_alias`")
    ] = ""
    google_cloud_location: Annotated[
        str, Field(description="Region of the Model Registry; needed with `model_alias`")
    ] = ""
    aip_http_port: Annotated[
        int,
        Field(
            ge=0,
            le=65535,
            # Cloud Run says PORT, Vertex AI says AIP_HTTP_PORT.
            validation_alias=AliasChoices("aip_http_port", "port"),
            description="Port to listen on; 0 lets the system choose",
        ),
    ] = 8080
    aip_health_route: Annotated[
        str, Field(pattern="^/", description="Answers 200 when the model is ready, else 503")
    ] = "/health"
    live_route: Annotated[
        str,
        Field(pattern="^/", description="Answers 200 while the server runs, with a model or not"),
    ] = "/live"
    aip_predict_route: Annotated[str, Field(pattern="^/", description="Takes rows")] = "/predict"
    model_sha256: Annotated[
        str,
        Field(
            pattern="^([0-9a-f]{64})?$",
            description="What the registry says the model's SHA-256 is; empty: the manifest's word",
        ),
    ] = ""
    model_version: Annotated[
        str,
        Field(
            pattern="^[0-9]*$",
            validation_alias=AliasChoices("model_version", "aip_version_name"),
            description="Number of the served version in the Model Registry, for the prediction "
            "log; empty: what lies beside the model says it",
        ),
    ] = ""
    variant: Annotated[
        Literal["champion", "challenger", "shadow"],
        Field(description="The part that this server's model plays, for the prediction log"),
    ] = "champion"
    experiments: Annotated[
        bool,
        Field(
            description="With `model_alias`: while an experiment of the product runs, answer with "
            "its challenger those keys that belong to it"
        ),
    ] = True
    online_features: Annotated[
        bool,
        Field(description="A row may be asked for by its entity alone; its features are looked up"),
    ] = False
    prediction_topic: Annotated[
        str,
        Field(
            pattern="^(projects/[^/]+/topics/[^/]+)?$",
            description="Topic of the prediction log; empty: nothing is logged",
        ),
    ] = ""
    prediction_queue: Annotated[
        int,
        Field(ge=1, le=1_000_000, description="Rows that wait to be logged; more are dropped"),
    ] = 20_000
    aip_deployed_model_id: Annotated[
        str, Field(max_length=128, description="Vertex AI's id of this deployment, for the log")
    ] = ""
    k_revision: Annotated[
        str, Field(max_length=63, description="The revision, which Cloud Run and KServe set")
    ] = ""
    host: Annotated[str, Field(description="Address to listen on")] = "0.0.0.0"  # noqa: S104
    max_body_bytes: Annotated[
        int, Field(ge=1024, le=1_500_000, description="Largest request; Vertex AI takes 1.5 MB")
    ] = 1_048_576
    body_seconds: Annotated[
        float, Field(gt=0, le=600, description="How long a request may take to arrive whole")
    ] = 10
    most_connections: Annotated[
        int,
        Field(
            ge=1, le=1_000_000, description="Open at once; the one idle longest makes room for more"
        ),
    ] = 10_000
    most_requests: Annotated[
        int, Field(ge=1, le=100_000, description="Requests under way; more are answered 429")
    ] = 1024
    most_waiting_rows: Annotated[
        int, Field(ge=1, le=1_000_000, description="Rows that wait for the model; more get 429")
    ] = 10_000
    most_body_bytes: Annotated[
        int,
        Field(ge=1024, description="Of all requests that are arriving, together; more get 429"),
    ] = 64 * 1_048_576
    batch_rows: Annotated[
        int, Field(ge=1, le=100_000, description="Rows of several requests scored in one call")
    ] = 256
    grace_seconds: Annotated[
        int, Field(ge=0, le=600, description="Time for requests under way when told to end")
    ] = 10

    @model_validator(mode="after")
    def _one_model(self) -> Self:
        if bool(self.aip_storage_uri) == bool(self.model_alias):
            raise ValueError(
                f"AIP_STORAGE_URI is {self.aip_storage_uri!r} and MODEL_ALIAS is "
                f"{self.model_alias!r}; allowed: one of them, which says what is served"
            )
        if self.model_alias and not (self.google_cloud_project and self.google_cloud_location):
            raise ValueError(
                "MODEL_ALIAS needs GOOGLE_CLOUD_PROJECT and GOOGLE_CLOUD_LOCATION: the registry is "
                "asked for it"
            )
        return self

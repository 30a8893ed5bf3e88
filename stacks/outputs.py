"""What a stack tells data teams and the command line: one versioned, typed model.

Exported whole as the output `esteira`, and its most wanted parts flat beside it. Within one version
fields are only added: `outputs.schema.json` is the committed JSON Schema, and a test compares.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, cast

import pulumi
from pydantic import BaseModel, ConfigDict, Field

SCHEMA: Final = Path(__file__).with_name("outputs.schema.json")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Stream(_Part):
    """Where events of one contract go."""

    topic: str = Field(description="Publish here: projects/.../topics/...")
    avro_schema: str = Field(description="What the topic accepts: projects/.../schemas/...")
    subscription: str = Field(description="What ingestion reads: projects/.../subscriptions/...")
    dead_letter_topic: str
    dead_letter_subscription: str = Field(description="Look at undeliverable messages here")


class Landing(_Part):
    """Where files of a product go."""

    folders: dict[str, str] = Field(
        description="By contract: gs://... folder for newline-delimited JSON, plain or gzipped"
    )
    topic: str = Field(description="Gets a message for each file")
    subscription: str = Field(
        description="Pushes that message to the starter of batch ingestion; empty without one"
    )


class Buckets(_Part):
    """The buckets of a product, `gs://...`."""

    landing: str
    models: str
    work: str


class Tables(_Part):
    """BigQuery tables of a product, `project.dataset.table`."""

    raw: dict[str, str] = Field(description="By name; may hold a row twice after a failure")
    current: dict[str, str] = Field(description="By contract: views with one row an event")
    examples: str = Field(description="View: what was known of each entity, with its label")
    feature_history: str = Field(description="View: the same without the label, at its time")
    features: str = Field(description="The dataset of tables that training makes, project.dataset")
    predictions: dict[str, str] = Field(description="`online`: request log; `batch`: predictions")
    monitoring: str = Field(description="The dataset of monitoring, project.dataset")


class Ingestion(_Part):
    """What takes events and files in; each empty where a product has none."""

    streaming_job: str = Field(description="Id of the Dataflow job")
    stream_template: str = Field(description="gs://... of the flex template")
    batch_template: str = Field(description="gs://... of the flex template")
    starter: str = Field(description="URL of the service that launches batch ingestion")


class Training(_Part):
    """Where training pipelines run."""

    pipeline_root: str = Field(description="gs://..., under which each run has a folder")
    service_account: str = Field(description="E-mail of the identity that steps run as")
    image: str = Field(description="The steps' image, by digest")
    schedule: str | None = Field(
        description="Cloud Scheduler job that wakes retraining; none: by hand only"
    )
    cron: str | None = Field(description="When the product asks to be trained again")


class Endpoint(_Part):
    """The online endpoint. It may hold no model: the release controller deploys and routes."""

    name: str = Field(description="projects/.../locations/.../endpoints/<number>")
    number: str
    display_name: str
    private: bool = Field(description="Whether it is reached only by Private Service Connect")
    serving_image: str = Field(description="The image that models are deployed with, by digest")
    service_account: str = Field(description="E-mail of the identity that models serve as")


class Batch(_Part):
    """Batch predictions."""

    job: str = Field(description="Cloud Run job: projects/.../locations/.../jobs/...")
    schedule: str = Field(description="Cloud Scheduler job of the same name")
    cron: str
    time_zone: str


class Release(_Part):
    """What releases models; empty where the stack has no database to keep releases in."""

    job: str | None = Field(description="Cloud Run job that advances releases, or does as told")
    schedule: str | None = Field(description="Cloud Scheduler job of the same name")
    database: str | None = Field(description="Name of the database that releases are kept in")
    database_host: str | None = Field(description="Its private address")
    database_user: str | None = Field(description="Whom the job logs in as")


class Retraining(_Part):
    """What decides on retraining; empty where the stack has no database to keep requests in."""

    job: str | None = Field(description="Cloud Run job that takes one turn, or does as told")
    database: str | None = Field(description="Name of the database that requests are kept in")
    database_host: str | None = Field(description="Its private address")
    database_user: str | None = Field(description="Whom the job logs in as")


class Features(_Part):
    """The product in Vertex AI's feature store; empty where the stack has none."""

    group: str | None = Field(description="projects/.../locations/.../featureGroups/...")
    online_view: str | None = Field(
        description="projects/.../featureOnlineStores/.../featureViews/..."
    )


class Monitoring(_Part):
    """What watching the product's data and models takes."""

    reports: str = Field(description="gs://... folder of the reports")
    service_account: str = Field(description="E-mail of the identity that watches")
    job: str = Field(description="Cloud Run job: projects/.../jobs/...")
    schedule: str = Field(description="Cloud Scheduler job that starts it")
    cron: str = Field(description="When it starts")
    drift_score: float = Field(description="Divergence of a feature from which people are told")


class Commons(_Part):
    """What products share; empty where the stack leaves it out."""

    metadata_store: str | None = Field(description="projects/.../metadataStores/default")
    tensorboard: str | None = Field(description="projects/.../tensorboards/...")
    feature_online_store: str | None = Field(description="projects/.../featureOnlineStores/...")
    workbench: str | None = Field(description="projects/.../instances/...")
    access_log: str | None = Field(description="gs://... bucket with the access logs of the others")


class Operations(_Part):
    """What watches the stack; empty where its settings leave it out."""

    alerts_topic: str | None = Field(description="Gets every alert: projects/.../topics/...")
    alerts_inbox: str | None = Field(description="Keeps them: projects/.../subscriptions/...")
    logs: str | None = Field(description="The dataset that logs are kept in, project.dataset")
    dashboards: dict[str, str] = Field(
        description="`cost`, `database`: projects/.../dashboards/..."
    )


class Api(_Part):
    """Predictions over HTTP; empty where the stack leaves them out."""

    url: str | None = Field(description="https://... of the gateway, for clients from outside")
    audience: str | None = Field(description="What a client's token has to say it is for")
    service: str | None = Field(description="https://... of the Cloud Run service behind")
    address: str | None = Field(description="What the A record of the API's name has to hold")


class Database(_Part):
    """PostgreSQL; empty where the stack has none."""

    connection_name: str | None = Field(description="project:region:name")
    address: str | None = Field(description="Private address")
    databases: list[str] = Field(description="Names of the databases in it")


class Tracking(_Part):
    """MLflow; empty where the stack has none."""

    url: str | None = Field(description="MLFLOW_TRACKING_URI, for those who may call the service")
    artifacts: str | None = Field(description="gs://... bucket that holds the runs' files")


class Product(_Part):
    """All that one ML product has on this stack."""

    name: str
    title: str
    owner: str
    streams: dict[str, Stream] = Field(description="By contract")
    landing: Landing
    buckets: Buckets
    tables: Tables
    ingestion: Ingestion
    training: Training
    endpoint: Endpoint
    batch: Batch
    release: Release
    retraining: Retraining
    api: Api
    features: Features
    monitoring: Monitoring
    dashboards: dict[str, str] = Field(
        description="By what they show, `stream`, `serving`, `models`: projects/.../dashboards/..."
    )
    service_accounts: dict[str, str] = Field(description="By role, the e-mail")


class Outputs(_Part):
    """All outputs of one stack."""

    version: Literal[1] = 1
    environment: str
    project: str
    location: str
    image_repository: str
    images: dict[str, str] = Field(description="By name, the reference with its digest")
    products: dict[str, Product]
    database: Database
    tracking: Tracking
    commons: Commons
    operations: Operations


def export(values: Mapping[str, Any]) -> None:
    """Export the outputs of the stack, whole and flat.

    Args:
        values: The fields of `Outputs`, any of them not known yet. Held to the model once they are.
    """
    document: pulumi.Output[dict[str, Any]] = pulumi.Output.from_input(cast("Any", values)).apply(
        lambda known: Outputs.model_validate(known).model_dump(mode="json")
    )
    pulumi.export("esteira", document)
    for key in ("environment", "project", "location", "image_repository"):
        pulumi.export(key, values[key])
    for name, product in values["products"].items():
        prefix = name.replace("-", "_")
        pulumi.export(f"{prefix}_endpoint", product["endpoint"]["name"])
        pulumi.export(f"{prefix}_landing", product["buckets"]["landing"])
        pulumi.export(f"{prefix}_batch_job", product["batch"]["job"])
        pulumi.export(f"{prefix}_pipeline_root", product["training"]["pipeline_root"])
        for contract, stream in product["streams"].items():
            pulumi.export(f"{prefix}_{contract}_topic", stream["topic"])


def json_schema() -> dict[str, Any]:
    """The JSON Schema of the output `esteira`, as committed."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Outputs.model_json_schema(mode="serialization"),
    }


def incompatibilities(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Why a reader of schema `old` could fail on outputs of schema `new`.

    Args:
        old, new: two results of `json_schema`. Empty list: every reader still works.
    """
    if _version(old) != _version(new):
        return []
    before: Mapping[str, Any] = {"Outputs": old, **old.get("$defs", {})}
    after: Mapping[str, Any] = {"Outputs": new, **new.get("$defs", {})}
    found: list[str] = []
    for title, part in before.items():
        for field, shape in part.get("properties", {}).items():
            now = after.get(title, {}).get("properties", {}).get(field)
            if now is None:
                found.append(f"{title}.{field} was removed")
            elif _shape(now) != _shape(shape):
                found.append(f"{title}.{field} was {_shape(shape)}, is {_shape(now)}")
            elif field in part.get("required", ()) and field not in after[title]["required"]:
                found.append(f"{title}.{field} was always there, now may be missing")
    return found


def _version(schema: Mapping[str, Any]) -> Any:
    return schema["properties"]["version"].get("const")


def _shape(field: Mapping[str, Any]) -> str:
    words = {key: field[key] for key in sorted(field) if key not in ("description", "title")}
    return json.dumps(words, sort_keys=True)


def write_schema() -> None:
    """Write the committed schema anew, after fields were added."""
    SCHEMA.write_text(json.dumps(json_schema(), indent=2) + "\n")


if __name__ == "__main__":
    write_schema()

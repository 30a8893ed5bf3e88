"""What the relay of alerts is told by its environment."""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

_LOOPBACK: Final = re.compile(r"http://(127\.0\.0\.1|localhost)(:\d+)?(/|$)")


class RelaySettings(BaseSettings):
    """Environment of the service that posts alerts to Teams and Slack."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore")

    google_cloud_project: Annotated[str, Field(min_length=1, description="Project of the alerts")]
    environment: Annotated[
        str, Field(min_length=1, description="What the stack is for: `dev`, `prod`; shown on cards")
    ]
    ledger: Annotated[
        str,
        Field(
            pattern="^gs://[^/]+$",
            description="Bucket that remembers what was delivered, so that it is not told twice",
        ),
    ]
    records: Annotated[
        str,
        Field(
            pattern=r"^(gs://[^/]*\{product\}[^/]*)?$",
            description="Bucket of a product's models, with `{product}` for its name: monitors "
            "write there what they know of an incident; empty where none does",
        ),
    ] = ""
    settle_seconds: Annotated[
        float,
        Field(
            ge=0,
            le=3_600,
            description="How long an alert has to be over before people are told that it is",
        ),
    ] = 300.0
    timeout_seconds: Annotated[
        float, Field(gt=0, le=60, description="How long a channel may take to answer")
    ] = 10.0
    host: Annotated[str, Field(description="Address to listen on")] = "0.0.0.0"  # noqa: S104
    port: Annotated[int, Field(ge=0, le=65535, description="Port to listen on")] = 8080


class RelaySecrets(BaseSettings):
    """What comes from Secret Manager. Whoever has a webhook can write to the channel."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    teams_webhook: Annotated[
        SecretStr | None, Field(description="Address of the Teams channel's webhook")
    ] = None
    slack_webhook: Annotated[
        SecretStr | None, Field(description="Address of the Slack channel's incoming webhook")
    ] = None

    @field_validator("teams_webhook", "slack_webhook")
    @classmethod
    def _encrypted(cls, webhook: SecretStr | None) -> SecretStr | None:
        if webhook is None:
            return None
        address = webhook.get_secret_value().strip()
        if not address.startswith("https://") and not _LOOPBACK.match(address):
            raise ValueError("an https:// address; the secret holds something else")
        return SecretStr(address)

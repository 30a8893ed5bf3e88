"""What a stack can be told: one typed model, filled once from Pulumi's configuration.

Each environment has defaults of its own, in `DEFAULTS` below; `Pulumi.<stack>.yaml` overrides them.
`Pulumi.yaml` documents every key. A key that is unknown or a value that does not fit stops the
program before its first resource.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Final, cast, get_args

import pulumi
from pulumi.runtime import config as runtime_config
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic.alias_generators import to_camel
from pydantic.fields import FieldInfo

from workloads import product

NAMESPACE: Final = "esteira"
"""The project's name, which Pulumi puts before each key."""

Days = Annotated[int, Field(ge=1, le=36_500)]


class SettingsError(pulumi.RunError, ValueError):
    """A setting that cannot be used. Each line names the key, the value and what is allowed.

    A `RunError`, of which the engine shows the message and no traceback.
    """


class Environment(StrEnum):
    """What a stack is for, from which its defaults follow."""

    LOCAL = "local"
    DEV = "dev"
    PROD = "prod"


class _Group(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, validate_by_name=False
    )


class Security(_Group):
    """What keeps data in, and keeps it from being lost."""

    protect: bool = Field(description="Buckets, datasets and keys refuse to be deleted by Pulumi")
    deletion_protection: bool = Field(
        description="BigQuery tables, Cloud Run services and jobs refuse to be deleted by Google"
    )
    force_destroy: bool = Field(
        description="Destroying the stack deletes buckets and datasets that still hold something"
    )
    customer_managed_keys: bool = Field(
        description="Data at rest is encrypted with a key of our own in Cloud KMS"
    )
    key_rotation_days: Annotated[int, Field(ge=1, le=90)] = Field(
        default=90, description="Age at which that key is replaced for new data"
    )
    private_endpoint: bool = Field(
        description="Endpoints are reached only through Private Service Connect"
    )


class Network(_Group):
    """Where workers and instances run."""

    private: bool = Field(
        description="A network of our own with private access to Google's APIs; without it, the "
        "project's default network"
    )
    cidr: str = Field(
        default="10.64.0.0/20", description="Private addresses of its subnetwork, /8 to /26"
    )


class Retention(_Group):
    """How long things are kept. Days; no value means for ever."""

    messages: Annotated[int, Field(ge=1, le=31)] = Field(
        description="Messages of a topic, for seeking back"
    )
    dead_letters: Annotated[int, Field(ge=1, le=31)] = Field(
        default=31, description="Dead letters of a subscription"
    )
    landed_files: Days | None = Field(default=None, description="Files in the landing bucket")
    temporary_files: Days = Field(default=14, description="Temporary files of Dataflow")
    noncurrent_objects: Days = Field(description="Replaced or deleted objects, to bring them back")
    raw_rows: Days | None = Field(
        default=None,
        description="Rows of the raw tables, by event time: replayed history counts as old",
    )
    prediction_rows: Days | None = Field(
        default=None, description="Rows of the request log and of batch predictions"
    )


class Streaming(_Group):
    """The streaming ingestion job and its subscriptions."""

    machine_type: str = Field(
        default="n1-standard-2",
        pattern=r"^[a-z][a-z0-9]*-[a-z0-9-]+$",
        description="Machine of a worker",
    )
    max_workers: Annotated[int, Field(ge=1, le=1000)] = Field(
        description="Workers that the job may grow to"
    )
    drain: bool = Field(description="Deleting the job first finishes what it has pulled")
    ack_deadline_seconds: Annotated[int, Field(ge=10, le=600)] = Field(
        description="After this long without an answer a message is delivered again"
    )
    minimum_backoff_seconds: Annotated[int, Field(ge=0, le=600)] = Field(
        description="Least wait before a message that failed comes again"
    )


class Batch(_Group):
    """Batch ingestion and batch prediction."""

    max_concurrent_jobs: Annotated[int, Field(ge=1, le=100)] = Field(
        description="Batch ingestion jobs of one product at once"
    )
    pause_schedules: bool = Field(
        default=False, description="Schedules rest; jobs can still be started by hand"
    )


class Serving(_Group):
    """The prediction endpoint."""

    request_log_sampling: Annotated[float, Field(gt=0, le=1)] = Field(
        default=1.0, description="Share of requests and responses that are logged"
    )


class Settings(_Group):
    """All settings of one stack."""

    environment: Environment = Field(description="What the stack is for; its defaults follow")
    project: str = Field(
        pattern=r"^[a-z][a-z0-9-]{4,28}[a-z0-9]$", description="The Google Cloud project"
    )
    location: str = Field(
        default="us-central1",
        pattern=r"^[a-z]+-[a-z]+[0-9]+$",
        description="The region of everything",
    )
    products: tuple[str, ...] = Field(
        default=(),
        # So that none named becomes all there are, whether it is left out or given empty.
        validate_default=True,
        description="Products to deploy; none named means all that are declared",
    )
    owner: str = Field(
        default="platform",
        pattern=r"^[a-z0-9_-]{1,63}$",
        description="Label: the team that answers for what products share",
    )
    cost_center: str = Field(
        default="platform",
        pattern=r"^[a-z0-9_-]{1,63}$",
        description="Label: who pays for what products share",
    )
    security: Security
    network: Network
    retention: Retention
    streaming: Streaming
    batch: Batch
    serving: Serving

    @model_validator(mode="before")
    @classmethod
    def _with_defaults(cls, given: Any) -> Any:
        """Fill each group with what its environment has by default, where nothing else is given."""
        if not isinstance(given, dict):
            return given
        filled = cast("dict[str, Any]", given).copy()
        defaults = DEFAULTS.get(str(filled.get("environment")), DEFAULTS[Environment.PROD])
        for group, values in defaults.items():
            own = filled.get(group, {})
            if isinstance(own, dict):
                filled[group] = {**values, **cast("dict[str, Any]", own)}
        return filled

    @field_validator("products")
    @classmethod
    def _declared(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        known = product.names()
        for name in names:
            if name not in known:
                raise ValueError(f"a product declared under workloads/products: {', '.join(known)}")
        return names or tuple(known)

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Settings:
        """Settings from plain values by key, as `Pulumi.<stack>.yaml` has them.

        Raises:
            SettingsError: a key is unknown or missing, or a value does not fit; all at once.
        """
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            lines = [_line(one["type"], one["loc"], one["input"], one) for one in error.errors()]
            raise SettingsError("\n".join(lines)) from None

    @classmethod
    def load(cls) -> Settings:
        """Settings of the stack that is being run.

        Raises:
            SettingsError: as `from_values`.
        """
        return cls.from_values(_configured())


DEFAULTS: Final[Mapping[str, Mapping[str, Mapping[str, Any]]]] = {
    # Small, quick to recover, and gone without a trace after `destroy`.
    Environment.LOCAL: {
        "security": {
            "protect": False,
            "deletionProtection": False,
            "forceDestroy": True,
            "customerManagedKeys": False,
            "privateEndpoint": False,
        },
        "network": {"private": False},
        "retention": {"messages": 7, "noncurrentObjects": 1},
        "streaming": {
            "maxWorkers": 1,
            "drain": False,
            "ackDeadlineSeconds": 10,
            "minimumBackoffSeconds": 1,
        },
        "batch": {"maxConcurrentJobs": 2},
        "serving": {},
    },
    # As prod where behaviour is concerned, but cheap, and free to be destroyed.
    Environment.DEV: {
        "security": {
            "protect": False,
            "deletionProtection": False,
            "forceDestroy": True,
            "customerManagedKeys": False,
            "privateEndpoint": False,
        },
        "network": {"private": True},
        "retention": {"messages": 7, "noncurrentObjects": 7},
        "streaming": {
            "maxWorkers": 2,
            "drain": False,
            "ackDeadlineSeconds": 60,
            "minimumBackoffSeconds": 10,
        },
        "batch": {"maxConcurrentJobs": 2},
        "serving": {},
    },
    Environment.PROD: {
        "security": {
            "protect": True,
            "deletionProtection": True,
            "forceDestroy": False,
            "customerManagedKeys": True,
            "privateEndpoint": True,
        },
        "network": {"private": True},
        "retention": {"messages": 31, "noncurrentObjects": 90},
        "streaming": {
            "maxWorkers": 10,
            "drain": True,
            "ackDeadlineSeconds": 60,
            "minimumBackoffSeconds": 10,
        },
        "batch": {"maxConcurrentJobs": 5},
        "serving": {},
    },
}


def _configured() -> dict[str, Any]:
    """Every key of our namespace with its value; objects and arrays decoded.

    `pulumi.Config` can be asked for one key at a time, which would let a misspelt one pass.
    """
    everything = {**runtime_config.get_config_env(), **runtime_config.CONFIG.get()}
    config = pulumi.Config(NAMESPACE)
    prefix = f"{NAMESPACE}:"
    names = [key.removeprefix(prefix) for key in everything if key.startswith(prefix)]
    return {name: _decoded(config.require(name)) for name in names}


def _decoded(text: str) -> Any:
    if text.lstrip().startswith(("{", "[")):
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text


def _line(kind: str, where: tuple[int | str, ...], value: object, error: Any) -> str:
    key = f"{NAMESPACE}:{'.'.join(str(part) for part in where)}"
    if kind == "missing":
        return f"{key} is missing; set it: pulumi config set {key} <value>"
    if kind == "extra_forbidden":
        known = _keys(where[:-1])
        close = difflib.get_close_matches(str(where[-1]), known, n=1)
        meant = f"; did you mean `{close[0]}`?" if close else ""
        return f"{key} is {value!r}, but there is no such key{meant}; allowed: {', '.join(known)}"
    return f"{key} is {value!r}; allowed: {_allowed(where, str(error['msg']))}"


def _allowed(where: tuple[int | str, ...], message: str) -> str:
    words = message.removeprefix("Value error, ").removeprefix("Input should be ")
    if pattern := re.fullmatch(r"String should match pattern '(.*)'", words):
        words = f"text matching `{pattern[1]}`"
    field = _field(where)
    description = "" if field is None or field.description is None else field.description
    return f"{words} ({description[:1].lower()}{description[1:]})" if description else words


def _keys(where: tuple[int | str, ...]) -> list[str]:
    """The keys that are known at a place."""
    model: type[BaseModel] = Settings
    for part in where:
        field = next((one for one in model.model_fields.values() if one.alias == part), None)
        inner = None if field is None else _group(field)
        if inner is None:
            return []
        model = inner
    return [str(field.alias) for field in model.model_fields.values()]


def _field(where: tuple[int | str, ...]) -> FieldInfo | None:
    model: type[BaseModel] | None = Settings
    found: FieldInfo | None = None
    for part in where:
        if model is None:
            return found
        found = next((one for one in model.model_fields.values() if one.alias == part), None)
        model = None if found is None else _group(found)
    return found


def _group(field: FieldInfo) -> type[BaseModel] | None:
    candidates = (field.annotation, *get_args(field.annotation))
    for one in candidates:
        if isinstance(one, type) and issubclass(one, BaseModel):
            return one
    return None

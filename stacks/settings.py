"""What a stack can be told: one typed model, filled once from Pulumi's configuration.

Its groups are in `stacks/options.py`. Each environment has defaults of its own, in
`stacks/defaults.py`; `Pulumi.<stack>.yaml` overrides them.
`Pulumi.yaml` documents every key. A key that is unknown or a value that does not fit stops the
program before its first resource.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from typing import Any, Final, cast, get_args

import pulumi
from pulumi.runtime import config as runtime_config
from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator
from pydantic.fields import FieldInfo

from stacks import options
from stacks.defaults import DEFAULTS, PROFILES, Environment, Profile
from workloads import product

NAMESPACE: Final = "esteira"
"""The project's name, which Pulumi puts before each key."""


class SettingsError(pulumi.RunError, ValueError):
    """A setting that cannot be used. Each line names the key, the value and what is allowed.

    A `RunError`, of which the engine shows the message and no traceback.
    """


class Settings(options.Group):
    """All settings of one stack."""

    environment: Environment = Field(description="What the stack is for; its defaults follow")
    profile: Profile = Field(default=Profile.STANDARD, description="How much the project may use")
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
    security: options.Security
    network: options.Network
    apis: options.Apis
    retention: options.Retention
    lifetime: options.Lifetime = options.Lifetime()
    access: options.Access = options.Access()
    streaming: options.Streaming
    batch: options.Batch
    database: options.Database
    tracking: options.Tracking
    experiments: options.Experiments
    serving: options.Serving
    features: options.Features
    workbench: options.Workbench = options.Workbench()
    alerts: options.Alerts
    budget: options.Budget = options.Budget()
    github: options.Github = options.Github()

    @model_validator(mode="before")
    @classmethod
    def _with_defaults(cls, given: Any) -> Any:
        """Fill each group with what its environment has by default, where nothing else is given."""
        if not isinstance(given, dict):
            return given
        filled = cast("dict[str, Any]", given).copy()
        defaults = DEFAULTS.get(str(filled.get("environment")), DEFAULTS[Environment.PROD])
        profile = PROFILES.get(str(filled.get("profile")), {})
        for group in {**defaults, **profile}:
            own = filled.get(group, {})
            if isinstance(own, dict):
                filled[group] = {
                    **defaults.get(group, {}),
                    **profile.get(group, {}),
                    **cast("dict[str, Any]", own),
                }
        lifetime, batch = filled.get("lifetime"), filled.get("batch")
        if isinstance(lifetime, dict) and isinstance(batch, dict):
            rests = bool(cast("dict[str, Any]", lifetime).get("rest"))
            filled["batch"] = {"pauseSchedules": rests, **cast("dict[str, Any]", batch)}
        return filled

    @model_validator(mode="after")
    def _fit_together(self) -> Settings:
        """What no group can see alone."""
        if self.tracking.enabled and not self.database.enabled:
            raise ValueError(
                "`tracking.enabled` needs `database.enabled`: MLflow keeps its runs there"
            )
        if self.lifetime.rest and self.environment == "local":
            raise ValueError(
                "`lifetime.rest` is for stacks on Google Cloud; `esteira local stop` rests this one"
            )
        if self.lifetime.rest and not self.batch.pause_schedules:
            raise ValueError(
                "`lifetime.rest` needs `batch.pauseSchedules`: what they start needs the database"
            )
        if self.database.enabled and not self.network.private and self.environment != "local":
            raise ValueError(
                "`database.enabled` needs `network.private`: Cloud SQL has a private address only"
            )
        if self.features.online and not self.database.enabled and self.environment == "local":
            raise ValueError(
                "`features.online` needs `database.enabled`: the local cloud keeps what it serves "
                "online in PostgreSQL"
            )
        return self

    @property
    def told(self) -> bool:
        """Whether alerts reach anybody."""
        alerts = self.alerts
        return bool(
            alerts.emails
            or alerts.slack_channel
            or alerts.teams_webhook_secret
            or alerts.slack_webhook_secret
        )

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

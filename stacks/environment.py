"""The environment of a workload, built from the settings class that the workload itself reads.

A variable that is missing, misspelt or of the wrong form fails in the preview, with the name of the
setting, and not in production.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import pulumi
from pydantic import AliasChoices, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings


class InvalidEnvironment(pulumi.RunError, ValueError):
    """A workload's environment that its settings class would refuse."""


def environment(
    settings: type[BaseSettings], values: Mapping[str, pulumi.Input[str]]
) -> dict[str, pulumi.Input[str]]:
    """The variables for a workload, by their names in the environment.

    Args:
        settings: The class that the workload reads them with.
        values: By the names of its fields. A field with a default may be left out.

    Raises:
        InvalidEnvironment: a field is unknown or missing, or a value known now does not fit. One
            that is known only later is checked then.
    """
    fields = settings.model_fields
    for name in values:
        if name not in fields:
            raise InvalidEnvironment(
                f"{settings.__name__} has no setting `{name}`; it has: {', '.join(fields)}"
            )
    variables: dict[str, pulumi.Input[str]] = {}
    for name, field in fields.items():
        if name in values:
            variables[variable(settings, name)] = _checked(settings, name, field, values[name])
        elif field.is_required():
            what = field.description or variable(settings, name)
            raise InvalidEnvironment(f"{settings.__name__} needs `{name}` ({what})")
    return variables


def variable(settings: type[BaseSettings], name: str) -> str:
    """The environment variable that a field is read from."""
    alias = settings.model_fields[name].validation_alias or settings.model_fields[name].alias
    if isinstance(alias, AliasChoices):
        alias = next(one for one in alias.choices if isinstance(one, str))
    if isinstance(alias, str):
        return alias.upper()
    return f"{settings.model_config.get('env_prefix', '')}{name}".upper()


def _checked(
    settings: type[BaseSettings], name: str, field: FieldInfo, value: pulumi.Input[str]
) -> pulumi.Input[str]:
    if isinstance(value, str):
        return _check(settings, name, field, value)
    return pulumi.Output.from_input(value).apply(lambda known: _check(settings, name, field, known))


def _check(settings: type[BaseSettings], name: str, field: FieldInfo, value: str) -> str:
    # `Annotated` brings back the constraints that pydantic moved from the annotation to the field.
    hint: Any = field.annotation
    for constraint in field.metadata:
        hint = Annotated[hint, constraint]
    adapter: TypeAdapter[Any] = TypeAdapter(hint)
    try:
        adapter.validate_python(value)
    except ValidationError as error:
        # Collections travel as JSON, as pydantic-settings reads them.
        try:
            adapter.validate_json(value)
        except ValidationError:
            message = error.errors()[0]["msg"].removeprefix("Input should be ")
            raise InvalidEnvironment(
                f"{settings.__name__}: `{name}` is {value!r}; allowed: {message}"
            ) from None
    return value

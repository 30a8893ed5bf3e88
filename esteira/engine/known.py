"""Which stacks there are. Cheap to import: most commands want only the name of a stack."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from esteira.paths import ROOT

PROJECT: Final = "esteira"
LOCAL_STACK: Final = "local"


class UnknownStack(ValueError):
    """No settings file of that name."""


def stacks(checkout: Path | None = None) -> list[str]:
    """The stacks that have a settings file."""
    files = (checkout or ROOT).glob("Pulumi.*.yaml")
    return sorted(file.name.removeprefix("Pulumi.").removesuffix(".yaml") for file in files)


def require(name: str, checkout: Path | None = None) -> None:
    """Refuse a stack that there is not.

    Raises:
        UnknownStack: there is no settings file of that name.
    """
    if name not in stacks(checkout):
        known = ", ".join(stacks(checkout))
        raise UnknownStack(f"no stack {name!r}: there is no Pulumi.{name}.yaml; there are: {known}")

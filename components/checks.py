"""Checks of a component's arguments, made before its first resource exists.

Only plain values can be checked: an `Output` is not known yet and passes.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

import pulumi

BUCKET: Final = (
    re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]"),
    "3 to 63 lower-case letters, digits and hyphens, starting and ending with a letter or digit",
)
"""A bucket's name. Dots are left out: they need a proven domain."""
DATASET: Final = (re.compile(r"[A-Za-z0-9_]{1,1024}"), "letters, digits and underscores")
TABLE: Final = DATASET
TOPIC: Final = (
    re.compile(r"(?!goog)[A-Za-z][A-Za-z0-9._~+%-]{2,254}"),
    "3 to 255 letters, digits and any of `-._~+%`, starting with a letter, not with `goog`",
)
"""The name of a Pub/Sub topic, subscription or schema."""
ACCOUNT: Final = (
    re.compile(r"[a-z]([a-z0-9-]{4,28}[a-z0-9])"),
    "6 to 30 lower-case letters, digits and hyphens, starting with a letter",
)
"""A service account's id, the part before the `@`."""
SERVICE: Final = (
    re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?"),
    "at most 63 lower-case letters, digits and hyphens, starting with a letter",
)
"""The name of a Cloud Run service or job, an image, a repository, a network."""
ZONE: Final = (re.compile(r"[a-z]+-[a-z]+[0-9]+-[a-z]"), "a zone, e.g. `us-central1-a`")
PRINCIPAL: Final = (
    re.compile(r"(user|group|serviceAccount|domain|principal|principalSet):\S+"),
    "a principal as IAM writes it, e.g. `group:analysts@example.com`; never everybody",
)
CRON: Final = (re.compile(r"\S+( +\S+){4}"), "five fields of cron, e.g. `0 4 * * *`")

type Pattern = tuple[re.Pattern[str], str]


class InvalidArgs(pulumi.RunError, ValueError):
    """A component's argument that no resource could be made from.

    The message names the component, the argument, the value and what is allowed. A `RunError`, of
    which the engine shows the message and no traceback.
    """

    def __init__(self, component: str, argument: str, value: object, allowed: str) -> None:
        self.component = component
        self.argument = argument
        super().__init__(f"{component}: `{argument}` is {value!r}; allowed: {allowed}")


def matches(component: str, argument: str, value: object, pattern: Pattern) -> None:
    """Refuse text that does not match all of `pattern`.

    Raises:
        InvalidArgs: it does not.
    """
    expression, allowed = pattern
    if isinstance(value, str) and not expression.fullmatch(value):
        raise InvalidArgs(component, argument, value, allowed)


def one_of(component: str, argument: str, value: object, allowed: Collection[str]) -> None:
    """Refuse text that is not one of `allowed`.

    Raises:
        InvalidArgs: it is not.
    """
    if isinstance(value, str) and value not in allowed:
        words = ", ".join(f"`{one}`" for one in sorted(allowed))
        raise InvalidArgs(component, argument, value, words)


def between(
    component: str,
    argument: str,
    value: object,
    least: float,
    most: float,
    unit: str = "",
) -> None:
    """Refuse a number outside `least` to `most`, both included.

    Raises:
        InvalidArgs: it is outside.
    """
    if isinstance(value, (int, float)) and not least <= value <= most:
        allowed = f"{least:g} to {most:g} {unit}".strip()
        raise InvalidArgs(component, argument, value, allowed)

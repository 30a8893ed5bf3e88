"""A rule: what it judges, how strictly, by which reference, and how to mend what breaks it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

HOUSE: Final = "house"
"""The reference of a rule of our own, which no benchmark asks for."""


class Environment(StrEnum):
    """What a stack is for. Some rules bind only in prod."""

    LOCAL = "local"
    DEV = "dev"
    PROD = "prod"


class Level(StrEnum):
    """What a violation does: a mandatory one stops the update, an advisory one is shown."""

    MANDATORY = "mandatory"
    IN_PROD = "mandatory in prod"
    ADVISORY = "advisory"

    def binds(self, environment: Environment) -> bool:
        """Whether a violation stops an update of a stack of this environment."""
        return self is Level.MANDATORY or (
            self is Level.IN_PROD and environment is Environment.PROD
        )


class Severity(StrEnum):
    """How bad it is when the rule is broken."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


@dataclass(frozen=True, kw_only=True)
class Resource:
    """A resource as a rule sees it.

    Reading a property whose value is not known yet raises the SDK's `UnknownValueError`. So a check
    reads the smallest property that decides, and reads it last.
    """

    type: str
    name: str
    urn: str
    props: Mapping[str, Any]
    """Inputs; outputs for a rule that judges the whole stack."""
    protected: bool = False
    """Whether Pulumi refuses to delete it."""
    provider: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Properties of its provider, such as `defaultLabels`."""
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """The rule's own options, by the names of `Rule.options`."""
    made_from: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])
    """By property, the urns that its value comes from. Only for a rule that judges the stack."""


type Check = Callable[[Resource], Iterable[str]]
"""Yields a message for each fault: which property, what it is, what it has to be."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A rule that judges one resource at a time."""

    name: str
    description: str
    """What has to be so, in one sentence."""
    remedy: str
    """What to change to mend a violation."""
    references: tuple[str, ...]
    """`CIS 5.2`, `GKE 5.6.5`, `CKV_GCP_29`, or `house`."""
    level: Level
    severity: Severity
    types: tuple[str, ...]
    """Types of resources that are judged; `gcp:` stands for every type of that package."""
    checks: tuple[Check, ...]
    """All are run, so that a value that is not known yet hides no other fault."""
    spared: Callable[[Resource], str | None] = lambda _: None
    """Why the rule does not apply to a resource of its types; None where it does."""
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    """JSON schemas of the rule's own options, each with its default."""

    def judges(self, kind: str) -> bool:
        """Whether resources of this type are judged."""
        return any(
            kind == one or (one.endswith(":") and kind.startswith(one)) for one in self.types
        )


@dataclass(frozen=True, kw_only=True)
class StackRule:
    """A rule that has to see all resources at once."""

    name: str
    description: str
    remedy: str
    references: tuple[str, ...]
    level: Level
    severity: Severity
    types: tuple[str, ...]
    check: Callable[[Sequence[Resource]], Iterable[tuple[Resource, str]]]
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])


type AnyRule = Rule | StackRule

"""A review as blocks, whatever it is printed as."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum


@dataclass(frozen=True)
class Code:
    """Something out of a program or a plan; nothing in it may act as markup."""

    text: str


@dataclass(frozen=True)
class Strong:
    """Words that must not be overlooked."""

    text: str


type Line = Sequence[str | Code | Strong]
"""One line: plain words, which are taken literally, code and strong words."""


def spans(words: str) -> Line:
    """Words in which `backticks` mark code."""
    parts = words.split("`")
    if len(parts) % 2 == 0:
        return (words,)
    return [Code(one) if i % 2 else one for i, one in enumerate(parts) if one]


class Alarm(StrEnum):
    """How loud an alert is, in GitHub's own words."""

    CAUTION = "CAUTION"
    WARNING = "WARNING"
    NOTE = "NOTE"


@dataclass(frozen=True)
class Heading:
    """The title of what follows."""

    text: Line
    level: int = 4


@dataclass(frozen=True)
class Paragraph:
    """Words."""

    text: Line


@dataclass(frozen=True)
class Bullets:
    """A list, one line an entry."""

    lines: Sequence[Line]


@dataclass(frozen=True)
class Table:
    """Rows under a header."""

    header: Sequence[str]
    rows: Sequence[Sequence[Line]]


@dataclass(frozen=True)
class Diff:
    """Lines that start with `+`, `-`, `!` or a space."""

    lines: Sequence[str]


@dataclass(frozen=True)
class Alert:
    """Something that a reviewer must see before all else."""

    alarm: Alarm
    title: str
    lines: Sequence[Line]


@dataclass(frozen=True)
class Fold:
    """Detail that is opened by who wants it; the first to go where there is too much."""

    summary: Line
    blocks: Sequence[Block]
    weight: int = 0
    """How dear it is: where there is too much, the lightest goes first."""
    open: bool = False


type Block = Heading | Paragraph | Bullets | Table | Diff | Alert | Fold


@dataclass(frozen=True)
class Document:
    """What is printed."""

    stack: str
    command: str
    """What shows all of it."""
    blocks: Sequence[Block] = field(default_factory=tuple)

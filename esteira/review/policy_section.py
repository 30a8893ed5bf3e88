"""What policies found, as a part of a review."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from esteira.engine.policies import Finding
from esteira.review.document import (
    Alarm,
    Alert,
    Block,
    Bullets,
    Code,
    Fold,
    Line,
    Paragraph,
    spans,
)
from esteira.review.result import Review

_NAMED: Final = 6
"""Resources that an advisory names; the rest is counted."""


def violations(review: Review) -> Iterator[Block]:
    """What stops the update. Said even where nothing changes: it has to be mended first."""
    if review.violations:
        yield Alert(
            Alarm.CAUTION,
            f"{len(review.violations)} violation(s) of mandatory policies: the update is refused",
            [
                (
                    Code(one.policy),
                    " ",
                    Code(_name(one)),
                    *spans(f": {_sentence(one.message)} {one.remedy} {_references(one)}"),
                )
                for one in _sorted(review.violations)
            ],
        )


def advice(review: Review) -> Iterator[Block]:
    """Advisory findings, and how many verdicts wait for values."""
    if not review.judged:
        yield Paragraph(("Policies were not checked.",))
        return
    advisory = [one for one in review.findings if not one.mandatory and one.decided]
    waiting = [one for one in review.findings if not one.decided]
    broken = len(review.violations)
    passed = f"{broken} mandatory violation(s), see above" if broken else "no mandatory one broken"
    blocks: list[Block] = []
    if advisory:
        blocks.append(Bullets([_advisory(name, group) for name, group in _by_policy(advisory)]))
    if waiting:
        names = sorted({one.policy for one in waiting})
        line: list[str | Code] = [f"Not decided yet, {len(waiting)} verdict(s): "]
        for i, name in enumerate(names):
            line += [", " if i else "", Code(name)]
        blocks.append(Paragraph([*line, ". The update decides, before it makes the resource."]))
    words = f"Policies: {passed}"
    counts = f"{len(advisory)} advisory, {len(waiting)} not decided yet"
    if blocks:
        yield Fold((f"{words}; {counts}",), blocks, weight=2)
    else:
        yield Paragraph((f"{words}.",))


def _advisory(policy: str, group: list[Finding]) -> Line:
    line: list[str | Code] = [Code(policy), ": "]
    for i, one in enumerate(group[:_NAMED]):
        line += [", " if i else "", Code(_name(one))]
    if len(group) > _NAMED:
        line.append(f" and {len(group) - _NAMED} more")
    return [*line, *spans(f". {group[0].remedy} {_references(group[0])}")]


def _by_policy(findings: Iterable[Finding]) -> list[tuple[str, list[Finding]]]:
    groups: dict[str, list[Finding]] = {}
    for one in _sorted(findings):
        groups.setdefault(one.policy, []).append(one)
    return list(groups.items())


def _sorted(findings: Iterable[Finding]) -> list[Finding]:
    return sorted(findings, key=lambda one: (one.policy, one.resource, one.message))


def _sentence(message: str) -> str:
    words = " ".join(message.split())
    return words if words.endswith((".", "!", "?")) else f"{words}."


def _name(one: Finding) -> str:
    return one.resource.rpartition("::")[2] or "the stack"


def _references(one: Finding) -> str:
    return f"({', '.join(one.references)})" if one.references else ""

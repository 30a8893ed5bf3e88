"""Lays a review out: what cannot be undone first, then what it means, then what changes."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from esteira.review import difference
from esteira.review.cost_report import cost
from esteira.review.document import (
    Alarm,
    Alert,
    Block,
    Bullets,
    Code,
    Diff,
    Document,
    Fold,
    Heading,
    Line,
    Paragraph,
    Strong,
    Table,
)
from esteira.review.plan import PLATFORM, Change, Kind
from esteira.review.policy_section import advice, violations
from esteira.review.protections import Direction
from esteira.review.result import STATEFUL, Basis, Review
from esteira.review.security import SecurityChange

_VERBS: Final = {
    Kind.CREATE: "create",
    Kind.UPDATE: "update",
    Kind.REPLACE: "replace",
    Kind.DELETE: "delete",
}
_LISTED: Final = 40
"""Entries of a list before it folds."""


def document(review: Review) -> Document:
    """A review as blocks."""
    return Document(review.stack, review.command, tuple(_blocks(review)))


def _blocks(review: Review) -> Iterator[Block]:
    yield Heading(("Preview of ", Code(review.stack)), level=3)
    if review.failure:
        yield Alert(
            Alarm.CAUTION,
            "There is no preview: the program failed",
            [(Code(line),) for line in review.failure.splitlines() if line.strip()],
        )
        return
    yield from _comparison(review)
    if review.empty:
        yield Paragraph((Strong("No changes."),))
        yield from violations(review)
        return
    yield Paragraph(_summary(review))
    yield from _losses(review)
    yield from violations(review)
    yield from _outputs(review)
    yield from _security(review)
    if review.comparison.basis is Basis.NOTHING:
        yield from _inventory(review)
    else:
        yield from _changes(review)
    yield from _images(review)
    yield from advice(review)
    yield from cost(review)


def _comparison(review: Review) -> Iterator[Block]:
    one = review.comparison
    if one.basis is Basis.BASE:
        yield Paragraph(
            ("Compared with the program at ", Code(one.ref), " (", Code(one.commit[:10]), ")",
             ", without state: both are planned. Secret values are not compared.")
        )  # fmt: skip
    elif one.basis is Basis.STATE:
        yield Paragraph(("Compared with the state of the stack.",))
    else:
        why = f" ({one.note})" if one.note and not one.ref else ""
        yield Paragraph(
            (f"Compared with nothing{why}: there is no state, so that everything is to be made. ",
             "With ", Code("--base REF"), " it is compared with the program at a revision.")
        )  # fmt: skip
    if one.note and one.ref:
        yield Alert(Alarm.WARNING, "What was to be compared could not be", [(Code(one.note),)])


def _summary(review: Review) -> Line:
    line: list[str | Code | Strong] = []
    for kind, count in review.counts.items():
        words = f"{count} to {_VERBS[kind]}"
        line += [", " if line else "", Strong(words) if kind in _LOUD else words]
    touched = sum(review.counts.get(kind, 0) for kind in (Kind.CREATE, Kind.UPDATE, Kind.REPLACE))
    rest = review.total - touched
    return [*(line or ["No resource changes"]), f"; {rest} unchanged." if rest else "."]


_LOUD: Final = (Kind.DELETE, Kind.REPLACE)


def _losses(review: Review) -> Iterator[Block]:
    if review.losses:
        gone = sum(one.kind is Kind.DELETE for one in review.losses)
        replaced = len(review.losses) - gone
        words = [
            *([f"{gone} deleted"] if gone else []),
            *([f"{replaced} replaced"] if replaced else []),
        ]
        yield Alert(
            Alarm.CAUTION,
            f"Resources that hold data or state: {', '.join(words)}",
            [_loss(one) for one in review.losses],
        )


def _loss(change: Change) -> Line:
    one = change.resource
    held = STATEFUL[one.type]
    line: list[str | Code | Strong] = [
        Strong("deleted" if change.kind is Kind.DELETE else "replaced"),
        " ",
        Code(f"{one.title} {one.name}"),
    ]
    if change.kind is Kind.DELETE:
        line += [", which no longer is in the program; with it go ", held]
    elif change.reasons:
        line.append(", because ")
        for i, reason in enumerate(change.reasons):
            line += [", " if i else "", Code(reason)]
        line += [" cannot be changed in place; the old one goes with ", held]
    else:
        line += ["; the old one goes with ", held]
    if change.old is not None and change.old.protect:
        line.append(". It is protected: the update fails until the protection is off")
    return line


def _outputs(review: Review) -> Iterator[Block]:
    broken = [one for one in review.outputs if one.breaks]
    if broken:
        yield Alert(
            Alarm.WARNING,
            "Outputs that data teams read",
            [
                (
                    Code(one.name),
                    f" {one.what}" if " " in one.what else f" is {one.what}",
                    *(("; read ", Code(one.instead), " instead") if one.instead else
                      ("; nothing takes its place",) if one.what == "removed" else ()),
                )
                for one in broken
            ],
        )  # fmt: skip
    moved = [one for one in review.outputs if not one.breaks]
    if moved:
        yield Fold(
            (f"{len(moved)} output(s) have another value",),
            [Bullets([(Code(one.name), " ", Code(one.what)) for one in moved])],
            weight=5,
        )


def _security(review: Review) -> Iterator[Block]:
    if not review.security:
        return
    yield Heading(("Security",))
    if review.comparison.basis is Basis.NOTHING:
        yield from _security_of_new(review)
        return
    for direction, found in itertools.groupby(review.security, key=lambda one: one.direction):
        entries = list(found)
        title = f"{_DIRECTIONS[direction]} ({len(entries)})"
        bullets = Bullets([_security_line(one) for one in entries])
        if len(entries) <= _LISTED and direction is not Direction.NARROWER:
            yield Paragraph((Strong(title),))
            yield bullets
        else:
            yield Fold((title,), [bullets], weight=8, open=direction is Direction.WIDER)


_DIRECTIONS: Final = {
    Direction.WIDER: "Wider: more may be done, or less protects",
    Direction.CHANGED: "Different: look whether it is more",
    Direction.NARROWER: "Narrower",
}


def _security_of_new(review: Review) -> Iterator[Block]:
    """Of a stack that is new as a whole: what stands out, and counts of the rest."""
    loud = [one for one in review.security if one.loud]
    counts = Counter(one.area for one in review.security if not one.loud)
    if loud:
        yield Paragraph((Strong("Open to everyone, or on a whole project"),))
        yield Bullets([_security_line(one) for one in loud])
    words = ", ".join(f"{area} {count}" for area, count in sorted(counts.items()))
    if words:
        yield Paragraph((f"{'Beside these' if loud else 'Nothing stands out; in all'}: {words}.",))


def _security_line(one: SecurityChange) -> Line:
    return (
        *((Strong("!"), " ") if one.loud else ()),
        f"{one.area}: ",
        Code(f"{one.resource.title} {one.resource.name}"),
        " ",
        Code(one.what),
    )


def _inventory(review: Review) -> Iterator[Block]:
    """What a new stack has, by component, without its properties."""
    rows: list[tuple[Line, Line, Line]] = []
    groups = Counter((one.resource.product, one.resource.component) for one in review.changes)
    for (product, component), count in sorted(
        groups.items(), key=lambda pair: (pair[0][0] == PLATFORM, pair[0])
    ):
        name = (Code(component),) if component else ("in no component",)
        rows.append(((product,), name, (str(count),)))
    table = Table(("product", "component", "resources"), rows)
    yield Fold((f"{len(review.changes)} resources by component",), [table], weight=20)


def _changes(review: Review) -> Iterator[Block]:
    for product, found in itertools.groupby(review.changes, key=lambda one: one.resource.product):
        changes = list(found)
        yield Heading((product, f" ({_counted(changes)})"))
        for component, group in itertools.groupby(changes, lambda one: one.resource.component):
            yield _component(component, list(group))


def _component(component: str, changes: list[Change]) -> Block:
    blocks: list[Block] = []
    for one in changes:
        blocks.append(Paragraph(_change_line(one)))
        if one.differences:
            blocks.append(Diff(difference.lines(one)))
    drastic = any(one.kind in _LOUD for one in changes)
    weight = 10 if drastic else 5 if any(one.kind is Kind.UPDATE for one in changes) else 1
    title: Line = (Code(component),) if component else ("in no component",)
    return Fold((*title, f" ({_counted(changes)})"), blocks, weight=weight, open=drastic)


def _change_line(change: Change) -> Line:
    one = change.resource
    verb = _VERBS[change.kind]
    return [Strong(verb) if change.kind in _LOUD else verb, " ", Code(f"{one.title} {one.name}")]


def _counted(changes: Iterable[Change]) -> str:
    counts = Counter(one.kind for one in changes)
    return ", ".join(f"{counts[kind]} to {_VERBS[kind]}" for kind in Kind if counts[kind])


def _images(review: Review) -> Iterator[Block]:
    if review.rebuilt:
        yield Heading(("Images",))
        line: list[str | Code | Strong] = ["Built anew, for their files have changed: "]
        for i, name in enumerate(review.rebuilt):
            line += [", " if i else "", Code(name)]
        yield Paragraph([*line, ". What runs them is updated when their digests are known."])

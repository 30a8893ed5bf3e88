"""What a plan costs a month, as a part of a review: an estimate that says what it leaves out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from esteira.review.cost import Estimate, Line
from esteira.review.document import Block, Bullets, Code, Fold, Heading, Paragraph, Strong, Table
from esteira.review.prices import table
from esteira.review.result import Review


def cost(review: Review) -> Iterator[Block]:
    """The estimate and its change; where that is nothing, one line."""
    now, before = review.cost, review.cost_before
    if now is None:
        return
    prices = table()
    yield Heading(("Cost a month",))
    where = f"by list prices of {prices.region}, with everything at its least and at its most"
    said = [f"Estimated {_span(now)}, {where}. "]
    if before is None:
        yield Paragraph(said)
    elif _same(before, now):
        yield Paragraph((*said, "This change does not change the estimate."))
        return
    else:
        low, high = now.least - before.least, now.most - before.most
        yield Paragraph((*said, "This change: ", Strong(_change(low, high)), "."))
        yield _moved(before.lines, now.lines)
    yield Fold(
        ("What the estimate is made of, and what it leaves out",), list(_detail(now)), weight=3
    )


def _detail(now: Estimate) -> Iterator[Block]:
    prices = table()
    rows = [((Code(one.name),), (one.what,), (_money(one.least, one.most),)) for one in now.lines]
    yield Table(("resource", "what is paid for", "USD a month"), rows)
    yield Paragraph(("By use, and not in the sum:",))
    yield Bullets(
        [
            (f"{prices.usage[kind].what} ({count}): {prices.usage[kind].price}",)
            for kind, count in now.usage.items()
        ]
    )
    if now.unpriced:
        yield Paragraph(("Without a price in the table, and not in the sum:",))
        yield Bullets([(one,) for one in now.unpriced])
    yield Paragraph(
        (
            f"An estimate, not an offer. It leaves out {prices.left_out}. ",
            "Each figure has its source and date in ",
            Code("esteira/review/prices.yaml"),
            f", reviewed on {prices.review_date}; the oldest is of {prices.oldest}.",
        )
    )


def _moved(before: Sequence[Line], now: Sequence[Line]) -> Block:
    """The resources whose part of the sum changes."""
    rows = [
        ((Code(name),), (_money(*old),), (_money(*new),))
        for name in sorted({one.name for one in (*before, *now)})
        if (old := _sum(before, name)) != (new := _sum(now, name))
    ]
    return Table(("resource", "was, USD a month", "becomes"), rows)


def _sum(lines: Sequence[Line], name: str) -> tuple[float, float]:
    found = [one for one in lines if one.name == name]
    return round(sum(x.least for x in found), 2), round(sum(x.most for x in found), 2)


def _same(one: Estimate, other: Estimate) -> bool:
    return all(abs(a - b) < 0.005 for a, b in ((one.least, other.least), (one.most, other.most)))


def _span(one: Estimate) -> str:
    return f"{_money(one.least, one.most)} USD"


def _money(low: float, high: float) -> str:
    return f"{low:,.2f}" if abs(high - low) < 0.005 else f"{low:,.2f} to {high:,.2f}"


def _change(low: float, high: float) -> str:
    if abs(high - low) < 0.005:
        return f"{low:+,.2f} USD"
    return f"{low:+,.2f} USD at the least, {high:+,.2f} USD at the most"

"""Prints a review for a terminal or a log."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Final

from esteira.review.document import (
    Alert,
    Block,
    Bullets,
    Diff,
    Document,
    Fold,
    Heading,
    Line,
    Paragraph,
    Table,
)
from esteira.review.values import visible

_WIDTH: Final = 100


def render(document: Document) -> str:
    """The whole review."""
    return "\n".join(_block(one) for one in document.blocks).strip() + "\n"


def _block(block: Block) -> str:
    match block:
        case Heading():
            title = _line(block.text)
            return f"\n{title}\n{('=' if block.level < 4 else '-') * len(title)}"
        case Paragraph():
            return textwrap.fill(_line(block.text), _WIDTH)
        case Bullets():
            return "\n".join(_bullet(one) for one in block.lines)
        case Table():
            return _table([[(one,) for one in block.header], *block.rows])
        case Diff():
            return "\n".join(f"    {visible(one)}" for one in block.lines)
        case Alert():
            return "\n".join(
                [f"\n{block.alarm}: {visible(block.title)}", *(_bullet(one) for one in block.lines)]
            )
        case Fold():
            inner = "\n".join(_block(one) for one in block.blocks)
            return f"\n{_line(block.summary)}\n{textwrap.indent(inner, '  ')}"


def _bullet(line: Line) -> str:
    return textwrap.fill(
        _line(line),
        _WIDTH,
        initial_indent="  - ",
        subsequent_indent="    ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _table(rows: Sequence[Sequence[Line]]) -> str:
    cells = [[_line(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    )


def _line(line: Line) -> str:
    return "".join(visible(one if isinstance(one, str) else one.text) for one in line)

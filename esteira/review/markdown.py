"""Prints a review as the Markdown of a GitHub comment, and keeps it within the limit."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Sequence
from typing import Final

from esteira.review.document import (
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
from esteira.review.values import visible

LIMIT: Final = 65_536
"""Characters of a comment on GitHub; its API answers 422 "body is too long" to more."""

# A backslash takes the meaning of these; the rest become references to characters, which also
# disarms mentions of people, references to issues, addresses and emoji.
_MARKUP: Final = re.compile(r"([\\`*\[\]|~])|((?<!\w)_|_(?!\w))")
_REFERENCES: Final = {"@": "&#64;", "#": "&#35;", ":": "&#58;", "/": "&#47;"}
_LINKING: Final = re.compile(r"@|#|:(?=//)|(?<=:)/|:(?=[\w+-]+:)")


def marker(stack: str) -> str:
    """The first line of a comment, by which a workflow finds the one to update."""
    return f"<!-- esteira-preview:{stack} -->"


def render(document: Document, limit: int = LIMIT) -> str:
    """The whole comment, at most `limit` characters long."""
    kept = [(one, _block(one)) for one in document.blocks]
    left_out: list[str] = []
    length = len(_print(document, [printed for _, printed in kept], left_out))
    # The lightest folds go first, of equal ones the last; then whatever is left, from the end.
    order = sorted(
        [one for one, _ in reversed(kept)],
        key=lambda one: one.weight if isinstance(one, Fold) else math.inf,
    )
    for one in order:
        if length <= limit:
            break
        left_out.append(_words(one))
        kept = [pair for pair in kept if pair[0] is not one]
        length = len(_print(document, [printed for _, printed in kept], left_out))
    return _print(document, [printed for _, printed in kept], left_out)


def _print(document: Document, printed: Sequence[str], left_out: Sequence[str]) -> str:
    parts = [marker(document.stack), *printed]
    if left_out:
        names = "; ".join(left_out[:8]) + ("; …" if len(left_out) > 8 else "")
        parts.append(
            f"> [!NOTE]\n> {len(left_out)} part(s) left out, for a comment holds {LIMIT:,} "
            f"characters: {text(names)}. All of it: {code(document.command)}"
        )
    return "\n\n".join(parts) + "\n"


def _words(block: Block) -> str:
    match block:
        case Fold(summary=line) | Heading(text=line) | Paragraph(text=line):
            return "".join(one if isinstance(one, str) else one.text for one in line)
        case Alert():
            return block.title
        case _:
            return f"a {type(block).__name__.lower()}"


def _block(block: Block) -> str:
    match block:
        case Heading():
            return f"{'#' * block.level} {_line(block.text)}"
        case Paragraph():
            return _line(block.text)
        case Bullets():
            return "\n".join(f"- {_line(one)}" for one in block.lines)
        case Table():
            rows = [[_line(cell) for cell in row] for row in block.rows]
            lines = [list(map(text, block.header)), ["---"] * len(block.header), *rows]
            return "\n".join(f"| {' | '.join(one)} |" for one in lines)
        case Diff():
            return _fenced(block.lines)
        case Alert():
            lines = [f"> [!{block.alarm}]", f"> **{text(block.title)}**"]
            return "\n".join([*lines, *(f"> - {_line(one)}" for one in block.lines)])
        case Fold():
            inner = "\n\n".join(_block(one) for one in block.blocks)
            state = " open" if block.open else ""
            summary = _summary(block.summary)
            return f"<details{state}>\n<summary>{summary}</summary>\n\n{inner}\n\n</details>"


def _fenced(lines: Sequence[str]) -> str:
    """A block whose fence is longer than any in it."""
    body = "\n".join(lines)
    longest = max((len(run) for run in re.findall(r"`+", body)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}diff\n{body}\n{fence}"


def _line(line: Line) -> str:
    return "".join(
        code(one.text)
        if isinstance(one, Code)
        else f"**{text(one.text)}**"
        if isinstance(one, Strong)
        else text(one)
        for one in line
    )


def _summary(line: Line) -> str:
    """Within `<summary>` GitHub wants HTML."""
    return "".join(
        f"<code>{html.escape(visible(one.text))}</code>"
        if isinstance(one, Code)
        else f"<b>{html.escape(visible(one.text))}</b>"
        if isinstance(one, Strong)
        else html.escape(visible(one))
        for one in line
    )


def text(words: str) -> str:
    """Words that stay words: no markup, no HTML, no mention of a person or an issue."""
    # References to characters come last: they hold signs that the other steps would escape.
    escaped = _MARKUP.sub(r"\\\g<0>", html.escape(visible(words), quote=False))
    return _LINKING.sub(lambda found: _REFERENCES[found[0]], escaped)


def code(words: str) -> str:
    """A code span; backticks within it cannot end it, nor a bar the cell of a table."""
    shown = visible(words).replace("|", "\\|") if "|" in words else visible(words)
    longest = max((len(run) for run in re.findall(r"`+", shown)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if shown.startswith("`") or shown.endswith("`") else ""
    return f"{fence}{pad}{shown}{pad}{fence}" if shown else ""

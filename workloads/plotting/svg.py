"""A small plot as SVG text: axes, lines, points, bars. No dependency, a few kilobytes.

Readable in light and dark pages: the background is white, whatever is around it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Final

WIDTH: Final = 460
HEIGHT: Final = 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 14, 34, 46

CHALLENGER: Final = "#0f766e"
CHAMPION: Final = "#9a3412"
NEUTRAL: Final = "#9ca3af"

type Points = Sequence[tuple[float, float]]


class Plot:
    """One plot with linear axes.

    Args:
        title: above it.
        x, y: what the axes measure.
        across, up: lowest and highest value of each axis.
    """

    def __init__(
        self,
        title: str,
        x: str,
        y: str,
        across: tuple[float, float],
        up: tuple[float, float],
    ) -> None:
        self._title, self._x, self._y = title, x, y
        self._across, self._up = _widened(across), _widened(up)
        self._marks: list[str] = []
        self._legend: list[tuple[str, str]] = []
        self._rows: list[str] | None = None

    def line(self, points: Points, colour: str, name: str = "", *, dashed: bool = False) -> None:
        """A line through points; with a name it is in the legend."""
        path = " ".join(f"{self._h(x):.1f},{self._v(y):.1f}" for x, y in points)
        dash = ' stroke-dasharray="4 4"' if dashed else ""
        self._marks.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.6"{dash}/>'
        )
        self._named(name, colour)

    def band(self, low: Points, high: Points, colour: str) -> None:
        """What lies between two lines; over one place alone, an upright line."""
        if len(low) == 1:
            self.line([*low, *high], colour)
            return
        path = " ".join(f"{self._h(x):.1f},{self._v(y):.1f}" for x, y in [*low, *reversed(high)])
        self._marks.append(f'<polygon points="{path}" fill="{colour}" fill-opacity="0.15"/>')

    def dots(self, points: Points, colour: str, name: str = "", *, size: float = 3.0) -> None:
        """A dot at each point."""
        self._marks += [
            f'<circle cx="{self._h(x):.1f}" cy="{self._v(y):.1f}" r="{size:g}" fill="{colour}" '
            'fill-opacity="0.7"/>'
            for x, y in points
        ]
        self._named(name, colour)

    def bars(self, edges: Sequence[float], heights: Sequence[float], colour: str) -> None:
        """A bar between each two edges, from 0."""
        for left, right, height in zip(edges, edges[1:], heights, strict=False):
            width = max(0.5, self._h(right) - self._h(left) - 0.5)
            top = self._v(height)
            self._marks.append(
                f'<rect x="{self._h(left):.1f}" y="{top:.1f}" width="{width:.1f}" '
                f'height="{max(0.0, self._v(0) - top):.1f}" fill="{colour}" fill-opacity="0.75"/>'
            )

    def upright(self, x: float, colour: str, name: str = "") -> None:
        """A dashed line over the whole height."""
        self.line([(x, self._up[0]), (x, self._up[1])], colour, name, dashed=True)

    def rows(self, names: Sequence[str]) -> None:
        """Names instead of numbers up the side, at 0, 1, 2, ..."""
        self._rows = list(names)

    def render(self) -> str:
        """The whole document."""
        right, bottom = WIDTH - _RIGHT, HEIGHT - _BOTTOM
        root = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
            f'width="{WIDTH}" height="{HEIGHT}" role="img" aria-label="{escape(self._title)}" '
            'font-family="system-ui, sans-serif" font-size="11">'
        )
        parts = [
            root,
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
            _text(WIDTH / 2, 18, self._title, "middle", "#111827", 13),
        ]
        for value in _ticks(*self._across):
            at = self._h(value)
            parts.append(_rule(at, _TOP, at, bottom))
            parts.append(_text(at, bottom + 15, _figure(value), "middle"))
        if self._rows is None:
            for value in _ticks(*self._up):
                at = self._v(value)
                parts.append(_rule(_LEFT, at, right, at))
                parts.append(_text(_LEFT - 5, at + 4, _figure(value), "end"))
            side = (_TOP + bottom) / 2
            parts.append(
                f'<text x="14" y="{side}" fill="#374151" text-anchor="middle" '
                f'transform="rotate(-90 14 {side})">{escape(self._y)}</text>'
            )
        else:
            for place, name in enumerate(self._rows):
                at = self._v(place)
                parts.append(_rule(_LEFT, at, right, at))
                parts.append(_text(_LEFT - 5, at + 3, name[:10], "end", size=9))
        parts.append(_text((_LEFT + right) / 2, HEIGHT - 12, self._x, "middle"))
        parts += self._marks
        for place, (name, colour) in enumerate(self._legend):
            at = _TOP + 14 + 15 * place
            parts.append(
                f'<rect x="{_LEFT + 8}" y="{at - 8}" width="10" height="10" fill="{colour}"/>'
            )
            parts.append(_text(_LEFT + 23, at + 1, name, "start"))
        return "\n".join([*parts, "</svg>", ""])

    def _named(self, name: str, colour: str) -> None:
        if name:
            self._legend.append((name, colour))

    def _h(self, x: float) -> float:
        low, high = self._across
        share = min(1.0, max(0.0, (x - low) / (high - low)))
        return _LEFT + share * (WIDTH - _LEFT - _RIGHT)

    def _v(self, y: float) -> float:
        low, high = self._up
        share = min(1.0, max(0.0, (y - low) / (high - low)))
        return HEIGHT - _BOTTOM - share * (HEIGHT - _TOP - _BOTTOM)


def _widened(bounds: tuple[float, float]) -> tuple[float, float]:
    low, high = bounds
    return bounds if high > low else (low - 0.5, high + 0.5)


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers, four to eight of them."""
    raw = (high - low) / 5
    magnitude = 10.0 ** math.floor(math.log10(raw))
    step = next(one * magnitude for one in (1, 2, 2.5, 5, 10) if one * magnitude >= raw)
    first = math.ceil(low / step - 1e-9)
    return [one * step for one in range(first, math.floor(high / step + 1e-9) + 1)]


def _figure(value: float) -> str:
    return f"{value:.4g}" if abs(value) > 1e-12 else "0"


def _rule(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<path d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}" stroke="#e5e7eb"/>'


def _text(
    x: float, y: float, text: str, anchor: str, colour: str = "#374151", size: int = 11
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}" '
        f'font-size="{size}">{escape(text)}</text>'
    )

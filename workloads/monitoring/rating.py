"""Whether a window's answers are worse than those on the hold-out: of all rows, and of each slice.

All rows are judged by the interval of their score. There is one such judgement a window, and dozens
of slices: each is tested, and the tests are adjusted together (Holm), so that all slices of a
window have no more chance of a false alarm than all rows have.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from workloads.metrics import HIGHER_IS_BETTER, Interval
from workloads.monitoring import significance

LEVEL: Final = 0.025
"""The one side of a 95 % interval: what all rows are judged by, and all slices together."""
_WIDTHS: Final = 2 * 1.959964
"""Standard errors between the ends of a 95 % interval."""


class Score(Protocol):
    """A score of a window, measured now or before."""

    @property
    def value(self) -> float | None: ...
    @property
    def low(self) -> float | None: ...
    @property
    def high(self) -> float | None: ...


@dataclass(frozen=True, kw_only=True)
class Judged:
    """One slice of a window."""

    slice: str
    """`column=value`."""
    value: float
    limit: float
    """What is still tolerated of this slice."""
    fall: float
    """How much worse than that it is, in the metric's unit; below 0 where it is not."""
    p_value: float
    """Of its being no worse than is tolerated, adjusted for all slices of the window."""

    @property
    def worse(self) -> bool:
        """Whether that is more than chance."""
        return self.fall > 0 and self.p_value <= LEVEL


def limit(metric: str, expected: float, tolerance: float) -> float:
    """The worst score that is tolerated."""
    return expected - tolerance if HIGHER_IS_BETTER[metric] else expected + tolerance


def worse(metric: str, score: Score | None, *, expected: float, tolerance: float) -> bool | None:
    """Whether the score of all rows lies beyond what is tolerated, chance aside; None while it is
    unknown.

    Args:
        metric: the gate's.
        score: of the window.
        expected: on the hold-out, when the model was registered.
        tolerance: how much worse is tolerated, in the metric's unit.
    """
    if score is None or score.value is None:
        return None
    end = limit(metric, expected, tolerance)
    if HIGHER_IS_BETTER[metric]:
        return (score.value if score.high is None else score.high) < end
    return (score.value if score.low is None else score.low) > end


def slices(
    metric: str,
    scores: Mapping[str, Score],
    expected: Mapping[str, Interval],
    *,
    tolerance: float,
) -> dict[str, Judged]:
    """Each slice of a window against itself on the hold-out; unknown ones are left out.

    Both scores are uncertain, and both count: a slice of the hold-out may be as small as one of the
    window.

    Args:
        metric: the gate's.
        scores: of the window, by slice.
        expected: on the hold-out, by slice; one that was too small there is not judged.
        tolerance: how much worse than that is tolerated, in the metric's unit.
    """
    from scipy.special import ndtr

    sign = 1.0 if HIGHER_IS_BETTER[metric] else -1.0
    found: list[Judged] = []
    for name, now in scores.items():
        before = expected.get(name)
        if before is None or now.value is None or now.low is None or now.high is None:
            continue
        end = limit(metric, before.value, tolerance)
        fall = sign * (end - now.value)
        spread = (
            ((now.high - now.low) / _WIDTHS) ** 2 + ((before.high - before.low) / _WIDTHS) ** 2
        ) ** 0.5
        chance = float(ndtr(-fall / spread)) if spread > 0 else float(fall <= 0)
        found.append(Judged(slice=name, value=now.value, limit=end, fall=fall, p_value=chance))
    adjusted = significance.holm([one.p_value for one in found]).tolist()
    return {
        one.slice: Judged(
            slice=one.slice, value=one.value, limit=one.limit, fall=one.fall, p_value=p_value
        )
        for one, p_value in zip(found, adjusted, strict=True)
    }

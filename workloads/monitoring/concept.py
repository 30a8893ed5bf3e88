"""Whether the model's errors have changed: ADWIN over the errors of one row after another.

Data may stay as they were while what they mean changes; then only the errors tell, once labels are
there. ADWIN keeps a window of errors and drops its older part whenever the mean of the newer one
differs by more than chance (Bifet and Gavaldà 2007; river's implementation).
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

DELTA: Final = 0.002
"""How readily a change is believed; river's default. After 10,000 rows with errors in 10 %, one of
30, 20 or 15 % is noticed within 95, 303 and 1,007 rows on average; no false alarm in 160,000."""
_CLOCK: Final = 8
"""Rows between two looks: river's default of 32 notices some rows later and costs a quarter."""
_LEAST_PART: Final = 30
"""Rows before a change, and after it."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """The mean error is another than it was."""

    noticed: int
    """Position of the row at which it was noticed."""
    began: int
    """Position of the row from which the mean most likely was another."""
    before: float
    """The mean error from the last change to this one."""
    after: float
    """The mean error since."""

    @property
    def worse(self) -> bool:
        """Whether errors grew. ADWIN notices improvement just as well."""
        return self.after > self.before


def changes(errors: NDArray[Any] | Iterable[float], *, delta: float = DELTA) -> list[Change]:
    """Every change of the mean in a stream of errors, in order.

    Args:
        errors: of each row in the order of its event time, in [0, 1]: whether an answer was wrong,
            or a loss divided by the most that it can be.
        delta: smaller is quieter and slower.

    Raises:
        ValueError: an error lies outside [0, 1], for which the test gives no guarantee.
    """
    # At run time, so that only who looks for changes needs river.
    detectors: Any = importlib.import_module("river.drift")

    values = np.asarray(list(errors), dtype=np.float64)
    if values.size and not ((values >= 0) & (values <= 1)).all():
        raise ValueError(
            f"errors lie between {values.min()} and {values.max()}; allowed: 0 to 1; divide losses "
            "by their bound"
        )
    found: list[Change] = []
    start = 0
    detector = detectors.ADWIN(delta=delta, clock=_CLOCK)
    for position, error in enumerate(values.tolist()):
        detector.update(error)
        if not detector.drift_detected:
            continue
        began = start + _split(values[start : position + 1])
        found.append(
            Change(
                noticed=position,
                began=began,
                before=float(values[start:began].mean()),
                after=float(values[began : position + 1].mean()),
            )
        )
        # ADWIN lets go of what was before by and by, which would tell of one change many times.
        start = began
        detector = detectors.ADWIN(delta=delta, clock=_CLOCK)
        for one in values[start : position + 1].tolist():
            detector.update(one)
    return found


def _split(values: NDArray[np.float64]) -> int:
    """Where a stream most likely falls into two of different means."""
    # A few rows at either end differ most by chance alone.
    least = min(_LEAST_PART, values.size // 2)
    rows = np.arange(1, values.size)
    apart = np.abs(np.cumsum(values)[:-1] - rows * values.mean())
    likely = (apart / np.sqrt(rows * (values.size - rows)))[least - 1 : values.size - least]
    return int(np.argmax(likely)) + least

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


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """The mean error is another than it was."""

    at: int
    """Position of the row at which it was noticed; it happened before."""
    before: float
    """The mean error since the last change, up to where the newer part begins."""
    after: float
    """The mean error of the newer part."""
    rows: int
    """Of the newer part."""

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
    detector = detectors.ADWIN(delta=delta, clock=_CLOCK)
    found: list[Change] = []
    start = 0
    for position, error in enumerate(values.tolist()):
        detector.update(error)
        if detector.drift_detected:
            newer = min(int(detector.width), position + 1 - start)
            cut = position + 1 - newer
            before = values[start:cut]
            after = values[cut : position + 1]
            found.append(
                Change(
                    at=position,
                    before=float(before.mean()) if before.size else float(after.mean()),
                    after=float(after.mean()),
                    rows=newer,
                )
            )
            start = cut
    return found

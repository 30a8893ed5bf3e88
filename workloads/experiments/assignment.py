"""Which arm of an experiment a key belongs to: a pure function, the same in every process.

A key is hashed, keyed by the experiment, to a point of a line of 2^64 points; the challenger has
the first part of the line, as long as its share. So a key keeps its arm without anyone remembering
it, the arms of two experiments have nothing to do with each other, and a larger share takes keys
from the champion and gives none back.
"""

from __future__ import annotations

import hashlib
from typing import Final, Literal

from workloads.experiments.experiment import Experiment

CHAMPION: Final = "champion"
CHALLENGER: Final = "challenger"

Arm = Literal["champion", "challenger"]

_POINTS: Final = 1 << 64


def assign(key: str, experiment: Experiment) -> Arm:
    """The arm of a key.

    Args:
        key: What sticks to one arm: a customer, a device, an order. Any text.
        experiment: As it is defined now; only its product, name and share matter.
    """
    return CHALLENGER if point(key, experiment) < _length(experiment.share) else CHAMPION


def point(key: str, experiment: Experiment) -> int:
    """Where a key lies on the line of an experiment, from 0 to 2^64 - 1."""
    # Keyed BLAKE2 (RFC 7693): fast, in the standard library, and unlike `hash()` the same in every
    # process. The key takes 64 bytes; `Experiment` holds its two names to fewer.
    salt = f"{experiment.product}/{experiment.name}".encode()
    # A lone surrogate is no UTF-8, but it is somebody's key.
    content = key.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(content, digest_size=8, key=salt).digest(), "big")


def _length(share: float) -> int:
    # Millionths of a percent: whole numbers, so that no rounding differs between machines.
    return round(share * 1_000_000) * _POINTS // 100_000_000

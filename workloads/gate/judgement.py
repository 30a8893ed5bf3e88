"""The judgement itself: the answers of two models and the truth in, reasons out. Knows no cloud.

A challenger passes when every check passes. The first model of a product has only the floor.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from workloads.metrics import HIGHER_IS_BETTER, Interval, resamples, scored
from workloads.product import METRICS, Gate, Task
from workloads.scoring import Answers


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One condition."""

    name: str
    passed: bool
    found: float
    required: float
    reason: str
    """In words, with the figures."""


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """All that was checked on one hold-out."""

    passed: bool
    metric: str
    challenger: Interval
    champion: Interval | None
    gain: Interval | None
    """Of the challenger over the champion, paired; positive is better whatever the metric."""
    checks: tuple[Check, ...]


def judge(
    gate: Gate,
    truth: NDArray[Any],
    challenger: Answers,
    champion: Answers | None,
    slices: list[tuple[str, str, NDArray[np.bool_]]],
    *,
    task: Task = Task.CLASSIFICATION,
    samples: int = 1000,
    seed: int = 0,
) -> Judgement:
    """Hold a challenger against the floor, and against the champion if there is one.

    Args:
        gate: the conditions.
        truth: the label of each row of the hold-out.
        challenger, champion: what was said of the same rows.
        slices: column, value and mask of each group that is scored by itself.

    Raises:
        NotScorable: the hold-out has no rows, or one class only.
        ValueError: the gate's metric is none of the task's.
    """
    if gate.metric not in METRICS[task]:
        raise ValueError(
            f"gate.metric is {gate.metric!r}; allowed: {', '.join(sorted(METRICS[task]))}"
        )
    sign = 1.0 if HIGHER_IS_BETTER[gate.metric] else -1.0
    new = scored(task, truth, challenger)
    old = None if champion is None else scored(task, truth, champion)
    drawn_new: list[float] = []
    drawn_old: list[float] = []
    # The same resample for both: what is easy for one is easy for the other.
    for weights in resamples(truth, samples, seed, task):
        drawn_new.append(new.score(gate.metric, weights))
        if old is not None:
            drawn_old.append(old.score(gate.metric, weights))
    reached = _interval(new.score(gate.metric), drawn_new)
    checks = [_floor(gate, sign, reached)]
    before = gain = None
    if old is not None and champion is not None:
        before = _interval(old.score(gate.metric), drawn_old)
        gains = sign * (np.array(drawn_new) - np.array(drawn_old))
        gain = _interval(sign * (reached.value - before.value), gains.tolist())
        checks.append(_minimum_gain(gate, gain))
        checks.append(_confidence(gate, float((gains >= 0).mean())))
        checks += [
            _slice(
                gate,
                task,
                f"{column} {value}",
                truth[here],
                challenger.where(here),
                champion.where(here),
            )
            for column, value, here in slices
        ]
    return Judgement(
        passed=all(check.passed for check in checks),
        metric=gate.metric,
        challenger=reached,
        champion=before,
        gain=gain,
        checks=tuple(checks),
    )


def _interval(value: float, drawn: list[float]) -> Interval:
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Interval(value=value, low=float(low), high=float(high))


def _floor(gate: Gate, sign: float, reached: Interval) -> Check:
    passed = sign * reached.value >= sign * gate.floor
    word = "reaches" if passed else "misses"
    return Check(
        name="floor",
        passed=passed,
        found=reached.value,
        required=gate.floor,
        reason=f"{gate.metric} {reached.value:.4f} {word} the floor of {gate.floor:g}",
    )


def _minimum_gain(gate: Gate, gain: Interval) -> Check:
    passed = gain.value >= gate.minimum_gain
    return Check(
        name="minimum gain",
        passed=passed,
        found=gain.value,
        required=gate.minimum_gain,
        reason=f"gains {gain.value:+.4f} {gate.metric} on the champion "
        f"({gain.low:+.4f} to {gain.high:+.4f}); {gate.minimum_gain:+g} is required",
    )


def _confidence(gate: Gate, share: float) -> Check:
    return Check(
        name="confidence",
        passed=share >= gate.confidence,
        found=share,
        required=gate.confidence,
        reason=f"is not worse than the champion in {share:.1%} of paired resamples; "
        f"{gate.confidence:.0%} is required",
    )


def _slice(
    gate: Gate,
    task: Task,
    name: str,
    truth: NDArray[Any],
    challenger: Answers,
    champion: Answers,
) -> Check:
    sign = 1.0 if HIGHER_IS_BETTER[gate.metric] else -1.0
    new = scored(task, truth, challenger).score(gate.metric)
    old = scored(task, truth, champion).score(gate.metric)
    change = sign * (new - old)
    return Check(
        name=f"slice {name.replace(' ', '=', 1)}",
        passed=change >= -gate.slice_tolerance,
        found=change,
        required=-gate.slice_tolerance,
        reason=f"on {truth.size} rows with {name}, {gate.metric} goes from {old:.4f} to "
        f"{new:.4f}; a fall of up to {gate.slice_tolerance:g} is allowed",
    )

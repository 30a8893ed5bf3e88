"""The judgement itself: the answers of two models and the truth in, reasons out. Knows no cloud.

A challenger passes when every check passes. The first model of a product has no champion to beat:
it has the floor, and whatever does not need a second model.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from workloads.calibration import Calibration, calibration
from workloads.gate.fairness import GroupDifference
from workloads.gate.leaks import Leaks
from workloads.gate.resampling import WIDENING, block_resamples, seeds_alone
from workloads.gate.skew import TOLERANCE, Skew
from workloads.manifest import Noise
from workloads.metrics import HIGHER_IS_BETTER, Interval, resamples, scored
from workloads.product import METRICS, Gate, Task
from workloads.scoring import Answers

_HISTOGRAM: Final = 24


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One condition."""

    name: str
    passed: bool
    found: float | None
    """None where it could not be found, which is not to pass."""
    required: float
    reason: str
    """In words, with the figures."""


class SliceScore(msgspec.Struct, frozen=True, kw_only=True):
    """One group of the hold-out, by itself."""

    column: str
    value: str
    rows: int
    challenger: float
    champion: float | None


class Histogram(msgspec.Struct, frozen=True, kw_only=True):
    """How often what was found: `counts` between each two of `edges`."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """All that was checked on one hold-out."""

    passed: bool
    metric: str
    challenger: Interval
    champion: Interval | None
    gain: Interval | None
    """Of the challenger over the champion, paired; positive is better whatever the metric."""
    checks: tuple[Check, ...]
    gains: Histogram | None = None
    """The gain in each paired resample."""
    slices: tuple[SliceScore, ...] = ()
    calibration: Calibration | None = None
    """The challenger's."""
    champion_calibration: Calibration | None = None


def judge(
    gate: Gate,
    truth: NDArray[Any],
    challenger: Answers,
    champion: Answers | None,
    slices: list[tuple[str, str, NDArray[np.bool_]]],
    *,
    task: Task = Task.CLASSIFICATION,
    in_order_of_time: bool = False,
    noise: Noise | None = None,
    samples: int = 1000,
    seed: int = 0,
) -> Judgement:
    """Hold a challenger against the floor, and against the champion if there is one.

    Args:
        gate: the conditions.
        truth: the label of each row of the hold-out.
        challenger, champion: what was said of the same rows.
        slices: column, value and mask of each group that is scored by itself.
        task: of the product.
        in_order_of_time: whether the rows are, so that they are drawn in blocks of time; else each
            row is a witness of its own.
        noise: how far a seed alone moves the challenger's metric, where that was measured.
        samples: how many paired resamples.
        seed: the draw is repeatable.

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
    draw = block_resamples if in_order_of_time else resamples
    for weights in draw(truth, samples, seed, task):
        drawn_new.append(new.score(gate.metric, weights))
        if old is not None:
            drawn_old.append(old.score(gate.metric, weights))
    reached = _interval(new.score(gate.metric), drawn_new)
    certainty = calibration(task, truth, challenger)
    parts = tuple(
        SliceScore(
            column=column,
            value=value,
            rows=int(here.sum()),
            challenger=scored(task, truth[here], challenger.where(here)).score(gate.metric),
            champion=None
            if champion is None
            else scored(task, truth[here], champion.where(here)).score(gate.metric),
        )
        for column, value, here in slices
    )
    checks = [_floor(gate, sign, reached)]
    before = gain = distribution = certainty_before = None
    if old is not None and champion is not None:
        before = _interval(old.score(gate.metric), drawn_old)
        gained = sign * (reached.value - before.value)
        gains = sign * (np.array(drawn_new) - np.array(drawn_old))
        if in_order_of_time:
            gains = gained + WIDENING * (gains - gained)
        if noise is not None:
            gains = gains + seeds_alone(noise, gains.size, seed)
        gain = _interval(gained, gains.tolist())
        counts, edges = np.histogram(gains, _HISTOGRAM)
        distribution = Histogram(edges=tuple(edges.tolist()), counts=tuple(counts.tolist()))
        checks.append(_minimum_gain(gate, gain))
        checks.append(_confidence(gate, float((gains >= gate.minimum_gain).mean()), noise))
        checks += [_slice(gate, one) for one in parts]
        certainty_before = calibration(task, truth, champion)
        if certainty is not None and certainty_before is not None:
            checks.append(_calibration(gate, task, certainty.error, certainty_before.error))
    return Judgement(
        passed=all(check.passed for check in checks),
        metric=gate.metric,
        challenger=reached,
        champion=before,
        gain=gain,
        checks=tuple(checks),
        gains=distribution,
        slices=parts,
        calibration=certainty,
        champion_calibration=certainty_before,
    )


def extended(judgement: Judgement, checks: list[Check]) -> Judgement:
    """A judgement with more checks, which must pass too."""
    together = (*judgement.checks, *checks)
    passed = all(check.passed for check in together)
    return msgspec.structs.replace(judgement, checks=together, passed=passed)


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


def _confidence(gate: Gate, share: float, noise: Noise | None) -> Check:
    # Held to the minimum gain and not to 0: two trainings of one model differ a little in truth,
    # and a difference that is real but not worth a release is still noise.
    seeds = ""
    if noise is not None:
        seeds = (
            f"; they count that a seed alone moves it by {noise.deviation:.4f} "
            f"({noise.reruns} reruns)"
        )
    return Check(
        name="confidence",
        passed=share >= gate.confidence,
        found=share,
        required=gate.confidence,
        reason=f"gains {gate.minimum_gain:+g} or more in {share:.1%} of paired resamples; "
        f"{gate.confidence:.0%} is required" + seeds,
    )


def _slice(gate: Gate, part: SliceScore) -> Check:
    assert part.champion is not None
    sign = 1.0 if HIGHER_IS_BETTER[gate.metric] else -1.0
    change = sign * (part.challenger - part.champion)
    return Check(
        name=f"slice {part.column}={part.value}",
        passed=change >= -gate.slice_tolerance,
        found=change,
        required=-gate.slice_tolerance,
        reason=f"on {part.rows} rows with {part.column} {part.value}, {gate.metric} goes from "
        f"{part.champion:.4f} to {part.challenger:.4f}; {gate.slice_tolerance:g} for the worse is "
        "allowed",
    )


def _calibration(gate: Gate, task: Task, new: float, old: float) -> Check:
    what = "calibration error" if task is Task.CLASSIFICATION else "error of the coverage"
    return Check(
        name="calibration",
        passed=new - old <= gate.calibration_tolerance,
        found=new - old,
        required=gate.calibration_tolerance,
        reason=f"{what} goes from {old:.4f} to {new:.4f}; {gate.calibration_tolerance:g} more is "
        "allowed",
    )


def fairness_check(gate: Gate, found: GroupDifference) -> Check:
    """Whether groups lie close enough together. Not to know is not to pass."""
    fairness = gate.fairness
    assert fairness is not None
    required = fairness.maximum_difference
    if found.difference is None:
        return Check(
            name="fairness",
            passed=False,
            found=None,
            required=required,
            reason=f"fewer than two groups of {found.column} have rows enough for "
            f"{found.of.value}; hold out more, or compare another column",
        )
    low, *_, high = sorted(found.groups, key=lambda one: one.figure)
    return Check(
        name="fairness",
        passed=found.difference <= required,
        found=found.difference,
        required=required,
        reason=f"{found.of.value} is {low.figure:.4f} for {found.column} {low.group} and "
        f"{high.figure:.4f} for {high.group}; {required:g} apart is allowed",
    )


def leak_checks(leaks: Leaks) -> list[Check]:
    """No feature alone, and no model, may be too good to be true."""
    strongest = leaks.alone[0]
    copies = [one.feature for one in leaks.found if one.copy]
    told = [f"`{one.feature}` ({one.score:.3f})" for one in leaks.found]
    if copies:
        names = ", ".join(f"`{one}`" for one in copies)
        reason = (
            f"{names} is the label under another name: each value belongs to one of the label's"
        )
    elif told:
        reason = (
            f"{', '.join(told)} alone predicts the label, {leaks.measure} above {leaks.limit:g}: "
            "is it known when the question is asked? If so, raise gate.single_feature_limit"
        )
    else:
        reason = (
            f"the strongest feature alone, `{strongest.feature}`, has {leaks.measure} "
            f"{strongest.score:.3f}; up to {leaks.limit:g} is believed"
        )
    checks = [
        Check(
            name="single feature",
            passed=not leaks.found,
            found=max(one.score for one in leaks.alone),
            required=leaks.limit,
            reason=reason,
        )
    ]
    reason = f"{leaks.measure} {leaks.score:.3f}; up to {leaks.suspicious:g} is believed"
    if leaks.without:
        name, left = next(iter(leaks.without.items()))
        reason += (
            f": too good to be true. Without `{name}` it is {left:.3f}; is that known when the "
            "question is asked? If so, raise gate.suspicious_score"
        )
    checks.append(
        Check(
            name="believable score",
            passed=leaks.score <= leaks.suspicious,
            found=leaks.score,
            required=leaks.suspicious,
            reason=reason,
        )
    )
    checks.append(
        Check(
            name="no look ahead",
            passed=leaks.query.leaking is None,
            found=float(leaks.query.leaking is not None),
            required=0.0,
            reason=leaks.query.told,
        )
    )
    return checks


def skew_check(skew: Skew) -> Check:
    """Training and serving must ask the same."""
    if skew.refused is not None:
        reason = f"the endpoint would refuse rows of the hold-out: {skew.refused}"
    else:
        reason = (
            f"{skew.rows} rows get the same answer as in training, as a request and in a batch: "
            f"{skew.between} differ by {skew.difference:.1e}, up to {TOLERANCE:g} is rounding"
        )
        if not skew.passed:
            names = ", ".join(f"`{one}`" for one in skew.features) or "no feature by itself"
            reason = (
                f"{skew.between} differ by {skew.difference:.1e} on {skew.rows} rows; "
                f"{TOLERANCE:g} is allowed. What arrives otherwise than in training: {names}"
            )
    return Check(
        name="train and serve alike",
        passed=skew.passed,
        found=skew.difference,
        required=TOLERANCE,
        reason=reason,
    )

"""What may be said of two arms at any moment, however often one looks.

A fixed-sample test that is read every day finds a difference between two equal models sooner or
later. This one is always valid: the chance that it *ever* errs is at most alpha. It is the normal
mixture of Robbins (1970), which Johari, Koomen, Pekelis and Walsh bring to A/B tests as the mixture
sequential probability ratio test ("Always Valid Inference: Continuous Monitoring of A/B Tests",
Operations Research 70(3), 2022), and whose use with estimated variances Waudby-Smith, Arbour,
Sinha, Kennedy and Ramdas justify ("Time-uniform central limit theory and asymptotic confidence
sequences", Annals of Statistics 52(6), 2024): hence no verdict before `minimum_keys`.

What is drawn at random is the key, not the row: rows of one key resemble each other. So the
variance of an arm's mean is that of a ratio of sums over keys (the delta method of Deng, Knoblich
and Lu, "Applying the Delta Method in Metric Analytics", KDD 2018); with one row a key it is the
common one.
"""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from workloads.experiments.experiment import Experiment

Floats = NDArray[np.float64]

MISMATCH_ALPHA: Final = 0.001
"""Chance of calling a right split wrong. Small: it voids the experiment."""
POWER: Final = 0.8


class ArmTotals(msgspec.Struct, frozen=True, kw_only=True):
    """Sufficient statistics of one arm. With S the outcomes of a key summed, N their count."""

    assigned: int = 0
    """Keys that were answered at all, their truth known or not."""
    keys: int = 0
    """Keys with a known truth."""
    rows: int = 0
    """Sum of N."""
    total: float = 0.0
    """Sum of S."""
    squares: float = 0.0
    """Sum of S*S."""
    products: float = 0.0
    """Sum of S*N."""
    counts: float = 0.0
    """Sum of N*N."""

    @property
    def mean(self) -> float:
        """Of the outcomes; 0 where there are none."""
        return self.total / self.rows if self.rows else 0.0


class Verdict(StrEnum):
    """What the analysis says."""

    TOO_EARLY = "too early"
    """An arm has fewer keys with a known truth than the experiment asks for."""
    MISMATCH = "sample ratio mismatch"
    """The arms are not as large as the share says: keys are lost on one side, and no result of it
    can be trusted."""
    CHALLENGER = "challenger"
    CHAMPION = "champion"
    EQUAL = "no difference worth finding"
    """A gain as large as `effect` is ruled out."""
    UNDECIDED = "undecided"

    @property
    def final(self) -> bool:
        """Whether more rows would change nothing."""
        return self not in (Verdict.TOO_EARLY, Verdict.UNDECIDED)


class Analysis(msgspec.Struct, frozen=True, kw_only=True):
    """What is known now. Gains are in the metric's unit, positive for a better challenger."""

    verdict: Verdict
    reason: str
    champion: float
    challenger: float
    """Means of the outcome."""
    gain: float
    low: float
    high: float
    """The gain lies between with 1 - alpha confidence, at every moment at once."""
    p_value: float
    """Of no difference; always valid."""
    mismatch_p_value: float
    """Of the split being as defined; always valid."""
    keys: int
    """With a known truth, both arms."""
    needed_keys: int
    """With a known truth, both arms, for a power of 80 % if the gain is `effect`."""


def analyse(experiment: Experiment, champion: ArmTotals, challenger: ArmTotals) -> Analysis:
    """Judge two arms by what is known of them now."""
    sign = 1.0 if experiment.metric.higher_is_better else -1.0
    gain = sign * (challenger.mean - champion.mean)
    spread = [mean_variance(arm, experiment.limit) for arm in (champion, challenger)]
    precision = mixture_precision(experiment.effect, experiment.alpha)
    information = 1.0 / sum(spread)
    half = float(boundary(information, precision, experiment.alpha))
    mismatch = ratio_p_value(challenger.assigned, champion.assigned, experiment.share)
    low, high = gain - half, gain + half
    verdict, reason = _verdict(experiment, champion, challenger, low, high, mismatch)
    variances = [
        one * max(arm.keys, 1) for one, arm in zip(spread, (champion, challenger), strict=True)
    ]
    return Analysis(
        verdict=verdict,
        reason=reason,
        champion=champion.mean,
        challenger=challenger.mean,
        gain=gain,
        low=low,
        high=high,
        p_value=p_value(gain, information, precision),
        mismatch_p_value=mismatch,
        keys=champion.keys + challenger.keys,
        needed_keys=needed_keys(
            experiment.effect, variances[0], variances[1], experiment.share, experiment.alpha
        ),
    )


def _verdict(
    experiment: Experiment,
    champion: ArmTotals,
    challenger: ArmTotals,
    low: float,
    high: float,
    mismatch: float,
) -> tuple[Verdict, str]:
    if mismatch <= MISMATCH_ALPHA:
        share = 100 * challenger.assigned / (challenger.assigned + champion.assigned)
        return Verdict.MISMATCH, (
            f"{share:.2f} % of the keys went to the challenger, not {experiment.share:g} %: find "
            "out where keys are lost or logged twice; nothing else here can be trusted"
        )
    fewest = min(champion.keys, challenger.keys)
    if fewest < experiment.minimum_keys:
        return Verdict.TOO_EARLY, (
            f"one arm has {fewest} keys whose truth is known; {experiment.minimum_keys} are needed"
        )
    confidence = f"{1 - experiment.alpha:.0%}"
    interval = f"the gain lies between {low:+.4g} and {high:+.4g} with {confidence} confidence"
    if low > 0:
        return Verdict.CHALLENGER, f"{interval}: the challenger is better"
    if high < 0:
        return Verdict.CHAMPION, f"{interval}: the champion is better"
    if high < experiment.effect:
        return Verdict.EQUAL, f"{interval}: a gain of {experiment.effect:g} is ruled out"
    return Verdict.UNDECIDED, f"{interval}: go on"


def mean_variance(arm: ArmTotals, limit: float = 1.0) -> float:
    """The variance of an arm's mean, by keys.

    Two keys more are counted, one with the lowest outcome and one with the highest (after Agresti
    and Coull, 1998): an arm without a single failure so far is not one that cannot fail.
    """
    keys, rows = arm.keys + 2, arm.rows + 2
    total = arm.total + limit
    mean = total / rows
    squares = arm.squares + limit * limit
    residual = squares - 2 * mean * (arm.products + limit) + mean * mean * (arm.counts + 2)
    return max(residual, 0.0) / (rows * rows) * keys / (keys - 1)


def mixture_precision(effect: float, alpha: float) -> float:
    """The mixture's precision, in units of information, that looks sharpest for a gain.

    Howard, Ramdas, McAuliffe and Sekhon ("Time-uniform, nonparametric, nonasymptotic confidence
    sequences", Annals of Statistics 49(2), 2021, section 3.5): a mixture is tightest at the
    information m if its precision is m / (2 log(1/alpha) + log(1 + 2 log(1/alpha))). Here m is that
    at which the boundary equals the effect, which has a closed form. It depends on the definition
    alone, never on what was seen.
    """
    ratio = _ratio(alpha)
    information = (1 + 1 / ratio) * (math.log1p(ratio) + 2 * math.log(1 / alpha)) / effect**2
    return information / ratio


def _ratio(alpha: float) -> float:
    twice = 2 * math.log(1 / alpha)
    return twice + math.log1p(twice)


def boundary(information: Any, precision: float, alpha: float) -> Floats:
    """Half the width of the confidence sequence for a mean of normal increments.

    Args:
        information: One over the variance of the estimated difference; any shape.
        precision: Of the mixture, as `mixture_precision`.
        alpha: The chance that the truth ever leaves it.
    """
    together = np.asarray(information, dtype=np.float64) + precision
    width = np.sqrt(together * np.log(together / (alpha * alpha * precision)))
    return width / np.asarray(information, dtype=np.float64)


def p_value(gain: float, information: float, precision: float) -> float:
    """Of no difference: one over the mixture likelihood ratio, at most 1."""
    together = information + precision
    exponent = (gain * information) ** 2 / (2 * together)
    return min(1.0, math.sqrt(together / precision) * math.exp(-min(exponent, 700.0)))


def needed_keys(
    effect: float,
    champion_variance: float,
    challenger_variance: float,
    share: float,
    alpha: float = 0.05,
    power: float = POWER,
) -> int:
    """Keys of both arms at which a gain as large as `effect` is found with that power.

    Found at that very size; whoever looks on the way there finds it sooner in most cases.

    Args:
        effect: The gain that shall be found.
        champion_variance, challenger_variance: Of one key's outcome; at most a quarter for
            outcomes between 0 and 1.
        share: Percent of the keys that the challenger answers.
        alpha: As of the experiment.
        power: Chance of finding it.
    """
    from statistics import NormalDist

    quantile = NormalDist().inv_cdf(power)
    precision = mixture_precision(effect, alpha)
    low, high = 1.0 / effect**2, 1.0 / effect**2

    def enough(information: float) -> bool:
        width = float(boundary(information, precision, alpha))
        return effect - width >= quantile / math.sqrt(information)

    while not enough(high):
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    part = share / 100
    return math.ceil(high * (challenger_variance / part + champion_variance / (1 - part)))


def ratio_p_value(challenger: int, champion: int, share: float) -> float:
    """Whether the arms are as large as the share says: an always-valid p-value.

    One over the Bayes factor of a Dirichlet mixture against the multinomial of the definition
    (Lindon and Malek, "Anytime-Valid Inference for Multinomial Count Data", NeurIPS 2022), so that
    it too may be looked at after every key.

    Args:
        challenger, champion: Keys of each arm, their truth known or not.
        share: Percent that the challenger should have.
    """
    part = share / 100
    # Centred on the defined split, and as wide as the paper's uniform prior on an even one.
    first, second = 2 * part, 2 * (1 - part)
    mixture = _log_beta(first + challenger, second + champion) - _log_beta(first, second)
    defined = challenger * math.log(part) + champion * math.log1p(-part)
    return min(1.0, math.exp(min(0.0, defined - mixture)))


def _log_beta(one: float, other: float) -> float:
    return math.lgamma(one) + math.lgamma(other) - math.lgamma(one + other)

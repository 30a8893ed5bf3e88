"""What windows of evidence mean for a release. Pure: figures in, a ruling out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum

import msgspec

from workloads.release.policy import GuardMetric, ReleasePolicy, Worse


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """What one version did in a window."""

    version: str
    requests: int
    errors: int
    """Requests that the server failed: status 500 and above, and 429."""
    p50: float | None = None
    """Latency of its answers, milliseconds, by percentile; None where it was not measured."""
    p95: float | None = None
    p99: float | None = None
    guard: float | None = None

    @property
    def error_rate(self) -> float:
        """Share of requests that failed; 0 where there were none."""
        return self.errors / self.requests if self.requests else 0.0


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """Challenger and champion between two instants."""

    start: datetime
    end: datetime
    challenger: Side
    champion: Side | None
    """None where it answered nothing, or where there is none."""
    drift: float | None = None
    """Jensen-Shannon divergence, base 2, of the predicted values; None where too few are known."""
    source: str = "prediction log"
    """Where the figures come from."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """A window with enough evidence, and what is wrong in it."""

    window: Window
    breaches: tuple[str, ...]

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong."""
        return not self.breaches


class Action(StrEnum):
    """What a release does next."""

    WAIT = "wait"
    ADVANCE = "advance"
    ABORT = "abort"


class Ruling(msgspec.Struct, frozen=True, kw_only=True):
    """The next action, and why."""

    action: Action
    reason: str


def enough(policy: ReleasePolicy, window: Window) -> bool:
    """Whether a window says anything: the champion's requests matter only where it has any."""
    return window.challenger.requests >= policy.evidence_requests


def judge(policy: ReleasePolicy, window: Window) -> Verdict:
    """What is wrong in a window, each a sentence with the figure and what is allowed."""
    found = [
        *_errors(policy, window),
        *_latency(policy, window),
        *_drift(policy, window),
        *_guard(policy.guard, window),
    ]
    return Verdict(window=window, breaches=tuple(found))


def rule(
    policy: ReleasePolicy,
    verdicts: Sequence[Verdict],
    entered: datetime,
    now: datetime,
) -> Ruling:
    """What follows from the windows of a canary step.

    Args:
        policy: The product's.
        verdicts: On this step's windows, the newest last; each had enough evidence.
        entered: When the step began.
        now: The present.
    """
    age = now - entered
    if reason := alarm(policy, verdicts):
        return Ruling(action=Action.ABORT, reason=reason)
    streak = _streak(verdicts)
    if streak >= policy.clean and age >= policy.step_time:
        return Ruling(action=Action.ADVANCE, reason=f"{streak} clean windows in a row")
    if age >= policy.most_step_time:
        reason = (
            f"not convinced within {_hours(policy.most_step_time)}: {len(verdicts)} windows with "
            f"enough evidence, {_streak(verdicts)} clean in a row at the end; needed: "
            f"{policy.clean}"
        )
        return Ruling(action=Action.ABORT, reason=reason)
    return Ruling(action=Action.WAIT, reason=_wanted(policy, verdicts, age))


def alarm(policy: ReleasePolicy, verdicts: Sequence[Verdict]) -> str | None:
    """Why windows, the newest last, are enough to stop a release; None if they are not."""
    if not verdicts:
        return None
    newest = verdicts[-1]
    rate = newest.window.challenger.error_rate
    if rate >= policy.broken_rate:
        return (
            f"{rate:.1%} of its requests failed; from {policy.broken_rate:.0%} on, one window is "
            "enough"
        )
    recent = verdicts[-policy.breaches_of :]
    breached = sum(not one.clean for one in recent)
    if newest.clean or breached < policy.breaches:
        return None
    return f"{breached} of the last {len(recent)} windows breach, the newest too: " + "; ".join(
        newest.breaches
    )


def _errors(policy: ReleasePolicy, window: Window) -> list[str]:
    champion = 0.0 if window.champion is None else window.champion.error_rate
    rate, most = window.challenger.error_rate, champion + policy.error_rate
    if rate <= most:
        return []
    return [f"error rate {rate:.2%}, champion {champion:.2%}; allowed: {most:.2%}"]


def _latency(policy: ReleasePolicy, window: Window) -> list[str]:
    found = window.challenger.p95
    if found is None:
        return []
    if found > policy.latency_p95_ms:
        return [f"latency p95 {found:.1f} ms; allowed: {policy.latency_p95_ms:g} ms"]
    champion = None if window.champion is None else window.champion.p95
    if champion is None or found - champion <= policy.latency_noise_ms:
        return []
    if found <= champion * policy.latency_ratio:
        return []
    most = champion * policy.latency_ratio
    return [f"latency p95 {found:.1f} ms, champion {champion:.1f} ms; allowed: {most:.1f} ms"]


def _drift(policy: ReleasePolicy, window: Window) -> list[str]:
    if window.drift is None or window.drift <= policy.drift:
        return []
    told = f"predictions differ from the champion's by {window.drift:.3f} (Jensen-Shannon)"
    return [f"{told}; allowed: {policy.drift:g}"]


def _guard(guard: GuardMetric | None, window: Window) -> list[str]:
    if guard is None or window.champion is None:
        return []
    found, champion = window.challenger.guard, window.champion.guard
    if found is None or champion is None:
        return []
    moved = found - champion
    worse = {
        Worse.HIGHER: moved > guard.tolerance,
        Worse.LOWER: -moved > guard.tolerance,
        Worse.EITHER: abs(moved) > guard.tolerance,
    }[guard.worse]
    if not worse:
        return []
    way = "apart" if guard.worse is Worse.EITHER else guard.worse.value
    told = f"{guard.name} is {found:.4g}, champion {champion:.4g}"
    return [f"{told}; allowed: {guard.tolerance:g} {way}"]


def _streak(verdicts: Sequence[Verdict]) -> int:
    count = 0
    for one in reversed(verdicts):
        if not one.clean:
            break
        count += 1
    return count


def _wanted(policy: ReleasePolicy, verdicts: Sequence[Verdict], age: timedelta) -> str:
    missing = policy.clean - _streak(verdicts)
    waits: list[str] = []
    if missing > 0:
        waits.append(
            f"{missing} more clean window{'s' if missing > 1 else ''} of at least "
            f"{policy.evidence_requests} requests each"
        )
    if age < policy.step_time:
        waits.append(f"{int((policy.step_time - age).total_seconds()) + 1} s more of this step")
    return "waits for " + " and ".join(waits)


def _hours(span: timedelta) -> str:
    return f"{span.total_seconds() / 3600:g} h"

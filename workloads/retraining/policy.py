"""Whether a run starts now, from what was asked and what has run: plain data in, a ruling out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from workloads.product import Product, Retraining
from workloads.retraining.requests import Reason, Request
from workloads.retraining.runs import Run, RunState

SKEW: Final = timedelta(days=1)
"""No clock of the platform is wrong by more. What lies further ahead was written by a replay that
had a present of its own, and holds nobody back."""
_ANSWERED_BY_A_RELEASE: Final = (Reason.DRIFT, Reason.PERFORMANCE, Reason.ROWS)
"""What these found, they found in the model that served then."""


@dataclass(frozen=True, kw_only=True)
class Ruling:
    """What to do with the requests that wait. Each of them is in one of the three."""

    start: tuple[Request, ...] = ()
    """One run for all of these."""
    wait: tuple[Request, ...] = ()
    refuse: tuple[tuple[Request, str], ...] = ()
    """Each with why."""
    why: str = ""
    """Of the start, or of the wait."""
    until: datetime | None = None
    """When those that wait are looked at again, where that is known."""
    out_of_budget: bool = False
    """Whether requests wait that the budget of the month has no run left for."""


@dataclass(frozen=True, kw_only=True)
class _Block:
    until: datetime
    why: str
    budget: bool = field(default=False)


@dataclass(frozen=True, kw_only=True)
class Range:
    """Which rows a run reads: [start, split) to learn from, [split, end) to be judged by."""

    start: datetime
    split: datetime
    end: datetime


def rule(
    product: Product, waiting: Sequence[Request], runs: Sequence[Run], now: datetime
) -> Ruling:
    """Decide.

    Args:
        product: the declaration; it has a `retraining`.
        waiting: requests on which nothing is decided for good, the oldest first.
        runs: all runs of the product since at least the last that was released and the beginning
            of the month, in any order.
        now: an instant with a time zone.
    """
    plan = product.retraining
    if plan is None:
        off = f"{product.name} declares no `retraining`"
        return Ruling(refuse=tuple((one, off) for one in waiting))
    refused = [(one, why) for one in waiting if (why := _unwanted(plan, one, runs))]
    gone = {one.id for one, _ in refused}
    wanted = tuple(one for one in waiting if one.id not in gone)
    spent = _budget(plan, runs, now)
    ruling = Ruling(refuse=tuple(refused))
    if not wanted:
        return ruling
    under_way = next((one for one in runs if one.under_way), None)
    if under_way is not None:
        return _with(ruling, wait=wanted, why=f"run {under_way.name} is under way")
    if any(one.reason is Reason.PERSON for one in wanted):
        return _with(ruling, start=wanted, why=_asked(wanted))
    # New code is no news of the data: there is nothing to wait for that would tell more.
    commit = any(one.reason is Reason.COMMIT for one in wanted)
    of_data = (_debounce(plan, wanted, now), _cool_down(plan, runs, now))
    blocks = [one for one in (*(() if commit else of_data), spent) if one is not None]
    if blocks:
        longest = max(blocks, key=lambda one: one.until)
        return _with(
            ruling,
            wait=wanted,
            why=longest.why,
            until=longest.until,
            out_of_budget=spent is not None,
        )
    return _with(ruling, start=wanted, why=_asked(wanted))


def cool_down(plan: Retraining, runs: Sequence[Run]) -> timedelta:
    """How long after the start of the last run no other starts by itself.

    It doubles with each run since the last release that ended in none.
    """
    strikes = 0
    for run in sorted(runs, key=lambda one: one.id, reverse=True):
        if run.state is RunState.RELEASED:
            break
        strikes += run.state in (RunState.REJECTED, RunState.FAILED)
    # Compared before it is multiplied: a timedelta ends after 2.7 million years.
    if plan.cool_down and strikes >= (plan.max_cool_down // plan.cool_down).bit_length():
        return plan.max_cool_down
    return min(plan.cool_down * 2**strikes, plan.max_cool_down)


def rows(product: Product, plan: Retraining, as_of: datetime) -> Range:
    """Whole days, up to those whose labels have all come: later rows teach nothing yet."""
    end = (as_of.astimezone(UTC) - product.label.maturity).replace(
        hour=0, minute=0, second=0, microsecond=0
    )
    return Range(start=end - plan.history, split=end - plan.holdout, end=end)


def _unwanted(plan: Retraining, request: Request, runs: Sequence[Run]) -> str:
    switches = {
        Reason.DRIFT: ("on_drift", plan.on_drift),
        Reason.PERFORMANCE: ("on_performance", plan.on_performance),
        Reason.FILE: ("on_new_file", plan.on_new_file),
        Reason.ROWS: ("minimum_new_rows", plan.minimum_new_rows is not None),
    }
    name, on = switches.get(request.reason, ("", True))
    if not on:
        return f"the product's retraining.{name} says that {request.reason} starts no run"
    if request.reason in _ANSWERED_BY_A_RELEASE:
        for run in runs:
            later = run.entered_at - request.asked_at
            if run.state is RunState.RELEASED and timedelta(0) < later < plan.max_cool_down:
                return (
                    f"run {run.name} was released since it was asked; if it is still so with "
                    f"version {run.version}, that is a request of its own"
                )
    return ""


def _debounce(plan: Retraining, wanted: Sequence[Request], now: datetime) -> _Block | None:
    # Since the first: requests that keep coming must not put a run off for ever.
    first = min(one.asked_at for one in wanted)
    until = first + plan.debounce
    if not now < until or first > now + SKEW:
        return None
    return _Block(until=until, why="more may be asked for within the debounce of the first")


def _cool_down(plan: Retraining, runs: Sequence[Run], now: datetime) -> _Block | None:
    started = [one for one in runs if one.started_at <= now + SKEW]
    if not started:
        return None
    last = max(started, key=lambda one: one.started_at)
    length = cool_down(plan, started)
    until = last.started_at + length
    if now >= until:
        return None
    grown = "" if length == plan.cool_down else f", grown from {_days(plan.cool_down)}"
    return _Block(
        until=until,
        why=f"the cool-down of {_days(length)}{grown} since run {last.name} has not passed",
    )


def _budget(plan: Retraining, runs: Sequence[Run], now: datetime) -> _Block | None:
    local = now.astimezone(ZoneInfo(plan.time_zone))
    month = local.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    following = (month + timedelta(days=32)).replace(day=1)
    started = [one for one in runs if one.unasked and month <= one.started_at < following]
    if len(started) < plan.budget_per_month:
        return None
    return _Block(
        until=following.astimezone(UTC),
        why=f"the budget of {plan.budget_per_month} runs for {month:%B %Y} is used up",
    )


def _asked(wanted: Sequence[Request]) -> str:
    reasons = ", ".join(dict.fromkeys(one.reason.value for one in wanted))
    who = ", ".join(dict.fromkeys(one.asked_by for one in wanted))
    whys = "; ".join(
        dict.fromkeys(str(one.evidence["why"]) for one in wanted if one.evidence.get("why"))
    )
    return f"{reasons}, asked for by {who}" + (f": {whys}" if whys else "")


def _days(length: timedelta) -> str:
    days = length / timedelta(days=1)
    return f"{days:g} day{'' if days == 1 else 's'}"


def _with(ruling: Ruling, **change: object) -> Ruling:
    return replace(ruling, **change)  # pyright: ignore[reportArgumentType]

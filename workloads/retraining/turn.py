"""One turn of the retraining controller, and what came of it in words and as a document."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec

from workloads.database import DatabaseSettings, NoCertificates
from workloads.product import Product
from workloads.release.states import Strategy
from workloads.retraining import claims, held, triggers
from workloads.retraining import requests as asked
from workloads.retraining.controller import Controller, Turn
from workloads.retraining.policy import Range
from workloads.retraining.requests import NoRetraining, Request
from workloads.retraining.runs import Decision, Run, RunState
from workloads.retraining.settings import RetrainingSettings
from workloads.retraining.steps import PlatformSteps, Progress, Steps
from workloads.retraining.store import Busy, opened


class Ended(StrEnum):
    """What a turn comes to."""

    NOTHING = "nothing"
    """Nobody has asked."""
    WAITS = "waits"
    """Somebody has, and it is not time yet."""
    BUSY = "busy"
    """Another controller acts on the product."""
    UNDER_WAY = "under way"
    """A run waits for its release."""
    RELEASED = "released"
    REJECTED = "rejected"
    FAILED = "failed"


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a command."""

    ok: bool
    message: str
    ended: Ended | None = None
    """Of a turn."""
    until: datetime | None = None
    """When requests that wait are looked at again, where that is known."""
    run: Run | None = None
    """The run that was started or gone on with; of a status, the newest; of a claim, its own."""
    ours: bool = False
    """Of a claim: whether whoever claimed it trains the run now."""
    request: Request | None = None
    """The one that was written down."""
    requests: tuple[Request, ...] = ()
    """That wait; of a run, those it serves."""
    history: tuple[Decision, ...] = ()


def turn(
    product: Product,
    now: datetime,
    *,
    strategy: Strategy | str = Strategy.POLICY,
    on_progress: Progress = lambda _: None,
    settings: RetrainingSettings | None = None,
    database: DatabaseSettings | None = None,
    steps: Steps | None = None,
) -> Outcome:
    """Decide on what was asked; train, judge and release, and return what happened.

    Args:
        product: the declaration.
        now: by the clock of the data: debounce, cool-down and budget are reckoned by it, and a run
            whose requests name no `as_of` reads the rows until then.
        strategy: releases of runs that this turn starts go through shadow and canary ("policy"),
            or straight to full ("direct").
        on_progress: told of each step, a line each.
        settings: the environment's when not given.
        database: the environment's when not given.
        steps: the platform's when not given.

    Raises:
        NoRetraining: the product declares none, or the stack has no database.
    """
    if now.tzinfo is None:
        raise ValueError(f"now is {now.isoformat()}; allowed: an instant with a time zone")
    asked.declared(product)
    database = database or asked.settings()
    if steps is None:
        settings = settings or RetrainingSettings()  # pyright: ignore[reportCallIssue]
        steps = PlatformSteps(product, settings, database, on_progress)
    actor = settings.retraining_actor if settings is not None else ""
    with opened(database, actor or f"retraining of {product.name}") as store:
        triggers.look(product, store, now)
        controller = Controller(
            product,
            store,
            steps,
            now=lambda: now,
            strategy=Strategy(strategy),
            on_progress=on_progress,
        )
        try:
            done = controller.turn()
        except Busy as error:
            return Outcome(ok=True, ended=Ended.BUSY, message=str(error))
        held.publish(product.name, rejected=done.last_rejected, out_of_budget=done.out_of_budget)
        served = () if done.run is None else tuple(store.of_run(done.run))
    return _outcome(done, served)


def perform(
    product: Product,
    settings: RetrainingSettings,
    database: DatabaseSettings,
    now: datetime,
    on_progress: Progress = lambda _: None,
) -> Outcome:
    """Do what the settings say. What a person can mend is an outcome, and no exception."""
    try:
        if settings.retraining_command == "turn":
            return turn(
                product,
                now,
                strategy=settings.retraining_strategy,
                on_progress=on_progress,
                settings=settings,
                database=database,
            )
        return _told(product, settings, database, now)
    except (NoCertificates, NoRetraining) as error:
        return Outcome(ok=False, message=str(error))


def _told(
    product: Product, settings: RetrainingSettings, database: DatabaseSettings, now: datetime
) -> Outcome:
    actor = settings.retraining_actor or "a person"
    if settings.retraining_command in ("claim", "settle"):
        return _claimed(product, settings, database, now, actor)
    if settings.retraining_command == "ask":
        reason, evidence = _evidence(settings, actor, now)
        request = asked.ask(
            product,
            reason,
            evidence,
            by=actor,
            as_of=settings.as_of,
            now=now,
            database=database,
        )
        message = f"request {request.id} ({reason}) is {request.state}"
        if request.state is asked.RequestState.ASKED:
            message += (
                "; the controller looks at it within the hour, `esteira retraining run "
                f"{product.name}` at once"
            )
        return Outcome(ok=True, message=message, request=request)
    asked.declared(product)
    with opened(database, actor) as store:
        if settings.retraining_command == "history":
            history = tuple(store.history(product.name, settings.retraining_limit))
            return Outcome(ok=True, message=f"{len(history)} decisions", history=history)
        newest = next(iter(store.runs(product.name, 1)), None)
        waiting = tuple(store.waiting(product.name))
    return Outcome(ok=True, message=_status(product, newest, waiting), run=newest, requests=waiting)


def _evidence(
    settings: RetrainingSettings, actor: str, now: datetime
) -> tuple[asked.Reason, dict[str, Any]]:
    commit = settings.retraining_commit
    # A person who asks twice means two; a commit is one, however often its build runs.
    key = commit or f"{actor} {now.isoformat()}"[-200:]
    reason = asked.Reason.COMMIT if commit else asked.Reason.PERSON
    return reason, {"why": settings.retraining_why, "key": key}


def _claimed(
    product: Product,
    settings: RetrainingSettings,
    database: DatabaseSettings,
    now: datetime,
    actor: str,
) -> Outcome:
    asked.declared(product)
    try:
        with opened(database, actor) as store:
            if settings.retraining_command == "settle":
                message = claims.settle(
                    product,
                    store,
                    settings.retraining_run,
                    now,
                    version=settings.retraining_version,
                    why=settings.retraining_why,
                )
                return Outcome(ok=True, message=message)
            reason, evidence = _evidence(settings, actor, now)
            found = claims.claim(
                product,
                store,
                reason,
                evidence,
                by=actor,
                now=now,
                given=_given(settings),
                strategy=Strategy(settings.retraining_strategy),
            )
    except Busy as error:
        waits = bool(settings.retraining_commit)
        return Outcome(ok=waits, ended=Ended.BUSY, message=str(error))
    return Outcome(
        # What a person named cannot wait.
        ok=found.run is not None or reason is asked.Reason.COMMIT,
        ended=Ended.WAITS if found.run is None else None,
        message=found.why,
        until=found.until,
        run=found.run,
        ours=found.ours,
        request=found.request,
    )


def _given(settings: RetrainingSettings) -> Range | None:
    start, split, end = (
        settings.retraining_start,
        settings.retraining_split,
        settings.retraining_end,
    )
    if start is None or split is None or end is None:
        return None
    return Range(start=start, split=split, end=end)


def _outcome(done: Turn, served: tuple[Request, ...]) -> Outcome:
    run = done.run
    if run is None:
        ended = Ended.WAITS if done.waiting else Ended.NOTHING
        message = _waits(done.waiting) if done.waiting else "nobody has asked for a retraining"
        return Outcome(
            ok=True, ended=ended, message=message, until=done.until, requests=done.waiting
        )
    ended = {
        RunState.RELEASED: Ended.RELEASED,
        RunState.REJECTED: Ended.REJECTED,
        RunState.FAILED: Ended.FAILED,
    }.get(run.state, Ended.UNDER_WAY)
    return Outcome(
        ok=ended is not Ended.FAILED,
        ended=ended,
        message=f"run {run.name} is {run.state}: {run.why}",
        until=done.until,
        run=run,
        requests=served,
    )


def _status(product: Product, newest: Run | None, waiting: tuple[Request, ...]) -> str:
    lines = [
        f"no run of {product.name} was ever started"
        if newest is None
        else f"run {newest.name}, version {newest.version or 'none yet'}, is {newest.state} since "
        f"{newest.entered_at:%Y-%m-%d %H:%M} UTC: {newest.why}"
    ]
    return "\n".join([*lines, _waits(waiting) if waiting else "no request waits"])


def _waits(waiting: tuple[Request, ...]) -> str:
    lines: list[str] = []
    for one in waiting:
        until = "" if one.waits_until is None else f", until {one.waits_until:%Y-%m-%d %H:%M} UTC"
        why = one.why or "for the next turn of the controller"
        lines.append(f"request {one.id} ({one.reason}, by {one.asked_by}) waits{until}: {why}")
    return "\n".join(lines)

"""Runs that somebody else trains: a workflow on a commit, or a person who starts that workflow.

Whoever trains outside the controller claims the run first, so that the records hold it, its
product has no other run meanwhile, and the month's budget counts it; and settles it when there is
a version. While the claim's lease lasts, the controller leaves the run alone. From then on it is a
run as any other: the controller finds its job by its name, its version, and what the gate and the
release made of it, also where the workflow was killed.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from workloads.product import Product
from workloads.release.states import Strategy
from workloads.retraining.controller import REMEMBERED, job_name
from workloads.retraining.policy import Range, rows, rule
from workloads.retraining.requests import Reason, Request, declared
from workloads.retraining.runs import Run, RunState
from workloads.retraining.store import Store

LEASE: Final = timedelta(hours=2)
"""Longer than the workflow's job may take, which GitHub ends after 90 minutes."""
_OPEN: Final = (RunState.STARTED, RunState.TRAINING)


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """What came of asking for a run of one's own."""

    request: Request
    run: Run | None = None
    """The run of the request, if it has one."""
    ours: bool = False
    """Whether the run is to be trained now, by whoever claimed it."""
    why: str = ""
    until: datetime | None = None
    """When the request is looked at again, where that is known."""


def claim(
    product: Product,
    store: Store,
    reason: Reason,
    evidence: dict[str, Any],
    *,
    by: str,
    now: datetime,
    given: Range | None = None,
    strategy: Strategy = Strategy.POLICY,
) -> Claim:
    """Write a request down and open its run, unless the policy has it wait.

    Claiming again with the same evidence is the same run, which a workflow that is started again
    goes on with; a run that failed is followed by another. A commit that has to wait is trained by
    the controller when its time has come. A person's request is refused instead: the rows that the
    person named would be lost.

    Args:
        product: the declaration.
        store: the records.
        reason: `COMMIT` or `PERSON`.
        evidence: with a `key` that tells the request from others.
        by: who trains.
        now: an instant with a time zone.
        given: the rows; those that the product plans for a run that starts now when not given.
        strategy: of the run's release.

    Raises:
        NoRetraining: the product declares none.
        Busy: a controller acts on the product; a commit's request is written down all the same.
    """
    declared(product)
    name, plan = product.name, product.retraining
    assert plan is not None  # held by `declared`
    if reason is not Reason.PERSON:
        # Before anything can refuse it: from now on it waits, at the least.
        store.ask(name, reason, evidence, by=by, at=now)
    with store.alone(name):
        request = store.ask(name, reason, evidence, by=by, at=now)
        run = _run_of(store, request)
        while run is not None and run.state is RunState.FAILED:
            again = {**evidence, "key": f"{evidence['key']}, after {run.name}"}
            request = store.ask(name, reason, again, by=by, at=now)
            run = _run_of(store, request)
        if run is not None:
            ours = run.state in _OPEN and store.claimed(run)
            if ours:
                store.lease(run, by, LEASE)
            why = f"run {run.name} of this {reason} is {run.state}: {run.why}"
            return Claim(request=request, run=run, ours=ours, why=why)
        ruling = rule(product, store.waiting(name), store.runs(name, REMEMBERED), now)
        if request.id not in {one.id for one in ruling.start}:
            if reason is Reason.PERSON:
                store.refuse([request], f"it cannot wait, and {ruling.why}", now)
            else:
                store.hold(ruling.wait, ruling.until, ruling.why, now)
            return Claim(request=request, why=ruling.why, until=ruling.until)
        read = given or rows(product, plan, now)
        run = store.begin(
            name,
            [request, *(one for one in ruling.start if one.id != request.id)],
            name=job_name(request, now),
            as_of=now,
            learn_from=read.start,
            hold_out_from=read.split,
            read_until=read.end,
            strategy=strategy,
            why=ruling.why,
            at=now,
        )
        store.lease(run, by, LEASE)
        run = store.move(run, RunState.TRAINING, f"{by} trains it", now)
        return Claim(request=request, run=run, ours=True, why=run.why)


def settle(
    product: Product, store: Store, name: str, now: datetime, *, version: str = "", why: str = ""
) -> str:
    """Write down what came of a claimed run, unless that was done; what is known of it in words.

    Args:
        product: the declaration.
        store: the records.
        name: of the run.
        now: an instant with a time zone.
        version: that it registered; empty: it failed.
        why: it failed.

    Raises:
        Busy: a controller acts on the product.
    """
    with store.alone(product.name):
        run = store.under_way(product.name)
        if run is None or run.name != name or run.state is not RunState.TRAINING:
            return f"run {name} is not in training any more"
        if version:
            told = f"version {version} is a challenger"
            run = store.move(run, RunState.TRAINED, told, now, version=version)
        else:
            run = store.move(run, RunState.FAILED, why or "nobody says why", now)
    return f"run {name} is {run.state}: {run.why}"


def _run_of(store: Store, request: Request) -> Run | None:
    return None if request.run is None else store.run(request.run)

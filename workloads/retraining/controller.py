"""The retraining controller: what was asked becomes at most one run, and a run comes to its end.

started → training → trained → approved → releasing → released, rejected and failed on the way. Each
step is written down together with why, and what it does it may do again: the pipeline's job is
found by the run's name, the gate decides the same again, a release is begun once. So a controller
that was killed anywhere is mended by running it again, and whoever runs it next goes on from there.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import msgspec

from workloads.product import Product
from workloads.release.states import Strategy
from workloads.retraining.policy import Ruling, rows, rule
from workloads.retraining.requests import Request, declared
from workloads.retraining.runs import Run, RunState
from workloads.retraining.steps import Progress, Released, RunFailed, Standing, Steps
from workloads.retraining.store import Store

log = logging.getLogger(__name__)

TRANSITION: Final = "retraining: product=%s run=%s state=%s why=%s"
_TRAINS: Final = (RunState.STARTED, RunState.TRAINING)
ATTEMPTS: Final = 5
"""Controllers that may fail at one step of a run before it is given up."""
REMEMBERED: Final = 1_000
"""Runs that are looked back on: more than any budget allows in the longest cool-down."""


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one turn."""

    run: Run | None = None
    """The run that this turn started or went on with."""
    waiting: tuple[Request, ...] = ()
    why: str = ""
    """Of the wait, or what became of the run."""
    until: datetime | None = None
    """When those that wait are looked at again, where that is known."""
    out_of_budget: bool = False
    last_rejected: bool = False
    """Whether the newest run that has ended was refused."""


class Controller:
    """Retraining of one product.

    Args:
        product: The declaration.
        store: The records; its connection is this controller's own.
        steps: What runs do.
        now: When this turn is, by the clock of the data.
        strategy: Of the releases of runs that it starts.
        on_progress: Told of each step.

    Raises:
        NoRetraining: the product declares none.
    """

    def __init__(
        self,
        product: Product,
        store: Store,
        steps: Steps,
        *,
        now: Callable[[], datetime],
        strategy: Strategy = Strategy.POLICY,
        on_progress: Progress = lambda _: None,
    ) -> None:
        declared(product)
        self._product = product
        self._store = store
        self._steps = steps
        self._now = now
        self._strategy = strategy
        self._say = on_progress

    def turn(self) -> Turn:
        """Go on with the run under way, else decide on what was asked; follow a run to its end.

        Raises:
            Busy: another controller acts on the product.
        """
        name = self._product.name
        with self._store.alone(name):
            run = self._store.under_way(name)
            if run is not None:
                run = self._walk(run)
            ruling = self._decide()
            if ruling.start:
                run = self._walk(self._begin(ruling))
                # What was asked while it trained waits, and is told why.
                ruling = self._decide()
            return self._told(run, ruling)

    def _decide(self) -> Ruling:
        name, now = self._product.name, self._now()
        waiting = self._store.waiting(name)
        ruling = rule(self._product, waiting, self._store.runs(name, REMEMBERED), now)
        for request, why in ruling.refuse:
            self._say(f"request {request.id} ({request.reason}) is refused: {why}")
            self._store.refuse([request], why, now)
        if ruling.wait:
            self._store.hold(ruling.wait, ruling.until, ruling.why, now)
        return ruling

    def _begin(self, ruling: Ruling) -> Run:
        plan, now = self._product.retraining, self._now()
        assert plan is not None  # held in __init__
        frozen = [one.as_of for one in ruling.start if one.as_of is not None]
        as_of = max(frozen) if frozen else now
        read = rows(self._product, plan, as_of)
        run = self._store.begin(
            self._product.name,
            ruling.start,
            name=job_name(ruling.start[0], as_of),
            as_of=as_of,
            learn_from=read.start,
            hold_out_from=read.split,
            read_until=read.end,
            strategy=self._strategy,
            why=ruling.why,
            at=now,
        )
        self._tell(run)
        return run

    def _walk(self, run: Run) -> Run:
        """Take a run as far as it gets now."""
        acts = {
            RunState.STARTED: self._submit,
            RunState.TRAINING: self._train,
            RunState.TRAINED: self._judge,
            RunState.APPROVED: self._release,
            RunState.RELEASING: self._follow,
        }
        judged = 0
        while run.under_way:
            before = run.state
            if before in _TRAINS and (holder := self._store.holder(run)) is not None:
                self._say(f"run {run.name} is left to {holder}, who trains it")
                return run
            if before is not RunState.RELEASING:  # waiting for evidence is no attempt
                if run.attempts >= ATTEMPTS:
                    why = f"given up after {run.attempts} attempts that ended while it was {before}"
                    return self._move(run, RunState.FAILED, why)
                run = self._store.take_up(run)
            try:
                run = acts[before](run)
            except RunFailed as error:
                return self._move(run, RunState.FAILED, str(error))
            if run.state is before:
                return self._store.rest(run)  # it waits for the release controller
            # A champion that changes each time the gate has approved is left for another turn.
            judged += run.state is RunState.TRAINED and before is RunState.APPROVED
            if judged > 1:
                return run
        return run

    def _submit(self, run: Run) -> Run:
        why = f"rows from {run.learn_from:%Y-%m-%d} to {run.read_until:%Y-%m-%d}"
        return self._move(run, RunState.TRAINING, f"submitted with {why}")

    def _train(self, run: Run) -> Run:
        version = self._steps.train(run)
        return self._move(
            run, RunState.TRAINED, f"version {version} is a challenger", version=version
        )

    def _judge(self, run: Run) -> Run:
        judged = self._steps.judge(run)
        if judged.champion:
            return self._move(run, RunState.RELEASED, judged.why)
        to = RunState.APPROVED if judged.approved else RunState.REJECTED
        return self._move(run, to, judged.why, evidence=judged.evidence)

    def _release(self, run: Run) -> Run:
        return self._stand(run, self._steps.release(run))

    def _follow(self, run: Run) -> Run:
        return self._stand(run, self._steps.look(run))

    def _stand(self, run: Run, released: Released) -> Run:
        to = _BECOMES.get(released.standing, run.state)
        if to is run.state:
            self._say(released.why)
            return run
        return self._move(run, to, released.why)

    def _move(
        self,
        run: Run,
        to: RunState,
        why: str,
        *,
        evidence: object = None,
        version: str | None = None,
    ) -> Run:
        run = self._store.move(run, to, why, self._now(), evidence=evidence, version=version)
        self._tell(run)
        return run

    def _tell(self, run: Run) -> None:
        log.info(TRANSITION, run.product, run.name, run.state.value, run.why)
        self._say(f"run {run.name} is {run.state}: {run.why}")

    def _told(self, run: Run | None, ruling: Ruling) -> Turn:
        name = self._product.name
        ended = [one for one in self._store.runs(name, 2) if not one.under_way]
        return Turn(
            run=run,
            # As they are after what was decided.
            waiting=tuple(self._store.waiting(name)),
            why=ruling.why if run is None else run.why,
            until=ruling.until,
            out_of_budget=ruling.out_of_budget,
            last_rejected=bool(ended) and ended[0].state is RunState.REJECTED,
        )


_BECOMES: Final = {
    Standing.RELEASED: RunState.RELEASED,
    Standing.UNDER_WAY: RunState.RELEASING,
    Standing.STOPPED: RunState.REJECTED,
    Standing.UNJUDGED: RunState.TRAINED,
}
"""What a run becomes by how its release stands; blocked, it stays what it is."""


def job_name(request: Request, as_of: datetime) -> str:
    """Of the pipeline's job: the same for the same request, and for no other, in any database."""
    told = f"{request.product} {request.reason} {request.key} {request.asked_at.timestamp()}"
    digest = hashlib.sha256(told.encode()).hexdigest()[:8]
    return f"{request.product}-{as_of.astimezone(UTC):%Y%m%d}-{digest}"

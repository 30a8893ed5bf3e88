"""Vertex AI, the gate and the release controller in memory, and a way to be killed between them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from workloads import product as products
from workloads.product import Product, Retraining
from workloads.release.states import Strategy
from workloads.retraining.controller import Controller
from workloads.retraining.requests import Reason, Request, RequestState
from workloads.retraining.runs import Run, RunState
from workloads.retraining.steps import Judged, Released, RunFailed, Standing
from workloads.retraining.store import Store

NOW = datetime(2013, 6, 10, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def product_of(**change: Any) -> Product:
    plan = Retraining(schedule="0 6 1 * *", **change)
    return dataclasses.replace(products.load("flight-delay"), retraining=plan)


def request(number: int = 1, reason: Reason = Reason.DRIFT, **change: Any) -> Request:
    given: dict[str, Any] = {
        "id": number,
        "product": "flight-delay",
        "reason": reason,
        "key": str(number),
        "evidence": {},
        "asked_by": "monitor",
        "asked_at": NOW - DAY,
        "as_of": None,
        "state": RequestState.ASKED,
        "waits_until": None,
        "why": "",
        "run": None,
    }
    return Request(**{**given, **change})


def run_of(number: int = 1, state: RunState = RunState.RELEASED, **change: Any) -> Run:
    started = change.pop("started_at", NOW - 30 * DAY)
    given: dict[str, Any] = {
        "id": number,
        "product": "flight-delay",
        "name": f"run-{number}",
        "state": state,
        "reasons": (Reason.DRIFT,),
        "as_of": started,
        "learn_from": started - 90 * DAY,
        "hold_out_from": started - 14 * DAY,
        "read_until": started,
        "strategy": Strategy.DIRECT,
        "why": "",
        "version": str(number),
        "opened_by": "test",
        "attempts": 0,
        "revision": 0,
        "started_at": started,
        "entered_at": started,
        "updated_at": started,
    }
    return Run(**{**given, **change})


class Killed(BaseException):
    """As SIGKILL would, it lets no handler run that catches exceptions."""


class Death:
    """Kills at the n-th act, before it or after it."""

    def __init__(self) -> None:
        self.at: tuple[int, str] | None = None
        self.acts: list[str] = []

    @contextmanager
    def around(self, act: str) -> Iterator[None]:
        number = len(self.acts)
        self.acts.append(act)
        if self.at == (number, "before"):
            raise Killed(act)
        yield
        if self.at == (number, "after"):
            raise Killed(act)


class FakeSteps:
    """Remembers what was done as the platform does: a job by its name, a release by its version."""

    def __init__(self, death: Death | None = None) -> None:
        self.death = death or Death()
        self.jobs: dict[str, str] = {}
        self.submitted: list[Run] = []
        self.releases: dict[str, Standing] = {}
        self.begun: list[str] = []
        self.approve = True
        self.fails = ""
        self.standing = Standing.RELEASED
        self.unjudged = 0

    def train(self, run: Run) -> str:
        with self.death.around("train"):
            self.submitted.append(run)
            if self.fails:
                raise RunFailed(self.fails)
            return self.jobs.setdefault(run.name, str(len(self.jobs) + 1))

    def judge(self, run: Run) -> Judged:
        with self.death.around("judge"):
            why = "gains 0.01" if self.approve else "fails minimum gain"
            return Judged(approved=self.approve, why=why, evidence={"record": "gs://x"})

    def release(self, run: Run) -> Released:
        assert run.version is not None
        with self.death.around("release"):
            if self.unjudged:
                self.unjudged -= 1
                return Released(standing=Standing.UNJUDGED, why="another champion")
            if self.standing is Standing.BLOCKED:
                return Released(standing=Standing.BLOCKED, why="version 7 is being released")
            if run.version not in self.releases:
                self.begun.append(run.version)
                self.releases[run.version] = self.standing
            return Released(standing=self.releases[run.version], why="as it stands")

    def look(self, run: Run) -> Released:
        assert run.version is not None
        return Released(standing=self.releases[run.version], why="as it stands")


class MortalStore(Store):
    """Records that die around each write of the controller."""

    def __init__(self, connection: Any, death: Death) -> None:
        super().__init__(connection, "mortal")
        self._death = death

    def begin(self, *given: Any, **named: Any) -> Run:
        with self._death.around("write begin"):
            return super().begin(*given, **named)

    def move(self, run: Run, to: RunState, *given: Any, **named: Any) -> Run:
        with self._death.around(f"write {to}"):
            return super().move(run, to, *given, **named)

    def take_up(self, run: Run) -> Run:
        with self._death.around("write attempt"):
            return super().take_up(run)


def controller(product: Product, store: Store, steps: FakeSteps, now: datetime = NOW) -> Controller:
    return Controller(product, store, steps, now=lambda: now, strategy=Strategy.DIRECT)

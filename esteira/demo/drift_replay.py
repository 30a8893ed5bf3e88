"""Plays one month after another: rows, predictions, monitors, alerts, retraining, release."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final

import msgspec

from esteira.demo import drift_scenario, scheduled
from esteira.demo.data import Say
from esteira.demo.drift_data import Landing
from esteira.demo.drift_journal import Finding, Journal, Looked, MonthDone, Retrained, Served
from esteira.demo.drift_scenario import MONTHS, Month
from esteira.demo.drift_scores import MonthRows, Versions
from esteira.release_runs import actor
from workloads import gcp
from workloads.database import DatabaseSettings
from workloads.gate import decision as gate
from workloads.ingestion.accounting import Account
from workloads.monitoring.window import Window
from workloads.product import Product
from workloads.registry import Registry
from workloads.replay.history import HistoryFile
from workloads.retraining import turn as retraining
from workloads.retraining.runs import Run, RunState
from workloads.retraining.settings import RetrainingSettings
from workloads.retraining.store import opened

PATIENCE: Final = 60.0
"""Seconds that an alarm may take to the inbox; nothing on its way there waits for a schedule."""
_POLL: Final = 0.25
_SETTLED: Final = 1.0
"""Seconds without another message after which all have come."""

Inbox = Callable[[], list[dict[str, Any]]]
"""All messages that people have got, oldest first."""


class NobodyWasTold(RuntimeError):
    """A monitor raised an alarm, and no message came of it. Says where to look."""


class RetrainingFailed(RuntimeError):
    """A run ended without a model, by no fault of the model's. Says why."""


class Replay:
    """The months of the replay on a platform that is up.

    Args:
        product: the declaration.
        own: the stack's outputs of the product.
        journal: what is known already; written after each step.
        landing: how rows come.
        inbox: where messages arrive.
    """

    def __init__(
        self,
        product: Product,
        own: dict[str, Any],
        journal: Journal,
        landing: Landing,
        inbox: Inbox,
    ) -> None:
        self._product = product
        self._own = own
        self._journal = journal
        self._landing = landing
        self._inbox = inbox
        self._versions = Versions(product)
        # Rows land and are asked for in the order of their months, whatever those wait for.
        self._ahead = ThreadPoolExecutor(1, thread_name_prefix="months")
        self._beside = ThreadPoolExecutor(1, thread_name_prefix="scores")
        self._landed: list[Future[int]] = []
        self._fetched: dict[Month, Future[MonthRows]] = {}
        records = own["release"]
        self._database = DatabaseSettings(
            database_host=records["database_host"],
            database_name=records["database"],
            database_user=records["database_user"],
        )

    def begin(self) -> int:
        """Land the first files, and let the others follow while months pass; rows of the first.

        Each month's rows are asked for as soon as they are there: on two processors they cost no
        time, and nothing sees them before their month.

        Raises:
            NoDataset: the product brings none.
        """
        if not self._journal.months:
            self._settle()
        spans = drift_scenario.landings()
        first = self._landing.land(*spans[0])
        for index, month in enumerate(MONTHS):
            if not self._journal.month(month.name).done:
                self._fetched[month] = self._ahead.submit(self._fetch, month)
            part, later = divmod(index, drift_scenario.LANDED_AT_ONCE)
            if not later and part + 1 < len(spans):
                self._landed.append(self._ahead.submit(self._landing.land, *spans[part + 1]))
        return first

    def accounts(self) -> list[tuple[HistoryFile, Account]]:
        """Where the lines of each file ended.

        Raises:
            NothingArrives: of some file, lines are nowhere.
        """
        for one in self._landed:
            one.result()
        return self._landing.accounts()

    def _settle(self) -> None:
        """What was asked for before is of a time that the replay leaves behind."""
        with opened(self._database, actor()) as store:
            if waiting := store.waiting(self._product.name):
                why = "asked for before the replay of April to December, which asks anew"
                store.refuse(waiting, why, MONTHS[0].start)

    def play(self, month: Month, doing: Say) -> MonthDone:
        """Play one month to its end; what was done of it before is not done again.

        Raises:
            NothingArrives: rows do not reach the tables.
            NobodyWasTold: of an alarm.
            RetrainingFailed: a run ended without a model.
        """
        found = self._journal.month(month.name)
        if found.done:
            return found
        rows = self._rows(month, doing)
        if found.looked is None:
            self._predict(rows, found, doing)
            # The monitors are a process of their own, and do not need them.
            scored = self._beside.submit(self._score, rows, found)
            self._look(month, found, doing)
            scored.result()
            self._journal.save()
        self._retrain(month, found, doing)
        self._hear(found)
        found.done = True
        self._journal.save()
        return found

    def close(self) -> None:
        """Wait for what was asked ahead of its use, if anything was."""
        self._ahead.shutdown(cancel_futures=True)
        self._beside.shutdown(cancel_futures=True)

    def _rows(self, month: Month, doing: Say) -> MonthRows:
        doing(f"{month.name}: asking BigQuery for its rows")
        fetched = self._fetched.pop(month, None)
        return self._fetch(month) if fetched is None else fetched.result()

    def _fetch(self, month: Month) -> MonthRows:
        self._landing.await_rows(month.looked_at, lambda _: None)
        rows = MonthRows(self._product, month)
        rows.table  # noqa: B018  # asked for now, and kept
        return rows

    def _predict(self, rows: MonthRows, found: MonthDone, doing: Say) -> None:
        found.rows = rows.table.num_rows
        version = self._journal.timeline[-1][1]
        doing(f"{rows.month.name}: version {version} answers {found.rows:,} questions")
        self._versions.predict(rows, version)

    def _score(self, rows: MonthRows, found: MonthDone) -> None:
        timeline = self._journal.timeline
        found.without = self._versions.score(rows, timeline[:1])
        found.with_retraining = self._versions.score(rows, timeline)

    def _look(self, month: Month, found: MonthDone, doing: Say) -> None:
        outcome = scheduled.run_monitor(
            self._product,
            self._own,
            Window(start=month.start, end=month.end),
            month.looked_at,
            lambda step: doing(f"{month.name}: {step}"),
        )
        looked = Looked(
            findings=tuple(
                Finding(
                    kind=one.kind,
                    verdict=one.verdict,
                    alarm=one.alarm,
                    feature=one.feature,
                    statistic=one.statistic,
                    score=one.score,
                    threshold=one.threshold,
                    top=one.top,
                )
                for one in outcome.findings
            ),
            report=outcome.report,
            action="" if outcome.incident is None else outcome.incident.action,
        )
        if looked.alarms:
            doing(f"{month.name}: an alarm; who is told?")
            self._await_message(month, found, looked.alarms)
        found.looked = looked

    def _await_message(self, month: Month, found: MonthDone, alarms: list[Finding]) -> None:
        """Wait until people are told; none is of a kind that they know of since the last month."""
        kinds, known = {one.kind for one in alarms}, set[str]()
        for _, one in self._journal.done():
            known = set() if one.looked is None else {alarm.kind for alarm in one.looked.alarms}
        deadline = time.monotonic() + PATIENCE
        while not self._hear(found) and not kinds <= known:
            if time.monotonic() > deadline:
                raise NobodyWasTold(
                    f"monitors of {', '.join(sorted(kinds - known))} raised an alarm of "
                    f"{month.name}, and within {PATIENCE:.0f} s no message reached the inbox; see "
                    "`esteira alerts` and `esteira local logs`"
                )
            time.sleep(_POLL)

    def _hear(self, found: MonthDone) -> bool:
        """Take the messages that have come since the last look, until no more come; whether any
        did."""
        before = self._journal.heard
        while new := self._inbox()[self._journal.heard :]:
            found.alerts += new
            self._journal.heard += len(new)
            time.sleep(_SETTLED)  # those of other kinds are on their way
        return self._journal.heard > before

    def _retrain(self, month: Month, found: MonthDone, doing: Say) -> None:
        plan = self._product.retraining
        if plan is None:
            return
        # What is asked for waits for more of its kind first; the replay's clock has no patience.
        now = month.looked_at + plan.debounce
        turned = retraining.turn(
            self._product,
            now,
            strategy="direct",
            on_progress=lambda step: doing(f"{month.name}: {step}"),
            settings=self._settings(),
            database=self._database,
        )
        run = self._run_of(month)
        if run is None:
            found.waits = next((one.why for one in turned.requests), "")
            return
        if run.under_way or run.state is RunState.FAILED:
            raise RetrainingFailed(
                f"run {run.name} is {run.state}: {run.why}; see `esteira local logs`"
            )
        found.retrained = self._retrained(run)
        if found.retrained.released and run.version is not None:
            self._journal.served.append(Served(since=now, version=run.version))

    def _run_of(self, month: Month) -> Run | None:
        """The run that was started on what was found in a month, whoever started it: a replay that
        was killed while it trained finds it done."""
        with opened(self._database, actor()) as store:
            runs = store.runs(self._product.name)
        return next((one for one in runs if one.as_of == month.looked_at), None)

    def _retrained(self, run: Run) -> Retrained:
        found = Retrained(
            run=run.name,
            version=run.version,
            reasons=tuple(one.value for one in run.reasons),
            state=run.state.value,
            why=run.why,
        )
        if run.version is None:
            return found
        registry = Registry(self._product)
        champion = registry.find(self._journal.served[-1].version)
        decision = gate.read(self._product, registry.get(run.version), champion)
        if decision is None:
            return found
        return msgspec.structs.replace(
            found,
            gate="approved" if decision.approved else "rejected",
            reasons_of_gate=tuple(decision.reasons),
            record=decision.record,
        )

    def _settings(self) -> RetrainingSettings:
        return RetrainingSettings(
            google_cloud_project=gcp.project(),
            google_cloud_location=gcp.location(),
            product=self._product.name,
            training_image=self._own["training"]["image"],
            serving_image=self._own["endpoint"]["serving_image"],
            service_account=self._own["training"]["service_account"],
            serving_service_account=self._own["endpoint"]["service_account"],
            mlflow_tracking_uri=gcp.tracking_address(),
            retraining_strategy="direct",
            # Nobody asks the endpoint meanwhile: a canary would wait for evidence for ever.
            retraining_releases="here",
            retraining_actor=actor(),
        )

"""The release controller: one state machine over every target.

registered → shadow → canary → full → retired, aborted and rolled back from any of them; a champion
is watched for a while, and the release aborted as long as that lasts. Each step
is written down, then done, then written down as done; what it does it may do again. So a controller
that was killed anywhere is mended by running it again, and whoever runs it next goes on from there.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import msgspec

from workloads.product import Product
from workloads.registry import CHALLENGER, CHAMPION, PREVIOUS, Registry, Version
from workloads.release import targets
from workloads.release.acts import Acts, Progress, Versions
from workloads.release.approval import require_approval
from workloads.release.evidence import Evidence, LoggedEvidence
from workloads.release.judgement import Action, Ruling, rule
from workloads.release.looking import Looks
from workloads.release.records import Record
from workloads.release.shadow import Rehearsal, Shadow
from workloads.release.smoke import SmokeTestFailed
from workloads.release.states import State, Strategy, Transition
from workloads.release.store import Busy, Store, holder
from workloads.release.targets import DeployFailed, Served, Target

log = logging.getLogger(__name__)

TRANSITION: Final = "release: product=%s version=%s state=%s share=%s reason=%s"
Approval = Callable[[Product, Version, Version | None], None]


class NothingToRollBackTo(Exception):
    """No version is kept as `previous`."""


class NothingUnderWay(Exception):
    """There is no release that could be stopped."""


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """What serves, and what is under way."""

    product: str
    target: str
    """What is served from, as its platform names it."""
    champion: str | None
    previous: str | None
    """The version that a roll-back returns to."""
    served: tuple[Served, ...]
    release: Record | None
    """The release under way; else the newest."""
    waits_for: str
    """What the release under way waits for; empty where there is none."""
    watched_until: datetime | None = None
    """Until when evidence may still take the champion back; None where nothing does."""


class Controller:
    """Releases of one product.

    Args:
        product: The declaration.
        store: The records; its connection is this controller's own.
        target: What serves; the product's when not given.
        registry: Versions and their aliases.
        evidence: The prediction log when not given.
        rehearsal: The shadow over logged rows when not given.
        approval: Refuses what the gate has not approved.
        service_account: The identity of the model's container.
        clock: The present.
        on_progress: Told of each step.
    """

    def __init__(
        self,
        product: Product,
        store: Store,
        *,
        target: Target | None = None,
        registry: Versions | None = None,
        evidence: Evidence | None = None,
        rehearsal: Rehearsal | None = None,
        approval: Approval = require_approval,
        service_account: str | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        on_progress: Progress = lambda _: None,
    ) -> None:
        self._product = product
        self._store = store
        self._target = target or targets.of(product, service_account)
        self._registry = registry or Registry(product)
        self._approval = approval
        self._clock = clock
        self._say = on_progress
        self._acts = Acts(product, self._target, self._registry, on_progress)
        self._looks = Looks(
            product,
            store,
            self._target,
            self._registry,
            evidence or LoggedEvidence(product),
            rehearsal or Shadow(product),
            clock,
            on_progress,
        )

    def promote(
        self,
        version: str = CHALLENGER,
        *,
        approved: bool = False,
        strategy: Strategy = Strategy.POLICY,
        wait_seconds: float = 0,
    ) -> Status:
        """Begin to release a version, or go on; returns when it is done or waits for evidence.

        Args:
            version: an alias or a number.
            approved: release whatever the gate has recorded; for a person who answers for it.
            strategy: through shadow and canary, or straight to full.
            wait_seconds: how long to wait for another release of the product to end.

        Raises:
            NoSuchVersion: there is none.
            NotApproved: the gate did not approve it against the present champion.
            Busy: another version is being released, or another controller acts.
            SmokeTestFailed, DeployFailed: aborted; whoever served before serves on.
        """
        name = self._product.name
        if wait_seconds:
            there = self._store.find(name)
            if there is not None and there.version != self._registry.get(version).number:
                self._say(f"waiting: {holder(name, there)}")
                self._store.await_end(name, wait_seconds)
        with self._store.alone(name, wait=wait_seconds > 0):
            challenger = self._registry.get(version)
            record = self._store.find(name)
            if record is not None:
                if record.version != challenger.number:
                    raise Busy(holder(name, record))
                self._walk(record)
                return self.status()
            champion = self._registry.find(CHAMPION)
            if champion is not None and champion.number == challenger.number:
                self._adopted(champion)
                return self.status()
            if not approved:
                self._approval(self._product, challenger, champion)
            record = self._store.begin(
                name,
                challenger.number,
                None if champion is None else champion.number,
                target=self._target.kind.value,
                strategy=strategy,
                reason="told to, whatever the gate says" if approved else "approved by the gate",
                now=self._clock(),
            )
            self._walk(record)
        return self.status()

    def advance(self, *, whatever_the_evidence_says: bool = False) -> Status:
        """Go on with the release under way, as far as evidence allows; else look at the champion.

        Args:
            whatever_the_evidence_says: take one step now; for a person who answers for it.

        Raises:
            Busy: another controller acts on the product.
            SmokeTestFailed, DeployFailed: aborted; whoever served before serves on.
        """
        with self._store.alone(self._product.name):
            record = self._store.find(self._product.name)
            if record is not None:
                self._walk(record, forced=whatever_the_evidence_says)
            else:
                self._watch()
        return self.status()

    def abort(self, reason: str) -> Status:
        """Stop the release under way; whoever was champion before it gets all traffic.

        A release whose champion is still watched counts as under way.

        Raises:
            NothingUnderWay: there is none.
            SmokeTestFailed: the version to return to does not answer rightly; all stays.
        """
        name = self._product.name
        with self._store.alone(name, wait=True):
            record = self._store.find(name)
            if record is not None and record.state is State.FULL:
                self._walk(record)  # one that was killed on its way back
                return self.status()
            record = record or self._looks.watched(name)
            if record is None:
                raise NothingUnderWay(
                    f"no release of {name} is under way, and its champion is not watched any more; "
                    f"a champion is taken back with `esteira release rollback {name}`"
                )
            self._stop(record, State.ABORTED, reason)
        return self.status()

    def rollback(self, reason: str = "told to") -> Status:
        """Take back what came last: the release under way, else the champion.

        Raises:
            NothingToRollBackTo: nothing is under way, and there was no champion before.
            SmokeTestFailed: the previous version does not answer rightly; the champion stays.
        """
        name = self._product.name
        with self._store.alone(name, wait=True):
            record = self._store.find(name)
            if record is not None:
                if record.state is State.FULL:
                    self._walk(record)  # a roll-back that was killed
                else:
                    self._stop(record, State.ROLLED_BACK, reason)
                return self.status()
            champion = self._registry.find(CHAMPION)
            if champion is None or self._registry.find(PREVIOUS) is None:
                raise NothingToRollBackTo(
                    f"no version of {name} is kept as `{PREVIOUS}`: one release has been made, or "
                    "it was rolled back already. Release a version by its number instead"
                )
            self._stop(self._adopted(champion), State.ROLLED_BACK, reason)
        return self.status()

    def status(self) -> Status:
        """What serves and what is under way; changes nothing."""
        name = self._product.name
        champion, previous = (self._registry.find(one) for one in (CHAMPION, PREVIOUS))
        under_way = self._store.find(name)
        watched = None if under_way is not None else self._looks.watched(name)
        until = None if watched is None else watched.entered_at + self._product.release.watch_time
        return Status(
            product=name,
            target=self._target.name,
            champion=None if champion is None else champion.number,
            previous=None if previous is None else previous.number,
            served=tuple(self._target.served()),
            release=under_way or self._store.latest(name),
            waits_for="" if under_way is None else self._waits_for(under_way),
            watched_until=until,
        )

    def _walk(self, record: Record, *, forced: bool = False) -> Record:
        """Take steps until nothing is left to do now."""
        while record.under_way:
            if record.intent is None:
                record, ruling = self._looks.rule(record)
                if ruling.action is Action.WAIT and forced:
                    ruling = Ruling(action=Action.ADVANCE, reason=f"told to by {self._store.actor}")
                    forced = False
                if ruling.action is Action.WAIT:
                    self._say(ruling.reason)
                    return record
                following = (
                    Transition(to=State.ABORTED, reason=ruling.reason)
                    if ruling.action is Action.ABORT
                    else self._following(record, ruling.reason)
                )
                record = self._intend(record, following)
            record = self._carry_out(record)
        return record

    def _watch(self) -> None:
        """Take the champion back where the evidence since it became champion is against it."""
        record = self._looks.watched(self._product.name)
        if record is None:
            return
        record, reason = self._looks.wrong(record)
        if reason is not None:
            self._stop(record, State.ABORTED, f"as champion: {reason}")

    def _stop(self, record: Record, to: State, reason: str) -> Record:
        return self._carry_out(self._intend(record, Transition(to=to, reason=reason)))

    def _intend(self, record: Record, transition: Transition) -> Record:
        return self._store.intend(record, transition, self._clock(), record.verdicts)

    def _following(self, record: Record, reason: str) -> Transition:
        """The next state of a release that goes on."""
        policy = self._product.release
        if record.champion is not None and record.strategy is Strategy.POLICY:
            if record.state is State.REGISTERED and policy.shadow_rows:
                return Transition(to=State.SHADOW, reason=reason)
            step = record.step + 1 if record.state is State.CANARY else 0
            if step < len(policy.canary_steps):
                share = policy.canary_steps[step]
                return Transition(to=State.CANARY, step=step, share=share, reason=reason)
        return Transition(to=State.FULL, share=100, reason=reason)

    def _carry_out(self, record: Record) -> Record:
        """Do what was intended, and write down that it is done."""
        intent = record.intent
        if intent is None:
            return record
        self._say(f"version {record.version}: {intent.to.value}, {intent.share} % of the traffic")
        failure: Exception | None = None
        try:
            self._acts.carry_out(record, intent)
        except (SmokeTestFailed, DeployFailed) as error:
            if record.state is State.FULL:
                self._acts.stay(record)
                self._store.forget(record, str(error), self._clock())
                raise
            if intent.to in (State.ABORTED, State.ROLLED_BACK):
                raise
            failure = error
            record = self._intend(record, Transition(to=State.ABORTED, reason=str(error)))
            self._acts.back(record)
        self._acts.mark(record)
        record = self._store.finish(record, self._clock())
        log.info(
            TRANSITION,
            record.product,
            record.version,
            record.state.value,
            record.share,
            record.reason,
        )
        if failure is not None:
            raise failure
        return record

    def _adopted(self, champion: Version) -> Record:
        """The record of the champion, made now if it became champion without one."""
        name = self._product.name
        there = self._store.last(name, champion.number, State.FULL)
        if there is not None:
            return there
        before = self._registry.find(PREVIOUS)
        return self._store.begin(
            name,
            champion.number,
            None if before is None else before.number,
            target=self._target.kind.value,
            strategy=Strategy.DIRECT,
            reason="was champion before there were records",
            now=self._clock(),
            state=State.FULL,
        )

    def _waits_for(self, record: Record) -> str:
        if record.intent is not None:
            return (
                f"{record.intent.to.value} was begun and not finished: the next `advance` goes on"
            )
        if record.state is not State.CANARY:
            return "the next `advance`"
        ruling = rule(self._product.release, record.verdicts, record.entered_at, self._clock())
        return ruling.reason if ruling.action is Action.WAIT else "the next `advance`"

"""What the evidence says of a release now: in the shadow, in a canary step, and once it is full."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

import msgspec

from workloads.product import Product
from workloads.registry import CHAMPION, PREVIOUS, Version
from workloads.release.acts import Progress, Versions
from workloads.release.evidence import Evidence
from workloads.release.judgement import Action, Ruling, Verdict, alarm, enough, judge, rule
from workloads.release.records import Record
from workloads.release.shadow import Rehearsal
from workloads.release.states import State
from workloads.release.store import Store
from workloads.release.targets import Target

_KEPT: Final = 50
"""Verdicts of one step that are kept in its record."""


class Looks:
    """At the releases of one product. What is seen is written down before it is ruled on.

    Args:
        product: The declaration.
        store: The records.
        target: What serves.
        registry: Versions and their aliases.
        evidence: What both versions did in a window of time.
        rehearsal: What the challenger says to what the champion was asked.
        clock: The present.
        on_progress: Told of each rehearsal.
    """

    def __init__(
        self,
        product: Product,
        store: Store,
        target: Target,
        registry: Versions,
        evidence: Evidence,
        rehearsal: Rehearsal,
        clock: Callable[[], datetime],
        on_progress: Progress,
    ) -> None:
        self._policy = product.release
        self._store = store
        self._target = target
        self._registry = registry
        self._evidence = evidence
        self._rehearsal = rehearsal
        self._clock = clock
        self._say = on_progress

    def rule(self, record: Record) -> tuple[Record, Ruling]:
        """What is to be done with a release under way."""
        champion = self._registry.find(CHAMPION)
        number = None if champion is None else champion.number
        if number not in (record.champion, record.version):
            reason = (
                f"the champion is version {number} now, and was {record.champion} when this "
                "release began: the gate has not compared with it"
            )
            return record, Ruling(action=Action.ABORT, reason=reason)
        if record.state is State.REGISTERED or champion is None:
            return record, Ruling(action=Action.ADVANCE, reason=record.reason)
        if record.state is State.SHADOW:
            return self._shadow(record, champion)
        record = self._window(record, record.champion)
        return record, rule(self._policy, record.verdicts, record.entered_at, self._clock())

    def watched(self, product: str) -> Record | None:
        """The newest champion's release while it is watched: there is a version to return to, and
        the time for it is not over."""
        champion, before = (self._registry.find(one) for one in (CHAMPION, PREVIOUS))
        if champion is None or before is None:
            return None
        record = self._store.last(product, champion.number, State.FULL)
        if record is None or record.champion != before.number:
            return None
        over = self._clock() - record.entered_at >= self._policy.watch_time
        return None if over else record

    def wrong(self, record: Record) -> tuple[Record, str | None]:
        """Why a champion that is watched has to go, if it has to.

        The version before has no traffic left, so the champion is held to what that one did while
        it had some: in the last window of the canary.
        """
        record = self._window(record, None, self._store.yardstick(record))
        return record, alarm(self._policy, record.verdicts)

    def _shadow(self, record: Record, champion: Version) -> tuple[Record, Ruling]:
        challenger = self._registry.get(record.version)
        verdicts: list[Verdict] = []
        for _ in range(self._policy.breaches):
            self._say(f"asking version {record.version} what version {champion.number} was asked")
            now = self._clock()
            window = self._rehearsal.window(self._target, challenger, champion, now)
            verdicts.append(judge(self._policy, window))
            record = self._store.look(record, verdicts, now)
            # Without an address the graph itself is asked, and says the same each time.
            if verdicts[-1].clean or not self._target.beside:
                break
        newest = verdicts[-1]
        if not newest.clean:
            again = f", {len(verdicts)} times in a row" if len(verdicts) > 1 else ""
            said = "; ".join(newest.breaches)
            reason = f"in the shadow ({newest.window.source}{again}): {said}"
            return record, Ruling(action=Action.ABORT, reason=reason)
        rows, drift = newest.window.challenger.requests, newest.window.drift
        drifted = "" if drift is None else f", divergence {drift:.3f}"
        reason = f"clean on {rows} rows of the {newest.window.source}{drifted}"
        return record, Ruling(action=Action.ADVANCE, reason=reason)

    def _window(
        self, record: Record, champion: str | None, yardstick: Verdict | None = None
    ) -> Record:
        """The record, with one more verdict if there is enough evidence since the last."""
        now = self._clock()
        window = self._evidence.window(record.version, champion, record.looked_at, now)
        if not enough(self._policy, window):
            return record
        if yardstick is not None:
            window = msgspec.structs.replace(window, champion=yardstick.window.champion)
        verdicts = [*record.verdicts, judge(self._policy, window)][-_KEPT:]
        return self._store.look(record, verdicts, now)

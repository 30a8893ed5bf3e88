"""Decides when incidents open and close.

`Evaluator.evaluate` looks at every policy as of one moment, and says when something may next change
though nothing is written. `Watch` calls it when points are written, and then; it never polls.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from localcloud.rest.operations import seconds
from localcloud.rest.store import Documents
from localcloud.services.monitoring.conditions import Condition, Key, Seen
from localcloud.services.monitoring.incidents import Incidents
from localcloud.services.monitoring.policies import Policies
from localcloud.services.monitoring.series import SeriesStore

log = logging.getLogger(__name__)

_AUTO_CLOSE: Final = "604800s"
"""Google's default: an incident without data is closed after a week."""
# A laptop that slept: the wall clock is looked at again at least this often.
_LONGEST_WAIT: Final = 60.0
_NOTHING: Final = Seen(None, None, None)
_SEPARATOR: Final = "\x1f"


class Evaluator:
    """Keeps, for each condition and series: since when it is met, its incident, its last data."""

    def __init__(
        self, documents: Documents, series: SeriesStore, policies: Policies, incidents: Incidents
    ) -> None:
        self._documents = documents
        self._series = series
        self._policies = policies
        self._incidents = incidents

    def evaluate(self, now: float) -> float | None:
        """Open and close what has to be; when to look again at the latest, None for never."""
        due: list[float] = []
        for stored in self._documents.list("policy:"):
            policy = stored.value
            if not policy["enabled"]:
                continue
            for name, condition in self._policies.read(policy):
                due += self._condition(policy, name, condition, now)
        return min(due, default=None)

    def _condition(
        self, policy: Mapping[str, Any], name: str, condition: Condition, now: float
    ) -> Iterable[float]:
        project = str(policy["name"]).partition("/alertPolicies/")[0]
        closes = seconds((policy.get("alertStrategy") or {}).get("autoClose") or _AUTO_CLOSE)
        seen = condition.look(project, self._series, now)
        with self._documents.transaction():
            before = self._documents.get(f"state:{name}") or {}
            after: dict[str, Any] = {}
            due: list[float] = []
            for key in dict.fromkeys([*map(_key, before), *seen]):
                stands = seen.get(key, _NOTHING)
                state = dict(before.get(_text(key)) or {})
                due += self._step(policy, name, condition, key, stands, state, closes, now)
                if stands.until is not None:
                    due.append(stands.until)
                if state:
                    after[_text(key)] = state
            if after != before:
                self._documents.put(f"state:{name}", after)
        return [one for one in due if one > now]

    def _step(
        self,
        policy: Mapping[str, Any],
        name: str,
        condition: Condition,
        key: Key,
        stands: Seen,
        state: dict[str, Any],
        closes: float,
        now: float,
    ) -> list[float]:
        """Change the state of one series; when to look again."""
        met = stands.met
        if met is None:
            met = {"ACTIVE": True, "INACTIVE": False}.get(condition.missing)
        elif state.get("incident"):
            state["data"] = now
        if met is None:
            incident = state.get("incident")
            if incident is None:
                # What was not met for long enough before the data ended begins anew.
                state.clear()
                return []
            if now >= state["data"] + closes:
                why = "There was no data for so long that the incident was closed."
                self._incidents.close(incident, policy, why, now)
                log.info("%s: incident %s closed without data", policy["displayName"], incident)
                state.clear()
                return []
            return [state["data"] + closes]
        if not met:
            if state.get("incident"):
                self._incidents.recover(state["incident"], policy, stands.value, now)
                log.info("%s: incident %s is over", policy["displayName"], state["incident"])
            state.clear()
            return []
        state.setdefault("since", now)
        if "incident" in state:
            return []
        if now < state["since"] + condition.lasts:
            return [state["since"] + condition.lasts]
        state["incident"] = self._incidents.open(policy, name, condition, key, stands.value, now)
        state["data"] = now
        log.info("%s: incident %s opened", policy["displayName"], state["incident"])
        return []


class Watch:
    """Evaluates when told to, and when it is time."""

    def __init__(self, evaluator: Evaluator, on_change: Callable[[], None]) -> None:
        """`on_change` is told after each evaluation."""
        self._evaluator = evaluator
        self._on_change = on_change
        self._told = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def tell(self) -> None:
        """There are new points, or other policies."""
        self._told.set()

    def start(self) -> None:
        """Begin; what happened while nobody watched is made up for."""
        self._task = asyncio.create_task(self._run(), name="monitoring")

    async def stop(self) -> None:
        """Evaluate no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            self._told.clear()
            try:
                due = self._evaluator.evaluate(time.time())
            except Exception:
                log.exception("alert policies could not be evaluated")
                due = time.time() + _LONGEST_WAIT
            self._on_change()
            wait = None if due is None else min(max(due - time.time(), 0.05), _LONGEST_WAIT)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._told.wait(), wait)


def _text(key: Key) -> str:
    return _SEPARATOR.join(key)


def _key(text: str) -> Key:
    return tuple(text.split(_SEPARATOR)) if text else ()

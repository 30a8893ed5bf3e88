"""Begins the syncs of feature views at the times of their crontabs."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from datetime import UTC, datetime
from typing import Final, final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from croniter import CroniterError, croniter

from localcloud.rest.errors import ApiError, InvalidArgument
from localcloud.rest.store import Documents
from localcloud.services.featurestore.syncs import Syncs

log = logging.getLogger(__name__)

_ZONE: Final = re.compile(r"(?:CRON_)?TZ=(?P<zone>\S+)\s+(?P<cron>.+)", re.S)
# Even without a schedule it looks now and then, in case the clock was set.
_LONGEST_SLEEP: Final = 30.0


@final
class Clock:
    """One task for all views. Times that passed while the service was down are left out.

    Args:
        documents: has the views.
        syncs: what is begun.
    """

    def __init__(self, documents: Documents, syncs: Syncs) -> None:
        self._documents = documents
        self._syncs = syncs
        self._due: dict[str, tuple[str, datetime]] = {}
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to wait, in the running event loop."""
        self._task = asyncio.create_task(self._run(), name="feature view schedules")

    async def stop(self) -> None:
        """Begin nothing more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def wake(self) -> None:
        """Look at the views again."""
        self._changed.set()

    async def _run(self) -> None:
        while True:
            self._changed.clear()
            wait = self.turn(datetime.now(UTC))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._changed.wait()

    def turn(self, current: datetime) -> float:
        """Begin what is due at an instant; seconds until the next look."""
        wait = _LONGEST_SLEEP
        planned: dict[str, tuple[str, datetime]] = {}
        for stored in self._documents.list("FeatureView:"):
            name, cron = stored.value["name"], stored.value.get("syncConfig", {}).get("cron")
            if not cron:
                continue
            known = self._due.get(name)
            due = known[1] if known is not None and known[0] == cron else following(cron, current)
            if due <= current:
                self._begin(name)
                due = following(cron, current)
            planned[name] = (cron, due)
            wait = min(wait, (due - current).total_seconds())
        self._due = planned
        return wait

    def _begin(self, view: str) -> None:
        try:
            self._syncs.begin(view)
        except ApiError as error:
            log.warning("%s is not synced at its time: %s", view, error.message)


def following(cron: str, after: datetime) -> datetime:
    """The first time of a view's crontab after an instant, in UTC."""
    expression, zone = parse(cron)
    found: datetime = croniter(expression, after.astimezone(zone)).get_next(datetime)
    return found.astimezone(UTC)


def parse(cron: str) -> tuple[str, ZoneInfo]:
    """Five fields of crontab and the zone of the prefix `TZ=`, UTC without.

    Raises:
        InvalidArgument: it has no next time.
    """
    found = _ZONE.fullmatch(cron.strip())
    expression, zone = (found["cron"], found["zone"]) if found else (cron.strip(), "UTC")
    try:
        if len(expression.split()) == 5 and croniter.is_valid(expression):
            return expression, ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, CroniterError):
        pass
    raise InvalidArgument(
        f"Invalid sync_config.cron '{cron}': write five fields (minute, hour, day, month, "
        "weekday), optionally after TZ=<IANA zone>."
    )

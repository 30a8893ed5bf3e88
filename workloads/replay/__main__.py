"""`python -m workloads.replay`: publish a product's past, as the environment says."""

from __future__ import annotations

import json
import logging
import signal
import threading

from workloads.replay.replayer import Plan, Published, replay
from workloads.replay.settings import ReplaySettings

log = logging.getLogger("esteira.replay")


def main() -> None:
    """Replay until the end, or until SIGTERM; logs the exact counts as JSON."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    settings = ReplaySettings()  # pyright: ignore[reportCallIssue] - the environment fills it
    plan = Plan(
        product=settings.product,
        start=settings.replay_start,
        end=settings.replay_end,
        speed=settings.replay_speed,
        poison=settings.replay_poison,
        duplicates=settings.replay_duplicates,
        late=settings.replay_late,
    )
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, lambda *_: stop.set())

    def progress(so_far: Published, messages: int) -> None:
        log.info("published %d of %d", so_far.total, messages)

    published = replay(plan, settings.replay_checkpoint, progress, stop)
    log.info(json.dumps(published.to_dict()))


if __name__ == "__main__":
    main()

"""Rows that wait for a model, scored together: whatever is there when the model is free.

No timer holds a row back. While one turn of the event loop hands out the requests that have come
in, they queue up; the next scores all of them at once. One connection alone never waits; many
share the price of a call into ONNX Runtime, three quarters of which does not depend on the rows.

Scoring happens on the event loop: with a thread for it, a request costs a quarter more
(`benchmarks/peers/threaded.py`, figures in docs/serving.md).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

log: Final = logging.getLogger(__name__)

FAILURES: Final = 5
"""Calls of a model that fail one after another, after which the server counts as broken."""


@dataclass(slots=True)
class Predicted:
    """What a model said of rows, as plain numbers."""

    value: list[float]
    lower: list[float] | None = None
    upper: list[float] | None = None

    def part(self, start: int, end: int) -> Predicted:
        """The answers of some of the rows."""
        if start == 0 and end == len(self.value):
            return self
        return Predicted(
            self.value[start:end],
            None if self.lower is None else self.lower[start:end],
            None if self.upper is None else self.upper[start:end],
        )


class Model(Protocol):
    """What can be scored with."""

    def score(self, rows: Sequence[Any]) -> Predicted:
        """What it says of each row."""
        ...


class Full(Exception):
    """As many rows wait as may."""


class ScoringFailed(Exception):
    """The model gave no answer; its own error is the cause."""


@dataclass(slots=True)
class _Waiting:
    model: Model
    rows: list[Any]
    answer: asyncio.Future[Predicted]


class Batcher:
    """Scores rows of all requests, several requests at a time.

    Args:
        most_waiting: rows that may wait; who comes when there are as many is refused.
        most_together: rows in one call of a model, unless one request has more.
        scored: told how many rows each call had.
    """

    def __init__(
        self, most_waiting: int, most_together: int, scored: Callable[[int], None]
    ) -> None:
        self._most_waiting = most_waiting
        self._most_together = most_together
        self._scored = scored
        self._queue: deque[_Waiting] = deque()
        self._scheduled: asyncio.AbstractEventLoop | None = None
        self.waiting = 0
        """Rows that wait now."""
        self.failures = 0
        """Calls that failed since one succeeded; see `FAILURES`."""
        self._answered: tuple[Model, Any] | None = None
        """A model, and a row that it answered."""

    def submit(self, model: Model, rows: list[Any]) -> asyncio.Future[Predicted]:
        """Have rows scored; to be called on the event loop.

        Raises:
            Full: as many rows wait as may.
        """
        if self.waiting and self.waiting + len(rows) > self._most_waiting:
            raise Full
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Predicted] = loop.create_future()
        self._queue.append(_Waiting(model, rows, answer))
        self.waiting += len(rows)
        if self._scheduled is not loop:
            self._scheduled = loop
            loop.call_soon(self._drain)
        return answer

    def _drain(self) -> None:
        """Score what waits for one model, up to the most at once; come again for the rest."""
        queue, together = self._queue, [self._queue.popleft()]
        model, count = together[0].model, len(together[0].rows)
        while queue and queue[0].model is model:
            count += len(queue[0].rows)
            if count > self._most_together:
                break
            together.append(queue.popleft())
        self._score(model, together)
        self.waiting -= sum(len(one.rows) for one in together)
        if queue and self._scheduled is not None:
            self._scheduled.call_soon(self._drain)
        else:
            self._scheduled = None

    def _score(self, model: Model, together: list[_Waiting]) -> None:
        rows = together[0].rows
        if len(together) > 1:
            rows = [row for one in together for row in one.rows]
        try:
            predicted = model.score(rows)
        except Exception as error:
            # Whatever it is, it is told to those who asked, and nobody else waits for ever.
            if len(together) > 1:
                for one in together:
                    self._score(model, [one])
                return
            self.failures += 1
            log.exception("a model failed at %d rows", len(rows))
            if self.failures >= FAILURES and self._still_answers(model):
                # It was the rows: whoever sends such must not end the server for everybody.
                self.failures = 0
            if not together[0].answer.done():
                failed = ScoringFailed(f"{type(error).__name__}: {error}")
                together[0].answer.set_exception(failed)
            return
        self.failures = 0
        self._answered = (model, rows[0])
        self._scored(len(rows))
        start = 0
        for one in together:
            end = start + len(one.rows)
            # Who went away meanwhile has cancelled it.
            if not one.answer.done():
                one.answer.set_result(predicted.part(start, end))
            start = end

    def _still_answers(self, model: Model) -> bool:
        """Whether a model answers a row that it answered before; no, where it never did."""
        if self._answered is None or self._answered[0] is not model:
            return False
        try:
            model.score([self._answered[1]])
        except Exception:  # noqa: BLE001 - the failure that led here is logged
            return False
        return True

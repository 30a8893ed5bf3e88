"""Ours, but a thread scores while the event loop reads on: what that would cost.

ONNX Runtime gives the interpreter back while it computes, so the loop could go on meanwhile. What
it takes is a hand-over to the thread and back for each batch.
"""

from __future__ import annotations

import asyncio
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from workloads import products
from workloads.serving import app
from workloads.serving.__main__ import main
from workloads.serving.batching import Batcher, Predicted


class Threaded(Batcher):
    """One batch at a time is with the thread; those who come meanwhile are the next one."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._thread = ThreadPoolExecutor(1, "scorer")

    def _drain(self) -> None:
        loop, queue, together = asyncio.get_running_loop(), self._queue, [self._queue.popleft()]
        model, count = together[0].model, len(together[0].rows)
        while queue and queue[0].model is model:
            count += len(queue[0].rows)
            if count > self._most_together:
                break
            together.append(queue.popleft())
        rows = [row for one in together for row in one.rows]

        def told(done: Future[Predicted]) -> None:
            loop.call_soon_threadsafe(answered, done)

        def answered(done: Future[Predicted]) -> None:
            predicted, start = done.result(), 0
            self._scored(len(rows))
            self.waiting -= len(rows)
            for one in together:
                end = start + len(one.rows)
                if not one.answer.done():
                    one.answer.set_result(predicted.part(start, end))
                start = end
            if queue:
                self._drain()
            else:
                self._scheduled = None

        self._thread.submit(model.score, rows).add_done_callback(told)


if __name__ == "__main__":
    products.__path__.append(str(Path(__file__).parent / "products"))
    app.Batcher = Threaded
    sys.exit(main())

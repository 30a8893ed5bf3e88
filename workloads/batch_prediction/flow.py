"""From a source through the model to a sink, in chunks of which only a few exist at any time.

Memory therefore does not depend on how many rows there are. Threads score side by side: ONNX
Runtime lets go of Python's lock while it computes, so a process a core would gain nothing but
another copy of the model.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    import pyarrow as pa

ROWS: Final = 16_384
"""Rows of a chunk: some milliseconds of Python against a tenth of a second of ONNX Runtime."""


class Source(Protocol):
    """Where rows to predict come from."""

    @property
    def rows(self) -> int:
        """How many there are."""
        ...

    def batches(self) -> Iterator[pa.RecordBatch]:
        """All of them once, in batches of any size."""
        ...


class Sink(Protocol):
    """Where predictions go."""

    def write(self, rows: pa.RecordBatch) -> None:
        """Take rows; they count only once the sink has been told to commit."""
        ...


def flow(
    source: Source,
    predict: Callable[[pa.RecordBatch], pa.RecordBatch],
    sink: Sink,
    *,
    workers: int | None = None,
    progress: Callable[[int], object] = lambda _: None,
) -> int:
    """Predict all rows of a source; how many there were.

    Args:
        predict: called by several threads at once.
        sink: gets the predictions in the order of the source, from this thread only.
        workers: how many threads score; one a core when not given.
        progress: told of each chunk that the sink has taken, how many rows it had.
    """
    workers = workers or os.process_cpu_count() or 1
    running: deque[Future[pa.RecordBatch]] = deque()
    written = 0

    def take() -> int:
        rows = running.popleft().result()
        sink.write(rows)
        progress(rows.num_rows)
        return rows.num_rows

    with ThreadPoolExecutor(workers, thread_name_prefix="predict") as pool:
        try:
            for chunk in chunks(source.batches(), ROWS):
                running.append(pool.submit(predict, chunk))
                # One more than are being scored, so that no thread waits while this one writes.
                if len(running) > workers + 1:
                    written += take()
            while running:
                written += take()
        except BaseException:
            for one in running:
                one.cancel()
            raise
    return written


def chunks(batches: Iterable[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    """The same rows in batches of `rows`; the last has what is left, and none is empty."""
    import pyarrow as pa

    gathered: list[pa.RecordBatch] = []
    size = 0
    for batch in batches:
        start = 0
        while start < batch.num_rows:
            # Slices share the memory of what they are cut from.
            piece = batch.slice(start, rows - size)
            gathered.append(piece)
            size += piece.num_rows
            start += piece.num_rows
            if size == rows:
                yield gathered[0] if len(gathered) == 1 else pa.concat_batches(gathered)
                gathered, size = [], 0
    if gathered:
        yield gathered[0] if len(gathered) == 1 else pa.concat_batches(gathered)

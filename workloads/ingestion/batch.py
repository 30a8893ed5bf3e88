"""Files of the landing bucket into the raw tables, once for each generation of an object.

Run as a flex template's Python file or by hand:
`python workloads/ingestion/batch.py --product=flight-delay --data_project=P
--objects='gs://P-flight-delay-landing/weather/2013-01.jsonl.gz#17'`.

An object is newline-delimited JSON, gzipped or not, in the folder of its contract. It is read in
chunks of lines; a chunk is validated as one and loaded by load jobs whose names follow from the
object's generation, so that running it again, or twice at once, adds nothing. Lines that the
contract does not allow go to the dead letters with their number.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import apache_beam as beam
from apache_beam.metrics.metric import Metrics

from workloads import gcp, product
from workloads.ingestion import beam_options, options, tables
from workloads.ingestion.files import Chunk, LandedObject, Loadable, chunks, judge_chunk
from workloads.ingestion.loading import load
from workloads.product import Product

log: Final = logging.getLogger("esteira.ingestion")

NAMESPACE: Final = "ingestion"


class ReadChunks(beam.DoFn):
    """`gs://bucket/name#generation` -> chunks of its lines."""

    def __init__(self, size: int) -> None:
        self._size = size

    def process(self, element: str) -> Iterator[Chunk]:
        from google.api_core import exceptions

        landed = LandedObject.parse(element)
        bucket = gcp.storage_client().bucket(landed.bucket)
        blob = bucket.blob(landed.name, generation=landed.generation)
        try:
            blob.reload()
            # Not decompressed on the way, whatever its Content-Encoding says.
            with blob.open("rb", raw_download=True) as stream:
                yield from chunks(stream, landed, blob.time_created, self._size)  # pyright: ignore[reportArgumentType]
        except exceptions.NotFound:
            # Deleted or overwritten since. An overwrite sends a notification of its own.
            yield Chunk(
                element, datetime.now(UTC), 0, 1, (), "this generation of the object is gone"
            )


class JudgeChunks(beam.DoFn):
    """Chunks -> what to load, by the contract of the object's folder."""

    def __init__(self, product_name: str) -> None:
        self._product_name = product_name

    def setup(self) -> None:
        self._product = product.load(self._product_name)

    def process(self, element: Chunk) -> Iterator[Loadable]:
        source = LandedObject.parse(element.object).source(self._product)
        yield judge_chunk(source, element, datetime.now(UTC))


class LoadChunks(beam.DoFn):
    """Loads what was judged; yields (table, rows added)."""

    def __init__(self, product_name: str, project: str, dataset: str) -> None:
        self._product_name = product_name
        self._project = project
        self._dataset = dataset

    def setup(self) -> None:
        self._tables = {one.name: one for one in tables.tables(product.load(self._product_name))}

    def process(self, element: Loadable) -> Iterator[tuple[str, int]]:
        what = f"{element.chunk.object} chunk {element.chunk.number}"
        for table, lines in (
            (element.contract, element.rows),
            (tables.DEAD_LETTERS, element.dead),
        ):
            added = load(
                self._project,
                self._dataset,
                self._tables[table],
                lines,
                product=self._product_name,
                what=what,
            )
            Metrics.counter(NAMESPACE, table).inc(added)
            yield table, added


def build(
    pipeline: beam.Pipeline,
    product: Product,
    project: str,
    dataset: str,
    objects: Sequence[str],
    chunk_lines: int,
) -> Any:
    """Add the whole job to a pipeline; its output is (table, rows added) for each load."""
    landed: Any = pipeline | "Objects" >> beam.Create(list(objects))
    return (
        landed
        | "Read" >> beam.ParDo(ReadChunks(chunk_lines))
        # Else the chunks of an object would all be loaded by the worker that reads it.
        | "Spread" >> beam.Reshuffle()
        | "Judge" >> beam.ParDo(JudgeChunks(product.name))
        | "Load" >> beam.ParDo(LoadChunks(product.name, project, dataset))
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Build and run the job; the Dataflow launcher does not wait for its end.

    Raises:
        InvalidOption, InvalidProduct, UnknownObject: before anything is read.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("apache_beam.typehints").setLevel(logging.WARNING)
    told = beam_options.read(sys.argv[1:] if argv is None else argv, options.BATCH, "FnApiRunner")
    chosen = told.values
    declared = product.load(chosen["product"])
    objects = sorted(set(chosen["objects"].split("|")))
    for one in objects:
        LandedObject.parse(one).source(declared)
    pipeline = beam.Pipeline(options=told.beam_options)
    build(
        pipeline,
        declared,
        chosen["data_project"],
        chosen["dataset"] or tables.dataset(declared),
        objects,
        int(chosen["chunk_lines"]),
    )
    started = time.monotonic()
    result = pipeline.run()
    if told.on_dataflow:
        return
    result.wait_until_finish()
    counters = result.metrics().query()["counters"]
    added = {
        one.key.metric.name: one.result
        for one in counters
        if one.key.metric.namespace == NAMESPACE and one.result
    }
    _report(added)
    log.info("added %s in %.1f s", added or "nothing new", time.monotonic() - started)


def _report(added: dict[str, int]) -> None:
    """Leave the counters where the job's metrics are read from; Dataflow gathers them itself."""
    if path := os.environ.get("DATAFLOW_METRICS_FILE"):
        counters = [
            {"namespace": NAMESPACE, "name": name, "step": "Load", "value": value}
            for name, value in added.items()
        ]
        Path(path).write_text(json.dumps({"counters": counters}))


if __name__ == "__main__":
    # Run by path, Python searches this folder, whose modules are not meant to be found by name.
    sys.path[0] = str(Path(__file__).resolve().parents[2])
    # Workers find the steps by module name, so the job is built from the module, not from here.
    importlib.import_module("workloads.ingestion.batch").main()

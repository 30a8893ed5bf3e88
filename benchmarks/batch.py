"""Batch prediction against bare ONNX Runtime, and its memory at three sizes.

`python -m benchmarks.batch [--sizes 100000,1000000,10000000] [--emulator 100000] [--json]`

What runs is the job's own path: blocks of Arrow as the Storage Read API sends them, decoded; chunks
scored side by side; rows of the table of predictions; requests of the Storage Write API, built and
answered. At the sizes, both ends are in the process: a source that sends the same blocks again and
again, and a server that takes each request and forgets it, so no network and no BigQuery is in the
figures. `--emulator` adds one run against the local BigQuery, with MERGE, whose time is the
emulator's.

Bare ONNX Runtime gets the same model and the same rows, as arrays that are ready for it, in the way
of two that is faster here: a thread a core, or its own threads. Both take turns; the share is the
median over the pairs. Each size runs in a process of its own, whose peak memory is the kernel's.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from google.cloud.bigquery_storage_v1 import types
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from workloads import contracts
from workloads import product as products
from workloads.batch_prediction.answering import Answering
from workloads.batch_prediction.appending import PendingStream
from workloads.batch_prediction.flow import ROWS, Sink, flow
from workloads.feed import feed
from workloads.product import Product
from workloads.scoring import PROBABILITIES, Scorer

PRODUCT: Final = "flight-delay"
LEAST: Final = 0.7
"""The share of bare ONNX Runtime's rows per second that is asked for."""
FLAT: Final = 1.15
"""Peak memory at the largest size may be this many times that at the smallest."""
SIZES: Final = (100_000, 1_000_000, 10_000_000)
POOL: Final = 8 * ROWS
BLOCK: Final = 5_000
"""Rows in a block of the Storage Read API: about a megabyte of these features."""
ROUNDS: Final = 7
MOMENT: Final = datetime(2013, 1, 12, 17, tzinfo=UTC)


def rows(product: Product, count: int) -> pa.RecordBatch:
    """Rows that look like the product's features, of the types that BigQuery answers with."""
    random = np.random.default_rng(0)
    columns: dict[str, pa.Array] = {
        product.features.entity: pa.array([f"2013-01-12-UA-{one}-EWR" for one in range(count)]),
        product.features.event_time: pa.array([MOMENT] * count, pa.timestamp("us", tz="UTC")),
    }
    for field in contracts.fields(product.features.request):
        missing = random.random(count) < 0.05 if field.nullable else None
        if field.kind == "string":
            words = np.array([f"{field.name[:2].upper()}{one}" for one in range(16)])
            columns[field.name] = pa.array(words[random.integers(0, 16, count)])
        elif field.kind == "integer":
            columns[field.name] = pa.array(random.integers(0, 1000, count), mask=missing)
        else:
            columns[field.name] = pa.array(100 * random.random(count), mask=missing)
    return pa.RecordBatch.from_pydict(columns)


def fit(product: Product, path: Path) -> None:
    """A model of the product's own kind and size, of rows that only look like its own."""
    from workloads.training import data, fitting

    table = pa.Table.from_batches([rows(product, POOL // 2)])
    frame = data.frame(product, table)
    numbers = frame.select_dtypes("float32").fillna(0).to_numpy()
    signal = numbers[:, :6].sum(axis=1) + np.random.default_rng(1).normal(0, 300, len(frame))
    late = (signal > np.quantile(signal, 0.8)).astype(np.int8)
    train: Any = fitting._function(product)
    path.write_bytes(fitting.export(product, train(frame, late)))


class Blocks:
    """A source of any number of rows: the blocks of a pool, over and over."""

    def __init__(self, pool: pa.RecordBatch, count: int) -> None:
        self.rows = count
        self._schema = pool.schema
        starts = range(0, pool.num_rows, BLOCK)
        self._blocks = [
            types.ReadRowsResponse(
                arrow_record_batch={
                    "serialized_record_batch": pool.slice(start, BLOCK).serialize().to_pybytes()
                }
            )
            for start in starts
        ]

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows, decoded block by block as `reading.StoredRows` does it."""
        left = self.rows
        while left:
            for answer in self._blocks:
                block = pa.py_buffer(answer.arrow_record_batch.serialized_record_batch)
                batch = pa.ipc.read_record_batch(block, self._schema).slice(0, left)
                left -= batch.num_rows
                yield batch
                if not left:
                    return


class Forgetting:
    """A Storage Write API that takes each request, answers, and forgets it."""

    def __init__(self) -> None:
        self.requests = 0
        self.bytes = 0

    def create_write_stream(self, **_: Any) -> types.WriteStream:
        """A name for a stream."""
        return types.WriteStream(name="projects/p/datasets/d/tables/t/streams/s")

    def append_rows(self, requests: Iterator[Any], **_: Any) -> Iterator[Any]:
        """An answer for each request."""
        for request in requests:
            self.requests += 1
            self.bytes += len(types.AppendRowsRequest.serialize(request))
            yield types.AppendRowsResponse(append_result={"offset": request.offset})


def answering(product: Product, model: bytes) -> Answering:
    """The model as the job uses it."""
    return Answering(
        product=product,
        scorer=Scorer(model, product.features.request, product.task),
        threshold=0.5,
        version="1",
        run="benchmark",
        day=date(2013, 1, 12),
        predicted_at=MOMENT,
    )


def pace(product: Product, model: bytes, pool: pa.RecordBatch, count: int) -> float:
    """Rows per second of the job's own path, in this process."""
    answer, source = answering(product, model), Blocks(pool, count)
    sink: Any = PendingStream(Forgetting(), "projects/p/datasets/d/tables/t")
    began = time.perf_counter()
    done = flow(source, answer, _Appending(sink))
    seconds = time.perf_counter() - began
    sink.close()
    if done != count:
        raise RuntimeError(f"{done} rows of {count} were predicted")
    return count / seconds


class _Appending:
    def __init__(self, stream: PendingStream) -> None:
        self._stream = stream

    def write(self, rows: pa.RecordBatch) -> None:
        self._stream.append(rows)


class Bare:
    """ONNX Runtime alone, on arrays that are ready for it."""

    def __init__(self, product: Product, model: bytes, pool: pa.RecordBatch) -> None:
        import onnxruntime

        text = {
            one.name: one.kind == "string" for one in contracts.fields(product.features.request)
        }
        self._feeds = [
            feed(pool.slice(start, ROWS), text) for start in range(0, pool.num_rows, ROWS)
        ]
        self._sessions = list[tuple[Any, int]]()
        cores = os.process_cpu_count() or 1
        for inner, outer in ((1, cores), (cores, 1)):
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = inner
            session = onnxruntime.InferenceSession(model, options)
            self._sessions.append((session, outer))

    def pace(self, count: int) -> float:
        """Rows per second, of the faster way."""
        return max(self._pace(session, threads, count) for session, threads in self._sessions)

    def _pace(self, session: Any, threads: int, count: int) -> float:
        turns = [self._feeds[one % len(self._feeds)] for one in range(count // ROWS)]
        with ThreadPoolExecutor(threads) as pool:
            began = time.perf_counter()
            for _ in pool.map(lambda one: session.run([PROBABILITIES], one), turns):
                pass
            return len(turns) * ROWS / (time.perf_counter() - began)


def peak() -> float:
    """The most memory that this process has had, MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1000
    raise RuntimeError("this kernel does not tell the peak memory of a process")


def share(product: Product, model: bytes) -> dict[str, Any]:
    """The share of bare ONNX Runtime's pace that the job's path has, in turns."""
    pool = rows(product, POOL)
    bare = Bare(product, model, pool)
    pairs = list[tuple[float, float]]()
    for turn in range(ROUNDS + 1):
        pair = (pace(product, model, pool, POOL), bare.pace(POOL))
        # The first warms caches up.
        if turn:
            pairs.append(pair)
    return {
        "share_of_onnxruntime": round(statistics.median(ours / bare for ours, bare in pairs), 3),
        "onnxruntime_rows_per_second": round(statistics.median(bare for _, bare in pairs)),
        "rows_per_second": round(statistics.median(ours for ours, _ in pairs)),
    }


def one_size(product: Product, model: bytes, count: int) -> dict[str, Any]:
    """Pace and peak memory of one size, in this process."""
    found = pace(product, model, rows(product, POOL), count)
    return {"rows": count, "rows_per_second": round(found), "peak_memory_mb": round(peak())}


def through_emulator(product: Product, model: bytes, count: int) -> dict[str, Any]:
    """One run from a table of the local BigQuery into another, MERGE included."""
    from google.cloud import bigquery

    from workloads import gcp
    from workloads.batch_prediction.reading import StoredRows
    from workloads.batch_prediction.staging import Staging
    from workloads.batch_prediction.tables import NAME, batch_table, dataset

    with local_bigquery():
        client = gcp.bigquery_client()
        client.create_dataset(dataset(product))
        schema = [bigquery.SchemaField.from_api_repr(one) for one in batch_table(product).columns]
        target = f"{gcp.project()}.{dataset(product)}.{NAME}"
        client.create_table(bigquery.Table(target, schema=schema))
        asked = f"{gcp.project()}.{dataset(product)}.asked"
        load(client, rows(product, count), asked)
        source = StoredRows(
            bigquery.TableReference.from_string(asked), count, rows(product, 1).schema.names
        )
        day = MOMENT.replace(hour=0)
        staging = Staging(product, day.date(), (0, 1), day, day.replace(hour=23))
        sink: Sink = staging
        began = time.perf_counter()
        done = flow(source, answering(product, model), sink)
        read = time.perf_counter()
        staging.commit()
        merged = time.perf_counter()
        staging.remove()
        (found,) = next(iter(client.query(f"SELECT COUNT(*) FROM `{target}`").result()))
    if not done == found == count:
        raise RuntimeError(f"{count} rows were asked, {done} predicted, {found} are there")
    return {
        "rows": count,
        "read_predict_append_seconds": round(read - began, 1),
        "commit_merge_seconds": round(merged - read, 1),
        "peak_memory_mb": round(peak()),
    }


def load(client: Any, batch: pa.RecordBatch, table: str) -> None:
    """Rows into a new table, as a file."""
    import pyarrow.parquet as pq
    from google.cloud import bigquery

    with tempfile.TemporaryFile() as file:
        pq.write_table(pa.Table.from_batches([batch]), file)
        file.seek(0)
        config = bigquery.LoadJobConfig(source_format=bigquery.SourceFormat.PARQUET)
        client.load_table_from_file(file, table, job_config=config).result()


@contextlib.contextmanager
def local_bigquery() -> Iterator[None]:
    """A BigQuery emulator of its own, which this process's clients reach."""
    import urllib.request

    from localcloud.home import SERVICES, Endpoints, Home, free_ports
    from localcloud.services import bigquery as emulator

    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder))
        endpoints = Endpoints(ports=free_ports(SERVICES), project="benchmark")
        home.write(endpoints)
        os.environ.update(endpoints.environment())
        command = emulator.command(home, endpoints)
        with (home.path / "bigquery.log").open("ab") as log:
            process = subprocess.Popen(
                command.words, env={**os.environ, **command.env}, stdout=log, stderr=log
            )
        try:
            deadline = time.monotonic() + 90
            while True:
                try:
                    urllib.request.urlopen(
                        endpoints.url("bigquery") + "/bigquery/v2/projects/benchmark/datasets",
                        timeout=5,
                    )
                    break
                except OSError:
                    if time.monotonic() > deadline or process.poll() is not None:
                        raise
                    time.sleep(0.2)
            yield
        finally:
            process.terminate()
            process.wait(30)


def in_process(what: str, model: Path, count: int) -> dict[str, Any]:
    """One measurement in a process of its own."""
    words = [sys.executable, "-m", "benchmarks.batch", "--measure", what]
    words += ["--model", str(model), "--rows", str(count)]
    ended = subprocess.run(words, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise RuntimeError(f"{' '.join(words)} failed:\n{ended.stderr[-3000:]}")
    return json.loads(ended.stdout)


def main(words: Sequence[str] | None = None) -> int:
    """Measure and print; 1 if the share is below `LEAST` or memory grows beyond `FLAT`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.batch", description=__doc__)
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)), help="rows, by commas")
    parser.add_argument(
        "--emulator", type=int, default=100_000, help="rows through the local BigQuery; 0: none"
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--measure", choices=("share", "size", "emulator"), help=argparse.SUPPRESS)
    parser.add_argument("--model", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=int, default=0, help=argparse.SUPPRESS)
    given = parser.parse_args(words)
    product = products.load(PRODUCT)
    if given.measure:
        model = given.model.read_bytes()
        found = {
            "share": lambda: share(product, model),
            "size": lambda: one_size(product, model, given.rows),
            "emulator": lambda: through_emulator(product, model, given.rows),
        }[given.measure]()
        sys.stdout.write(json.dumps(found) + "\n")
        return 0
    report = measure(product, [int(one) for one in given.sizes.split(",")], given.emulator)
    if given.json:
        sys.stdout.write(json.dumps(report, indent=2) + "\n")
    else:
        show(report)
    peaks = [one["peak_memory_mb"] for one in report["sizes"]]
    flat = max(peaks) <= FLAT * peaks[0]
    return 0 if flat and report["share_of_onnxruntime"] >= LEAST else 1


def measure(product: Product, sizes: Sequence[int], emulator: int) -> dict[str, Any]:
    """All measurements, one after the other."""
    with tempfile.TemporaryDirectory() as folder, Progress(console=Console(stderr=True)) as bar:
        model = Path(folder) / "model.onnx"
        task = bar.add_task("fitting a model", total=2 + len(sizes) + bool(emulator))
        fit(product, model)
        bar.update(task, advance=1, description="against bare ONNX Runtime")
        report = in_process("share", model, 0)
        report |= {"threads": os.process_cpu_count(), "least": LEAST, "sizes": []}
        for size in sizes:
            bar.update(task, advance=1, description=f"{size:,} rows")
            report["sizes"].append(in_process("size", model, size))
        if emulator:
            bar.update(task, advance=1, description=f"{emulator:,} rows through the emulator")
            report["emulator"] = in_process("emulator", model, emulator)
        bar.update(task, advance=1)
    return report


def show(report: dict[str, Any]) -> None:
    """The report as tables."""
    console = Console(width=100)
    console.print(
        f"{report['rows_per_second']:,} rows a second on {report['threads']} threads, "
        f"{report['share_of_onnxruntime']:.0%} of bare ONNX Runtime's "
        f"{report['onnxruntime_rows_per_second']:,}"
    )
    table = Table("rows", "rows a second", "peak memory, MB")
    for one in report["sizes"]:
        table.add_row(f"{one['rows']:,}", f"{one['rows_per_second']:,}", str(one["peak_memory_mb"]))
    console.print(table)
    if emulated := report.get("emulator"):
        console.print(
            f"Through the local BigQuery, {emulated['rows']:,} rows: "
            f"{emulated['read_predict_append_seconds']} s to read, predict and append, "
            f"{emulated['commit_merge_seconds']} s to commit and merge, "
            f"{emulated['peak_memory_mb']} MB"
        )


if __name__ == "__main__":
    sys.exit(main())

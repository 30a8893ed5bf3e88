"""What watching for drift costs, against evidently's preset, on the same rows in the same run.

`python -m benchmarks.drift [--rows 1000000] [--columns 10] [--json]`

Two tables of numbers and text, one a training set and one a window with a shifted column, are
written as Parquet. Ours keeps the training set's profile, counts the window in chunks and scores
it: what a monitor does each time. Evidently's `DataDriftPreset` is given both tables, as its
documents say. Each tool runs in a process of its own; CPU seconds are of the comparison, without
starting, importing and reading files for either. Beside it: the most memory that ours takes for a
tenth of the rows and for all of them, and how far merged sketches are from a single one.

Evidently lives in an environment of its own (`requirements/monitoring-peers.txt`, made on the first
run): it needs an older pandas than the platform has.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
LOCK: Final = ROOT / "requirements" / "monitoring-peers.txt"
ENVIRONMENT: Final = ROOT / ".esteira" / "venvs" / "monitoring-peers"
LEAST: Final = 50
"""Times less CPU than evidently that ours has to take."""
MOST_GROWTH: Final = 1.1
"""Times the memory of a tenth of the rows that all of them may take."""
CHUNK: Final = 50_000
TEXTS: Final = 2
SILENT: Final = {"DO_NOT_TRACK": "1", "NML_DISABLE_USAGE_LOGGING": "1"}


def make(folder: Path, rows: int, columns: int) -> None:
    """Both tables; the window's first column lies 0.2 standard deviations higher."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    for name, shift in (("training", 0.0), ("window", 0.2)):
        generator = np.random.default_rng(0 if name == "training" else 1)
        table: dict[str, Any] = {
            f"x{at}": generator.normal(shift if at == 0 else 0.0, 1, rows)
            for at in range(columns - TEXTS)
        }
        for at in range(TEXTS):
            table[f"t{at}"] = generator.choice([f"c{one}" for one in range(20)], rows)
        pq.write_table(pa.table(table), folder / f"{name}.parquet", row_group_size=CHUNK)


def ours(folder: Path, share: float = 1.0) -> dict[str, Any]:
    """Count the window chunk by chunk against the stored profile, and judge it."""
    from datetime import UTC, datetime

    import pyarrow as pa
    import pyarrow.parquet as pq

    from workloads.monitoring.assessment import Thresholds, Verdict, assess
    from workloads.monitoring.counting import count
    from workloads.monitoring.reference import Histogram
    from workloads.monitoring.window import Window

    training = pq.read_table(folder / "training.parquet")
    reference = _reference(training)
    del training
    pa.default_memory_pool().release_unused()

    window = Window(start=datetime(2026, 1, 1, tzinfo=UTC), end=datetime(2026, 1, 2, tzinfo=UTC))
    counts = {one.name: Histogram(cells=(0,) * one.size) for one in reference.features}
    # Warm: what is loaded at the first call is no part of the work.
    same = {one.name: one.counts for one in reference.features}
    assess(reference, same, Thresholds(), window=window)
    file = pq.ParquetFile(folder / "window.parquet")
    rows, cpu = 0, 0.0
    for batch in _batches(file, share):
        began = time.process_time()
        found = count(reference, _columns(batch))
        counts = {name: counts[name] + one for name, one in found.items()}
        cpu += time.process_time() - began
        rows += batch.num_rows
    began = time.process_time()
    scores = assess(reference, counts, Thresholds(), window=window)
    cpu += time.process_time() - began
    return {
        "cpu_s": cpu,
        "rows": rows,
        "drifted": sorted({one.feature for one in scores if one.verdict is Verdict.DRIFTED}),
    }


def _reference(table: Any) -> Any:
    """The profile of a table, as the monitor reads it."""
    from collections import Counter

    from workloads.monitoring.reference import Reference, from_profile, number

    features = list[Any]()
    for name in table.column_names:
        if name.startswith("t"):
            values = dict(Counter(table[name].to_pylist()))
            entry = {"kind": "string", "rows": table.num_rows, "nulls": 0, "values": values}
            features += from_profile({name: entry}).features
        else:
            features.append(number(name, table[name].to_numpy()))
    return Reference(features=tuple(features))


def _columns(batch: Any) -> dict[str, Any]:
    """A chunk's columns, as they are counted."""
    return {
        name: batch[name].to_pylist() if name.startswith("t") else batch[name].to_numpy()
        for name in batch.schema.names
    }


def _batches(file: Any, share: float) -> Iterator[Any]:
    most = max(1, round(file.num_row_groups * share))
    for at in range(most):
        yield file.read_row_group(at)


def evidently(folder: Path) -> dict[str, Any]:
    """Evidently's preset over both tables. Runs in its own environment."""
    import pandas as pd
    from evidently import DataDefinition, Dataset, Report  # pyright: ignore
    from evidently.presets import DataDriftPreset  # pyright: ignore

    training, window = (
        pd.read_parquet(folder / f"{one}.parquet") for one in ("training", "window")
    )
    texts = [one for one in training.columns if one.startswith("t")]
    numbers = [one for one in training.columns if one not in texts]
    definition = DataDefinition(numerical_columns=numbers, categorical_columns=texts)
    began = time.process_time()
    report = Report([DataDriftPreset()])
    found = report.run(
        Dataset.from_pandas(window, data_definition=definition),
        Dataset.from_pandas(training, data_definition=definition),
    )
    found.dict()
    return {"cpu_s": time.process_time() - began, "rows": len(window)}


def memory(folder: Path) -> dict[str, Any]:
    """The most memory of counting a tenth of the window, and all of it, in megabytes."""
    return {
        share: run(sys.executable, "count-only", folder, float(share))["peak_mb"]
        for share in ("0.1", "1.0")
    }


def count_only(folder: Path, share: float) -> dict[str, Any]:
    """Count a share of the window in chunks against a profile of its first rows."""
    import pyarrow.parquet as pq

    from workloads.monitoring.counting import count_chunks

    file = pq.ParquetFile(folder / "window.parquet", memory_map=True)
    first = file.read_row_group(0)
    names = first.column_names
    reference = _reference(first)
    del first
    chunks = (_columns(batch) for batch in _batches(file, share))
    counted = count_chunks(reference, chunks)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"peak_mb": round(peak, 1), "rows": counted[names[0]].rows}


def sketches(rows: int) -> dict[str, Any]:
    """The largest distance of a rank between one sketch and sixteen merged, and their bound."""
    import datasketches
    import numpy as np

    from workloads.monitoring.sketches import K

    values = np.random.default_rng(0).lognormal(size=rows)
    single, merged = (datasketches.kll_doubles_sketch(K) for _ in range(2))
    single.update(values)
    for part in np.array_split(values, 16):
        one = datasketches.kll_doubles_sketch(K)
        one.update(part)
        merged.merge(one)
    points = np.quantile(values, np.linspace(0.01, 0.99, 99))
    ranks = [np.array([one.get_rank(x) for x in points]) for one in (single, merged)]
    return {
        "apart": float(np.abs(ranks[0] - ranks[1]).max()),
        "bound": single.normalized_rank_error(False) + merged.normalized_rank_error(False),
    }


def prepare() -> Path:
    """Evidently's environment, filled from its lock; what is up to date is left alone."""
    python = ENVIRONMENT / "bin" / "python"
    stamp = ENVIRONMENT / ".esteira-lock"
    if stamp.is_file() and stamp.read_bytes() == LOCK.read_bytes():
        return python
    own = ROOT / ".esteira" / "uv" / "bin" / "uv"
    uv = str(own) if own.is_file() else shutil.which("uv")
    if uv is None:
        raise RuntimeError("no uv to install evidently with; run `make setup`")
    if not python.is_file():
        subprocess.run([uv, "venv", "--quiet", "--python", "3.13", str(ENVIRONMENT)], check=True)
    words = [uv, "pip", "sync", "--quiet", "--require-hashes", "--python", str(python), str(LOCK)]
    subprocess.run(words, check=True)
    stamp.write_bytes(LOCK.read_bytes())
    return python


def run(python: Path | str, tool: str, folder: Path, share: float = 1.0) -> dict[str, Any]:
    """One tool in a process of its own, one thread each, so that CPU seconds compare."""
    # The file itself and not the module: evidently's environment holds none of ours. `-P` keeps its
    # folder off the path, where `platform.py` would take the standard library's place.
    words = [str(python), "-P", str(Path(__file__)), "--tool", tool, "--folder", str(folder)]
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    ended = subprocess.run(
        [*words, "--share", str(share)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, **SILENT, **threads, "PYTHONPATH": str(ROOT)},
    )
    if ended.returncode:
        raise RuntimeError(f"{tool} failed:\n{ended.stderr[-3000:]}")
    return json.loads(ended.stdout.splitlines()[-1])


def compare(rows: int, columns: int) -> dict[str, Any]:
    """Both tools on the same tables."""
    python = prepare()
    with tempfile.TemporaryDirectory(dir=ROOT / ".esteira") as made:
        folder = Path(made)
        make(folder, rows, columns)
        mine = run(sys.executable, "esteira", folder)
        theirs = run(python, "evidently", folder)
        peaks = memory(folder)
    return {
        "rows": rows,
        "columns": columns,
        "cpu_s": {"esteira": round(mine["cpu_s"], 3), "evidently": round(theirs["cpu_s"], 2)},
        "ratio": round(theirs["cpu_s"] / mine["cpu_s"], 1),
        "least": LEAST,
        "drifted": mine["drifted"],
        "peak_mb": peaks,
        "sketches": sketches(rows),
    }


def missed(report: dict[str, Any]) -> list[str]:
    """What the report shows not to be as it should be: nothing, or a sentence for each."""
    peaks, ranks = report["peak_mb"], report["sketches"]
    found = list[str]()
    if report["ratio"] < LEAST:
        found.append(f"ratio is {report['ratio']}; at least {LEAST} is asked for")
    if peaks["1.0"] > MOST_GROWTH * peaks["0.1"]:
        found.append(
            f"peak_mb grows with the rows, from {peaks['0.1']} to {peaks['1.0']}; "
            f"at most {MOST_GROWTH} times is allowed"
        )
    if ranks["apart"] > ranks["bound"]:
        found.append(
            f"sketches: merged and single lie {ranks['apart']:.4f} of a rank apart; "
            f"at most {ranks['bound']:.4f} is allowed"
        )
    return found


def main(words: Sequence[str] | None = None) -> int:
    """Measure and print; 1 if something is not as it should be, which is said."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.drift", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="of each table")
    parser.add_argument("--columns", type=int, default=10)
    parser.add_argument("--json", action="store_true")
    tools = ("esteira", "evidently", "count-only")
    parser.add_argument("--tool", choices=tools, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--share", type=float, default=1.0, help=argparse.SUPPRESS)
    given = parser.parse_args(words)
    if given.tool:
        by_name = {
            "esteira": lambda: ours(given.folder, given.share),
            "evidently": lambda: evidently(given.folder),
            "count-only": lambda: count_only(given.folder, given.share),
        }
        sys.stdout.write(json.dumps(by_name[given.tool]()) + "\n")
        return 0
    report = compare(given.rows, given.columns)
    if given.json:
        sys.stdout.write(json.dumps(report) + "\n")
    else:
        show(report)
    wrong = missed(report)
    for one in wrong:
        print(one, file=sys.stderr)
    return 1 if wrong else 0


def show(report: dict[str, Any]) -> None:
    """The report in words."""
    cpu, peaks = report["cpu_s"], report["peak_mb"]
    print(f"{report['rows']:,} + {report['rows']:,} rows of {report['columns']} columns")
    print(f"evidently's preset  {cpu['evidently']:8.2f} CPU seconds")
    print(f"esteira             {cpu['esteira']:8.2f} CPU seconds: {report['ratio']} times less")
    print(f"most memory: {peaks['0.1']} MB for a tenth of the rows, {peaks['1.0']} MB for all")
    print(
        f"sketches: merged and single {report['sketches']['apart']:.4f} of a rank apart, "
        f"at most {report['sketches']['bound']:.4f}"
    )


if __name__ == "__main__":
    sys.exit(main())

"""What a prediction costs: our server against others that serve the same model.

`python -m benchmarks.serving [--rounds 3] [--seconds 4] [--servers esteira,mlserver] [--json]`

One row of thirty features a request, gradient boosting, one worker each; every peer in an
environment of its own, installed from PyPI under `.esteira/bench`, telemetry off. Servers take
turns, round by round: each is started, asked at one connection and at sixteen by a process of its
own, and ended. Medians of the rounds are shown.

CPU a request is what the server's processes used, user and system, by the requests answered: it is
fair beside other work on the machine. Latencies are not: run it where nothing else runs.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

import psutil
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.peers import demand
from benchmarks.peers.launch import FOLDER, SERVERS, TELEMETRY_OFF, NotInstalled, Peer
from esteira.paths import ROOT

CONNECTIONS: Final = (1, 16)
WARM_UP_SECONDS: Final = 0.7
START_SECONDS: Final = 90.0
TARGETS: Final = {"cpu_us_c16": 100.0, "ready_s": 2.0}
TIMES_FASTAPI: Final = 8.0
TIMES_BEST: Final = 5.0
PROJECT: Final = "benchmark"
_OURS: Final = ("esteira", "esteira-threaded", "esteira-logged")
_TOLERANCE: Final = 1e-3
_BODIES: Final = 256


class Failed(RuntimeError):
    """A server did not start, or answers something else than the model says."""


@contextlib.contextmanager
def emulators(names: Sequence[str]) -> Iterator[dict[str, str]]:
    """Cloud Storage with our model in it, and Pub/Sub where predictions are logged."""
    if not set(names) & set(_OURS):
        yield {}
        return
    from localcloud.home import SERVICES, Endpoints, Home, free_ports

    home = Home(FOLDER / "cloud")
    endpoints = Endpoints(ports=free_ports(SERVICES), project=PROJECT)
    home.write(endpoints)
    wanted = ["storage", *(["pubsub"] if "esteira-logged" in names else [])]
    log = (FOLDER / "cloud.log").open("ab")
    running = [
        subprocess.Popen(
            [sys.executable, "-m", f"localcloud.services.{one}", "--home", str(home.path)],
            cwd=ROOT,
            stdout=log,
            stderr=log,
        )
        for one in wanted
    ]
    try:
        os.environ |= endpoints.environment()
        awaited(endpoints.url("storage") + "/healthz", running[0])
        folder = published_model()
        if "esteira-logged" in names:
            make_topic()
        yield {**endpoints.environment(), "AIP_STORAGE_URI": folder}
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait(timeout=30)


def published_model() -> str:
    """Our model's artefacts in the local Cloud Storage; the folder."""
    import hashlib

    import pandas as pd
    from google.api_core.exceptions import Conflict
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import Pipeline

    from workloads import gcp, products
    from workloads import product as declared
    from workloads.artifacts import Folder
    from workloads.manifest import MANIFEST, MODEL, Data, Manifest
    from workloads.training.fitting import export

    products.__path__.append(str(Path(__file__).parent / "peers" / "products"))
    product = declared.load("benchmark-demand")
    names = list(demand.NAMES)
    columns = ColumnTransformer([("numbers", "passthrough", names)])
    columns.fit(pd.DataFrame(demand.rows(10, seed=0), columns=names))
    content = export(product, Pipeline([("columns", columns), ("model", demand.fit())]))
    day = datetime(2026, 1, 1, tzinfo=UTC)
    nothing = Data(uri="gs://none/none", sha256="", rows=0, start=day, end=day)
    contract = product.features.request
    manifest = Manifest(
        product=product.name,
        run="benchmark",
        contract=contract.NAME,
        contract_version=contract.VERSION,
        features=contract.__struct_fields__,
        label=product.label.column,
        model_sha256=hashlib.sha256(content).hexdigest(),
        threshold=0.5,
        training=nothing,
        holdout=nothing,
        metrics={},
        baseline={},
        code_version="benchmark",
    )
    with contextlib.suppress(Conflict):
        gcp.storage_client().create_bucket("benchmark-models")
    folder = Folder("gs://benchmark-models/run")
    folder.write(MODEL, content, "application/octet-stream")
    folder.write_json(MANIFEST, manifest)
    return folder.uri


def make_topic() -> None:
    """The topic that predictions are logged to."""
    from google.api_core.exceptions import AlreadyExists, GoogleAPICallError, RetryError

    from workloads import gcp

    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            gcp.publisher().create_topic(name=f"projects/{PROJECT}/topics/predictions", timeout=5)
            return
        except AlreadyExists:
            return
        except (GoogleAPICallError, RetryError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def awaited(address: str, process: subprocess.Popen[bytes]) -> float:
    """Wait until a server answers 200; the seconds that it took.

    Raises:
        Failed: it ended, or took too long.
    """
    began = time.perf_counter()
    while True:
        try:
            answer = urllib.request.urlopen(address, timeout=1)
        except OSError:  # no connection, or an answer that is no success
            answer = None
        if answer is not None:
            answer.close()
            return time.perf_counter() - began
        if process.poll() is not None:
            raise Failed(f"it ended with {process.returncode} before {address} answered")
        if time.perf_counter() - began > START_SECONDS:
            raise Failed(f"{address} did not answer within {START_SECONDS:g} s")
        time.sleep(0.01)


def cpu_seconds(process: psutil.Process) -> dict[int, float]:
    """By process id, what a server's processes have used, user and system."""
    used: dict[int, float] = {}
    for one in [process, *process.children(recursive=True)]:
        with contextlib.suppress(psutil.Error):
            times = one.cpu_times()
            used[one.pid] = times.user + times.system
    return used


def loaded(port: int, peer: Peer, connections: int, seconds: float, bodies: bytes) -> Any:
    """What the load generator found."""
    words = [sys.executable, "-m", "benchmarks.load", str(port), str(connections), str(seconds)]
    ended = subprocess.run(words, cwd=ROOT, input=bodies, capture_output=True, check=False)
    if ended.returncode:
        raise Failed(ended.stderr.decode()[-500:])
    return json.loads(ended.stdout)


def measured(peer: Peer, seconds: float, given: Mapping[str, str]) -> dict[str, float]:
    """One round of one server: start, warm up, both numbers of connections, end.

    Raises:
        Failed, NotInstalled: see there.
    """
    programs = peer.bin()
    folder = FOLDER / "folders" / peer.name
    folder.mkdir(parents=True, exist_ok=True)
    if peer.prepare is not None:
        peer.prepare(programs, folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        **TELEMETRY_OFF,
        "HOST": "127.0.0.1",
        "AIP_HTTP_PORT": str(port),
        "MLSERVER_HTTP_PORT": str(port),
        "MLSERVER_GRPC_PORT": "0",
        "MLSERVER_HOST": "127.0.0.1",
        "MODEL_FILE": str(folder / "model.joblib"),
        "PATH": f"{programs}:{os.environ['PATH']}",
    }
    if peer.requirements is None:
        environment |= {"PRODUCT": "benchmark-demand", **given, **(peer.environment or {})}
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            peer.command(programs, port, folder),
            cwd=ROOT if peer.requirements is None else folder,
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        found = {"ready_s": awaited(f"http://127.0.0.1:{port}{peer.ready}", process)}
        rows = demand.rows(_BODIES, seed=3)
        _check(peer, port, rows[0])
        lines = b"\n".join(
            [peer.path.encode(), *(json.dumps(peer.body(row)).encode() for row in rows)]
        )
        loaded(port, peer, max(CONNECTIONS), WARM_UP_SECONDS, lines)
        whole = psutil.Process(process.pid)
        for connections in CONNECTIONS:
            before = cpu_seconds(whole)
            load = loaded(port, peer, connections, seconds, lines)
            after = cpu_seconds(whole)
            if load["failed"] or not load["requests"]:
                raise Failed(f"{load['failed']} of {load['requests']} requests failed")
            used = sum(value - before.get(pid, 0.0) for pid, value in after.items())
            found |= {
                f"cpu_us_c{connections}": used / load["requests"] * 1e6,
                f"p50_ms_c{connections}": load["p50"] * 1e3,
                f"p99_ms_c{connections}": load["p99"] * 1e3,
                f"requests_s_c{connections}": load["requests"] / load["seconds"],
            }
        return found
    except Failed as error:
        tail = (folder / "server.log").read_text(errors="replace")[-600:]
        raise Failed(f"{error}\n{tail}") from error
    finally:
        _ended(process)


def _check(peer: Peer, port: int, row: Any) -> None:
    """Hold its answer to the model."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{peer.path}",
        data=json.dumps(peer.body(row)).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        found = peer.probability(json.load(answer))
    expected = _expected()
    if abs(found - expected) > _TOLERANCE:
        raise Failed(f"it answers {found:.6f} where the model says {expected:.6f}")


@cache
def _expected() -> float:
    """What scikit-learn says of the first row."""
    import numpy as np

    row = demand.rows(_BODIES, seed=3)[:1].astype(np.float32)
    return float(demand.fit().predict_proba(row)[0, 1])


def _ended(process: subprocess.Popen[bytes]) -> None:
    """End a server and the processes that it started; they share a session of their own."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=20)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def compare(names: Sequence[str], rounds: int, seconds: float, progress: Any) -> dict[str, Any]:
    """All servers, round by round; medians, and why one could not be measured."""
    taken: dict[str, list[dict[str, float]]] = defaultdict(list)
    missing: dict[str, str] = {}
    with emulators(names) as given:
        for _ in range(rounds):
            for name in names:
                if name not in missing:
                    try:
                        taken[name].append(measured(SERVERS[name], seconds, given))
                    except (Failed, NotInstalled) as error:
                        missing[name] = str(error)
                        taken.pop(name, None)
                progress(name)
    servers = {
        name: {
            key: round(statistics.median(one[key] for one in found), 3) for key in sorted(found[0])
        }
        for name, found in taken.items()
    }
    return {"servers": servers, "not_measured": missing}


def faults(
    servers: Mapping[str, Mapping[str, float]], not_measured: Mapping[str, str]
) -> list[str]:
    """Which targets are missed. A server that was asked for and not measured misses its own: the
    best of the others says nothing about the one that is not there."""
    found = [f"{name} was not measured" for name in not_measured]
    ours = servers.get("esteira")
    if ours is None:
        return found or ["esteira was not asked for, so nothing can be held to it"]
    found += [
        f"{key} is {ours[key]:g}, at most {most:g}"
        for key, most in TARGETS.items()
        if ours[key] > most
    ]
    peers = {name: one["cpu_us_c16"] for name, one in servers.items() if name not in _OURS}
    for what, least, cost in (
        ("plain FastAPI", TIMES_FASTAPI, peers.get("fastapi-sklearn")),
        ("the best peer", TIMES_BEST, min(peers.values(), default=None)),
    ):
        if cost is not None and cost / ours["cpu_us_c16"] < least:
            found.append(f"{cost / ours['cpu_us_c16']:.1f} times {what}, at least {least:g}")
    return found


def main(words: Sequence[str] | None = None) -> int:
    """Measure and print; 1 where a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each load")
    parser.add_argument("--servers", default=",".join(SERVERS))
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(words)
    names = given.servers.split(",")
    unknown = [name for name in names if name not in SERVERS]
    if unknown:
        parser.error(f"--servers has {', '.join(unknown)}; allowed: {', '.join(SERVERS)}")
    FOLDER.mkdir(parents=True, exist_ok=True)
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("measuring", total=len(names) * given.rounds)

        def tell(name: str) -> None:
            progress.update(task, advance=1, description=name)

        report = compare(names, given.rounds, given.seconds, tell)
    report["missed"] = faults(report["servers"], report["not_measured"])
    if given.json:
        sys.stdout.write(json.dumps(report, indent=2) + "\n")
    else:
        show(report)
    return 1 if report["missed"] else 0


def show(report: Mapping[str, Any]) -> None:
    """The report as a table."""
    table = Table(title="one row of 30 features a request, one worker")
    headings = {
        "cpu_us_c16": "CPU µs a request, 16 connections",
        "cpu_us_c1": "1 connection",
        "p50_ms_c1": "p50 ms, 1",
        "p99_ms_c1": "p99 ms, 1",
        "p50_ms_c16": "p50 ms, 16",
        "p99_ms_c16": "p99 ms, 16",
        "ready_s": "ready s",
    }
    table.add_column("server")
    for heading in headings.values():
        table.add_column(heading, justify="right")
    for name, found in sorted(report["servers"].items(), key=lambda pair: pair[1]["cpu_us_c16"]):
        table.add_row(name, *(f"{found[key]:.3g}" for key in headings))
    console = Console(width=120)
    console.print(table)
    for name, why in report["not_measured"].items():
        console.print(f"{name} was not measured: {why}", markup=False)
    for fault in report["missed"]:
        console.print(f"missed: {fault}", markup=False)


if __name__ == "__main__":
    sys.exit(main())

"""A test run that is killed leaves nothing running."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

import psutil

from tests.tied import tied

CHECKOUT = Path(__file__).resolve().parents[2]
RUN = """
import json, sys, time
from pathlib import Path
from localcloud.home import Home
from tests.localcloud.forking import ForkServer
from tests.workloads.local_cloud import LocalCloud

home = Home(Path(sys.argv[1]))
local = LocalCloud(home, home.reserve("esteira-test"))
sleeper = local.start("sleeper", [sys.executable, "-c", "import time; time.sleep(300)"])
forks = ForkServer()
fork = forks.start(home.path, "scheduler", home.path / "rest.log")
print(json.dumps([sleeper.pid, fork.pid]), flush=True)
time.sleep(300)
"""


def test_what_a_killed_run_had_started_ends_with_it(tmp_path: Path) -> None:
    run = subprocess.Popen(
        [sys.executable, "-c", RUN, str(tmp_path)], cwd=CHECKOUT, stdout=subprocess.PIPE
    )
    started: list[psutil.Process] = []
    try:
        assert run.stdout is not None
        started = [psutil.Process(pid) for pid in json.loads(run.stdout.readline())]
        assert all(one.is_running() for one in started)
        run.kill()
        run.wait()
        _, alive = psutil.wait_procs(started, timeout=10)
        assert alive == []
    finally:
        for one in (run, *started):
            try:
                one.kill()
            except psutil.NoSuchProcess:
                continue


def test_nothing_is_tied_to_a_thread_that_ends_before_the_run() -> None:
    caught: list[RuntimeError] = []

    def start() -> None:
        try:
            tied(["sleep"])
        except RuntimeError as error:
            caught.append(error)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert "start sleep from the main thread" in str(caught[0])
    assert tied(["sleep", "1"])[-2:] == ["sleep", "1"]

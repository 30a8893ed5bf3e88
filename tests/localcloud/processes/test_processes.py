"""Workload processes start, stop and restart, and never outlive what started them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from localcloud.home import Home
from localcloud.processes import AlreadyRunning, Exit, Supervisor
from localcloud.workload_logs import rotate, tail

PYTHON = [sys.executable, "-c"]
IDLE = "import signal; signal.pause()"
SERVER = """
import os
from http.server import BaseHTTPRequestHandler, HTTPServer
HTTPServer(("127.0.0.1", int(os.environ["PORT"])), BaseHTTPRequestHandler).serve_forever()
"""
POLITE = """
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("up")
while True: signal.pause()
"""
DEAF = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up")
while True: signal.pause()
"""
PARENT = f"""
import subprocess, sys
print(subprocess.Popen([sys.executable, "-c", {IDLE!r}]).pid)
"""
# Its child is in a session of its own, where no signal to a group reaches it.
ORPHAN = f"""
import os, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {IDLE!r}], start_new_session=True)
print(os.getpid(), child.pid)
child.wait()
"""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@asynccontextmanager
async def supervisor(home: Home) -> AsyncIterator[Supervisor]:
    one = Supervisor(home)
    home.path.mkdir(parents=True, exist_ok=True)
    try:
        yield one
    finally:
        await one.close()


async def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 (what is awaited is another process)
            await asyncio.sleep(0.02)


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(scenario())  # type: ignore[arg-type]


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_output_and_exit_code_are_kept(home: Home) -> None:
    async def scenario() -> None:
        async with supervisor(home) as processes:
            one = await processes.start("a/b", [*PYTHON, "print('hello'); raise SystemExit(3)"])
            ended = await one.wait()
            assert (ended.code, ended.reason()) == (3, "exited with code 3")
            assert one.tail() == ["hello"]
            assert one.log_file == home.logs / "workloads" / "a.b.log"

    run(scenario)


def test_a_program_that_is_missing_exits_127_and_says_so(home: Home) -> None:
    async def scenario() -> None:
        async with supervisor(home) as processes:
            one = await processes.start("x", ["/no/such/program"])
            assert (await one.wait()).code == 127
            assert "cannot start /no/such/program" in one.tail()[0]

    run(scenario)


def test_environment_is_a_containers_and_not_the_daemons(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEAKED", "1")
    home.reserve()

    async def scenario() -> None:
        async with supervisor(home) as processes:
            code = "import json, os; print(json.dumps(dict(os.environ)))"
            one = await processes.start("env", [*PYTHON, code], env={"MINE": "2"})
            await one.wait()
            seen = json.loads(one.tail()[-1])
            endpoints = home.endpoints()
            assert seen["PUBSUB_EMULATOR_HOST"] == endpoints.address("pubsub")
            assert (seen["HOST"], seen["MINE"], seen["PORT"]) == ("127.0.0.1", "2", str(one.port))
            assert not {"LEAKED", "PULUMI_DEBUG_PROVIDERS"} & set(seen)

    run(scenario)


def test_a_server_is_ready_when_its_port_accepts(home: Home) -> None:
    async def scenario() -> None:
        async with supervisor(home) as processes:
            code = SERVER
            one = await processes.start("web", [*PYTHON, code])
            assert await one.ready(10)
            failing = await processes.start("never", [*PYTHON, "raise SystemExit(1)"])
            assert not await failing.ready(10)

    run(scenario)


def test_stop_asks_first_and_then_insists(home: Home) -> None:
    async def scenario() -> None:
        async with supervisor(home) as processes:
            polite = await processes.start(
                "polite",
                [
                    *PYTHON,
                    POLITE,
                ],
            )
            deaf = await processes.start(
                "deaf",
                [
                    *PYTHON,
                    DEAF,
                ],
            )
            await until(lambda: polite.tail() == ["up"] and deaf.tail() == ["up"])
            assert (await polite.stop(10)).code == 0
            ended = await deaf.stop(0.2)
            assert (ended.code, ended.asked) == (-signal.SIGKILL, True)

    run(scenario)


def test_the_whole_group_ends_with_its_leader(home: Home) -> None:

    async def scenario() -> None:
        async with supervisor(home) as processes:
            one = await processes.start("parent", [*PYTHON, PARENT])
            await one.wait()
            child = int(one.tail()[0])
            await until(lambda: gone(child))

    run(scenario)


def test_failures_restart_with_back_off_and_are_counted(home: Home) -> None:
    exits: list[Exit] = []

    async def scenario() -> None:
        async with supervisor(home) as processes:
            one = await processes.start(
                "flaky",
                [*PYTHON, "raise SystemExit(1)"],
                on_exit=exits.append,
                restart="on-failure",
                max_restarts=2,
            )
            ended = await one.wait()
            assert (ended.code, ended.restarts, one.restarts) == (1, 2, 2)

    started = time.monotonic()
    run(scenario)
    assert [(e.restarts, e.will_restart) for e in exits] == [(0, True), (1, True), (2, False)]
    assert time.monotonic() - started > 1.5  # 0.5 s, then 1 s


def test_success_is_not_restarted_on_failure_only(home: Home) -> None:
    async def scenario() -> None:
        async with supervisor(home) as processes:
            one = await processes.start("ok", [*PYTHON, "pass"], restart="on-failure")
            assert (await one.wait()).restarts == 0

    run(scenario)


def test_stopping_during_the_back_off_is_final(home: Home) -> None:
    async def scenario() -> None:
        async with supervisor(home) as processes:
            one = await processes.start("loop", [*PYTHON, "pass"], restart="always")
            await until(lambda: one.state == "waiting" and one.last_exit is not None)
            ended = await one.stop()
            assert (ended.will_restart, ended.asked, one.state) == (False, True, "exited")

    run(scenario)


def test_a_name_runs_once(home: Home) -> None:
    async def scenario() -> None:
        async with supervisor(home) as processes:
            await processes.start("one", [*PYTHON, IDLE])
            with pytest.raises(AlreadyRunning, match="'one'"):
                await processes.start("one", [*PYTHON, IDLE])
            await processes.stop("one")
            await processes.start("one", [*PYTHON, IDLE])

    run(scenario)


def test_logs_are_bounded(tmp_path: Path) -> None:
    file = tmp_path / "x.log"
    file.write_text("old\n" * 100)
    rotate(file, limit=1000)
    assert file.stat().st_size == 400
    rotate(file, limit=100)
    assert (file.stat().st_size, (tmp_path / "x.log.1").stat().st_size) == (0, 400)
    file.write_text("new\n")
    assert tail(file, 5) == ["new"]


DAEMON = """
import asyncio, sys
from pathlib import Path
from localcloud.home import Home
from localcloud.processes import Supervisor

async def main():
    processes = Supervisor(Home(Path(sys.argv[1])))
    code = sys.argv[2]
    one = await processes.start("orphan", [sys.executable, "-c", code])
    while not one.tail():
        await asyncio.sleep(0.02)
    print(one.tail()[0], flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def test_nothing_outlives_a_killed_daemon(home: Home) -> None:
    """The kernel ends the process; its child in another session is ended at the next start."""
    home.path.mkdir(parents=True)
    daemon = subprocess.Popen(
        [sys.executable, "-c", DAEMON, str(home.path), ORPHAN],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    assert daemon.stdout is not None
    process, child = (int(pid) for pid in daemon.stdout.readline().split())
    daemon.kill()
    daemon.wait()

    async def scenario() -> None:
        await until(lambda: gone(process) or sys.platform != "linux")
        assert not gone(child)
        async with supervisor(home) as processes:
            assert child in processes.end_stale()
            assert gone(child)
            assert gone(process)
            assert processes.end_stale() == []

    run(scenario)


def test_processes_of_a_living_daemon_are_left_alone(home: Home) -> None:
    async def scenario() -> None:
        async with supervisor(home) as processes:
            one = await processes.start("mine", [*PYTHON, IDLE])
            assert Supervisor(home).end_stale() == []
            assert one.pid is not None
            assert not gone(one.pid)
            assert os.getpgid(one.pid) == one.pid

    run(scenario)

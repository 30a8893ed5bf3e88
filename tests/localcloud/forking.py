"""`python -m tests.localcloud.forking`: a process that has imported the REST APIs, and forks for
each test that wants to be served by them. The imports are most of what starting one costs.

It reads a JSON document a line: `{"home", "services", "environment", "log"}` answers the process's
id, and `{"ended": id}` its exit code, or null while it runs.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.tied import tie

_CHECKOUT = Path(__file__).resolve().parents[2]


class Forked:
    """A process of the fork server, as `subprocess.Popen` would show it."""

    def __init__(self, server: ForkServer, pid: int) -> None:
        self._server = server
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit code, if it has ended."""
        if self.returncode is None:
            self.returncode = self._server.ask({"ended": self.pid})
        return self.returncode

    def wait(self, timeout: float = 30) -> int:
        """Its exit code, once it has ended."""
        deadline = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("a REST process", timeout)
            time.sleep(0.01)
        return code

    def kill(self) -> None:
        """SIGKILL. Its id is its own until somebody has seen that it ended."""
        if self.poll() is None:
            os.kill(self.pid, 9)

    def terminate(self) -> None:
        """SIGTERM."""
        if self.poll() is None:
            os.kill(self.pid, 15)


class ForkServer:
    """The server's side of a test; `module` is one that runs `forks`."""

    def __init__(self, module: str = "tests.localcloud.forking") -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", module],
            cwd=_CHECKOUT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self, home: Path, services: str, log: Path) -> Forked:
        """A process that serves these, with the environment of now."""
        order = {"home": str(home), "services": services, "log": str(log)}
        return Forked(self, self.ask({**order, "environment": dict(os.environ)}))

    def ask(self, question: dict[str, Any]) -> Any:
        """One line there, one line back."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)


def _serve(order: dict[str, Any]) -> None:
    """In the fork: become the REST process."""
    from localcloud.rest import __main__ as rest

    rest.SERVICES = tuple(order["services"].split(","))  # pyright: ignore[reportAttributeAccessIssue]
    sys.exit(rest.main(["--home", order["home"]]))


def _enter(order: dict[str, Any]) -> None:
    os.environ.clear()
    os.environ.update(order["environment"])
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)


def main() -> None:
    """Fork until the input ends."""
    from localcloud.rest import __main__ as rest

    for name in rest.SERVICES:
        importlib.import_module(f"localcloud.services.{name}")
    importlib.import_module("localcloud.services.vertex.assembly")
    forks(_serve)


def forks(become: Callable[[dict[str, Any]], None]) -> None:
    """Read orders until the input ends; a fork has the environment and the log of its order."""
    # A fork has one thread, and would wait for locks that others held.
    assert threading.active_count() == 1
    gc.freeze()
    for line in sys.stdin:
        question = json.loads(line)
        if "ended" in question:
            pid, status = os.waitpid(question["ended"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        else:
            parent = os.getpid()
            answer = os.fork()
            if answer == 0:
                tie(parent)
                _enter(question)
                become(question)
                sys.exit(0)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()

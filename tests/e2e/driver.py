"""Drives a whole platform as a person would: by the command line, on a state folder of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from localcloud import daemon
from localcloud.home import Endpoints, Home

CHECKOUT = Path(__file__).resolve().parents[2]
ESTEIRA = Path(sys.executable).with_name("esteira")


@dataclass
class Platform:
    """A checkout's command line on a state folder of its own."""

    state: Path
    report: dict[str, Any] = field(default_factory=dict)
    """Of the demonstration."""
    took: float = 0.0
    """Seconds that it took, by the clock of who ran it."""
    made_at_kill: int = 0
    """Resources that stood when the first `up` was killed."""

    @property
    def env(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.endswith("_EMULATOR_HOST")}
        return {**kept, "ESTEIRA_STATE": str(self.state), "COLUMNS": "200"}

    @property
    def endpoints(self) -> Endpoints:
        return Home(self.state / "local").endpoints()

    @property
    def cloud(self) -> daemon.Status:
        """How the local cloud does, as `esteira local status` would say."""
        return daemon.status(Home(self.state / "local"))

    def esteira(
        self, *words: str, stdin: str = "", timeout: float = 280
    ) -> subprocess.CompletedProcess[str]:
        """Run a command; the caller judges how it ended."""
        return subprocess.run(
            [ESTEIRA, *words],
            env=self.env,
            cwd=CHECKOUT,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def json(self, *words: str, stdin: str = "", timeout: float = 280) -> Any:
        """Run a command that must succeed and print JSON and nothing else."""
        ended = self.esteira(*words, stdin=stdin, timeout=timeout)
        assert ended.returncode == 0, ended.stderr[-4000:]
        return json.loads(ended.stdout)

    def begin(self, *words: str) -> subprocess.Popen[bytes]:
        """Start a command without waiting for it."""
        return subprocess.Popen(
            [ESTEIRA, *words],
            env=self.env,
            cwd=CHECKOUT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def kill_up_midway(self) -> None:
        """Begin an `up` and end it with its engine, at once, when some thirty resources stand."""
        began = self.begin("up", "local")
        state = self.state / "state" / ".pulumi" / "stacks" / "esteira" / "local.json"

        def midway() -> bool:
            assert began.poll() is None, f"up ended by itself: {began.returncode}"
            return state.exists() and state.read_text().count('"urn"') > 30

        wait_until(midway, 180, "thirty resources stand")
        parent = psutil.Process(began.pid)
        for one in [*parent.children(recursive=True), parent]:
            one.kill()
        began.wait(10)
        self.made_at_kill = state.read_text().count('"urn"')

    def processes(self) -> list[psutil.Process]:
        """Every process that belongs to this platform, by its command line or environment."""
        found = list[psutil.Process]()
        for process in psutil.process_iter():
            try:
                words = " ".join(process.cmdline())
                if str(self.state) in words or self.env["ESTEIRA_STATE"] in (
                    process.environ().get("ESTEIRA_STATE", "")
                ):
                    found.append(process)
            except psutil.Error:
                continue
        return [one for one in found if one.pid != os.getpid()]


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait for a condition; fail by saying what did not happen."""
    deadline = time.monotonic() + seconds
    pause = 0.1
    while not condition():
        assert time.monotonic() < deadline, f"within {seconds:.0f} s not: {what}"
        # What is asked takes as much of the machine as what is waited for.
        time.sleep(pause)
        pause = min(1.0, 1.5 * pause)

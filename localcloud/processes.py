"""Supervises the processes that stand for containers.

Each runs in a process group of its own, writes to a log of bounded size, is restarted with
back-off if asked, and cannot outlive the daemon that started it: on Linux the kernel ends it when
its parent dies, and everywhere the next start finds what a killed daemon left by process id and
creation time (or by the token in its environment, which its children inherit) and ends that.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import os
import shlex
import signal
import sys
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal
from urllib.parse import quote

import msgspec
import psutil

from localcloud.home import LOOPBACK, Home, NotStarted, free_ports
from localcloud.images import Image
from localcloud.workload_logs import is_mark, mark, rotate, tail

log = logging.getLogger(__name__)

Restart = Literal["never", "on-failure", "always"]
State = Literal["running", "waiting", "exited"]

DEFAULT_GRACE: Final = 10.0
_TOKEN: Final = "ESTEIRA_PROCESS"  # noqa: S105 (the name of a variable)
_BACKOFF_FIRST: Final = 0.5
_BACKOFF_MAX: Final = 30.0
# A process that ran this long was healthy: its next failure starts the back-off anew.
_BACKOFF_RESET: Final = 60.0
_ROTATION_CHECK: Final = 2.0
_INHERITED: Final = ("PATH", "HOME", "TMPDIR", "SSL_CERT_FILE")

# Runs in the child before the program. An exec wrapper and not a preexec_fn, because Python code
# between fork and exec can deadlock in a parent that has threads.
LAUNCHER: Final = """\
import ctypes, os, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
    if os.getppid() != int(sys.argv[1]):  # the parent died before the call above
        os._exit(1)
try:
    os.execvp(sys.argv[2], sys.argv[2:])
except OSError as error:
    sys.stderr.write("cannot start %s: %s\\n" % (sys.argv[2], error))
    os._exit(127)
"""


class AlreadyRunning(RuntimeError):
    """A process of this name runs; names are unique within a home."""


@dataclass(frozen=True)
class Exit:
    """How a process ended: `code` as a shell shows it for programs, negative for signals."""

    code: int
    at: datetime
    restarts: int
    will_restart: bool
    asked: bool
    """Whether `stop` ended it."""

    def reason(self) -> str:
        """In words, as a log line wants it."""
        if self.code < 0:
            return f"terminated by {signal.Signals(-self.code).name}"
        return f"exited with code {self.code}"


OnExit = Callable[[Exit], Awaitable[None] | None]


class _Record(msgspec.Struct):
    """What a later daemon needs to find a process. Times are Unix seconds."""

    name: str
    pid: int
    created: float
    token: str
    owner_pid: int
    owner_created: float


class Workload:
    """One supervised process, over all its restarts."""

    def __init__(
        self,
        *,
        name: str,
        argv: Sequence[str],
        env: Mapping[str, str],
        cwd: Path,
        port: int,
        log_file: Path,
        record: Path,
        restart: Restart,
        on_exit: OnExit | None,
        max_restarts: int | None,
    ) -> None:
        self.name = name
        self.argv = tuple(argv)
        self.port = port
        self.log_file = log_file
        self.state: State = "waiting"
        self.pid: int | None = None
        self.restarts = 0
        self.started_at = datetime.now(UTC)
        self.last_exit: Exit | None = None
        self._env = {**env, _TOKEN: uuid.uuid4().hex}
        self._cwd = cwd
        self._record = record
        self._restart: Restart = restart
        self._on_exit = on_exit
        self._max_restarts = max_restarts
        self._stopping = asyncio.Event()
        self._done = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None

    async def wait(self) -> Exit:
        """Until it has ended and will not be restarted."""
        await self._done.wait()
        if self.last_exit is None:
            raise RuntimeError(f"{self.name} ended before it was started")
        return self.last_exit

    async def ready(self, within: float, host: str = LOOPBACK, port: int | None = None) -> bool:
        """Whether its port accepts connections within so many seconds, and before it ends."""
        deadline = asyncio.get_running_loop().time() + within
        while asyncio.get_running_loop().time() < deadline:
            if self.state == "exited":
                return False
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection(host, port or self.port)
                writer.close()
                return self.state == "running"
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._done.wait(), 0.05)
        return False

    async def stop(self, grace: float = DEFAULT_GRACE) -> Exit:
        """SIGTERM, `grace` seconds, then SIGKILL for the whole group. No restart follows."""
        self._stopping.set()
        process = self._process
        if process is not None and process.returncode is None:
            _signal_group(process.pid, signal.SIGTERM)
            try:
                await asyncio.wait_for(self._done.wait(), max(grace, 0.0) or 0.001)
            except TimeoutError:
                _signal_group(process.pid, signal.SIGKILL)
        return await self.wait()

    def interrupt(self) -> None:
        """End the process as a crash would; what follows is the restart policy's."""
        if self._process is not None and self._process.returncode is None:
            _signal_group(self._process.pid, signal.SIGTERM)

    def tail(self, lines: int = 20) -> list[str]:
        """The last lines of its log, without the supervisor's own."""
        return [line for line in tail(self.log_file, lines * 2) if not is_mark(line)][-lines:]

    # The rest is the supervisor's.

    async def launch(self) -> None:
        """Start it once; raises if the operating system cannot."""
        await self._spawn()
        self._task = asyncio.create_task(self._watch(), name=f"watch {self.name}")

    async def _spawn(self) -> None:
        rotate(self.log_file)
        with self.log_file.open("ab") as out:
            self.started_at = datetime.now(UTC)
            mark(self.log_file, f"started: {shlex.join(self.argv)}")
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-I",
                "-S",
                "-c",
                LAUNCHER,
                str(os.getpid()),
                *self.argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=out,
                stderr=asyncio.subprocess.STDOUT,
                cwd=self._cwd,
                env=self._env,
                start_new_session=True,
            )
        self.pid = self._process.pid
        self.state = "running"
        if self._stopping.is_set():  # the stop came while it was being started
            _signal_group(self.pid, signal.SIGKILL)
        with contextlib.suppress(psutil.NoSuchProcess):
            own = psutil.Process()
            _write(
                self._record,
                _Record(
                    name=self.name,
                    pid=self.pid,
                    created=psutil.Process(self.pid).create_time(),
                    token=self._env[_TOKEN],
                    owner_pid=own.pid,
                    owner_created=own.create_time(),
                ),
            )

    async def _watch(self) -> None:
        backoff = _BACKOFF_FIRST
        try:
            while True:
                process = self._process
                if process is None:
                    return
                code = await self._exit_code(process)
                # Whatever it started goes with it, as with a container.
                _signal_group(process.pid, signal.SIGKILL)
                asked = self._stopping.is_set()
                again = not asked and self._wants_restart(code)
                ran = (datetime.now(UTC) - self.started_at).total_seconds()
                self.last_exit = Exit(
                    code=code,
                    at=datetime.now(UTC),
                    restarts=self.restarts,
                    will_restart=again,
                    asked=asked,
                )
                mark(self.log_file, self.last_exit.reason())
                self.state = "waiting" if again else "exited"
                self.pid = None
                if not again:
                    return
                await self._notify(self.last_exit)
                if ran >= _BACKOFF_RESET:
                    backoff = _BACKOFF_FIRST
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), backoff)
                if self._stopping.is_set():
                    self.state = "exited"
                    self.last_exit = replace(self.last_exit, will_restart=False, asked=True)
                    return
                backoff = min(backoff * 2, _BACKOFF_MAX)
                self.restarts += 1
                await self._spawn()
        finally:
            self.state = "exited"
            self._record.unlink(missing_ok=True)
            self._done.set()
            if self.last_exit is not None:
                await self._notify(self.last_exit)

    async def _exit_code(self, process: asyncio.subprocess.Process) -> int:
        waiting = asyncio.ensure_future(process.wait())
        while True:
            done, _ = await asyncio.wait({waiting}, timeout=_ROTATION_CHECK)
            if done:
                return waiting.result()
            rotate(self.log_file)

    def _wants_restart(self, code: int) -> bool:
        if self._restart == "never" or (self._restart == "on-failure" and code == 0):
            return False
        return self._max_restarts is None or self.restarts < self._max_restarts

    async def _notify(self, ended: Exit) -> None:
        if self._on_exit is None:
            return
        try:
            result = self._on_exit(ended)
            if inspect.isawaitable(result):
                await result
        except Exception:
            log.exception("the exit handler of %s failed", self.name)


class Supervisor:
    """Starts and stops the workloads of one home. Belongs to one event loop."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._records = home.path / "processes"
        self._logs = home.logs / "workloads"
        self._running: dict[str, Workload] = {}
        self._ports: set[int] = set()
        self._cleaned = False

    async def start(
        self,
        name: str,
        command: Image | Sequence[str],
        args: Sequence[str] | None = None,
        env: Mapping[str, str] | None = None,
        on_exit: OnExit | None = None,
        restart: Restart = "never",
        log_file: str | os.PathLike[str] | None = None,
        *,
        override: Sequence[str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        max_restarts: int | None = None,
    ) -> Workload:
        """Start a process and return at once; await `ready` or `wait` of what is returned.

        Args:
            name: unique among the running processes of the home; slashes are fine.
            command: an image, or the words to execute.
            args: with an image they replace its CMD, else they follow the words.
            env: of the container. Wins over the image's ENV, which wins over the surroundings
                (PATH, HOME, LANG, HOST, the addresses of the local cloud).
            on_exit: called after each end of the process, before a restart. May be a coroutine
                function. Its own errors are logged.
            restart: when to start again, with a back-off of 0.5 s that doubles up to 30 s.
            log_file: default `logs/workloads/<name>.log` of the home.
            override: with an image, replaces its ENTRYPOINT.
            cwd: default the image's WORKDIR, else the home.
            max_restarts: None for no limit.

        The process finds a free port in `PORT` (as `Workload.port`), unless `env` has one.

        Raises:
            AlreadyRunning: the name is taken.
            localcloud.images.ImageNotRunnable: the image says nothing that could be started.
        """
        if not self._cleaned:
            self.end_stale()
        known = self._running.get(name)
        if known is not None and known.state != "exited":
            raise AlreadyRunning(f"process {name!r} runs already (pid {known.pid}); stop it first")
        given = dict(env or {})
        if isinstance(command, Image):
            argv = command.argv(override, args)
            folder = Path(cwd) if cwd is not None else command.cwd
            given = {**command.environment(), **given}
        else:
            argv = [*command, *(args or ())]
            folder = Path(cwd) if cwd is not None else self._home.path
        port = int(given["PORT"]) if "PORT" in given else self._free_port()
        safe = _safe(name)
        file = Path(log_file) if log_file is not None else self._logs / f"{safe}.log"
        file.parent.mkdir(parents=True, exist_ok=True)
        self._records.mkdir(parents=True, exist_ok=True)
        workload = Workload(
            name=name,
            argv=argv,
            env={**self.surroundings(), "PORT": str(port), **given},
            cwd=folder,
            port=port,
            log_file=file,
            record=self._records / f"{safe}.json",
            restart=restart,
            on_exit=on_exit,
            max_restarts=max_restarts,
        )
        self._running[name] = workload
        try:
            await workload.launch()
        except BaseException:
            del self._running[name]
            raise
        return workload

    def get(self, name: str) -> Workload | None:
        """The workload last started under a name by this supervisor."""
        return self._running.get(name)

    def log_file(self, name: str) -> Path:
        """Where a workload of this name writes unless told otherwise."""
        return self._logs / f"{_safe(name)}.log"

    async def stop(self, name: str, grace: float = DEFAULT_GRACE) -> None:
        """Stop a workload; nothing happens if there is none."""
        workload = self._running.get(name)
        if workload is not None:
            await workload.stop(grace)
            self._running.pop(name, None)

    async def close(self, grace: float = 2.0) -> None:
        """Stop them all."""
        running = [one for one in self._running.values() if one.state != "exited"]
        await asyncio.gather(*(one.stop(grace) for one in running))
        self._running.clear()

    def surroundings(self) -> dict[str, str]:
        """The environment that every workload gets under its own."""
        here = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        # The interpreter's folder first: console scripts of the environment are the image's.
        here["PATH"] = os.pathsep.join(
            [str(Path(sys.executable).parent), here.get("PATH", os.defpath)]
        )
        try:
            cloud = self._home.endpoints().environment()
        except NotStarted:
            cloud = {}
        # It is for the engine, which a workload has no business with.
        cloud.pop("PULUMI_DEBUG_PROVIDERS", None)
        return {
            **here,
            "LANG": "C.UTF-8",
            "TZ": "UTC",
            # Containers bind 0.0.0.0 by default; here nothing listens beyond loopback.
            "HOST": LOOPBACK,
            "PYTHONUNBUFFERED": "1",
            **cloud,
        }

    def end_stale(self) -> list[int]:
        """End what a killed daemon of this home left behind; the ids of the processes ended.

        Called by the first `start`; a service calls it when it comes up, before it recovers.
        """
        self._cleaned = True
        stale: dict[str, _Record] = {}
        for file in self._records.glob("*.json") if self._records.is_dir() else ():
            try:
                record = msgspec.json.decode(file.read_bytes(), type=_Record)
            except (OSError, msgspec.DecodeError):
                continue
            if not _alive(record.owner_pid, record.owner_created):
                stale[record.token] = record
                file.unlink(missing_ok=True)
        ended = end_processes(stale.values())
        if ended:
            log.warning("ended %d processes of a daemon that was killed: %s", len(ended), ended)
        return ended

    def _free_port(self) -> int:
        taken = {one.port for one in self._running.values() if one.state != "exited"}
        while True:
            port = free_ports(("PORT",))["PORT"]
            if port not in taken:
                return port


def end_processes(records: Iterable[_Record]) -> list[int]:
    """Kill the recorded processes and whatever inherited their tokens; their ids."""
    by_token = {record.token: record for record in records}
    if not by_token:
        return []
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.environ().get(_TOKEN) in by_token:
                found.append(process)
    known = {process.pid for process in found}
    for record in by_token.values():
        # Its environment may be unreadable; id and creation time then still name it.
        if record.pid not in known and _alive(record.pid, record.created):
            with contextlib.suppress(psutil.Error):
                found.append(psutil.Process(record.pid))
    for process in found:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(found, timeout=5)
    return [process.pid for process in found]


def _safe(name: str) -> str:
    return quote(name.replace("/", "."), safe="")


def _signal_group(leader: int, which: signal.Signals) -> None:
    # The group outlives its leader as long as a member does, and its id is not given again.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, which)


def _alive(pid: int, created: float) -> bool:
    """Whether the process of this id is still the one created then (clock steps allowed for)."""
    try:
        process = psutil.Process(pid)
        return abs(process.create_time() - created) < 2.0 and (
            process.status() != psutil.STATUS_ZOMBIE
        )
    except psutil.Error:
        return False


def _write(file: Path, record: _Record) -> None:
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    draft.write_bytes(msgspec.json.encode(record))
    draft.replace(file)

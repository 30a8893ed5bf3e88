"""Drives one stack on the Pulumi engine, through Pulumi's Automation API.

The program is the one that `pulumi up -s STACK` runs; only where it finds its engine, its state and
its providers differs:

- `local`: state in `.esteira/state`, providers in the local cloud.
- any other stack: state and providers are the user's own, as `pulumi` itself would choose them.
- offline: no state and no credentials; a local provider that only validates.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import grpc
import psutil
import yaml
from pulumi import automation
from pulumi.automation import LocalWorkspace

from esteira import local
from esteira.engine import policies, quiet, state
from esteira.engine.brief import BriefStack, KnownCommand, OnEvent
from esteira.engine.drift import Drifted, DriftReport
from esteira.engine.install import Engine, NoEngine, find
from esteira.engine.known import LOCAL_STACK, PROJECT, require
from esteira.engine.partial import destroyable
from esteira.paths import LOCAL, ROOT, STACK_STATE, STATE

_QUIET: Final = {
    "PULUMI_SKIP_UPDATE_CHECK": "true",
    # Every provider is attached or installed on purpose; the engine must not go and look.
    "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
    # Python's gRPC otherwise prints a line for each fork.
    "GRPC_ENABLE_FORK_SUPPORT": "false",
    "GRPC_VERBOSITY": "ERROR",
}
_GARBAGE: Final = "300"
"""`GOGC` of the engine: it writes its whole state for each resource that it makes, and collecting
what that leaves at Go's default took a sixth of its time."""

_ORPHAN_GRACE: Final = 5.0


class EngineFailed(RuntimeError):
    """The engine refused or failed; the message is what it said, without its command line."""


@dataclass(frozen=True, kw_only=True)
class Changes:
    """How many resources an operation created, updated, replaced, deleted, or left alone."""

    counts: dict[str, int]

    @property
    def total(self) -> int:
        """Resources that are not left alone."""
        return sum(n for kind, n in self.counts.items() if kind not in ("same", "read"))

    def __str__(self) -> str:
        order = sorted(self.counts.items(), key=lambda pair: (pair[0] == "same", pair[0]))
        words = [f"{n} {'unchanged' if kind == 'same' else kind}" for kind, n in order]
        return ", ".join(words) or "no resources"


class Stack:
    """One stack, ready for operations. Made by `opened`."""

    def __init__(self, name: str, stack: BriefStack) -> None:
        self.name = name
        self._stack = stack

    @property
    def raw(self) -> BriefStack:
        """The Automation API's own, for what is not offered here."""
        return self._stack

    def up(self, on_event: OnEvent, *, judged: bool = False) -> Changes:
        """Create and update resources until they are as the program says.

        With `judged`, policies judge each resource once more, now that its values are known,
        before it is made.
        """
        with _said(), self._stack.brief(on_event) as summary:
            self._stack.up(
                on_event=summary,
                color="never",
                suppress_outputs=True,
                **(policies.judging() if judged else {}),
            )
        return Changes(counts=summary.changes)

    def preview(self, on_event: OnEvent, *, judged: bool = False) -> Changes:
        """What `up` would do; with `judged`, as far as the policies allow it."""
        with _said(), self._stack.brief(on_event) as summary:
            self._stack.preview(
                on_event=summary, color="never", **(policies.judging() if judged else {})
            )
        return Changes(counts=summary.changes)

    def digest(self) -> dict[str, Any]:
        """Pulumi's own digest of a preview (`pulumi preview --json`), without machine paths."""
        try:
            result = self._stack.preview(json=True, color="never")
        except automation.CommandError as error:
            raise EngineFailed(_diagnosed(str(error)) or _what_it_said(str(error))) from error
        return _without_paths(json.loads(result.stdout))

    def plan(self, on_event: OnEvent, *, judged: bool = False) -> dict[str, Any]:
        """The digest of a preview, also of one that only the policies failed.

        Violations reach `on_event`; whoever asks for a plan wants to see both.

        Raises:
            EngineFailed: the program or the engine failed before there was a digest.
        """
        try:
            result = self._stack.preview(
                json=True,
                color="never",
                on_event=on_event,
                **(policies.judging() if judged else {}),
            )
        except automation.CommandError as error:
            said = str(error)
            digest = _digest_in(said)
            # Violations are events; all that the digest has of them is that there were some.
            if not digest.get("steps") or _diagnosed(said) != "error: preview failed":
                raise EngineFailed(_diagnosed(said) or _what_it_said(said)) from error
            return _without_paths(digest)
        return _without_paths(json.loads(result.stdout))

    def refresh(self, on_event: OnEvent) -> Changes:
        """Bring the state in line with what is really there."""
        with _said(), self._stack.brief(on_event) as summary:
            self._stack.refresh(on_event=summary, color="never")
        return Changes(counts=summary.changes)

    def drift(self) -> list[Drifted]:
        """What is no longer as the state says. Changes neither the state nor anything else."""
        report = DriftReport()
        with _said():
            self._stack.preview_refresh(on_event=report, color="never")
        return report.found

    def last_update(self) -> datetime | None:
        """When the last `up` ended; none where the stack was never up, or was destroyed since."""
        with _said():
            history = self._stack.history(show_secrets=False)
        for summary in history:
            if summary.kind == "destroy" and summary.result == "succeeded":
                return None
            if summary.kind == "update":
                # An update that still runs, or was killed, has no end.
                ended = summary.end_time or summary.start_time
                return ended.replace(tzinfo=UTC)
        return None

    def destroy(self, on_event: OnEvent, *, keep: Collection[str] = ()) -> Changes:
        """Delete every resource of the stack.

        Args:
            on_event: Is given what happens.
            keep: Types of components that stay, with all that they need.
        """
        going: list[str] | None = None
        if keep:
            deployment = self.export()["deployment"] or {}
            going = destroyable(deployment, keep)
            if not going:
                return Changes(counts={})
            if len(going) == len(deployment.get("resources", ())):
                going = None
        with _said(), self._stack.brief(on_event) as summary:
            self._stack.destroy(on_event=summary, color="never", target=going)
        return Changes(counts=summary.changes)

    def outputs(self) -> dict[str, Any]:
        """The stack's outputs. Secret ones say so instead of showing their value."""
        if (
            self.name == LOCAL_STACK
            and (read := state.outputs(STACK_STATE, PROJECT, LOCAL_STACK)) is not None
        ):
            return read
        with _said():
            return dict(sorted(self._stack.shown_outputs().items()))

    def export(self) -> dict[str, Any]:
        """Pulumi's own export of the stack (`pulumi stack export`)."""
        with _said():
            deployment = self._stack.export_stack()
        return {"version": deployment.version, "deployment": deployment.deployment}

    def release_dead_locks(self) -> list[int]:
        """Remove the locks of operations that were killed; the ids of the processes that held them.

        A file backend has one lock file for each running operation. One that was killed leaves its
        lock, and every later operation would be refused. An engine whose own parent was killed
        cannot finish either: it is given a moment, then ended.
        """
        released: list[int] = []
        for file in (STACK_STATE / ".pulumi" / "locks").rglob(f"{self.name}/*.json"):
            with contextlib.suppress(OSError, ValueError, KeyError):
                lock = json.loads(file.read_text())
                if lock["hostname"] == socket.gethostname() and _ended(lock["pid"]):
                    file.unlink(missing_ok=True)
                    released.append(lock["pid"])
        return released


def _ended(pid: int) -> bool:
    """Whether an engine process is gone; one that was orphaned is ended."""
    try:
        engine = psutil.Process(pid)
        if "pulumi" not in engine.name():
            return True
        parent = engine.parent()
        if parent is not None and "python" in parent.name():
            return False
        try:
            engine.wait(_ORPHAN_GRACE)
        except psutil.TimeoutExpired:
            engine.kill()
            engine.wait(_ORPHAN_GRACE)
    except psutil.NoSuchProcess:
        pass
    return True


@contextlib.contextmanager
def opened(
    name: str,
    *,
    offline: bool = False,
    progress: Callable[[str], None],
    checkout: Path | None = None,
) -> Iterator[Stack]:
    """A stack, with everything it needs running; what was started for it alone is ended after.

    Args:
        name: The stack.
        offline: Without credentials and state; nothing is made.
        progress: Is told what is being done.
        checkout: Whose settings count; this one's when not given. Whose program runs, the import
            path says.

    Raises:
        UnknownStack: there is no settings file of that name.
        NoEngine: there is no engine; `esteira doctor` says how to get one.
    """
    checkout = checkout or ROOT
    require(name, checkout)
    engine = find()
    if engine is None:
        raise NoEngine(["none is installed; run `make setup` or `esteira doctor`"])
    with contextlib.ExitStack() as cleanup:
        if offline:
            folder = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="esteira-")))
            port = cleanup.enter_context(validating_provider())
            env = _offline_environment(folder, port)
            yield _select(
                name, engine, folder / "work", folder / "home", env, checkout, exists=False
            )
        elif name == LOCAL_STACK:
            endpoints = local.start(progress)
            STACK_STATE.mkdir(parents=True, exist_ok=True)
            env = {
                # Attribute files hold a content type and no more; one that a kill left empty would
                # stop every later operation.
                "PULUMI_BACKEND_URL": f"file://{STACK_STATE}?metadata=skip",
                "PULUMI_CONFIG_PASSPHRASE": _passphrase(),
                **endpoints.environment(),
            }
            exists = state.exists(STACK_STATE, PROJECT, name)
            stack = _select(
                name, engine, STATE / "stacks" / name, STATE / "pulumi", env, exists=exists
            )
            stack.release_dead_locks()
            yield stack
        else:
            yield _select(name, engine, STATE / "stacks" / name, None, {})


@contextlib.contextmanager
def validating_provider() -> Iterator[int]:
    """A provider that validates and creates nothing; its port. Ended on leaving."""
    command = [sys.executable, "-m", "localcloud.provider", "--validate-only", "--port", "0"]
    # Its standard input ends when this process does, even by `kill -9`.
    command += ["--with-parent", "--home", str(LOCAL)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, text=True
    ) as provider:
        try:
            assert provider.stdout is not None
            yield json.loads(provider.stdout.readline())["port"]
        finally:
            provider.terminate()


def _offline_environment(folder: Path, port: int) -> dict[str, str]:
    (folder / "state").mkdir()
    return {
        "PULUMI_BACKEND_URL": f"file://{folder / 'state'}",
        "PULUMI_CONFIG_PASSPHRASE": secrets.token_urlsafe(16),
        "PULUMI_DEBUG_PROVIDERS": f"gcp:{port},kubernetes:{port},docker:{port}",
    }


def _select(
    name: str,
    engine: Engine,
    folder: Path,
    home: Path | None,
    env: dict[str, str],
    checkout: Path | None = None,
    *,
    exists: bool | None = None,
) -> Stack:
    logging.getLogger("grpc._server").addFilter(_orphaned)
    quiet.hush()
    folder.mkdir(parents=True, exist_ok=True)
    settings = _write_settings(name, folder, checkout or ROOT, keep_backend=home is None)
    workspace = LocalWorkspace(
        # A new stack in a bucket is otherwise encrypted with a passphrase, whatever its file says.
        secrets_provider=settings.get("secretsprovider"),
        work_dir=str(folder),
        program=_program,
        pulumi_home=str(home) if home else None,
        pulumi_command=KnownCommand(engine.path, engine.version),
        env_vars={
            **_QUIET,
            "GOGC": os.environ.get("GOGC", _GARBAGE),
            **policies.environment(),
            **env,
        },
    )
    return Stack(name, BriefStack.open(name, workspace, exists=exists))


def _program() -> None:
    # Imported when it is run: operations that run no program need not wait for it.
    from stacks.program import program

    program()


def _orphaned(record: logging.LogRecord) -> bool:
    """Whether a failed call is worth a log line.

    An engine that stops at a violation leaves the program running without anyone to talk to.
    """
    error = record.exc_info[1] if record.exc_info else None
    return not (isinstance(error, grpc.RpcError) and "UNAVAILABLE" in str(error))


def _write_settings(
    name: str, folder: Path, checkout: Path, *, keep_backend: bool
) -> dict[str, Any]:
    """Copy the project and the stack's settings to where the engine works; the settings.

    The engine writes its encryption salt, or the key that Cloud KMS encrypted, into the settings
    file that it is given. Given a copy, it leaves the checkout clean.
    """
    project = yaml.safe_load((checkout / "Pulumi.yaml").read_text())
    for key in ("main", "stackConfigDir", *(() if keep_backend else ("backend",))):
        project.pop(key, None)
    project["runtime"] = "python"
    _write(folder / "Pulumi.yaml", project)
    settings = yaml.safe_load((checkout / f"Pulumi.{name}.yaml").read_text()) or {}
    copy = folder / f"Pulumi.{name}.yaml"
    before = (yaml.safe_load(copy.read_text()) if copy.exists() else None) or {}
    if not keep_backend:
        settings.pop("secretsprovider", None)
        settings.pop("encryptedkey", None)
        if salt := before.get("encryptionsalt"):
            settings["encryptionsalt"] = salt
    elif "encryptedkey" in before and settings.get("secretsprovider") == before.get(
        "secretsprovider"
    ):
        settings.setdefault("encryptedkey", before["encryptedkey"])
    _write(copy, settings)
    return settings


def _write(file: Path, document: Any) -> None:
    draft = file.with_suffix(f".{os.getpid()}")
    draft.write_text(yaml.safe_dump(document, sort_keys=False))
    draft.replace(file)


def _passphrase() -> str:
    """The passphrase of the local state, made once, readable by its owner only."""
    file = STATE / "passphrase"
    with contextlib.suppress(FileExistsError):
        STATE.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as handle:
            handle.write(secrets.token_urlsafe(32))
    return file.read_text()


def _without_paths(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_paths(v) for k, v in value.items() if k != "sourcePosition"}
    if isinstance(value, list):
        return [_without_paths(one) for one in value]
    return value


@contextlib.contextmanager
def _said() -> Iterator[None]:
    try:
        yield
    except automation.CommandError as error:
        raise EngineFailed(_what_it_said(str(error))) from error


def _digest_in(message: str) -> dict[str, Any]:
    """The digest in what a failed preview said; empty if there is none."""
    start = message.find("{")
    try:
        return json.JSONDecoder().raw_decode(message, start)[0] if start >= 0 else {}
    except ValueError:
        return {}


def _diagnosed(message: str) -> str:
    """The errors in the digest of a preview that failed; empty if it has none."""
    digest = _digest_in(message)
    errors = [one["message"] for one in digest.get("diagnostics", []) if one["severity"] == "error"]
    return "\n".join(error.strip() for error in errors)


def _what_it_said(message: str) -> str:
    """The engine's own words out of a CommandError, which wraps them with its streams' names."""
    lines = message.replace("\\n", "\n").splitlines()
    kept = [
        line
        for line in lines
        if line.strip() and line.strip() not in ("stdout:", "stderr:") and "code:" not in line[:8]
    ]
    errors = [i for i, line in enumerate(kept) if "Diagnostics:" in line or "error:" in line]
    return "\n".join(kept[errors[0] :] if errors else kept[-20:])

"""A small local cloud for the provider's own tests: home, services, provider, engine."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import psutil
import pytest
from pulumi import automation

from esteira.engine import install, state
from esteira.engine.brief import BriefStack, KnownCommand
from localcloud.home import Endpoints, Home
from localcloud.services import bigquery
from tests.tied import tied

ROOT = Path(__file__).resolve().parents[3]
READY_SECONDS = 90.0
PROJECT = "provider-test"
STACK = "test"


@dataclass
class Cloud:
    """Services of one home, as processes of this test run."""

    home: Home
    folder: Path
    children: dict[str, subprocess.Popen[bytes]]

    @property
    def endpoints(self) -> Endpoints:
        return self.home.endpoints()

    def start(self, service: str) -> None:
        """Start a service if it does not run, and wait until its port accepts."""
        child = self.children.get(service)
        if child is not None and child.poll() is None:
            return
        log = (self.folder / f"{service}.log").open("ab")
        launch = command(service, self.home)
        self.children[service] = subprocess.Popen(
            tied(launch.words),
            cwd=ROOT,
            env={**os.environ, **launch.env},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        wait_for_port(self.endpoints.ports[service], self.children[service])

    def kill(self, service: str) -> None:
        """End a service at once, as `kill -9` does."""
        self.children[service].kill()
        self.children.pop(service).wait()

    def stop(self) -> None:
        """End everything that was started here, with its children."""
        for child in self.children.values():
            end(child.pid)
        for child in self.children.values():
            child.wait()


def command(service: str, home: Home) -> bigquery.Command:
    if service == "bigquery":
        try:
            return bigquery.command(home, home.endpoints())
        except bigquery.BigQueryNotInstalled as missing:
            pytest.skip(str(missing))
    module = {"rest": "localcloud.rest", "provider": "localcloud.provider"}.get(
        service, f"localcloud.services.{service}"
    )
    return bigquery.Command([sys.executable, "-m", module, "--home", str(home.path)], {})


def wait_for_port(port: int, child: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        if child.poll() is not None:
            raise AssertionError(f"{child.args} ended with {child.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
            return
        except OSError:
            time.sleep(0.05)
    raise AssertionError(f"nothing listens on {port} after {READY_SECONDS} s")


def end(pid: int) -> None:
    try:
        parent = psutil.Process(pid)
        family = [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for process in family:
        try:
            process.terminate()
        except psutil.NoSuchProcess:
            continue
    for process in psutil.wait_procs(family, 5)[1]:
        process.kill()


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """Pub/Sub, Storage and the provider run; a test that needs another service starts it."""
    folder = tmp_path_factory.mktemp("cloud")
    home = Home(folder / ".esteira" / "local")
    home.reserve()
    cloud = Cloud(home, folder, {})
    try:
        for service in ("pubsub", "storage", "provider"):
            cloud.start(service)
        yield cloud
    finally:
        cloud.stop()


@pytest.fixture(scope="session")
def engine() -> install.Engine:
    """A Pulumi engine."""
    found = install.find()
    if found is None:
        pytest.skip("no Pulumi engine on PATH or in .esteira/bin; `esteira doctor` tells how")
    return found


@pytest.fixture(scope="session")
def fresh(engine: install.Engine, tmp_path_factory: pytest.TempPathFactory) -> Fresh:
    """A stack that the engine has just made: a copy of it is another."""
    folder = tmp_path_factory.mktemp("fresh")
    made = Deployment(environment(folder, 0), folder, {}, engine)
    salt = made.stack(nothing).workspace.stack_settings(STACK).encryption_salt
    assert salt is not None
    return Fresh(folder, salt)


@dataclass(frozen=True)
class Fresh:
    """A stack without resources, to be copied."""

    work: Path
    salt: str

    def copy(self, work: Path) -> None:
        """Make a stack of the same name and passphrase in another folder."""
        shutil.copytree(self.work / ".pulumi", work / ".pulumi")


@dataclass
class Upped:
    """What an `up` did."""

    work: Path
    changes: dict[str, int]

    @cached_property
    def outputs(self) -> dict[str, Any]:
        """The stack's outputs as they are when they are first asked for; `[secret]` is one."""
        read = state.outputs(self.work, PROJECT, STACK)
        assert read is not None
        return read


@dataclass
class Deployment:
    """One stack of inline programs on the engine."""

    environment: dict[str, str]
    work: Path
    config: dict[str, str]
    engine: install.Engine
    name: str = STACK
    fresh: Fresh | None = None
    made: BriefStack | None = None

    def stack(self, program: Callable[[], Any]) -> BriefStack:
        if self.made is None:
            self.made = self._make()
        self.made.workspace.program = program
        return self.made

    def _make(self) -> BriefStack:
        settings = automation.ProjectSettings(
            name=PROJECT,
            runtime="python",
            backend=automation.ProjectBackend(url=backend(self.work)),
        )
        settings.main = str(ROOT)
        salt = None
        if self.fresh is not None:
            self.fresh.copy(self.work)
            salt = self.fresh.salt
        own = automation.StackSettings(config=dict(self.config), encryption_salt=salt)
        workspace = automation.LocalWorkspace(
            project_settings=settings,
            stack_settings={self.name: own},
            program=nothing,
            env_vars=self.environment,
            work_dir=str(self.work),
            pulumi_command=KnownCommand(self.engine.path, self.engine.version),
        )
        return BriefStack.open(self.name, workspace, exists=self.fresh is not None)

    def up(self, program: Callable[[], Any]) -> Upped:
        stack = self.stack(program)
        with stack.brief() as summary:
            stack.up(suppress_outputs=True, on_event=summary)
        return Upped(self.work, summary.changes)

    def preview(self, program: Callable[[], Any]) -> dict[str, int]:
        """The number of resources by operation."""
        stack = self.stack(program)
        with stack.brief() as summary:
            stack.preview(suppress_outputs=True, on_event=summary)
        return summary.changes

    def refresh(self) -> dict[str, int]:
        stack = self.stack(nothing)
        with stack.brief() as summary:
            stack.refresh(suppress_outputs=True, on_event=summary)
        return summary.changes

    def destroy(self) -> dict[str, int]:
        stack = self.stack(nothing)
        with stack.brief() as summary:
            stack.destroy(suppress_outputs=True, on_event=summary)
        return summary.changes

    def export(self) -> list[dict[str, Any]]:
        deployment = self.stack(nothing).export_stack().deployment
        assert deployment is not None
        return deployment.get("resources", [])


def backend(folder: Path) -> str:
    """State in a folder, without the side files whose writing a kill leaves half done.

    The engine then could not load the state at all ("failed to load checkpoint: EOF").
    """
    return f"file://{folder}?metadata=skip"


def nothing() -> None:
    """A program without resources."""


def changes(result: Upped) -> dict[str, int]:
    """The number of resources by operation, without those that stayed."""
    return {name: count for name, count in result.changes.items() if name != "same"}


@pytest.fixture
def deploy(cloud: Cloud, engine: install.Engine, fresh: Fresh, tmp_path: Path) -> Deployment:
    """A fresh stack against the cloud, in a project of its own."""
    cloud.start("provider")
    port = cloud.endpoints.ports["provider"]
    return deployment(engine, fresh, tmp_path, port)


def deployment(engine: install.Engine, fresh: Fresh, folder: Path, port: int) -> Deployment:
    work = folder / "work"
    work.mkdir()
    config = {"gcp:project": f"p-{uuid.uuid4().hex[:8]}", "gcp:region": "us-central1"}
    return Deployment(environment(folder, port), work, config, engine, fresh=fresh)


def environment(folder: Path, port: int) -> dict[str, str]:
    """What the engine is told: the provider at `port`, and a home in `folder`."""
    return {
        **cloud_free_environment(),
        "PULUMI_DEBUG_PROVIDERS": f"gcp:{port},kubernetes:{port},docker:{port}",
        "PULUMI_CONFIG_PASSPHRASE": "test",
        "PULUMI_HOME": str(folder / "pulumi-home"),
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
    }


def cloud_free_environment() -> dict[str, str]:
    return {name: "" for name in os.environ if name.startswith(("PULUMI_", "GOOGLE_"))}

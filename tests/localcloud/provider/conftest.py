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

from esteira.engine.brief import BriefStack
from localcloud.home import Endpoints, Home

ROOT = Path(__file__).resolve().parents[3]
READY_SECONDS = 90.0


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
        self.children[service] = subprocess.Popen(
            command(service, self.home), cwd=ROOT, stdout=log, stderr=log, start_new_session=True
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


def command(service: str, home: Home) -> list[str]:
    if service == "bigquery":
        ports = home.endpoints().ports
        emulator = ROOT / ".esteira/venvs/bigquery/bin/local-bigquery"
        if not emulator.exists():
            pytest.skip("no BigQuery emulator in .esteira/venvs/bigquery; `make test` sets it up")
        return [
            *(str(emulator), "--host", "127.0.0.1", "--port", str(ports["bigquery"])),
            *("--grpc-port", str(ports["bigquery_storage"])),
            *("--data-dir", str(home.folder("bigquery"))),
        ]
    module = {"rest": "localcloud.rest", "provider": "localcloud.provider"}.get(
        service, f"localcloud.services.{service}"
    )
    return [sys.executable, "-m", module, "--home", str(home.path)]


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


def engine_folder() -> Path | None:
    own = ROOT / ".esteira" / "bin" / "pulumi"
    if own.exists():
        return own.parent
    found = shutil.which("pulumi")
    return Path(found).parent if found else None


@pytest.fixture(scope="session")
def engine() -> Path:
    """The folder of a Pulumi engine."""
    folder = engine_folder()
    if folder is None:
        pytest.skip("no Pulumi engine on PATH or in .esteira/bin; `esteira doctor` tells how")
    return folder


@dataclass
class Upped:
    """What an `up` did."""

    stack: BriefStack
    changes: dict[str, int]

    @cached_property
    def outputs(self) -> Any:
        """The stack's outputs, read when they are asked for."""
        return self.stack.outputs()


@dataclass
class Deployment:
    """One stack of inline programs on the engine."""

    environment: dict[str, str]
    work: Path
    config: dict[str, str]
    name: str = "test"
    made: BriefStack | None = None

    def stack(self, program: Callable[[], Any]) -> BriefStack:
        if self.made is None:
            self.made = self._make()
        self.made.workspace.program = program
        return self.made

    def _make(self) -> BriefStack:
        settings = automation.ProjectSettings(
            name="provider-test",
            runtime="python",
            backend=automation.ProjectBackend(url=backend(self.work)),
        )
        settings.main = str(ROOT)
        workspace = automation.LocalWorkspace(
            project_settings=settings,
            stack_settings={self.name: automation.StackSettings(config=dict(self.config))},
            program=nothing,
            env_vars=self.environment,
            work_dir=str(self.work),
            pulumi_command=automation.PulumiCommand(self.environment["ENGINE"]),
        )
        return BriefStack.open(self.name, workspace)

    def up(self, program: Callable[[], Any]) -> Upped:
        stack = self.stack(program)
        with stack.brief() as summary:
            stack.up(suppress_outputs=True, on_event=summary)
        return Upped(stack, summary.changes)

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
def deploy(cloud: Cloud, engine: Path, tmp_path: Path) -> Deployment:
    """A fresh stack against the cloud, in a project of its own."""
    cloud.start("provider")
    port = cloud.endpoints.ports["provider"]
    return deployment(engine, tmp_path, port)


def deployment(engine: Path, folder: Path, port: int) -> Deployment:
    environment = {
        **cloud_free_environment(),
        "PATH": f"{engine}{os.pathsep}{os.environ['PATH']}",
        "ENGINE": str(engine.parent),
        "PULUMI_DEBUG_PROVIDERS": f"gcp:{port},kubernetes:{port},docker:{port}",
        "PULUMI_CONFIG_PASSPHRASE": "test",
        "PULUMI_HOME": str(folder / "pulumi-home"),
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
    }
    work = folder / "work"
    work.mkdir()
    project = f"p-{uuid.uuid4().hex[:8]}"
    return Deployment(environment, work, {"gcp:project": project, "gcp:region": "us-central1"})


def cloud_free_environment() -> dict[str, str]:
    return {name: "" for name in os.environ if name.startswith(("PULUMI_", "GOOGLE_"))}

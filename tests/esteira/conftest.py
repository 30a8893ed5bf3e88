"""A project on this machine: the local APIs over HTTP, with Google's own client before them."""

from __future__ import annotations

import asyncio
import copy
import itertools
import json
import re
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from google.auth.credentials import AnonymousCredentials

from esteira.project.calls import Call, Calls
from esteira.project.clients import Google
from localcloud.home import LOOPBACK, Home
from localcloud.rest.app import build_app
from localcloud.services import project as project_service
from localcloud.services.storage.app import build_app as build_storage
from localcloud.services.storage.service import CloudStorage

_NUMBERS = itertools.count(1)


@dataclass
class Gate:
    """Stands before an application and answers in its place where it is told to."""

    app: Any
    rules: list[tuple[str, re.Pattern[str], int, dict[str, Any]]] = field(default_factory=list)

    def refuse(self, method: str, path: str, code: int, **error: Any) -> None:
        """Answer requests whose path matches with an error, as Google words it."""
        body = {"error": {"code": code, **error}}
        self.rules.append((method, re.compile(path), code, body))

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            for method, path, code, body in self.rules:
                if method == scope["method"] and path.search(scope["path"]):
                    headers = [(b"content-type", b"application/json")]
                    await send({"type": "http.response.start", "status": code, "headers": headers})
                    await send({"type": "http.response.body", "body": json.dumps(body).encode()})
                    return
        await self.app(scope, receive, send)


class Server:
    """An application on a free port, in a thread."""

    def __init__(self, app: Any, listener: socket.socket) -> None:
        self.gate = Gate(app)
        self._listener = listener
        # Clients outlive the test that made them, and so do their connections.
        config = uvicorn.Config(
            self.gate, log_level="warning", lifespan="on", timeout_keep_alive=600
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._ready = threading.Event()

    def _run(self) -> None:
        async def run() -> None:
            self._ready.set()
            await self._server.serve(sockets=[self._listener])

        asyncio.run(run())

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(10)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(10)
        self._listener.close()


def listen() -> tuple[socket.socket, str]:
    # asyncio sends at once only on sockets that say they are TCP's: others cost 40 ms an answer.
    listener = socket.socket(proto=socket.IPPROTO_TCP)
    listener.bind((LOOPBACK, 0))
    return listener, f"http://{LOOPBACK}:{listener.getsockname()[1]}"


class Servers:
    """The local APIs that a project has."""

    def __init__(self, folder: Path) -> None:
        rest_socket, self.url = listen()
        storage_socket, self.storage_url = listen()
        home = Home(folder / "home")
        self.rest = Server(build_app([project_service.service(home)]), rest_socket)
        storage = CloudStorage(folder / "storage", self.storage_url, lambda: "")
        self.storage = Server(build_storage(storage), storage_socket)
        self.google = Google(
            "", AnonymousCredentials(), endpoint=self.url, storage=self.storage_url
        )

    def __enter__(self) -> Servers:
        self.rest.start()
        self.storage.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.rest.stop()
        self.storage.stop()


class Killed(BaseException):
    """The process died."""


class Cloud:
    """The project's APIs and its Cloud Storage."""

    Killed = Killed

    def __init__(self, servers: Servers, project: str) -> None:
        self.project = project
        self.gate, self.storage_gate = servers.rest.gate, servers.storage.gate
        # Its clients are those of all projects here: building one reads a document of megabytes.
        self.google = copy.copy(servers.google)
        self.google.project = project
        self.storage_url = servers.storage_url
        self.waited: list[float] = []

    def calls(self, *, dry_run: bool = False, after: int | None = None) -> Calls:
        """Calls that never wait; with `after`, the process dies before that call."""
        made: list[Call] = []

        def watch(call: Call) -> None:
            if after is not None and len(made) >= after:
                raise Killed(f"before {call.method} {call.url}")
            made.append(call)

        calls = Calls(self.google, dry_run=dry_run, watch=watch, sleep=self.waited.append)
        calls.__dict__["made"] = made
        return calls

    def api(self, name: str, version: str) -> Any:
        return self.google.api(name, version)

    def deny(self, permission: str) -> None:
        """Deny a permission to everybody, by a deny policy."""
        api, _, rest = permission.partition(".")
        rule = {"denyRule": {"deniedPermissions": [f"{api}.googleapis.com/{rest}"]}}
        self.api("iam", "v2").policies().createPolicy(
            parent=f"policies/cloudresourcemanager.googleapis.com%2Fprojects%2F{self.project}/denypolicies",
            policyId=permission.lower().replace(".", "-"),
            body={"rules": [rule]},
        ).execute()

    def restrict(self, constraint: str, **rule: Any) -> None:
        """Set an organisation policy on the project."""
        self.switch_on("orgpolicy")
        self.api("orgpolicy", "v2").projects().policies().create(
            parent=f"projects/{self.project}",
            body={
                "name": f"projects/{self.project}/policies/{constraint}",
                "spec": {"rules": [rule]},
            },
        ).execute()

    def switch_on(self, *apis: str) -> None:
        for api in apis:
            name = f"projects/{self.project}/services/{api}.googleapis.com"
            self.api("serviceusage", "v1").services().enable(name=name, body={}).execute()

    def switch_off(self, api: str) -> None:
        name = f"projects/{self.project}/services/{api}.googleapis.com"
        self.api("serviceusage", "v1").services().disable(name=name, body={}).execute()

    def unbill(self) -> None:
        """Take the project's billing account away."""
        self.switch_on("cloudbilling")
        self.api("cloudbilling", "v1").projects().updateBillingInfo(
            name=f"projects/{self.project}", body={"billingAccountName": ""}
        ).execute()


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with Servers(tmp_path_factory.mktemp("cloud")) as running:
        yield running


@pytest.fixture
def cloud(servers: Servers) -> Iterator[Cloud]:
    """A project that nobody used before."""
    yield Cloud(servers, f"acme-{next(_NUMBERS)}-dev")
    servers.rest.gate.rules.clear()
    servers.storage.gate.rules.clear()


@pytest.fixture
def folder(tmp_path: Path, cloud: Cloud) -> Path:
    """A checkout with one stack."""
    made = tmp_path / "checkout"
    made.mkdir()
    (made / "Pulumi.dev.yaml").write_text(
        "# A comment that stays.\nconfig:\n  esteira:environment: dev\n"
        f"  esteira:project: {cloud.project}\n  esteira:location: us-central1\n"
    )
    return made

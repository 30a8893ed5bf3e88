"""How the application answers: errors in Google's shape, and nothing pretended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import httpx
import pytest

from localcloud.rest.app import MAX_BODY_BYTES, Request, build_app
from localcloud.rest.discovery import Api
from localcloud.rest.errors import NotFound
from localcloud.rest.operations import Operations
from localcloud.rest.store import Documents

JOBS = "/v1/projects/p/locations/l/jobs"


class Scheduler:
    """A service with two methods of its API."""

    def __init__(self, folder: Path) -> None:
        self.apis = [Api.load("cloudscheduler", "v1")]
        self.running = False
        self.seen: list[Request] = []
        self.handlers = {
            "cloudscheduler.projects.locations.jobs.create": self.create,
            "cloudscheduler.projects.locations.jobs.get": self.get,
            "cloudscheduler.projects.locations.jobs.list": self.broken,
        }

    async def start(self) -> None:
        self.running = True

    async def stop(self) -> None:
        self.running = False

    async def create(self, request: Request) -> dict[str, Any]:
        self.seen.append(request)
        return request.body

    async def get(self, request: Request) -> dict[str, Any]:
        raise NotFound(f"Job {request.path['name']} not found.")

    async def broken(self, request: Request) -> dict[str, Any]:
        raise ZeroDivisionError("a bug")


@pytest.fixture
def scheduler(tmp_path: Path) -> Scheduler:
    return Scheduler(tmp_path)


@pytest.fixture
def call(scheduler: Scheduler) -> Callable[..., httpx.Response]:
    app = build_app([scheduler])

    def send(method: str, path: str, **more: Any) -> httpx.Response:
        async def go() -> httpx.Response:
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://local") as client:
                return await client.request(method, path, **more)

        return asyncio.run(go())

    return send


def test_a_checked_request_reaches_its_handler(scheduler: Scheduler, call: Any) -> None:
    answer = call("POST", JOBS, json={"time_zone": "UTC"})
    assert (answer.status_code, answer.json()) == (200, {"timeZone": "UTC"})
    assert scheduler.seen[0].path == {"parent": "projects/p/locations/l"}


def test_an_unknown_field_is_400_and_reaches_nobody(scheduler: Scheduler, call: Any) -> None:
    answer = call("POST", JOBS, json={"timezone": "UTC"})
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["status"] == "INVALID_ARGUMENT"
    assert error["details"][0]["@type"] == "type.googleapis.com/google.rpc.BadRequest"
    assert not scheduler.seen


def test_text_that_is_not_json_is_400(call: Any) -> None:
    answer = call("POST", JOBS, content=b"{")
    assert answer.status_code == 400
    assert "Invalid JSON payload received" in answer.json()["error"]["message"]


def test_an_error_has_googles_shape(call: Any) -> None:
    assert call("GET", f"{JOBS}/a").json() == {
        "error": {
            "code": 404,
            "message": "Job projects/p/locations/l/jobs/a not found.",
            "status": "NOT_FOUND",
        }
    }


def test_what_google_has_and_we_lack_is_501_and_named(call: Any) -> None:
    answer = call("POST", f"{JOBS}/a:pause", json={})
    assert answer.status_code == 501
    error = answer.json()["error"]
    assert error["status"] == "UNIMPLEMENTED"
    assert "cloudscheduler.projects.locations.jobs.pause" in error["message"]


def test_what_nobody_has_is_404(call: Any) -> None:
    assert call("GET", "/v7/nothing").status_code == 404


def test_a_bug_is_500_and_says_what_happened(call: Any) -> None:
    answer = call("GET", JOBS)
    assert answer.status_code == 500
    assert "ZeroDivisionError: a bug" in answer.json()["error"]["message"]


def test_a_body_over_the_limit_is_refused(call: Any) -> None:
    answer = call("POST", JOBS, content=b" " * (MAX_BODY_BYTES + 1))
    assert (answer.status_code, answer.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")


def test_health(call: Any) -> None:
    assert call("GET", "/healthz").status_code == 200


class TestOperations:
    @pytest.fixture
    def documents(self, tmp_path: Path) -> Documents:
        return Documents(tmp_path / "x.sqlite")

    @staticmethod
    def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run(coroutine)

    def test_quick_work_is_done_when_it_is_answered(self, documents: Documents) -> None:
        async def work() -> dict[str, Any]:
            return {"@type": "t"}

        operation = self.run(Operations(documents).start("projects/p", work()))
        assert operation["done"]
        assert operation["response"] == {"@type": "t"}

    def test_slow_work_is_waited_for(self, documents: Documents) -> None:
        async def scenario() -> None:
            operations, gate = Operations(documents), asyncio.Event()

            async def work() -> dict[str, Any]:
                await gate.wait()
                return {}

            begun = await operations.start("projects/p", work(), grace=0.01)
            assert "done" not in begun
            gate.set()
            assert (await operations.wait(begun["name"]))["done"]

        self.run(scenario())

    def test_an_error_is_kept_with_its_rpc_code(self, documents: Documents) -> None:
        async def work() -> dict[str, Any]:
            raise NotFound("gone")

        operation = self.run(Operations(documents).start("projects/p", work()))
        assert operation["error"] == {"code": 5, "message": "gone"}

    def test_a_cancelled_operation_says_so(self, documents: Documents) -> None:
        async def scenario() -> dict[str, Any]:
            operations = Operations(documents)
            begun = await operations.start("p", asyncio.Event().wait(), grace=0.01)  # type: ignore[arg-type]
            operations.cancel(begun["name"])
            return await operations.wait(begun["name"])

        assert self.run(scenario())["error"]["code"] == 1

    def test_an_operation_cut_by_a_crash_is_aborted_after_the_restart(
        self, documents: Documents
    ) -> None:
        async def scenario() -> str:
            operations = Operations(documents)
            begun = await operations.start("p", asyncio.Event().wait(), grace=0.01)  # type: ignore[arg-type]
            await operations.stop()
            return begun["name"]

        name = self.run(scenario())
        later = Operations(documents)
        assert "done" not in later.get(name)
        assert later.recover() == 1
        assert later.get(name)["error"]["code"] == 10

    def test_finished_operations_do_not_pile_up_for_ever(self, documents: Documents) -> None:
        operations = Operations(documents)

        async def nothing() -> dict[str, Any]:
            return {}

        async def scenario() -> None:
            for _ in range(2100):
                operations.finished("p", {})
            await operations.start("p", nothing())

        self.run(scenario())
        assert len(operations.list("p")) <= 1001

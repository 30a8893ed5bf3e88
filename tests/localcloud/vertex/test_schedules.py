"""Schedules start pipeline jobs when their time has come; the clock is the test's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from localcloud.home import Home
from localcloud.processes import Supervisor
from localcloud.rest.app import Request
from localcloud.rest.operations import Operations
from localcloud.rest.store import Documents
from localcloud.services.vertex.pipeline_jobs import PipelineJobs
from localcloud.services.vertex.schedules import Schedules

from . import pipelines

PARENT = "projects/p/locations/l"


class Bench:
    """Schedules and jobs without HTTP around them."""

    def __init__(self, folder: Path) -> None:
        self.now = datetime.now(UTC)
        self.home = Home(folder / "home")
        self.documents = Documents(folder / "vertex.sqlite")
        operations = Operations(self.documents)
        self.supervisor = Supervisor(self.home)
        self.jobs = PipelineJobs(self.home, self.documents, operations, self.supervisor)
        self.schedules = Schedules(self.documents, operations, self.jobs, lambda: self.now)

    async def create(self, spec: dict[str, Any], **changes: Any) -> dict[str, Any]:
        job = {"pipelineSpec": spec, "runtimeConfig": {"gcsOutputDirectory": "gs://models/x"}}
        body = {
            "displayName": "nightly",
            "cron": "TZ=America/Sao_Paulo 30 3 * * *",
            "maxConcurrentRunCount": "1",
            "createPipelineJobRequest": {"parent": PARENT, "pipelineJob": job},
            **changes,
        }
        return await self.schedules.create(Request("create", {"parent": PARENT}, {}, body, b""))

    async def call(self, method: Callable[..., Awaitable[Any]], name: str, **body: Any) -> Any:
        return await method(Request("m", {"name": name}, {}, body, b""))

    async def at(self, moment: datetime) -> None:
        """Set the clock and let the loop act on it."""
        self.now = moment
        self.schedules.wake()
        await self.schedules.idle()

    async def started(self) -> list[dict[str, Any]]:
        found = await self.jobs.list(Request("list", {"parent": PARENT}, {}, None, b""))
        return found["pipelineJobs"]


@asynccontextmanager
async def running(bench: Bench) -> AsyncIterator[Bench]:
    bench.schedules.start()
    try:
        yield bench
    finally:
        await bench.schedules.stop()
        await bench.jobs.stop()
        await bench.supervisor.close()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture
def spec(tmp_path: Path) -> dict[str, Any]:
    return yaml.safe_load(Path(pipelines.compiled(pipelines.looking, tmp_path)).read_text())


def due(schedule: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(schedule["nextRunTime"])


def test_a_run_starts_when_it_is_due_and_really_runs(bench: Bench, spec: dict[str, Any]) -> None:
    async def scenario() -> None:
        async with running(bench):
            schedule = await bench.create(spec, maxRunCount="1")
            first = due(schedule)
            # 03:30 in Sao Paulo, which is three hours behind UTC.
            assert (first.hour, first.minute) == (6, 30)
            await bench.at(first - timedelta(seconds=1))
            assert await bench.started() == []
            await bench.at(first)
            (job,) = await bench.started()
            assert job["scheduleName"] == schedule["name"]
            await bench.jobs.wait(job["name"])
            assert (await bench.started())[0]["state"] == "PIPELINE_STATE_SUCCEEDED"
            shown = await bench.call(bench.schedules.get, schedule["name"])
            assert (shown["state"], shown["startedRunCount"]) == ("COMPLETED", "1")
            assert "nextRunTime" not in shown
            await bench.at(first + timedelta(days=3))
            assert len(await bench.started()) == 1

    asyncio.run(scenario())


def test_a_paused_schedule_misses_its_runs_unless_it_catches_up(
    bench: Bench, spec: dict[str, Any]
) -> None:
    async def scenario() -> None:
        async with running(bench):
            schedule = await bench.create(spec)
            first = due(schedule)
            await bench.call(bench.schedules.pause, schedule["name"])
            await bench.at(first + timedelta(days=2))
            assert await bench.started() == []
            await bench.call(bench.schedules.resume, schedule["name"])
            await bench.at(bench.now)
            assert await bench.started() == []
            await bench.call(bench.schedules.pause, schedule["name"])
            await bench.at(first + timedelta(days=4, minutes=1))
            await bench.call(bench.schedules.resume, schedule["name"], catchUp=True)
            await bench.at(bench.now)
            # Those of the third and the fourth day.
            assert len(await bench.started()) == 2

    asyncio.run(scenario())


def test_runs_missed_while_the_service_was_down_are_skipped(
    bench: Bench, spec: dict[str, Any]
) -> None:
    async def scenario() -> None:
        schedule = await bench.create(spec)
        bench.now = due(schedule) + timedelta(days=5)
        async with running(bench):
            await bench.schedules.idle()
            assert await bench.started() == []
            shown = await bench.call(bench.schedules.get, schedule["name"])
            assert bench.now < due(shown) <= bench.now + timedelta(days=1)

    asyncio.run(scenario())


def test_no_more_runs_at_once_than_allowed(bench: Bench, spec: dict[str, Any]) -> None:
    async def scenario() -> None:
        async with running(bench):
            schedule = await bench.create(spec, maxConcurrentActiveRunCount="1", cron="0 * * * *")
            first = due(schedule)
            await bench.at(first)
            await bench.at(first + timedelta(hours=1))
            assert len(await bench.started()) == 1

    asyncio.run(scenario())


def test_nothing_starts_after_the_end_time(bench: Bench, spec: dict[str, Any]) -> None:
    async def scenario() -> None:
        async with running(bench):
            end = (bench.now + timedelta(minutes=1)).isoformat()
            schedule = await bench.create(spec, endTime=end, cron="0 0 1 1 *")
            await bench.at(bench.now + timedelta(days=400))
            assert await bench.started() == []
            shown = await bench.call(bench.schedules.get, schedule["name"])
            assert shown["state"] == "COMPLETED"

    asyncio.run(scenario())

"""What holds for all tests: which of them share a worker, and which examples are tried."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from xdist.scheduler import LoadScopeScheduling

# Tests share the processors, and threads of OpenMP and OpenBLAS that wait for one another spin: of
# three trainings side by side on two processors each took four times as much of them.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# The same examples on every run, so that a failure is one of the change at hand. To look for new
# ones: `.venv/bin/python -m pytest --hypothesis-profile=explore`.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("explore", deadline=None, max_examples=2_000)
settings.load_profile("repeatable")

# The longest first, so that none is left over at the end; of two that fit, the first counts.
FIXTURES: Final = {
    "platform": "platform",
    "_processes": "cloud",
    # MLflow takes 8 s to start, so that whoever needs it alone goes with those who need all.
    "tracking_cloud": "cloud",
    "_postgres": "records",
}
"""Fixtures that are dear, and the name of those who share them: they go to one worker, which makes
each once."""
FOLDERS: Final = (
    "tests/workloads/ingestion/",
    "tests/localcloud/provider/",
    "tests/localcloud/vertex/",
    "tests/stacks/",
)
"""Folders all of whose tests share what is dear. Elsewhere those of a file go to one worker."""


GROUPS: Final = "ESTEIRA_TEST_GROUPS"
"""Names the file by which workers tell the scheduler who belongs together: it sees
tests by their names alone, and only workers know their fixtures."""


def pytest_configure(config: pytest.Config) -> None:
    """Name the file, before workers are started. Who collects looks for no garbage meanwhile."""
    if hasattr(config, "workerinput") or config.getoption("dist", "no") == "no":
        gc.disable()
    else:
        os.environ[GROUPS] = tempfile.mkstemp(prefix="esteira-groups-", suffix=".json")[1]


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the file."""
    if not hasattr(config, "workerinput") and GROUPS in os.environ:
        Path(os.environ.pop(GROUPS)).unlink(missing_ok=True)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with those who take longest, and tell who shares a worker."""
    groups = {item.nodeid: _group(item) for item in items}
    items.sort(key=lambda item: groups[item.nodeid][0])
    if hasattr(config, "workerinput") and GROUPS in os.environ:
        path = Path(os.environ[GROUPS])
        # Every worker writes the same, at once or not.
        draft = path.with_suffix(f".{os.getpid()}")
        draft.write_text(json.dumps({name: group for name, (_, group) in groups.items()}))
        draft.replace(path)


def pytest_collection_finish() -> None:
    """Look for garbage again, but not among all that was imported, which took half a second each
    time."""
    gc.freeze()
    gc.enable()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """Send tests of one group to one worker."""
    from xdist.scheduler import LoadScopeScheduling

    class ByGroup(LoadScopeScheduling):
        groups: dict[str, str] | None = None

        def _split_scope(self, nodeid: str) -> str:
            if self.groups is None:
                self.groups = json.loads(Path(os.environ[GROUPS]).read_text())
            return self.groups[nodeid]

    return ByGroup(config, log)


def _group(item: pytest.Item) -> tuple[int, str]:
    used = set(getattr(item, "fixturenames", ()))
    for rank, (fixture, name) in enumerate(FIXTURES.items()):
        if fixture in used:
            return rank, name
    for rank, folder in enumerate(FOLDERS, len(FIXTURES)):
        if item.nodeid.startswith(folder):
            return rank, folder
    return len(FIXTURES) + len(FOLDERS), item.nodeid.split("::", 1)[0]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Give the main thread an event loop: Pulumi's mocks ask for one, and a test that ran before
    may have closed it, as `asyncio.run` does."""
    del item
    try:
        asyncio.get_event_loop_policy().get_event_loop()
    except RuntimeError:
        asyncio.set_event_loop(asyncio.new_event_loop())


class _Unserved:
    """Takes hooks and runs none, as the mocks do."""

    def register_resource_hook(self, hook: object) -> None:
        """Nobody will ask for it."""


@pytest.fixture(scope="session", autouse=True)
def _no_servers_for_mocks() -> Iterator[None]:
    """Keep Pulumi's SDK from starting servers for hooks that its mocks never run.

    Each program with a hook started two or three, of asyncio's gRPC, whose own thread goes on
    handing events to the loop that later tests run on; a worker was once ended by a segmentation
    fault there.
    """
    from pulumi.runtime import mocks, resource, settings

    serve = settings._get_callbacks

    async def callbacks() -> Any:
        mocked = isinstance(settings.get_monitor(), mocks.MockMonitor)
        return _Unserved() if mocked else await serve()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resource, "_get_callbacks", callbacks)
        yield

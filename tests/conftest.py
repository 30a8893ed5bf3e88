"""What holds for all tests: which of them share a worker, and which examples are tried."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from xdist.scheduler import LoadScopeScheduling

# The same examples on every run, so that a failure is one of the change at hand. To look for new
# ones: `.venv/bin/python -m pytest --hypothesis-profile=explore`.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("explore", deadline=None, max_examples=2_000)
settings.load_profile("repeatable")

TOGETHER: Final = (
    "tests/e2e/",
    "tests/workloads/ingestion/",
    "tests/workloads/",
    "tests/localcloud/provider/",
    "tests/stacks/",
)
"""Folders whose tests share dear fixtures: each goes to one worker, so that its platform, local
cloud or engine is made once. The longest first, so that none is left over at the end; of two that
fit, the first counts."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest."""
    items.sort(key=lambda item: _rank(item.nodeid))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Give the main thread an event loop: Pulumi's mocks ask for one, and a test that ran before
    may have closed it, as `asyncio.run` does."""
    del item
    try:
        asyncio.get_event_loop_policy().get_event_loop()
    except RuntimeError:
        asyncio.set_event_loop(asyncio.new_event_loop())


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """Tests of a folder in `TOGETHER` share a worker, and elsewhere those of a file."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFixtures(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            rank = _rank(nodeid)
            return TOGETHER[rank] if rank < len(TOGETHER) else nodeid.split("::", 1)[0]

    return ByFixtures(config, log)


def _rank(nodeid: str) -> int:
    return next((n for n, one in enumerate(TOGETHER) if nodeid.startswith(one)), len(TOGETHER))

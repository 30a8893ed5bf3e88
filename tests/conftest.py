"""What holds for all tests: which of them share a worker, and which examples are tried."""

from __future__ import annotations

import asyncio
from typing import Final

import pytest
from hypothesis import settings

# The same examples on every run, so that a failure is one of the change at hand. To look for new
# ones: `.venv/bin/python -m pytest --hypothesis-profile=explore`.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("explore", deadline=None, max_examples=2_000)
settings.load_profile("repeatable")

# The longest first, so that none is left over at the end; of two that fit, the first counts.
FIXTURES: Final = {
    "platform": "platform",
    "_processes": "cloud",
    "_postgres": "releases",
    "tracking_cloud": "tracking",
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


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Say who shares a worker (`--dist loadgroup`), and begin with those who take longest."""
    ranks: dict[str, int] = {}
    for item in items:
        rank, group = _group(item)
        item.add_marker(pytest.mark.xdist_group(group))
        ranks[item.nodeid] = rank
    items.sort(key=lambda item: ranks[item.nodeid])


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

"""One whole platform for all tests of this folder: a local cloud of its own, the demonstration run
on it once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from esteira.engine.install import find
from tests.e2e.driver import Platform


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """The platform after an `up` that was killed midway and `esteira demo --json`; its report is in
    `report`."""
    if find() is None:
        pytest.skip("no Pulumi engine here; `esteira doctor` says how to get one")
    one = Platform(tmp_path_factory.mktemp("platform"))
    try:
        one.kill_up_midway()
        one.report = one.json("demo", "--json", timeout=600)
        yield one
    finally:
        one.esteira("local", "stop")

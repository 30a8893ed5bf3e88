"""The benchmark of the platform's program, on programs that do next to nothing."""

from __future__ import annotations

import pytest

from benchmarks import platform


@pytest.mark.long
def test_a_trivial_program_is_measured_in_a_process_of_its_own() -> None:
    found = platform.one("trivial", "local", 3)
    assert list(found["seconds"]) == list(platform.OPERATIONS)
    assert all(seconds > 0 for seconds in found["seconds"].values())
    # Three topics, the stack itself and its provider.
    assert 3 <= found["resources"] <= 5


@pytest.mark.long
def test_only_what_is_asked_for_is_measured() -> None:
    found = platform.one("empty", "local", 0, platform.PREVIEWS)
    assert list(found["seconds"]) == list(platform.PREVIEWS)

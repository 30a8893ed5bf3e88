"""Windows, and when a breach lasts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workloads.monitoring.window import InvalidWindow, Window, lasting


def test_one_odd_window_is_no_alarm_and_a_lasting_breach_is() -> None:
    assert not lasting([False, False, True], least=2, of=3)
    assert lasting([True, False, True], least=2, of=3)
    assert lasting([True], least=1, of=1)
    assert not lasting([], least=1, of=1)


def test_an_alarm_ends_with_the_first_window_that_is_well() -> None:
    assert not lasting([True, True, True, False], least=2, of=3)


def test_an_unknown_window_neither_raises_nor_hides_an_alarm() -> None:
    assert not lasting([True, True, None], least=2, of=3)
    assert lasting([True, None, True], least=2, of=3)
    assert not lasting([None, None, True], least=2, of=3)


@given(st.lists(st.sampled_from([True, False, None])), st.integers(1, 5))
def test_what_is_older_than_the_last_n_does_not_count(past: list[bool | None], of: int) -> None:
    newest = past[-of:]
    for least in range(1, of + 1):
        assert lasting(past, least=least, of=of) == lasting(newest, least=least, of=of)


def test_least_has_to_fit() -> None:
    with pytest.raises(ValueError, match="least is 4 of 3"):
        lasting([True], least=4, of=3)


def test_a_window_holds_time_and_knows_its_zone() -> None:
    start = datetime(2013, 4, 1, tzinfo=UTC)
    with pytest.raises(InvalidWindow, match="start before end"):
        Window(start=start, end=start)
    with pytest.raises(InvalidWindow, match="time zone"):
        Window(start=start.replace(tzinfo=None), end=start + timedelta(days=1))
    parts = Window(start=start, end=start + timedelta(days=10)).parts(timedelta(days=7))
    assert [(one.start.day, one.end.day) for one in parts] == [(1, 8), (8, 11)]

"""The monitoring dataset in BigQuery: which windows are looked at again while labels come."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest

from workloads.monitoring.measuring import Measured, Rated
from workloads.monitoring.performance import Performance
from workloads.monitoring.store import MOST_REVISITED, REVISITED, Store
from workloads.monitoring.window import Window
from workloads.product import Product

from .test_job_on_cloud import empty

pytestmark = pytest.mark.usefixtures("cloud")

START = datetime(2013, 4, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def matures(product: Product, after: timedelta) -> Product:
    return dataclasses.replace(product, label=dataclasses.replace(product.label, maturity=after))


def daily(index: int, length: timedelta = DAY) -> Window:
    return Window(start=START + index * length, end=START + (index + 1) * length)


def seen(store: Store, windows: dict[Window, bool], at: datetime, *, labels: bool = True) -> None:
    """As the job stores it: each window, and whether all its labels are mature."""
    found = Measured(version="1", window=max(windows), at=at)
    for window, mature in windows.items():
        score = Performance(
            metric="roc_auc",
            value=0.7 if mature and labels else None,
            low=None,
            high=None,
            window=window,
            rows=500,
            labelled=500 if mature and labels else 0,
            waiting=0 if mature else 500,
            never=500 if mature and not labels else 0,
            future=0,
        )
        found.rated.append(Rated(performance=score, version="1"))
    store.write(found)


@pytest.mark.parametrize(
    ("maturity", "length", "waiting"),
    [(DAY, DAY, 2), (30 * DAY, DAY, 32), (60 * DAY, 7 * DAY, 10)],
    ids=["a day", "a month, looked at daily", "two months, looked at weekly"],
)
def test_labels_are_looked_for_when_they_are_due(
    january: Product, maturity: timedelta, length: timedelta, waiting: int
) -> None:
    """More windows wait for their labels than a run looks at again."""
    product = matures(january, maturity)
    empty(product)
    store = Store(product)
    begun = {daily(index, length): False for index in range(waiting)}
    seen(store, begun, max(begun).start)
    unknown, newest = set(begun), max(begun)
    for index in range(waiting, waiting + 3):
        newest = daily(index, length)
        again = [one for _, one in store.unfinished(newest, newest.end)]
        assert len(again) <= MOST_REVISITED
        looked = {one: one.end + maturity <= newest.end for one in [newest, *again]}
        seen(store, looked, newest.end)
        unknown = (unknown | set(looked)) - {one for one, mature in looked.items() if mature}
    # Nothing whose labels were mature at the last look is unknown.
    assert {one for one in unknown if one.end + maturity <= newest.end} == set()
    assert len(unknown) < waiting + 3


def test_labels_a_month_late_are_found_in_turn(january: Product) -> None:
    """Labels that should be there for long and are not: no window is forgotten for newer ones, and
    what has matured meanwhile goes first."""
    product = matures(january, DAY)
    empty(product)
    store = Store(product)
    late = [daily(index) for index in range(20)]
    newest = daily(21)
    seen(store, dict.fromkeys(late, True), late[-1].end + DAY, labels=False)
    seen(store, {daily(20): False}, newest.start)

    found: list[Window] = []
    for turn in range(4):
        at = newest.end + turn * DAY
        names = [one for _, one in store.unfinished(newest, at)]
        if turn == 0:
            assert names[0] == daily(20)
        found += names
        seen(store, dict.fromkeys(names, True), at, labels=False)
    assert set(late) <= set(found)
    assert len(found) == len(set(found)) + 3


def test_labels_that_never_come_are_given_up(january: Product) -> None:
    product = matures(january, DAY)
    empty(product)
    store = Store(product)
    seen(store, {daily(0): True}, START + 3 * DAY, labels=False)

    def sought(after: timedelta) -> bool:
        newest = Window(start=START + after, end=START + after + DAY)
        return bool(store.unfinished(newest, newest.end))

    assert sought(REVISITED)
    assert not sought(REVISITED + 3 * DAY)

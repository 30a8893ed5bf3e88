"""The flights of 2013 as rows of the contracts, checked against the data's own clocks."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from workloads import contracts
from workloads.contracts import Contract, ContractViolation
from workloads.products.flight_delay import dataset
from workloads.products.flight_delay.contracts import (
    Aircraft,
    DelayQuestion,
    Flight,
    FlightArrival,
    Weather,
)
from workloads.replay import history

NEW_YORK = "America/New_York"


@pytest.fixture(scope="module")
def flights() -> pd.DataFrame:
    return dataset.frame(Flight)


@pytest.fixture(scope="module")
def arrivals() -> pd.DataFrame:
    return dataset.frame(FlightArrival)


def one(rows: pd.DataFrame, flight_id: str) -> Any:
    return rows.set_index("flight_id").loc[flight_id]


def violations(contract: type[Contract], rows: pd.DataFrame) -> list[ContractViolation]:
    found = list[ContractViolation]()
    for line in history.lines(rows, contract).splitlines():
        try:
            contracts.decode(contract, line)
        except ContractViolation as violation:
            found.append(violation)
    return found


def test_every_flight_and_arrival_is_valid(flights: pd.DataFrame, arrivals: pd.DataFrame) -> None:
    assert len(flights) == 336_776
    # 9,430 were cancelled or diverted.
    assert len(arrivals) == 336_776 - 9_430
    assert violations(Flight, flights) == []
    assert violations(FlightArrival, arrivals) == []
    assert violations(Aircraft, dataset.frame(Aircraft)) == []


def test_one_wind_of_the_year_is_a_fault() -> None:
    (wind,) = violations(Weather, dataset.frame(Weather))
    assert (wind.field, wind.value[:6]) == ("wind_speed", "1048.3")


@pytest.mark.parametrize("contract", [Flight, FlightArrival, Weather, Aircraft])
def test_rows_come_in_order_and_no_identity_twice(contract: type[Contract]) -> None:
    rows = dataset.frame(contract)
    assert rows[contract.EVENT_TIME].is_monotonic_increasing
    assert rows[contract.IDENTITY].is_unique
    assert list(rows.columns) == [field.name for field in contracts.fields(contract)]


def test_the_question_is_asked_two_hours_before_departure(flights: pd.DataFrame) -> None:
    first = one(flights, "2013-01-01-UA-1545-EWR-0515")
    # 5:15 in New York in winter.
    assert first.scheduled_departure == pd.Timestamp("2013-01-01T10:15Z")
    assert first.asked_at == pd.Timestamp("2013-01-01T08:15Z")
    assert first.scheduled_arrival_minute == 8 * 60 + 19
    summer = one(flights, "2013-07-01-B6-915-JFK-2029")
    assert summer.asked_at == pd.Timestamp("2013-07-01T22:29Z")


def test_summer_time_begins_within_the_data(flights: pd.DataFrame) -> None:
    local = flights["scheduled_departure"].dt.tz_convert(NEW_YORK)
    assert (local.dt.strftime("%H%M") == flights["flight_id"].str[-4:]).all()
    assert (local.dt.strftime("%Y-%m-%d") == flights["flight_id"].str[:10]).all()


@pytest.mark.parametrize(
    ("flight_id", "landed_at"),
    [
        # Houston, 8:30 there.
        ("2013-01-01-UA-1545-EWR-0515", "2013-01-01T14:30Z"),
        # Left at 23:53, landed in Ponce at 4:25 on the next day.
        ("2013-01-01-B6-739-JFK-2359", "2013-01-02T08:25Z"),
        # Left for San Francisco three and a half hours late, after midnight.
        ("2013-07-01-B6-915-JFK-2029", "2013-07-02T09:36Z"),
        # Honolulu, five hours behind.
        ("2013-01-01-HA-51-JFK-0900", "2013-01-02T01:16Z"),
    ],
)
def test_landings_by_the_clock_of_the_destination(
    arrivals: pd.DataFrame, flight_id: str, landed_at: str
) -> None:
    assert one(arrivals, flight_id).landed_at == pd.Timestamp(landed_at)


def test_landing_less_delay_is_the_scheduled_arrival_everywhere(
    flights: pd.DataFrame, arrivals: pd.DataFrame
) -> None:
    """The two clocks of the data agree on each of 327,346 landings."""
    zones = pd.read_csv(dataset._file("airports.csv")).set_index("faa")["tzone"].to_dict()
    both = arrivals.merge(flights, on="flight_id")
    scheduled = both["landed_at"] - pd.to_timedelta(both["arrival_delay"], unit="min")
    for zone, group in scheduled.groupby(both["destination"].map(zones | dataset._ZONES)):
        clock = group.dt.tz_convert(zone)
        minute = clock.dt.hour * 60 + clock.dt.minute
        assert (minute == both.loc[group.index, "scheduled_arrival_minute"]).all(), zone


def test_nothing_lands_before_it_was_asked_about(
    flights: pd.DataFrame, arrivals: pd.DataFrame
) -> None:
    both = arrivals.merge(flights, on="flight_id")
    assert (both["landed_at"] > both["asked_at"]).all()


def test_what_the_data_do_not_hold_is_refused() -> None:
    with pytest.raises(KeyError, match="hold no delay_question"):
        dataset.frame(DelayQuestion)

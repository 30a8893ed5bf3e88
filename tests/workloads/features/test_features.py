"""Features know what was known, and nothing later."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from workloads.artifacts import Folder
from workloads.features import leakage
from workloads.features.query import FeatureQuery, InvalidFeatureQuery
from workloads.features.snapshot import SnapshotAltered, freeze, thaw
from workloads.product import Product

DAY = (datetime(2013, 1, 3, tzinfo=UTC), datetime(2013, 1, 4, tzinfo=UTC))
"""With two days of history before it: less to read than later ones."""
NOON = datetime(2013, 1, 20, 17, tzinfo=UTC)
"""When the question is asked: noon in New York. The flight leaves at two."""


DURING_THE_QUESTION = """questions.asked_at, HOUR)
    AND weather.observed_at <= questions.asked_at
    AND weather.valid_until > questions.asked_at"""


def with_query(product: Product, folder: Path, change: Callable[[str], str]) -> Product:
    text = product.features.sql.read_text()
    changed = change(text)
    assert changed != text, "the change must bite"
    file = folder / "features.sql"
    file.write_text(changed)
    return dataclasses.replace(product, features=dataclasses.replace(product.features, sql=file))


def flight(number: int, asked_at: datetime, **changes: object) -> dict[str, object]:
    departure = asked_at + timedelta(hours=2)
    return {
        "flight_id": f"2013-01-20-UA-{number}-EWR-1400",
        "asked_at": asked_at,
        "scheduled_departure": departure,
        "scheduled_arrival_minute": 1000,
        "carrier": "UA",
        "flight_number": number,
        "origin": "EWR",
        "destination": "IAH",
        "distance": 1400,
        "tail_number": "N14228",
        **changes,
    }


def landing(number: int, landed_at: datetime, delay: int) -> dict[str, object]:
    name = f"2013-01-20-UA-{number}-EWR-1400"
    return {"flight_id": name, "landed_at": landed_at, "arrival_delay": delay}


def observation(
    observed_at: datetime, temperature: float, origin: str = "EWR"
) -> dict[str, object]:
    nulls = dict.fromkeys(
        (
            "dew_point",
            "humidity",
            "wind_direction",
            "wind_speed",
            "wind_gust",
            "precipitation",
            "pressure",
            "visibility",
        )
    )
    name = f"{origin}-{observed_at:%Y-%m-%dT%H}Z"
    return {
        "observation_id": name,
        "origin": origin,
        "observed_at": observed_at,
        "temperature": temperature,
        **nulls,
    }


def aircraft(registered_at: datetime, tail_number: str = "N14228") -> dict[str, object]:
    return {
        "tail_number": tail_number,
        "registered_at": registered_at,
        "year": 1999,
        "manufacturer": "BOEING",
        "model": "737-824",
        "engines": 2,
        "seats": 149,
    }


Ask = Callable[..., list[dict]]


@pytest.fixture(scope="module")
def _loaded() -> dict[str, list[dict[str, object]]]:
    """What each raw table holds: one that is to hold the same again is not filled again."""
    return {}


@pytest.fixture
def ask(
    cloud: object,
    product: Product,
    load_rows: Callable[..., None],
    _loaded: dict[str, list[dict[str, object]]],
) -> Ask:
    """The features of flights asked about at noon, over raw tables that hold just these rows."""
    tiny = dataclasses.replace(product, name="tiny")

    def features(
        flights: list[dict[str, object]] | None = None,
        arrivals: list[dict[str, object]] | None = None,
        weather: list[dict[str, object]] | None = None,
        register: list[dict[str, object]] | None = None,
    ) -> list[dict]:
        tables = {
            "flights": flights or [flight(1, NOON)],
            "arrivals": arrivals or [landing(99, NOON - timedelta(days=90), 0)],
            "weather": weather or [observation(NOON - timedelta(days=90), 0.0)],
            "aircraft": register or [aircraft(NOON + timedelta(days=90))],
        }
        other = {name: rows for name, rows in tables.items() if _loaded.get(name) != rows}
        load_rows(tiny, {name: pd.DataFrame(rows) for name, rows in other.items()})
        _loaded.update(other)
        return FeatureQuery(tiny).run(NOON, NOON + timedelta(minutes=1)).to_pylist()

    return features


class TestTheQuestionKnows:
    def test_the_last_observation_before_it(self, ask: Ask) -> None:
        weather = [observation(NOON + timedelta(hours=h), 30.0 + h) for h in (-3, -1, 0, 1, 2)]
        weather[1]["observed_at"] = NOON - timedelta(minutes=50)
        weather[2]["observed_at"] = NOON + timedelta(minutes=10)

        (row,) = ask(weather=weather)

        assert row["temperature"] == 29.0

    def test_no_weather_of_a_station_long_silent(self, ask: Ask) -> None:
        rows = ask(
            flights=[flight(1, NOON), flight(2, NOON, origin="JFK")],
            weather=[
                observation(NOON - timedelta(hours=6), 30.0),
                observation(NOON - timedelta(hours=5), 30.0, "JFK"),
            ],
        )

        assert {row["origin"]: row["temperature"] for row in rows} == {"EWR": None, "JFK": 30.0}

    def test_an_aircraft_from_its_registration_on(self, ask: Ask) -> None:
        late = "N10156"

        known, unknown = ask(
            flights=[flight(1, NOON), flight(2, NOON, tail_number=late)],
            register=[aircraft(NOON), aircraft(NOON + timedelta(seconds=1), late)],
        )

        assert (known["seats"], unknown["seats"]) == (149, None)

    def test_landings_before_it_and_none_after(self, ask: Ask) -> None:
        earlier = [flight(n, NOON - timedelta(hours=5)) for n in (2, 3, 4)]
        arrivals = [
            landing(2, NOON - timedelta(hours=1), 60),
            landing(3, NOON - timedelta(hours=2), 0),
            landing(4, NOON + timedelta(minutes=1), 300),
        ]

        (row,) = ask(flights=[flight(1, NOON), *earlier], arrivals=arrivals)

        assert row["origin_delay_3h"] == 30.0
        assert row["airports_late_3h"] == 0.5
        assert row["aircraft_late_24h"] == 0.5

    def test_the_local_hour(self, ask: Ask) -> None:
        (row,) = ask()

        assert (row["departure_minute"], row["weekday"]) == (14 * 60, 1)


def test_late_is_more_than_a_quarter_of_an_hour_and_unknown_of_what_never_landed(ask: Ask) -> None:
    delays = {1: 15, 2: 16, 3: -20}

    rows = ask(
        flights=[flight(number, NOON) for number in (*delays, 4)],
        arrivals=[landing(one, NOON + timedelta(hours=5), delay) for one, delay in delays.items()],
    )

    assert [row["late"] for row in rows] == [False, True, False, None]


def test_a_row_ingested_twice_counts_once(ask: Ask) -> None:
    earlier = [flight(2, NOON - timedelta(hours=5)), flight(3, NOON - timedelta(hours=5))]
    late, early = landing(2, NOON - timedelta(hours=1), 60), landing(3, NOON, 0)
    early["landed_at"] = NOON - timedelta(hours=1)
    twice = {"ingested_at": pd.Timestamp("2013-01-02", tz="UTC")}
    once = {"ingested_at": pd.Timestamp("2013-01-01", tz="UTC")}

    (row,) = ask(
        flights=[{**one, **when} for one in [flight(1, NOON), *earlier] for when in (once, twice)],
        arrivals=[late | once, late | twice, early | once],
    )

    assert row["airports_late_3h"] == 0.5


class TestTheLeakGuard:
    def test_passes_the_query_as_it_is(self, january: Product, day: pa.Table) -> None:
        query = FeatureQuery(january)

        found = leakage.check(query, day)

        assert found.moments == 4
        assert found.rows >= 4
        assert found.columns == len(query.columns) - 1

    @pytest.mark.parametrize(
        ("what", "old", "new", "column"),
        [
            (
                "the delay of the flight itself",
                "recent.origin_delay_3h,",
                "CAST(landings.arrival_delay AS FLOAT64) AS origin_delay_3h,",
                "origin_delay_3h",
            ),
            (
                "landings until departure",
                "UNIX_SECONDS(landed_at) + 1,",
                "UNIX_SECONDS(landed_at) - 7200,",
                None,
            ),
            (
                "an average over the whole of history",
                "AVG(late) OVER carrier_7d",
                "AVG(late) OVER (PARTITION BY carrier)",
                "carrier_late_7d",
            ),
            (
                "the weather at departure",
                DURING_THE_QUESTION,
                DURING_THE_QUESTION.replace("asked_at", "scheduled_departure"),
                None,
            ),
        ],
    )
    def test_catches(
        self, january: Product, tmp_path: Path, what: str, old: str, new: str, column: str | None
    ) -> None:
        leaky = with_query(january, tmp_path, lambda text: text.replace(old, new))
        query = FeatureQuery(leaky)
        rows = query.run(*DAY)

        with pytest.raises(leakage.LeakFound, match="reads rows later") as found:
            leakage.check(query, rows)

        assert column in (None, found.value.column), what
        assert found.value.seen != found.value.known


class TestAQueryIsRefused:
    def test_that_names_an_unknown_source(
        self, cloud: object, product: Product, tmp_path: Path
    ) -> None:
        query = FeatureQuery(
            with_query(product, tmp_path, lambda text: text.replace("{weather}", "{whether}"))
        )

        with pytest.raises(InvalidFeatureQuery, match=r"\{whether\}; allowed: \{flights\}"):
            query.text()

    def test_that_goes_around_the_guard(
        self, cloud: object, product: Product, tmp_path: Path
    ) -> None:
        direct = "flight_delay_raw.weather"
        query = FeatureQuery(
            with_query(product, tmp_path, lambda text: text.replace("{weather}", direct))
        )

        with pytest.raises(InvalidFeatureQuery, match="name the source in braces"):
            query.text()

    def test_without_a_time_zone(self, cloud: object, product: Product) -> None:
        naive = datetime(2013, 1, 1)  # noqa: DTZ001

        with pytest.raises(InvalidFeatureQuery, match="with a time zone"):
            FeatureQuery(product).run(naive, naive + timedelta(days=1))


@pytest.fixture(scope="module")
def _day() -> list[pa.Table]:
    return []


@pytest.fixture
def day(january: Product, _day: list[pa.Table]) -> pa.Table:
    """What the query yields for `DAY`."""
    if not _day:
        _day.append(FeatureQuery(january).run(*DAY))
    return _day[0]


def test_shards_share_out_every_row_once(january: Product, day: pa.Table) -> None:
    query = FeatureQuery(january)

    names = [
        query.run(*DAY, shard=(index, 3)).column("flight_id").to_pylist() for index in range(3)
    ]

    whole = day.column("flight_id").to_pylist()
    assert sorted(name for part in names for name in part) == sorted(whole)
    assert all(len(part) > len(whole) / 6 for part in names)


class TestASnapshot:
    def test_of_the_same_rows_is_the_same_object(self, january: Product, day: pa.Table) -> None:
        again = FeatureQuery(january).run(*DAY)

        first, second = (freeze(january, rows) for rows in (day, again))

        assert first == second
        assert thaw(first.uri, first.sha256).equals(again)

    def test_that_was_altered_is_refused(self, january: Product, day: pa.Table) -> None:
        snapshot = freeze(january, day.slice(0, 20))
        folder, _, name = snapshot.uri.rpartition("/")
        Folder(folder).write(name, b"other rows", "application/vnd.apache.parquet")

        with pytest.raises(SnapshotAltered, match="somebody has changed it"):
            thaw(snapshot.uri, snapshot.sha256)

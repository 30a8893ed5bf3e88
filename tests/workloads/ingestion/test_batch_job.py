"""Files come in once, however often they are announced."""

from __future__ import annotations

import gzip
import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from google.cloud import bigquery

from workloads import gcp, product
from workloads.ingestion import batch, tables
from workloads.ingestion.accounting import Accounts, account
from workloads.ingestion.files import UnknownObject
from workloads.replay import history

PRODUCT = product.load("flight-delay")


def run(cloud: Any, *objects: str, **options: Any) -> None:
    told = {"product": "flight-delay", "data_project": cloud.project, "objects": "|".join(objects)}
    batch.main([f"--{name}={value}" for name, value in (told | options).items()])


def taken(bucket: Any) -> Accounts:
    """What became of the lines of a bucket."""
    return account("flight-delay", source=f"gs://{bucket.name}/")


def dead(cloud: Any, bucket: Any) -> dict[str, Any]:
    """The one dead letter of a bucket."""
    table = f"{tables.dataset(PRODUCT)}.{tables.DEAD_LETTERS}"
    (one,) = cloud.rows(f"SELECT * FROM {table} WHERE STARTS_WITH(source, 'gs://{bucket.name}/')")
    return one


def lines(first: int, count: int, origin: str = "EWR") -> bytes:
    day = "2013-01-{:02d}T{:02d}"
    return b"".join(
        json.dumps(
            {
                "observation_id": f"{origin}-{day.format(1 + n // 24, n % 24)}Z",
                "origin": origin,
                "observed_at": f"{day.format(1 + n // 24, n % 24)}:00:00Z",
                "temperature": 39.0,
            }
        ).encode()
        + b"\n"
        for n in range(first, first + count)
    )


def put(bucket: Any, name: str, data: bytes) -> str:
    blob = bucket.blob(name)
    blob.upload_from_string(data)
    return f"gs://{bucket.name}/{name}#{blob.generation}"


def test_real_weather_and_its_one_absurd_wind(laid: Any, tmp_path: Path) -> None:
    bucket = laid.bucket("landing")
    start, end = datetime(2013, 2, 1, tzinfo=UTC), datetime(2013, 3, 1, tzinfo=UTC)
    (file,) = history.write(PRODUCT, tmp_path, start, end, only=["weather"])
    (landed,) = history.upload([file], bucket.name)
    run(laid, landed)
    weather = taken(bucket).of("weather")
    assert (weather.dead_letters, weather.ingested) == (1, file.rows - 1)
    assert weather.balances(file.rows)
    letter = dead(laid, bucket)
    assert letter["field"] == "wind_speed"
    assert letter["value"].startswith("1048.3")
    number = int(letter["source"].removeprefix(f"{landed}:"))
    raw = gzip.decompress(file.path.read_bytes()).splitlines()[number - 1]
    assert letter["raw"] == raw
    assert history.upload([file], bucket.name) == [landed], "the same content lands once"


def test_again_and_twice_at_once_add_nothing(laid: Any) -> None:
    bucket = laid.bucket("landing")
    data = lines(0, 60) + b"not json\n" + lines(60, 40)
    landed = put(bucket, "weather/a.jsonl", data)
    with ThreadPoolExecutor(2) as both:
        for one in [both.submit(run, laid, landed, chunk_lines=40) for _ in range(2)]:
            one.result()
    run(laid, landed, chunk_lines=40)
    (weather,) = laid.rows(
        f"SELECT COUNT(*) AS n FROM {tables.dataset(PRODUCT)}.weather "
        f"WHERE STARTS_WITH(source, '{landed}:')"
    )
    assert weather["n"] == 100
    letter = dead(laid, bucket)
    assert letter["source"] == f"{landed}:61"
    assert "one JSON object" in letter["reason"]


def test_a_new_generation_comes_in_and_readers_see_each_hour_once(laid: Any) -> None:
    bucket = laid.bucket("landing")
    first = put(bucket, "weather/a.jsonl", lines(0, 48, "LGA"))
    run(laid, first)
    second = put(bucket, "weather/a.jsonl", lines(24, 48, "LGA"))
    run(laid, second)
    (current,) = laid.rows(
        f"SELECT COUNT(*) AS n FROM {tables.dataset(PRODUCT)}.weather_current "
        f"WHERE STARTS_WITH(source, 'gs://{bucket.name}/')"
    )
    assert current["n"] == 72
    weather = taken(bucket).of("weather")
    assert (weather.ingested, weather.duplicates) == (72, 24)
    assert weather.balances(96)


def test_a_table_that_was_made_again_takes_the_rows_again(laid: Any) -> None:
    bucket = laid.bucket("landing")
    landed = put(bucket, "weather/a.jsonl", lines(0, 24))
    run(laid, landed)
    assert taken(bucket).of("weather").ingested == 24
    client = gcp.bigquery_client()
    table = client.get_table(f"{tables.dataset(PRODUCT)}.weather")
    client.delete_table(table)
    client.create_table(bigquery.Table(table.reference, table.schema))
    assert taken(bucket).of("weather").ingested == 0
    run(laid, landed)
    assert taken(bucket).of("weather").ingested == 24


def test_an_object_that_is_gone_is_a_dead_letter(laid: Any) -> None:
    bucket = laid.bucket("landing")
    landed = put(bucket, "weather/a.jsonl", lines(0, 3))
    bucket.blob("weather/a.jsonl").delete()
    run(laid, landed)
    assert dead(laid, bucket)["reason"] == "this generation of the object is gone"


def test_an_empty_object_is_nothing(laid: Any) -> None:
    bucket = laid.bucket("landing")
    run(laid, put(bucket, "weather/a.jsonl", b""))
    assert taken(bucket).total.balances(0)


def test_an_object_that_no_contract_claims_stops_before_anything_is_read(cloud: Any) -> None:
    with pytest.raises(UnknownObject, match=r"objectId is 'trains/a\.jsonl'; allowed: a name in"):
        run(cloud, "gs://landing/trains/a.jsonl#1")

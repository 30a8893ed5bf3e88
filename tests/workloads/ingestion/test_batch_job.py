"""Files come in once, however often they are announced."""

from __future__ import annotations

import gzip
import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from workloads import gcp, product
from workloads.ingestion import batch
from workloads.ingestion.accounting import account
from workloads.ingestion.files import UnknownObject
from workloads.replay import history

PRODUCT = product.load("flight-delay")


def run(cloud: Any, *objects: str, **options: Any) -> None:
    told = {"product": "flight-delay", "data_project": cloud.project, "objects": "|".join(objects)}
    batch.main([f"--{name}={value}" for name, value in (told | options).items()])


def lines(first: int, count: int, **change: Any) -> bytes:
    day = "2013-01-{:02d}T{:02d}"
    return b"".join(
        json.dumps(
            {
                "observation_id": f"EWR-{day.format(1 + n // 24, n % 24)}Z",
                "origin": "EWR",
                "observed_at": f"{day.format(1 + n // 24, n % 24)}:00:00Z",
                "temperature": 39.0,
            }
            | change
        ).encode()
        + b"\n"
        for n in range(first, first + count)
    )


def put(bucket: Any, name: str, data: bytes) -> str:
    blob = bucket.blob(name)
    blob.upload_from_string(data)
    return f"gs://{bucket.name}/{name}#{blob.generation}"


def test_real_weather_and_its_one_absurd_wind(cloud: Any, tmp_path: Path) -> None:
    dataset = cloud.lay_tables(PRODUCT)
    bucket = cloud.bucket("landing")
    start, end = datetime(2013, 2, 1, tzinfo=UTC), datetime(2013, 3, 1, tzinfo=UTC)
    (file,) = history.write(PRODUCT, tmp_path, start, end, only=["weather"])
    (landed,) = history.upload([file], bucket.name)
    run(cloud, landed)
    weather = account("flight-delay").of("weather")
    assert (weather.dead_letters, weather.ingested) == (1, file.rows - 1)
    assert weather.balances(file.rows)
    (dead,) = cloud.rows(f"SELECT * FROM {dataset}.dead_letters")
    assert dead["field"] == "wind_speed"
    assert dead["value"].startswith("1048.3")
    number = int(dead["source"].removeprefix(f"{landed}:"))
    raw = gzip.decompress(file.path.read_bytes()).splitlines()[number - 1]
    assert dead["raw"] == raw
    assert history.upload([file], bucket.name) == [landed], "the same content lands once"


def test_again_and_twice_at_once_add_nothing(cloud: Any) -> None:
    dataset = cloud.lay_tables(PRODUCT)
    data = lines(0, 200) + b"not json\n" + lines(200, 100)
    landed = put(cloud.bucket("landing"), "weather/a.jsonl", data)
    with ThreadPoolExecutor(2) as both:
        for one in [both.submit(run, cloud, landed, chunk_lines=70) for _ in range(2)]:
            one.result()
    run(cloud, landed, chunk_lines=70)
    (weather,) = cloud.rows(f"SELECT COUNT(*) AS n FROM {dataset}.weather")
    (dead,) = cloud.rows(f"SELECT source, reason FROM {dataset}.dead_letters")
    assert weather["n"] == 300
    assert dead["source"] == f"{landed}:201"
    assert "one JSON object" in dead["reason"]


def test_a_new_generation_comes_in_and_readers_see_each_hour_once(cloud: Any) -> None:
    dataset = cloud.lay_tables(PRODUCT)
    bucket = cloud.bucket("landing")
    first = put(bucket, "weather/a.jsonl", lines(0, 48))
    run(cloud, first)
    second = put(bucket, "weather/a.jsonl", lines(24, 48))
    run(cloud, second)
    (current,) = cloud.rows(f"SELECT COUNT(*) AS n FROM {dataset}.weather_current")
    assert current["n"] == 72
    weather = account("flight-delay").of("weather")
    assert (weather.ingested, weather.duplicates) == (72, 24)
    assert weather.balances(96)


def test_a_table_that_was_made_again_takes_the_rows_again(cloud: Any) -> None:
    dataset = cloud.lay_tables(PRODUCT)
    landed = put(cloud.bucket("landing"), "weather/a.jsonl", lines(0, 24))
    run(cloud, landed)
    gcp.bigquery_client().delete_dataset(dataset, delete_contents=True)
    cloud.lay_tables(PRODUCT)
    run(cloud, landed)
    assert account("flight-delay").of("weather").ingested == 24


def test_an_object_that_is_gone_is_a_dead_letter(cloud: Any) -> None:
    dataset = cloud.lay_tables(PRODUCT)
    bucket = cloud.bucket("landing")
    landed = put(bucket, "weather/a.jsonl", lines(0, 3))
    bucket.blob("weather/a.jsonl").delete()
    run(cloud, landed)
    (dead,) = cloud.rows(f"SELECT reason FROM {dataset}.dead_letters")
    assert dead["reason"] == "this generation of the object is gone"


def test_an_empty_object_is_nothing(cloud: Any) -> None:
    cloud.lay_tables(PRODUCT)
    run(cloud, put(cloud.bucket("landing"), "weather/a.jsonl", b""))
    assert account("flight-delay").total.balances(0)


def test_an_object_that_no_contract_claims_stops_before_anything_is_read(cloud: Any) -> None:
    with pytest.raises(UnknownObject, match=r"objectId is 'trains/a\.jsonl'; allowed: a name in"):
        run(cloud, "gs://landing/trains/a.jsonl#1")

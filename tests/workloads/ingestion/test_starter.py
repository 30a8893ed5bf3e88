"""What a push means: one job for one generation of one object, and never an endless retry."""

from __future__ import annotations

import base64
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient as Caller

from localcloud.images import Images
from workloads import gcp, product
from workloads.ingestion import options
from workloads.ingestion.accounting import account
from workloads.ingestion.settings import StarterSettings
from workloads.ingestion.starter import BODY_LIMIT, build_app

ROOT = Path(__file__).resolve().parents[3]
PRODUCT = product.load("flight-delay")
IMAGE = "us-central1-docker.pkg.dev/p/esteira/ingestion-batch:1"
WEATHER = {
    "observation_id": "EWR-2013-01-01T06Z",
    "origin": "EWR",
    "observed_at": "2013-01-01T06:00:00Z",
}


@pytest.fixture
def platform(laid: Any) -> Any:
    """The batch template, as it is deployed, beside tables."""
    file = ROOT / "workloads/images/ingestion/Dockerfile"
    Images(laid.home).build(IMAGE, file, ROOT, target="batch")
    specification = {
        "image": IMAGE,
        "sdkInfo": {"language": "PYTHON"},
        "metadata": options.template_metadata("b", "Batch", options.BATCH, streaming=False),
    }
    work = gcp.storage_client().create_bucket(f"{laid.project}-work")
    work.blob("templates/batch.json").upload_from_string(json.dumps(specification))
    return laid


def caller(cloud: Any, limit: int = 2) -> Caller:
    return Caller(
        build_app(
            StarterSettings(
                google_cloud_project=cloud.project,
                google_cloud_location="us-central1",
                product="flight-delay",
                template=f"gs://{cloud.project}-work/templates/batch.json",
                temp_location=f"gs://{cloud.project}-work/temp",
                max_concurrent_jobs=limit,
            )
        )
    )


def push(bucket: str, name: str, generation: object, **attributes: str) -> dict[str, Any]:
    told = {"eventType": "OBJECT_FINALIZE", "bucketId": bucket, "objectId": name}
    return {
        "message": {
            "attributes": told | {"objectGeneration": str(generation)} | attributes,
            "data": base64.b64encode(b"{}").decode(),
            "messageId": f"n-{name}-{generation}",
            "publishTime": "2026-05-04T00:00:00Z",
        },
        "subscription": "projects/p/subscriptions/flight-delay-landed-starter",
    }


def jobs(cloud: Any) -> list[dict[str, Any]]:
    listing = gcp.dataflow().projects().locations().jobs()
    answer = listing.list(projectId=cloud.project, location="us-central1").execute()
    return answer.get("jobs", [])


def test_each_file_is_taken_in_by_one_job_and_at_the_limit_it_waits(
    platform: Any, until: Any
) -> None:
    http = caller(platform, limit=1)
    landing = platform.bucket("landing")
    pushes = list[dict[str, Any]]()
    for name in ("weather/a.jsonl", "weather/b.jsonl"):
        blob = landing.blob(name)
        blob.upload_from_string(json.dumps(WEATHER))
        pushes.append(push(landing.name, name, blob.generation))
    first, second = pushes
    started = http.post("/", json=first)
    assert (started.status_code, started.text.split()[0]) == (200, "started")
    assert http.post("/", json=first).status_code == 200
    refused = http.post("/", json=second)
    assert refused.status_code == 429
    assert "1 of 1 jobs run" in refused.text
    until(lambda: [one["currentState"] for one in jobs(platform)], ["JOB_STATE_DONE"].__eq__)
    assert http.post("/", json=first).status_code == 200
    assert len(jobs(platform)) == 1
    assert account("flight-delay", source=f"gs://{landing.name}/").of("weather").ingested == 1
    assert http.post("/", json=second).text.split()[0] == "started"
    assert len(jobs(platform)) == 2


HOPELESS = (
    (b"hello", "$"),
    (b"\xff\x00", "$"),
    (b"[]", "$"),
    (b'{"message": "text"}', "$"),
    (b"x" * (BODY_LIMIT + 1), "$"),
    (json.dumps(push("b", "trains/a.jsonl", 1)).encode(), "objectId"),
    (json.dumps(push("b", "weather/photo.png", 1)).encode(), "objectId"),
    (json.dumps(push("b", "weather/a|b.jsonl", 1)).encode(), "object"),
    (json.dumps(push("b", "weather/a.jsonl", "")).encode(), "attributes.objectGeneration"),
)


def test_what_can_never_start_a_job_is_recorded_and_done_with(laid: Any) -> None:
    http = caller(laid)
    before = jobs(laid)
    for body, _ in (*HOPELESS, *HOPELESS[-2:]):
        assert http.post("/", content=body).status_code == 200
    letters = laid.rows(
        "SELECT field, contract, COUNT(DISTINCT message_id) AS n, "
        "LOGICAL_AND(reason LIKE '%allowed%' OR reason LIKE '%no Pub/Sub push%') AS told "
        "FROM flight_delay_raw.dead_letters WHERE source = 'pubsub' GROUP BY field, contract"
    )
    assert {one["field"]: one["n"] for one in letters} == Counter(field for _, field in HOPELESS)
    assert all(one["contract"] is None and one["told"] for one in letters)
    assert account("flight-delay", source="pubsub").total.dead_letters == len(HOPELESS)
    assert [one["id"] for one in jobs(laid)] == [one["id"] for one in before]


def test_what_is_not_a_new_object_starts_nothing(cloud: Any) -> None:
    http = caller(cloud)
    gone = push("b", "weather/a.jsonl", 1, eventType="OBJECT_DELETE")
    assert http.post("/", json=gone).status_code == 200
    assert http.post("/", json=push("b", "weather/", 1)).status_code == 200
    assert jobs(cloud) == []


def test_while_a_dead_letter_cannot_be_recorded_the_push_comes_again(cloud: Any) -> None:
    assert caller(cloud).post("/", content=b"hello").status_code == 503


def test_without_its_template_the_push_comes_again(cloud: Any) -> None:
    answer = caller(cloud).post("/", json=push("b", "weather/a.jsonl", 1))
    assert answer.status_code == 503
    assert "Dataflow would not start flight-delay-batch-weather-" in answer.text


def test_health(cloud: Any) -> None:
    assert caller(cloud).get("/health").status_code == 200

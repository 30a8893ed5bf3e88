"""An A/B test as callers meet it: keyed requests through the server's own door."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections import Counter
from datetime import UTC, datetime

import pytest

from tests.workloads.serving.asking import GOOD, Halves, ask
from workloads import contracts
from workloads import product as products
from workloads.experiments.assignment import assign
from workloads.experiments.experiment import Experiment, Metric
from workloads.prediction_log.contract import PredictionLogged
from workloads.prediction_log.publisher import Publisher
from workloads.product import Product
from workloads.serving.app import build
from workloads.serving.champion import Champion
from workloads.serving.model import ServedModel
from workloads.serving.settings import ServingSettings

SHARE = 25
NOW = datetime(2026, 11, 21, tzinfo=UTC)


@dataclasses.dataclass
class Arms:
    """What the follower tells, without a bucket."""

    experiment: Experiment

    def assign(self, key: str | None) -> str:
        return "champion" if key is None else assign(key, self.experiment)


class Loaded(Champion):
    """The registry's part is played by two models that are there."""

    def __init__(self, settings: ServingSettings, arms: Arms, product: Product) -> None:
        super().__init__(settings, arms)
        self.models = {one: Halves(product, one) for one in ("1", "2")}

    def _found(self, version: str) -> tuple[str, str] | None:
        return ("1" if version == "champion" else version, "")

    def _load(self, number: str, folder: str) -> ServedModel:
        return self.models[number]


async def asked(count: int) -> list[PredictionLogged]:
    """What is in the log after so many requests, each key's first and then the first hundred's
    again."""
    product = products.load("flight-delay")
    experiment = Experiment(
        product=product.name,
        name="trees",
        champion="1",
        challenger="2",
        share=SHARE,
        metric=Metric.BRIER,
        effect=0.01,
        started_at=NOW,
        counted_since=NOW,
    )
    settings = ServingSettings(
        product=product.name,
        model_alias="champion",
        model_refresh_seconds=3600,
        google_cloud_project="p",
        google_cloud_location="us-central1",
        k_revision="flight-delay-api-00001-abc",
    )
    models = Loaded(settings, Arms(experiment), product)
    models.look()
    rows: list[PredictionLogged] = []
    publisher = Publisher(
        product.name,
        "projects/p/topics/t",
        revision=settings.k_revision,
        most_waiting=2 * count,
        publish=lambda sent: rows.extend(
            contracts.decode(PredictionLogged, one["data"]) for one in sent
        ),
    )
    app = build(settings, models, publisher)
    for number in [*range(count), *range(100)]:
        document = {"instances": [GOOD], "parameters": {"key": f"customer-{number}"}}
        reply = await ask(app, json.dumps(document).encode())
        assert reply.status == 200
    publisher.close(60)
    assert publisher.dropped == 0
    return rows


@pytest.mark.parametrize(
    ("count", "within"), [(2_000, 4.0), pytest.param(100_000, 0.5, marks=pytest.mark.long)]
)
def test_keys_meet_their_arm_each_time_and_the_share_holds(count: int, within: float) -> None:
    rows = asyncio.run(asked(count))

    assert len(rows) == count + 100
    arms = {row.key: row.variant for row in rows}
    assert all(arms[row.key] == row.variant for row in rows), "a key has met both"
    share = 100 * Counter(arms.values())["challenger"] / count
    assert abs(share - SHARE) < within
    answered = {(row.variant, row.model_version, row.deployed_model_id) for row in rows}
    assert answered == {
        ("champion", "1", "flight-delay-api-00001-abc/1"),
        ("challenger", "2", "flight-delay-api-00001-abc/2"),
    }

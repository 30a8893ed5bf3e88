"""The second half of the demonstration: a model is trained, judged, released, and asked."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Final

from esteira.demo import scenario
from esteira.demo.stages import Stage
from workloads import gcp
from workloads.features.query import FeatureQuery
from workloads.gate import decision as gate
from workloads.gate.decision import Decision
from workloads.product import Product
from workloads.registry import Registry
from workloads.release.endpoint import Endpoint
from workloads.replay import history
from workloads.training.registration import Registration
from workloads.training.submit import StepProgress, new_run, submit

_POLL: Final = 0.5


class BatchFailed(RuntimeError):
    """An execution of the batch-prediction job failed; says what Cloud Run said."""


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One prediction beside what really happened."""

    flight_id: str
    destination: str
    probability: float
    late: bool
    arrival_delay: int | None
    """Minutes; None if it never arrived. The platform has not been told."""

    @property
    def truth(self) -> str:
        """In words."""
        if self.arrival_delay is None:
            return "cancelled or diverted"
        if self.arrival_delay > 0:
            return f"{self.arrival_delay} min late"
        return f"{-self.arrival_delay} min early"


def train(product: Product, outputs: dict[str, Any], stage: Stage) -> Registration:
    """Run the training pipeline as a Vertex AI pipeline job; each step is shown as it ends."""
    begun: dict[str, float] = {}

    def show(progress: StepProgress) -> None:
        if progress.state == "RUNNING":
            begun[progress.step] = progress.seconds
            stage.doing(progress.step)
        elif progress.state == "SUCCEEDED":
            seconds = progress.seconds - begun.get(progress.step, progress.seconds)
            stage.say(f"[dim]{progress.step:<10} {seconds:4.0f} s[/]")

    run = new_run(
        product,
        start=scenario.BEGIN,
        split=scenario.HELD_OUT_FROM,
        end=scenario.HELD_OUT_TO,
        training_image=outputs["training"]["image"],
        serving_image=outputs["endpoint"]["serving_image"],
        service_account=outputs["training"]["service_account"],
    )
    return submit(run, on_progress=show)


def judge(product: Product, version: str) -> Decision:
    """Ask the gate whether the version may replace the champion."""
    return gate.decide(product, version)


def questions(product: Product) -> list[dict[str, Any]]:
    """The flights about which is asked at the scenario's present, a few spread over them."""
    rows = (
        FeatureQuery(product)
        .run(scenario.PRESENT - scenario.ASKED_WITHIN, scenario.PRESENT)
        .to_pylist()
    )
    step = max(1, len(rows) // scenario.SHOWN)
    return rows[::step][: scenario.SHOWN]


def instance(product: Product, row: dict[str, Any]) -> dict[str, Any]:
    """What the endpoint is asked for a row of the feature query."""
    return {name: row[name] for name in product.features.request.__struct_fields__}


def predict(product: Product, rows: list[dict[str, Any]]) -> list[Shown]:
    """Ask the endpoint, and put what really happened beside its answers."""
    _, answers = Endpoint(product).predict([instance(product, row) for row in rows])
    truth = _truth(product, [row[product.features.entity] for row in rows])
    return [
        Shown(
            flight_id=row[product.features.entity],
            destination=row["destination"],
            probability=round(answer["probability"], 4),
            late=bool(answer["late"]),
            arrival_delay=truth.get(row[product.features.entity]),
        )
        for row, answer in zip(rows, answers, strict=True)
    ]


def _truth(product: Product, flights: list[str]) -> dict[str, int]:
    frame = history.frame(product, product.source("arrival").contract)
    known = frame[frame["flight_id"].isin(flights)]
    return {str(row.flight_id): int(row.arrival_delay) for row in known.itertuples()}  # pyright: ignore


def batch_predict(job: str, stage: Stage) -> None:
    """Run the Cloud Run job for the day of the scenario's present, and wait for it.

    Raises:
        BatchFailed: a task failed for good.
    """
    jobs = gcp.run().projects().locations().jobs()
    day = scenario.PRESENT.date().isoformat()
    env = [{"name": "PREDICTION_DATE", "value": day}]
    body = {"overrides": {"containerOverrides": [{"env": env}]}}
    operation = jobs.run(name=job, body=body).execute()
    operations = gcp.run().projects().locations().operations()
    executions = jobs.executions()
    while not operation.get("done"):
        time.sleep(_POLL)
        operation = operations.get(name=operation["name"]).execute()
        if name := operation.get("metadata", {}).get("name"):
            now = executions.get(name=name).execute()
            stage.doing(f"{now.get('succeededCount', 0)} of {now.get('taskCount', 1)} tasks done")
    if error := operation.get("error"):
        raise BatchFailed(f"{job}: {error['message']}; see `esteira local logs`")
    execution = operation["response"]
    if execution.get("failedCount") or not execution.get("succeededCount"):
        raise BatchFailed(
            f"{execution['name']}: {execution.get('failedCount', 0)} of "
            f"{execution.get('taskCount')} tasks failed; see `esteira local logs`"
        )


def batch_rows(product: Product, table: str) -> int:
    """Predictions in the batch table for the day of the scenario's present."""
    champion = Registry(product).get("champion").number
    query = (
        f"SELECT COUNT(*) AS n FROM `{table}` "  # noqa: S608 (our own output, no person's text)
        f"WHERE prediction_date = '{scenario.PRESENT.date().isoformat()}' "
        f"AND model_version = '{champion}'"
    )
    (row,) = gcp.bigquery_client().query(query).result()
    return int(row["n"])

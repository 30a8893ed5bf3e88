"""What a server is asked for when somebody looks: how much of each limit is used."""

from __future__ import annotations

from collections.abc import Callable

from workloads.prediction_log.publisher import Publisher
from workloads.serving.batching import Batcher
from workloads.serving.body import Bodies
from workloads.serving.health import Health
from workloads.serving.metrics import Metrics
from workloads.serving.settings import ServingSettings


def watch(
    metrics: Metrics,
    limits: ServingSettings,
    *,
    under_way: Callable[[], int],
    batcher: Batcher,
    bodies: Bodies,
    publisher: Publisher,
    health: Health,
) -> None:
    """Show the limits of a server, and what is used of them, among its metrics.

    Args:
        metrics: of the server.
        limits: of the server.
        under_way: requests that are not answered yet.
        batcher: has the rows that wait for the model.
        bodies: takes in what arrives.
        publisher: has the rows that wait to be logged.
        health: knows whether the server answers.
    """
    refused = "As many, and more get 429"
    for name, kind, text, value in (
        ("requests_under_way", "gauge", "Requests not answered", under_way),
        ("requests_limit", "gauge", refused, lambda: limits.most_requests),
        ("queue_rows", "gauge", "Rows that wait for the model", lambda: batcher.waiting),
        ("queue_rows_limit", "gauge", refused, lambda: limits.most_waiting_rows),
        ("arriving_bytes", "gauge", "Of bodies", lambda: bodies.arriving),
        ("arriving_bytes_limit", "gauge", refused, lambda: limits.most_body_bytes),
        ("ready", "gauge", "Whether it answers", lambda: int(health.ready().status == 200)),
        ("log_queue_rows", "gauge", "Rows that wait to be logged", lambda: publisher.waiting),
        (
            "log_queue_rows_limit",
            "gauge",
            "As many, and more are dropped",
            lambda: limits.prediction_queue,
        ),
        ("log_sent_total", "counter", "Rows of the prediction log sent", lambda: publisher.sent),
        ("log_dropped_total", "counter", "Rows that no log has", lambda: publisher.dropped),
    ):
        metrics.watch(f"esteira_{name}", kind, text, value)

"""A schedule trains on whole days of what is known, and a second attempt is the same run."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from workloads.product import InvalidProduct, Product, Retraining
from workloads.training.__main__ import scheduled
from workloads.training.run import NoPlan
from workloads.training.settings import TrainingSettings

NOW = datetime(2013, 4, 1, 10, 30, 15, tzinfo=UTC)


def _settings(**change: Any) -> TrainingSettings:
    return TrainingSettings(
        **{
            "google_cloud_project": "p",
            "google_cloud_location": "us-central1",
            "product": "flight-delay",
            "training_image": "training@sha256:1",
            "serving_image": "serving@sha256:1",
            "service_account": "train@p.iam.gserviceaccount.com",
            **change,
        }
    )


@pytest.fixture
def monthly(product: Product) -> Product:
    plan = Retraining(schedule="0 6 1 * *", history=timedelta(days=60), holdout=timedelta(days=10))
    return dataclasses.replace(product, retraining=plan)


def test_it_reads_whole_days_up_to_the_last_label(monthly: Product) -> None:
    run = scheduled(monthly, _settings(), NOW)

    assert run.end == datetime(2013, 3, 31, tzinfo=UTC)
    assert run.split == datetime(2013, 3, 21, tzinfo=UTC)
    assert run.start == datetime(2013, 1, 30, tzinfo=UTC)
    assert (run.training_image, run.serving_image) == ("training@sha256:1", "serving@sha256:1")
    assert run.service_account == "train@p.iam.gserviceaccount.com"


def test_a_second_attempt_of_an_execution_is_the_same_run(monthly: Product) -> None:
    settings = _settings(cloud_run_execution="flight-delay-retraining-x7k2p")

    first = scheduled(monthly, settings, NOW)
    second = scheduled(monthly, settings, NOW + timedelta(hours=3))

    assert first.name == second.name == "flight-delay-retraining-x7k2p"
    assert first.parameters() == second.parameters()


def test_by_hand_it_is_named_after_the_second(monthly: Product) -> None:
    assert scheduled(monthly, _settings(), NOW).name == "flight-delay-20130401-103015"


def test_a_product_without_a_schedule_is_not_trained_by_one(product: Product) -> None:
    by_hand = dataclasses.replace(product, retraining=None)

    with pytest.raises(NoPlan, match="flight-delay has no `retraining`"):
        scheduled(by_hand, _settings(), NOW)


def test_a_holdout_leaves_something_to_learn_from(product: Product) -> None:
    plan = Retraining(schedule="0 6 1 * *", history=timedelta(days=5), holdout=timedelta(days=5))

    with pytest.raises(InvalidProduct, match=r"retraining\.holdout is 5 days"):
        dataclasses.replace(product, retraining=plan)


def test_a_job_that_is_told_too_little_says_what_is_missing() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "workloads.training"],
        check=False,
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin", "PYTHONPATH": "."},
        timeout=60,
    )

    assert done.returncode == 2
    assert "TRAINING_IMAGE is" in done.stderr

"""Who is asked by which model."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime

import msgspec
import numpy as np
import pytest

from workloads.experiments.assignment import assign, point
from workloads.experiments.experiment import Experiment, InvalidExperiment, Metric

NOW = datetime(2026, 11, 21, tzinfo=UTC)
KEYS = [f"customer-{one}" for one in range(100_000)]


def experiment(**changed: object) -> Experiment:
    fields: dict[str, object] = {
        "product": "flight-delay",
        "name": "trees",
        "champion": "1",
        "challenger": "2",
        "share": 25,
        "metric": Metric.BRIER,
        "effect": 0.01,
        "started_at": NOW,
        "counted_since": NOW,
    }
    return Experiment(**{**fields, **changed})  # type: ignore[arg-type]


@pytest.mark.parametrize("share", [1, 5, 25, 50])
def test_a_share_of_the_keys_is_within_half_a_point(share: int) -> None:
    tried = experiment(share=share)

    found = sum(assign(key, tried) == "challenger" for key in KEYS) / len(KEYS)

    assert abs(100 * found - share) < 0.5


def test_a_larger_share_takes_no_key_from_the_challenger() -> None:
    arms = [[assign(key, experiment(share=share)) for key in KEYS[:20_000]] for share in (5, 25)]

    moved = {(one, other) for one, other in zip(*arms, strict=True) if one != other}

    assert moved == {("champion", "challenger")}


def test_the_arms_of_two_experiments_have_nothing_to_do_with_each_other() -> None:
    one, other = (
        np.array([assign(key, experiment(name=name, share=50)) == "challenger" for key in KEYS])
        for name in ("trees", "forests")
    )

    assert abs(np.corrcoef(one, other)[0, 1]) < 0.01  # 3.2 standard errors


def test_keys_are_spread_evenly_over_the_line() -> None:
    counts = np.bincount([point(key, experiment()) >> 57 for key in KEYS], minlength=128)

    expected = len(KEYS) / 128
    assert ((counts - expected) ** 2 / expected).sum() < 181  # chi-squared, 127 degrees, 0.999


def test_another_process_and_another_machine_agree() -> None:
    keys = ["", "a", "São Paulo", "k" * 1000, "\ud800"]
    here = [point(key, experiment()) for key in keys]
    program = (
        "import sys; from tests.workloads.experiments.test_assignment import experiment, point; "
        "print([point(key, experiment()) for key in ['', 'a', 'São Paulo', 'k' * 1000, '\\ud800']])"
    )

    there = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout

    assert there.strip() == str(here)
    # Written down: a change of the hash would move every key of every running experiment.
    assert point("a", experiment()) == 12755125935798117450


def test_what_is_no_arm_matters_not() -> None:
    changed = experiment(metric=Metric.CORRECT, alpha=0.01, challenger="7")

    assert all(assign(key, changed) == assign(key, experiment()) for key in KEYS[:1000])


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("share", 0, "above 0 and below 100"),
        ("share", 100, "above 0 and below 100"),
        ("alpha", 0.5, "at most 0.2"),
        ("name", "Trees", "lower-case"),
        ("name", "t" * 31, "1 to 30"),
        ("challenger", "1", "two versions"),
        ("effect", 0, "above 0 and below the largest outcome"),
        ("limit", 2.0, "1 with the metric brier"),
        ("minimum_keys", 10, "at least 100"),
    ],
)
def test_a_definition_that_cannot_be_run_says_what_is_allowed(
    field: str, value: object, allowed: str
) -> None:
    with pytest.raises(InvalidExperiment, match=allowed):
        experiment(**{field: value})


def test_a_definition_survives_being_written() -> None:
    assert msgspec.json.decode(msgspec.json.encode(experiment()), type=Experiment) == experiment()

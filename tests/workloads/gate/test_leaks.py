"""A model that was told the answer is found out, and so is who told it."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, ClassVar

import numpy as np
import pyarrow as pa
import pytest
from msgspec import Meta

from workloads.calibration import calibration
from workloads.contracts import Contract
from workloads.gate.fairness import difference
from workloads.gate.guard import GuardVerdict
from workloads.gate.judgement import fairness_check, judge, leak_checks, skew_check
from workloads.gate.leaks import Leaks, look
from workloads.gate.plots import plots
from workloads.gate.shift import shifts
from workloads.gate.skew import Skew, compare
from workloads.product import Fairness, Gate, InvalidProduct, Monitoring, Parity, Product, Task
from workloads.scoring import Answers
from workloads.training.profile import of_features

ROWS = 3000
CLEAN = GuardVerdict(told="nothing later is read")


class Question(Contract, frozen=True):
    """A row with an honest feature, a text, and one that knows too much."""

    NAME: ClassVar[str] = "question"
    PLURAL: ClassVar[str] = "questions"
    VERSION: ClassVar[int] = 1

    honest: Annotated[float, Meta(description="Of some use")] | None = None
    place: Annotated[str, Meta(description="Of no use")] = ""
    told: Annotated[float, Meta(description="Sometimes the answer")] | None = None


@pytest.fixture
def small(product: Product) -> Product:
    features = dataclasses.replace(product.features, request=Question)
    gate = dataclasses.replace(product.gate, slices=("place",))
    # Its own slices are fields of another request.
    return dataclasses.replace(product, features=features, gate=gate, monitoring=Monitoring())


class Model:
    """Stands for a scorer: a probability from the two numbers."""

    def table(self, rows: pa.Table) -> Answers:
        honest, told = (
            np.array([one or 0.0 for one in rows.column(name).to_pylist()])
            for name in ("honest", "told")
        )
        return Answers(1 / (1 + np.exp(-np.clip(0.3 * honest + 8 * told, -500, 500))))


def rows_of(told: np.ndarray, honest: np.ndarray, generator: np.random.Generator) -> pa.Table:
    places = generator.choice(["north", "south", "west"], ROWS)
    return pa.table({"honest": honest, "place": places, "told": told})


def looked(small: Product, told: Any, truth: np.ndarray, verdict: GuardVerdict = CLEAN) -> Leaks:
    generator = np.random.default_rng(1)
    honest = truth + generator.normal(0, 1.5, ROWS)
    rows = rows_of(np.asarray(told, dtype=np.float64), honest, generator)
    model: Any = Model()
    return look(small, rows, truth, model.table(rows), model, verdict)


TRUTH = np.random.default_rng(0).integers(0, 2, ROWS)
NOISE = np.random.default_rng(2).normal(0, 1, ROWS)


def failed(leaks: Leaks) -> dict[str, str]:
    return {one.name: one.reason for one in leak_checks(leaks) if not one.passed}


def test_honest_features_pass(small: Product) -> None:
    assert failed(looked(small, NOISE, TRUTH)) == {}


@pytest.mark.parametrize("copy", [TRUTH, 1 - TRUTH, TRUTH * 7 + 3])
def test_the_label_under_another_name_is_named(small: Product, copy: np.ndarray) -> None:
    found = failed(looked(small, copy, TRUTH))

    assert "`told` is the label under another name" in found["single feature"]


def test_a_feature_that_knows_most_of_the_answer_is_named(small: Product) -> None:
    found = failed(looked(small, TRUTH + NOISE * 0.3, TRUTH))

    assert found["single feature"].startswith("`told` (0.9")
    assert "raise gate.single_feature_limit" in found["single feature"]


def test_an_answer_that_hides_in_the_nulls_is_found(small: Product) -> None:
    """A field that is filled in when the case is closed."""
    found = failed(looked(small, np.where(TRUTH == 1, NOISE, np.nan), TRUTH))

    assert "`told`" in found["single feature"]


def test_a_value_that_the_label_follows_from_in_no_order_is_found(small: Product) -> None:
    odd = np.random.default_rng(3).integers(0, 20, ROWS)

    assert "`told`" in failed(looked(small, odd, odd % 2))["single feature"]


def test_a_feature_that_turns_round_halfway_is_as_strong_as_one_that_does_not(
    small: Product,
) -> None:
    knows = TRUTH * 2.0 - 1 + NOISE * 0.3
    turned = np.where(np.arange(ROWS) < ROWS // 2, knows, -knows)

    found = {one.feature: one.score for one in looked(small, turned, TRUTH).alone}

    assert found["told"] > 0.9
    assert "`told` (" in failed(looked(small, turned, TRUTH))["single feature"]


@pytest.mark.parametrize("task", list(Task))
def test_a_feature_of_no_use_is_told_of_as_chance_and_not_as_worse(
    small: Product, task: Task
) -> None:
    """Even where more is true later: what is learned early then is too low for all that is late."""
    late = np.arange(ROWS) >= ROWS // 2
    draw = np.random.default_rng(5)
    truth = (draw.random(ROWS) < np.where(late, 0.6, 0.2)).astype(np.int64)
    gate = dataclasses.replace(small.gate, metric="mae") if task is Task.REGRESSION else small.gate
    product = dataclasses.replace(small, task=task, gate=gate)
    chance = 0.5 if task is Task.CLASSIFICATION else 0.0

    found = {one.feature: one.score for one in looked(product, NOISE, truth).alone}

    assert all(score >= chance for score in found.values())
    assert found["told"] < chance + 0.05


def test_a_model_too_good_to_be_true_names_what_it_leans_on(small: Product) -> None:
    gate = dataclasses.replace(small.gate, single_feature_limit=1.0)
    allowed = dataclasses.replace(small, gate=gate)

    found = failed(looked(allowed, TRUTH + NOISE * 0.2, TRUTH))

    assert list(found) == ["believable score"]
    assert "Without `told` it is 0.5" in found["believable score"]


def test_what_the_guard_of_the_query_found_is_a_check(small: Product) -> None:
    verdict = GuardVerdict(told="feature `told` of F1 is 3, but ...", leaking="told")

    assert failed(looked(small, NOISE, TRUTH, verdict)) == {"no look ahead": verdict.told}


def test_a_number_that_is_the_label_is_named_too(small: Product) -> None:
    regression = dataclasses.replace(
        small,
        task=Task.REGRESSION,
        gate=Gate(metric="mae", floor=100.0, minimum_gain=0.1),
    )
    minutes = np.random.default_rng(4).normal(5, 30, ROWS)

    told = failed(looked(regression, minutes * 2 + NOISE, minutes))
    honest = failed(looked(regression, NOISE, minutes))

    assert told["single feature"].startswith("`told` (0.9")
    assert "`told`" not in honest.get("single feature", "")


def test_groups_of_a_classification_and_of_a_regression() -> None:
    groups = np.array(["a", "b"] * (ROWS // 2))
    answers = Answers(np.where(groups == "a", 0.9, 0.1))
    gate = Gate(
        metric="roc_auc",
        floor=0.5,
        minimum_gain=0.0,
        fairness=Fairness(column="g", maximum_difference=0.1, of=Parity.TPR),
    )
    assert gate.fairness is not None

    found = difference(gate.fairness, groups, TRUTH, answers, 0.5)

    assert found.difference == 1.0
    assert sum(one.rows for one in found.groups) == TRUTH.sum()
    assert "tpr is 0.0000 for g b and 1.0000 for a" in fairness_check(gate, found).reason

    bias = Fairness(column="g", maximum_difference=0.1, of=Parity.BIAS)
    found = difference(bias, groups, np.zeros(ROWS), answers, None)
    assert found.difference == pytest.approx(0.8)


def test_groups_too_small_to_judge_do_not_pass() -> None:
    fairness = Fairness(column="g", maximum_difference=0.1)
    gate = Gate(metric="roc_auc", floor=0.5, minimum_gain=0.0, fairness=fairness)
    groups = np.array(["a"] * (ROWS - 50) + ["b"] * 50)

    found = difference(fairness, groups, TRUTH, Answers(np.zeros(ROWS)), 0.5)

    check = fairness_check(gate, found)
    assert not check.passed
    assert "fewer than two groups of g" in check.reason


@pytest.mark.parametrize(
    ("fairness", "allowed"),
    [
        (Fairness(column="origin", maximum_difference=0.1, of=Parity.BIAS), "rate, tpr, fpr"),
        (Fairness(column="gender", maximum_difference=0.1), "a column of the feature query"),
        (Fairness(column="origin", maximum_difference=0), "above 0"),
    ],
)
def test_a_fairness_that_cannot_be_judged_is_refused(
    product: Product, fairness: Fairness, allowed: str
) -> None:
    with pytest.raises(InvalidProduct, match=allowed):
        dataclasses.replace(product, gate=dataclasses.replace(product.gate, fairness=fairness))


def test_a_worse_calibrated_challenger_is_rejected() -> None:
    sure = np.where(TRUTH == 1, 0.6, 0.4) + NOISE * 0.05
    gate = Gate(metric="roc_auc", floor=0.5, minimum_gain=-1.0)

    judgement = judge(gate, TRUTH, Answers(sure / 3), Answers(sure), [], samples=20)

    assert [one.name for one in judgement.checks if not one.passed] == ["calibration"]


def test_a_regression_is_calibrated_by_its_intervals() -> None:
    truth = np.random.default_rng(5).normal(0, 1, ROWS)
    zero, wide, narrow = np.zeros(ROWS), np.full(ROWS, 1.2816), np.full(ROWS, 0.5)

    good = calibration(Task.REGRESSION, truth, Answers(zero, -wide, wide))
    poor = calibration(Task.REGRESSION, truth, Answers(zero, -narrow, narrow))

    assert good is not None
    assert poor is not None
    assert good.error < 0.02
    assert poor.error == pytest.approx(0.8 - 0.383, abs=0.03)
    assert sum(one.rows for one in poor.bins) == ROWS
    gate = Gate(metric="mae", floor=10.0, minimum_gain=-1.0)
    answers = Answers(zero, -narrow, narrow), Answers(zero, -wide, wide)
    judgement = judge(gate, truth, *answers, [], task=Task.REGRESSION, samples=20)
    assert [one.name for one in judgement.checks if not one.passed] == ["calibration"]
    drawn = plots(Task.REGRESSION, gate, truth, *answers, judgement)
    assert list(drawn) == ["predictions.svg", "residuals.svg", "calibration.svg", "gain.svg"]


def test_the_hold_out_is_compared_with_what_was_learned_from(small: Product) -> None:
    generator = np.random.default_rng(6)
    learned = rows_of(NOISE, NOISE, generator)
    moved = rows_of(NOISE, NOISE + 3, generator)
    moved = moved.set_column(1, "place", pa.array(["east"] * ROWS))

    known = of_features(small, learned)

    assert all(one.divergence < 0.01 for one in shifts(known, learned))
    found = {one.feature: one.divergence for one in shifts(known, moved)}
    assert found["place"] == 1
    assert found["honest"] > 0.5
    assert found["told"] < 0.01


class Confused:
    """Stands for a scorer behind a server that reads one number otherwise."""

    def columns(self, columns: Any) -> Answers:
        return Answers(np.array(columns["honest"], dtype=np.float64) / 10)

    def table(self, rows: pa.Table) -> Answers:
        return Answers(np.array(rows.column("honest").to_pylist()) / 10 + 0.25)


def test_ways_that_disagree_are_named(small: Product) -> None:
    rows = rows_of(NOISE, np.ones(ROWS), np.random.default_rng(7))
    model: Any = Confused()

    skew = compare(small, model, rows)

    check = skew_check(skew)
    assert not check.passed
    assert skew.between == "training and batch"
    assert check.found == pytest.approx(0.25)


def test_a_feature_that_arrives_otherwise_is_named() -> None:
    skew = Skew(rows=9, difference=0.1, between="training and serving", features=("seats",))

    assert "otherwise than in training: `seats`" in skew_check(skew).reason


def test_rows_that_the_endpoint_would_refuse_are_told_of(product: Product) -> None:
    names = product.features.request.__struct_fields__
    row = dict.fromkeys(names) | {
        "carrier": "UA",
        "origin": "EWR",
        "destination": "ORD",
        "distance": 719,
        "departure_minute": 1500,
        "weekday": 3,
        "scheduled_arrival_minute": 600,
    }
    model: Any = Confused()

    skew = compare(product, model, pa.Table.from_pylist([row]))

    assert not skew.passed
    assert skew.features == ("departure_minute",)
    assert "would refuse rows of the hold-out: row 0" in skew_check(skew).reason

"""A challenger that differs by its seed alone is not promoted for noise."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from typing import Any

import numpy as np
import pytest

from tests.workloads.conftest import Trained, local
from workloads import product as products
from workloads.gate.judgement import Judgement, judge
from workloads.gate.resampling import seeds_alone
from workloads.manifest import Noise
from workloads.metrics import scored
from workloads.product import Gate, InvalidProduct, Product, Task
from workloads.registry import Registry
from workloads.scoring import Answers
from workloads.training import fitting, noise

GATE = Gate(metric="roc_auc", floor=0.5, minimum_gain=0.002)
TESTS = 120
ROWS = 1500


def twins(generator: np.random.Generator, own: float) -> tuple[np.ndarray, Answers, Answers]:
    """Truths, and two models that know them equally well and err apart by `own`.

    A fifth of the rows is positive; the ROC-AUC is about 0.7, as the flights' is.
    """
    latent = generator.normal(-1.5, 1.0, ROWS)
    truth = (generator.random(ROWS) < 1 / (1 + np.exp(-latent))).astype(np.int8)
    shared = 0.75 * latent + generator.normal(0, 0.6, ROWS)
    one, other = (
        Answers(1 / (1 + np.exp(-(shared + generator.normal(0, own, ROWS))))) for _ in range(2)
    )
    return truth, one, other


@pytest.fixture(scope="module")
def judgements() -> list[Judgement]:
    """Of challengers that are equal to their champion, close to it and far from it."""
    generator = np.random.default_rng(11)
    found: list[Judgement] = []
    for test in range(TESTS):
        truth, challenger, champion = twins(generator, own=(0.1, 0.3)[test % 2])
        found.append(judge(GATE, truth, challenger, champion, [], samples=120, seed=test))
    return found


def test_few_equal_challengers_are_promoted(judgements: list[Judgement]) -> None:
    """Measured with 600 of 3,000 rows each: 0.7 %."""
    assert sum(one.passed for one in judgements) / TESTS <= 0.02


def test_half_of_them_look_better(judgements: list[Judgement]) -> None:
    """So the rule has something to withstand: the minimum gain alone would promote a third."""
    gains = [one.gain.value for one in judgements if one.gain is not None]

    assert 0.4 < np.mean([gain > 0 for gain in gains]) < 0.6
    assert np.mean([gain >= GATE.minimum_gain for gain in gains]) > 0.25


def test_a_challenger_that_is_better_is_still_promoted() -> None:
    generator = np.random.default_rng(12)
    promoted = 0
    for test in range(20):
        latent = generator.normal(-1.5, 1.0, 4000)
        truth = (generator.random(4000) < 1 / (1 + np.exp(-latent))).astype(np.int8)
        models = [
            Answers(1 / (1 + np.exp(-(0.75 * latent + generator.normal(0, noise, 4000)))))
            for noise in (0.6, 0.9)
        ]
        promoted += judge(GATE, truth, models[0], models[1], [], samples=120, seed=test).passed

    assert promoted >= 18


def test_a_regression_is_judged_by_the_same_rule() -> None:
    gate = Gate(metric="mae", floor=100.0, minimum_gain=0.1)
    generator = np.random.default_rng(13)
    promoted = 0
    for test in range(60):
        truth = generator.normal(0, 30, 1000)
        shared = truth + generator.normal(0, 20, 1000)
        one, other = (Answers(shared + generator.normal(0, 4, 1000)) for _ in range(2))
        judged = judge(gate, truth, one, other, [], task=Task.REGRESSION, samples=120, seed=test)
        promoted += judged.passed

    assert promoted <= 1


def test_errors_of_one_hour_are_one_witness() -> None:
    """Two equal models whose errors go together for fifty rows at a time: rows drawn one by one
    promote many, blocks few."""
    generator = np.random.default_rng(14)
    promoted = {False: 0, True: 0}
    lenient = dataclasses.replace(GATE, floor=0.3, calibration_tolerance=1.0)
    for test in range(100):
        latent = generator.normal(-1.5, 0.6, ROWS) + np.repeat(generator.normal(0, 1, 30), 50)
        truth = (generator.random(ROWS) < 1 / (1 + np.exp(-latent))).astype(np.int8)
        one, other = (
            Answers(1 / (1 + np.exp(-(0.75 * latent + np.repeat(generator.normal(0, 1, 30), 50)))))
            for _ in range(2)
        )
        for ordered in promoted:
            judged = judge(
                lenient, truth, one, other, [], in_order_of_time=ordered, samples=80, seed=test
            )
            promoted[ordered] += judged.passed

    assert promoted[False] >= 15
    assert promoted[True] <= 8


class Flights:
    """Real flights of the first days of January, as a product's training function takes them."""

    def __init__(self, product: Product, training: Any, holdout: Any) -> None:
        from workloads.training import data

        self.product = product
        self.learned = data.frame(product, training), data.labels(product, training)
        self.judged = data.frame(product, holdout)
        self.truth = data.labels(product, holdout)
        # So few days teach too little for the floor of a whole winter.
        lenient = {Task.CLASSIFICATION: 0.5, Task.REGRESSION: 1000.0}[product.task]
        self.gate = dataclasses.replace(product.gate, floor=lenient, calibration_tolerance=1.0)

    def retrained(self, seed: int) -> Answers:
        fitted = fitting.fit(self.product, *self.learned, seed=seed)
        return noise.answered(self.product, fitted, self.judged)

    def score(self, answers: Answers) -> float:
        return scored(self.product.task, self.truth, answers).score(self.gate.metric)

    def judgement(self, challenger: Answers, champion: Answers, **given: Any) -> Judgement:
        return judge(
            self.gate,
            self.truth,
            challenger,
            champion,
            [],
            task=self.product.task,
            in_order_of_time=True,
            **{"samples": 200, **given},
        )

    def promoted(self, answers: list[Answers], reruns: int = 0) -> float:
        """The share of challengers that pass, each of the seeds held against each.

        Args:
            reruns: each challenger measures its noise by so many of the others, as training would.
        """
        passed = 0
        pairs = list(itertools.permutations(range(len(answers)), 2))
        scores = [self.score(one) for one in answers]
        draw = np.random.default_rng(0)
        for challenger, champion in pairs:
            measured = None
            if reruns:
                others = [one for one in range(len(answers)) if one != challenger]
                drawn = draw.choice(others, reruns, replace=False)
                measured = noise.spread([scores[one] for one in (challenger, *drawn)])
            judged = self.judgement(answers[challenger], answers[champion], noise=measured)
            passed += judged.passed
        return passed / len(pairs)


@pytest.fixture
def flights(january: Product, trained: Trained) -> Flights:
    """Of flight-delay, on the snapshots that its pipeline froze."""
    from workloads.training import data

    manifest = Registry(january).get(trained.registration.version).manifest()
    return Flights(january, data.load(manifest.training), data.load(manifest.holdout))


@pytest.fixture
def minutes(january: Product) -> Flights:
    """Of arrival-delay, of the same days."""
    from workloads.features.query import FeatureQuery

    del january
    product = products.load("arrival-delay")
    rows = FeatureQuery(product).run(local(1), local(14))
    rows = rows.filter(rows.column(product.label.column).is_valid())
    early = [one < local(11) for one in rows.column(product.features.event_time).to_pylist()]
    return Flights(product, rows.filter(early), rows.filter([not one for one in early]))


HALF_OF_THE_COLUMNS = {"max_features": 0.5}
"""At a time, chosen by the seed."""


def boosting(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    """Has the training functions boost otherwise than they say."""
    from sklearn import ensemble

    def changed(kind: Any, **given: Any) -> Any:
        return kind(**{**given, **changes})

    for name in ("HistGradientBoostingClassifier", "HistGradientBoostingRegressor"):
        kind = getattr(ensemble, name)
        monkeypatch.setattr(ensemble, name, functools.partial(changed, kind))


def test_a_real_retraining_with_another_seed_is_not_promoted(
    flights: Flights, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The product's own training function gives the same model; one that samples columns, another
    that the gate does not take for better."""
    boosting(monkeypatch, max_iter=25)
    one, other = (flights.retrained(seed) for seed in (0, 1))
    np.testing.assert_array_equal(one.value, other.value)
    judged = flights.judgement(other, one)
    assert judged.gain is not None
    assert judged.gain.value == 0
    assert not judged.passed

    boosting(monkeypatch, **HALF_OF_THE_COLUMNS)
    answers = [flights.retrained(seed) for seed in range(2)]
    assert not np.array_equal(answers[0].value, answers[1].value)
    assert flights.promoted(answers) == 0


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", ["flights", "minutes"])
def test_of_ten_real_retrainings_held_against_each_other_few_are_promoted(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    flights: Flights = request.getfixturevalue(name)
    own = [flights.retrained(seed) for seed in range(10)]
    assert flights.promoted(own) == 0
    assert all(np.array_equal(one.value, own[0].value) for one in own)

    boosting(monkeypatch, **HALF_OF_THE_COLUMNS)
    sampled = [flights.retrained(seed) for seed in range(10)]
    assert len({flights.score(one) for one in sampled}) == 10

    assert flights.promoted(sampled, reruns=5) <= 0.05


class TestReruns:
    """Where a product has its training repeated, the gate counts what a seed alone does."""

    def test_a_gain_that_seeds_explain_is_not_taken_for_one(self) -> None:
        generator = np.random.default_rng(15)
        truth = (generator.random(4000) < 0.3).astype(np.int8)
        better, worse = (
            Answers(1 / (1 + np.exp(-(truth + generator.normal(0, spread, 4000)))))
            for spread in (1.2, 1.4)
        )

        def passed(measured: Noise | None) -> bool:
            return judge(GATE, truth, better, worse, [], samples=200, noise=measured).passed

        assert passed(None)
        assert passed(Noise(reruns=5, deviation=0.001))
        assert not passed(Noise(reruns=5, deviation=0.05))

    def test_the_spread_is_told_in_the_reason(self) -> None:
        truth, one, other = twins(np.random.default_rng(16), own=0.1)

        judged = judge(
            GATE, truth, one, other, [], samples=20, noise=Noise(reruns=4, deviation=0.0123)
        )

        (check,) = (one for one in judged.checks if one.name == "confidence")
        assert "a seed alone moves it by 0.0123 (4 reruns)" in check.reason

    def test_few_of_many_retrainings_that_differ_by_their_seed_are_promoted(self) -> None:
        """Seeds that move the truth of a model: more rows do not help, only knowing the spread."""
        generator = np.random.default_rng(17)
        promoted = {False: 0, True: 0}
        tests, spread = 150, 0.01
        for test in range(tests):
            scores = generator.normal(0.7, spread, 7)
            measured = noise.spread(scores[:6].tolist())
            gain = scores[0] - scores[6]
            # Of a hold-out so large that resamples all say the same.
            gains = gain + generator.normal(0, 0.0005, 500)
            for counted in promoted:
                drawn = gains + seeds_alone(measured, 500, test) if counted else gains
                sure = (drawn >= GATE.minimum_gain).mean() >= GATE.confidence
                promoted[counted] += bool(gain >= GATE.minimum_gain and sure)

        assert promoted[False] / tests > 0.25
        assert promoted[True] / tests <= 0.05

    def test_they_are_measured_with_the_training_and_kept_with_the_model(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from tests.workloads.training.test_regression import frozen, rows
        from workloads.training import data, evaluation

        product = products.load("arrival-delay")
        product = dataclasses.replace(product, gate=dataclasses.replace(product.gate, reruns=3))
        parts = frozen(monkeypatch, training=rows(product, 300), holdout=rows(product, 600, seed=9))
        frame, truth = (of(product, data.load(parts.training)) for of in (data.frame, data.labels))
        model = fitting.export(product, fitting.fit(product, frame, truth))
        seeds: list[int] = []
        fit = fitting.fit

        def counted(*given: Any, seed: int) -> Any:
            seeds.append(seed)
            # Stands for a training that samples: other rows with each seed.
            keep = np.random.default_rng(seed).random(300) < 0.8
            return fit(given[0], given[1][keep], given[2][keep], seed=seed)

        monkeypatch.setattr(fitting, "fit", counted)

        found = evaluation.evaluate(product, model, parts).evaluation

        assert seeds == [1, 2, 3]
        assert found.noise is not None
        assert found.noise.reruns == 3
        assert 0 < found.noise.deviation < 5

    @pytest.mark.parametrize("reruns", [-1, 1, 2])
    def test_so_few_that_they_say_little_are_refused(self, reruns: int) -> None:
        product = products.load("flight-delay")

        with pytest.raises(InvalidProduct, match=f"gate.reruns is {reruns}; allowed: 0, or at"):
            dataclasses.replace(product, gate=dataclasses.replace(product.gate, reruns=reruns))

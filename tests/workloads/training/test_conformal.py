"""Bounds that are moved until they hold what they promise, in scikit-learn and in the graph."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from tests.workloads.training.test_regression import constant, frozen, rows
from workloads import product as products
from workloads.product import Product
from workloads.products.arrival_delay import training
from workloads.scoring import Scorer
from workloads.training import conformal, data, evaluation, fitting
from workloads.training.regression import IntervalRegressor
from workloads.training.report import report


@pytest.fixture(scope="module")
def product() -> Product:
    return products.load("arrival-delay")


def between(lower: float, upper: float) -> IntervalRegressor:
    return IntervalRegressor(
        value=constant((lower + upper) / 2), lower=constant(lower), upper=constant(upper)
    )


@pytest.mark.parametrize(("lower", "upper"), [(-0.1, 0.1), (-9.0, 9.0), (1.0, 5.0)])
def test_bounds_that_are_wrong_come_to_hold_the_share_they_promise(
    lower: float, upper: float
) -> None:
    draw = np.random.default_rng(3)
    seen, new = draw.normal(0, 1, 4000), draw.normal(0, 1, 20_000)

    found = conformal.calibrated(between(lower, upper), np.zeros((4000, 1)), seen, (0.1, 0.9))

    _, low, high = found.predict(np.zeros((1, 1)))[0]
    assert ((new >= low) & (new <= high)).mean() == pytest.approx(0.8, abs=0.02)
    assert (found.margin < 0) == (lower == -9.0)
    assert found.calibration_rows == 4000


def test_the_margin_is_the_one_of_the_paper() -> None:
    """Of nine rows and 80 %, the eighth: ceil(0.8 * (9 + 1))."""
    truth = np.array([1.0, -2.0, 3.0, -4.0, 5.0, -6.0, 7.0, -8.0, 9.0])

    found = conformal.calibrated(between(0, 0), np.zeros((9, 1)), truth, (0.1, 0.9))

    assert found.margin == 8.0


def test_too_few_rows_to_promise_anything_are_refused() -> None:
    with pytest.raises(conformal.TooFewRows, match=r"3 rows .* of 80%.* at least 4"):
        conformal.calibrated(between(0, 1), np.zeros((3, 1)), np.zeros(3), (0.1, 0.9))
    conformal.calibrated(between(0, 1), np.zeros((4, 1)), np.zeros(4), (0.1, 0.9))


def test_what_is_kept_for_calibration_comes_last() -> None:
    assert [conformal.cut(rows) for rows in (1, 9, 10, 1000)] == [0, 8, 9, 900]
    assert conformal.cut(1000, share=0.25) == 750


class TestOfArrivalDelay:
    def test_bounds_never_see_the_rows_that_calibrate_them(self, product: Product) -> None:
        """Other labels there move the margin, and neither the bounds nor what they are made of."""
        table = rows(product, 600)
        frame, minutes = data.frame(product, table), data.labels(product, table)
        later = np.arange(600) >= conformal.cut(600)

        one = training.train(frame, minutes, product.interval)
        other = training.train(frame, np.where(later, minutes + 500, minutes), product.interval)

        for bound in ("lower", "upper"):
            np.testing.assert_array_equal(
                getattr(one, bound).predict(frame), getattr(other, bound).predict(frame)
            )
        assert one.calibration_rows == other.calibration_rows == 60
        assert other.margin > one.margin + 400
        assert np.abs(one.value.predict(frame) - other.value.predict(frame)).max() > 1

    def test_the_graph_has_the_margin_and_every_answer_with_it(
        self, product: Product, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tables = {"training": rows(product), "holdout": rows(product, 800, seed=9)}
        parts = frozen(monkeypatch, **tables)

        model = fitting.fit_and_export(product, parts)

        scorer = Scorer(model, product.features.request, product.task)
        assert scorer.calibration is not None
        margin, count = scorer.calibration
        assert count == 150
        graph = onnx.load_from_string(model).graph
        kept = {one.name: onnx.numpy_helper.to_array(one) for one in graph.initializer}
        assert kept["interval_margin"].item() == margin
        found = evaluation.evaluate(product, model, parts).evaluation
        assert found.coverage is not None
        assert (found.coverage.margin, found.coverage.calibration_rows) == (margin, 150)
        assert found.coverage.share.value == pytest.approx(0.8, abs=0.07)
        assert f"{margin:+.2f} further out" in report(product, found, parts)

    def test_who_does_not_calibrate_says_so(self, product: Product) -> None:
        import dataclasses

        fitted = dataclasses.replace(
            training.train(
                data.frame(product, table := rows(product, 200)),
                data.labels(product, table),
                product.interval,
            ),
            margin=0.0,
            calibration_rows=0,
        )
        model = fitting.export(product, fitted)

        assert Scorer(model, product.features.request, product.task).calibration is None

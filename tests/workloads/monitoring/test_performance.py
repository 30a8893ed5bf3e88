"""What is said of a model's performance, and when nothing can be."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from workloads import contracts, metrics
from workloads import product as products
from workloads.features.query import FeatureQuery
from workloads.monitoring import measuring, performance, rating
from workloads.monitoring.champion import Champion
from workloads.monitoring.performance import Outcomes, Performance, measure, measure_slices
from workloads.monitoring.tables import FEATURE_SCORES, PERFORMANCE, performance_row, score_row
from workloads.monitoring.window import Window
from workloads.product import Product
from workloads.scoring import Answers

from ..conftest import local
from .conftest import assessed, reference
from .test_histogram_query import logged, prediction

PRODUCT = products.load("flight-delay")
START = datetime(2013, 4, 1, tzinfo=UTC)
WINDOW = Window(start=START, end=START + timedelta(days=7))
AFTER = WINDOW.end + PRODUCT.label.maturity
ROWS = 2_000


def found(rows: int = ROWS, missing: float = 0.0, quality: float = 1.0) -> Outcomes:
    """Predictions over a week, whose labels follow them as well as `quality` says."""
    generator = np.random.default_rng(0)
    probabilities = generator.beta(1, 4, rows)
    truth = (generator.random(rows) < probabilities).astype(float)
    answers = np.where(generator.random(rows) < quality, probabilities, generator.random(rows))
    truth[generator.random(rows) < missing] = np.nan
    seconds = np.sort(generator.integers(0, 7 * 86_400, rows))
    return Outcomes(
        event_time=np.datetime64("2013-04-01", "us") + seconds.astype("timedelta64[s]"),
        answers=Answers(answers),
        truth=truth,
        parts={"origin": generator.choice(["EWR", "JFK", None], rows, p=[0.6, 0.39, 0.01])},
    )


def test_a_mature_window_has_a_score_with_its_interval() -> None:
    rows = found()
    score = measure(PRODUCT, rows, WINDOW, at=AFTER)
    assert score.value == metrics.Scored(rows.truth, rows.answers.value).score("roc_auc")
    assert score.low is not None
    assert score.high is not None
    assert score.low < score.value < score.high
    assert (score.labelled, score.waiting, score.never, score.future) == (ROWS, 0, 0, 0)


def test_labels_that_come_early_do_not_count() -> None:
    """Flights that land early are not late: scored before maturity, they alone would be seen."""
    score = measure(PRODUCT, found(), WINDOW, at=START + timedelta(days=2))
    assert score.waiting > 0
    assert score.labelled + score.waiting + score.future == ROWS
    assert score.future > ROWS / 2


@pytest.mark.parametrize(
    ("rows", "at", "reason"),
    [
        (found(0), AFTER, "no predictions"),
        (found(), START + timedelta(hours=20), "no label is mature yet"),
        (found(150), AFTER, "150 rows are mature and labelled; at least 200"),
        (found(missing=0.7), AFTER, "mature rows have a label; at least 50%"),
        (found(missing=1.0), AFTER + timedelta(days=400), "0 rows are mature and labelled"),
    ],
    ids=["no rows", "not mature", "few", "labels late", "labels never"],
)
def test_it_is_unknown_and_never_a_number(rows: Outcomes, at: datetime, reason: str) -> None:
    score = measure(PRODUCT, rows, WINDOW, at=at)
    assert (score.value, score.low, score.high) == (None, None, None)
    assert reason in score.reason
    assert rating.worse("roc_auc", score, expected=0.7, tolerance=0.0) is None


def test_a_window_of_one_class_is_unknown() -> None:
    rows = found()
    score = measure(PRODUCT, rows.where(rows.truth == 0), WINDOW, at=AFTER)
    assert score.value is None
    assert "needs both classes" in score.reason


def test_questions_from_the_future_are_counted_apart() -> None:
    rows = found()
    rows.event_time[-50:] += np.timedelta64(3650, "D")
    score = measure(PRODUCT, rows, WINDOW, at=AFTER)
    assert score.future == 50
    assert score.labelled == ROWS - 50


def test_worse_is_what_lies_beyond_chance_and_tolerance() -> None:
    good = measure(PRODUCT, found(), WINDOW, at=AFTER)
    bad = measure(PRODUCT, found(quality=0.3), WINDOW, at=AFTER)
    assert good.value is not None
    assert rating.worse("roc_auc", good, expected=good.value, tolerance=0.01) is False
    assert rating.worse("roc_auc", bad, expected=good.value, tolerance=0.01) is True
    loss = measure(PRODUCT, found(quality=0.3), WINDOW, at=AFTER, metric="log_loss")
    assert rating.worse("log_loss", loss, expected=0.4, tolerance=0.01) is True
    assert rating.worse("log_loss", loss, expected=10.0, tolerance=0.01) is False


def test_slices_are_scored_by_themselves() -> None:
    scores = measure_slices(PRODUCT, found(), WINDOW, at=AFTER)
    assert [one.slice for one in scores] == ["origin=EWR", "origin=JFK"]
    assert all(one.value is not None for one in scores)


def test_a_regression_has_its_own_scores() -> None:
    gate = dataclasses.replace(PRODUCT.gate, metric="mae", floor=10.0)
    product = dataclasses.replace(
        PRODUCT, task=products.Task.REGRESSION, gate=gate, label=PRODUCT.label
    )
    generator = np.random.default_rng(0)
    truth = generator.normal(10, 5, ROWS)
    value = truth + generator.normal(0, 2, ROWS)
    rows = answered_otherwise(found(), truth, Answers(value, value - 3, value + 3))
    score = measure(product, rows, WINDOW, at=AFTER)
    assert score.value == pytest.approx(np.abs(truth - value).mean())


def answered_otherwise(rows: Outcomes, truth: np.ndarray, answers: Answers) -> Outcomes:
    return Outcomes(event_time=rows.event_time, answers=answers, truth=truth, parts=rows.parts)


def test_the_log_is_joined_with_what_came(january: Product) -> None:
    window = Window(start=local(8), end=local(9))
    rows = FeatureQuery(january).run(window.start, window.end).to_pylist()[:300]
    at = datetime(2026, 11, 21, tzinfo=UTC)
    log = [
        prediction(at, n, entity=one["flight_id"], value=n / 1_000) for n, one in enumerate(rows)
    ]
    # Asked again, the last answer counts; a shadow's never does; nobody asked about the last.
    again = prediction(at + timedelta(hours=1), 900, entity=rows[0]["flight_id"], value=0.99)
    shadow = prediction(at, 901, entity=rows[1]["flight_id"], value=0.5, variant="shadow")
    stranger = prediction(at, 902, entity="no-such-flight", value=0.5)
    logged(january, [*log[:-1], again, shadow, stranger, prediction(at, 903, value=0.5)])

    joined = performance.outcomes(january, window, model_version="1")

    expected = {one["flight_id"]: n / 1_000 for n, one in enumerate(rows[:-1])}
    expected[rows[0]["flight_id"]] = 0.99
    assert sorted(joined.answers.value) == pytest.approx(sorted(expected.values()))
    known = [one["late"] for one in rows[:-1]]
    assert np.nansum(joined.truth) == sum(one is True for one in known)
    assert np.isnan(joined.truth).sum() == sum(one is None for one in known)
    assert (np.diff(joined.event_time) >= np.timedelta64(0)).all()
    assert set(joined.parts) == {"origin", "carrier"}

    score = measure(january, joined, window, at=local(11))
    assert score.labelled + score.never == 299
    assert score.value is not None
    assert performance.outcomes(january, window, model_version="7").rows == 0


def test_rows_for_the_tables_have_their_columns_and_one_id_a_measurement() -> None:
    score = measure(PRODUCT, found(0), WINDOW, at=AFTER)
    row = performance_row(score, model_version="3", measured_at=AFTER)
    assert set(row) == {one["name"] for one in PERFORMANCE.columns}
    later = performance_row(score, model_version="3", measured_at=AFTER + timedelta(days=1))
    assert row["measurement_id"] == later["measurement_id"]
    guess = performance_row(score, model_version="3", measured_at=AFTER, estimated=True)
    assert row["measurement_id"] != guess["measurement_id"]

    known = reference({"x": np.arange(500.0)})
    scores = assessed(known, {"x": np.arange(500.0)}).values()
    rows = [
        score_row(one, model_version="3", reference="training", measured_at=AFTER) for one in scores
    ]
    assert {tuple(one) for one in map(sorted, rows)} == {
        tuple(sorted(one["name"] for one in FEATURE_SCORES.columns))
    }
    assert len({one["measurement_id"] for one in rows}) == len(rows)
    required = [one["name"] for one in FEATURE_SCORES.columns if one["mode"] == "REQUIRED"]
    assert not pd.DataFrame(rows)[required].isna().any(axis=None)


class Predictor:
    """A model of arrival delays that always says ten minutes."""

    def table(self, rows: pa.Table) -> Answers:
        return Answers(np.full(rows.num_rows, 10.0))


def estimated(metric: str, monkeypatch: pytest.MonkeyPatch) -> Performance:
    """What is said of a week of arrival delays without one label."""
    known = products.load("arrival-delay")
    product = dataclasses.replace(known, gate=dataclasses.replace(known.gate, metric=metric))
    generator = np.random.default_rng(0)

    def table(*_: Any) -> pa.Table:
        return pa.table(
            {
                one.name: ["a"] * ROWS if one.kind == "string" else generator.normal(size=ROWS)
                for one in contracts.fields(product.features.request)
            }
        )

    monkeypatch.setattr(FeatureQuery, "run", table)
    truth = 10 + generator.normal(0, 5, ROWS)
    model = Champion(product, cast("Any", None))
    # What it answered on the hold-out, which is not read here.
    vars(model)["scorer"] = Predictor()
    vars(model)["holdout"] = (table(), truth, Answers(np.full(ROWS, 10.0)))
    rows = answered_otherwise(found(), np.full(ROWS, np.nan), Answers(np.full(ROWS, 10.0)))
    return measuring.estimate(model, rows, WINDOW)


@pytest.mark.parametrize(("metric", "true"), [("mae", 3.99), ("rmse", 5.0)])
def test_a_regression_without_labels_is_estimated_with_a_band(
    metric: str, true: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    score = estimated(metric, monkeypatch)
    assert score.metric == metric
    low, value, high = (cast("float", one) for one in (score.low, score.value, score.high))
    assert value == pytest.approx(true, rel=0.05)
    assert low < value < high
    # A value beyond what is tolerated is not worse while chance may have put it there.
    assert rating.worse(metric, score, expected=(value + low) / 2, tolerance=0.0) is False
    assert rating.worse(metric, score, expected=low * 0.99, tolerance=0.0) is True


def test_a_metric_that_cannot_be_estimated_is_unknown_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    score = estimated("pinball", monkeypatch)
    assert (score.metric, score.value) == ("pinball", None)
    assert "not estimated without labels" in score.reason

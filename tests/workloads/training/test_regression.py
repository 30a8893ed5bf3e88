"""Models that answer with a number and an interval, from fitting to the report."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import onnx
import pyarrow as pa
import pytest
from sklearn.dummy import DummyRegressor

from workloads import product as products
from workloads.contracts import fields
from workloads.features.query import FeatureQuery
from workloads.manifest import Data
from workloads.product import InvalidProduct, Product, Task
from workloads.scoring import ModelRefused, Scorer
from workloads.training import data, evaluation, fitting
from workloads.training.data import Extract, InvalidData
from workloads.training.regression import IntervalRegressor
from workloads.training.report import report

NOW = datetime(2013, 1, 1, tzinfo=UTC)
TEXT = {"carrier": ["UA", "AA", "B6"], "origin": ["EWR", "JFK"], "destination": ["IAH", "MIA"]}


@pytest.fixture(scope="module")
def product() -> Product:
    return products.load("arrival-delay")


def rows(product: Product, count: int = 1500, seed: int = 0) -> pa.Table:
    """Rows that the contract allows, late by their carrier and the hour, with noise that grows."""
    draw = np.random.default_rng(seed)
    columns: dict[str, Any] = {
        "flight_id": [f"flight-{seed}-{one}" for one in range(count)],
        "asked_at": [NOW + timedelta(minutes=one) for one in range(count)],
    }
    for field in fields(product.features.request):
        if field.name in TEXT:
            columns[field.name] = draw.choice(TEXT[field.name], count).tolist()
        elif field.kind == "integer":
            low, high = {"weekday": (1, 7), "aircraft_year": (1950, 2013)}.get(field.name, (1, 900))
            columns[field.name] = draw.integers(low, high, count)
        elif field.name == "pressure":
            columns[field.name] = draw.uniform(980, 1040, count)
        else:
            columns[field.name] = draw.uniform(0, 1, count)
        if field.nullable:
            columns[field.name] = [
                None if missing else one
                for one, missing in zip(
                    np.asarray(columns[field.name]).tolist(), draw.random(count) < 0.1, strict=True
                )
            ]
    carrier = np.array(columns["carrier"])
    minute = np.array(columns["departure_minute"], dtype=float)
    noise = draw.normal(0, 5 + minute / 60)
    late = np.where(carrier == "UA", 30.0, 0.0) + minute / 30 + noise
    columns["minutes_late"] = np.round(late).astype(int).tolist()
    return pa.table(columns).select(list(FeatureQuery(product).columns))


def frozen(monkeypatch: pytest.MonkeyPatch, **tables: pa.Table) -> Extract:
    """An extract whose snapshots are these tables."""
    monkeypatch.setattr(data, "thaw", lambda uri, _: tables[uri])
    return Extract(
        **{
            name: Data(uri=name, sha256="", rows=one.num_rows, start=NOW, end=NOW)
            for name, one in tables.items()
        }
    )


def constant(value: float) -> DummyRegressor:
    return DummyRegressor(strategy="constant", constant=value).fit([[0.0]], [0.0])


@pytest.fixture(scope="module")
def fitted(product: Product) -> tuple[bytes, dict[str, pa.Table]]:
    tables = {"training": rows(product), "holdout": rows(product, 800, seed=9)}
    with pytest.MonkeyPatch.context() as patch:
        return fitting.fit_and_export(product, frozen(patch, **tables)), tables


class TestExport:
    def test_is_one_graph_that_computes_what_is_common_once(
        self, product: Product, fitted: tuple[bytes, Any]
    ) -> None:
        graph = onnx.load_from_string(fitted[0])
        onnx.checker.check_model(graph)
        kinds = [node.op_type for node in graph.graph.node]

        assert [one.name for one in graph.graph.output] == ["predictions"]
        assert {one.name for one in graph.graph.input} == set(
            product.features.request.__struct_fields__
        )
        # Three columns of text, three regressors.
        assert kinds.count("LabelEncoder") == len(TEXT)
        assert kinds.count("TreeEnsembleRegressor") == 3

    def test_answers_rows_never_seen_with_bounds_in_order(
        self, product: Product, fitted: tuple[bytes, Any]
    ) -> None:
        strange = rows(product, 500, seed=5)
        unknown = pa.array(["ZZZ"] * 500)
        strange = strange.set_column(
            strange.column_names.index("destination"), "destination", unknown
        )

        found = Scorer(fitted[0], product.features.request, product.task).table(strange)

        assert found.lower is not None
        assert found.upper is not None
        assert (found.lower <= found.value).all()
        assert (found.value <= found.upper).all()
        assert np.isfinite(found.value).all()
        assert found.interval == product.interval
        late = np.array(strange.column("minutes_late").to_pylist())
        assert np.corrcoef(found.value, late)[0, 1] > 0.7

    def test_keeps_bounds_in_order_where_the_quantiles_cross(self, product: Product) -> None:
        crossed = IntervalRegressor(value=constant(5), lower=constant(7), upper=constant(3))
        table = rows(product, 3)

        assert crossed.predict(np.zeros((1, 1))).tolist() == [[5, 5, 5]]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(fitting, "_function", lambda _: _fit_crossed)
            model = fitting.fit_and_export(
                product, frozen(patch, training=rows(product, 50), holdout=table)
            )
        found = Scorer(model, product.features.request, product.task).table(table)
        for bound in (found.lower, found.upper):
            np.testing.assert_array_equal(bound, found.value)

    def test_that_differs_is_refused(
        self, product: Product, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        table = rows(product, 100)
        parts = frozen(monkeypatch, training=table, holdout=table)
        export = fitting.export

        def other(of: Product, model: Any) -> bytes:
            swapped = IntervalRegressor(value=model.upper, lower=model.lower, upper=model.upper)
            return export(of, swapped)

        monkeypatch.setattr(fitting, "_function", lambda _: _fit_linear)
        monkeypatch.setattr(fitting, "export", other)

        with pytest.raises(fitting.ExportDiffers, match=r"allowed difference: 0\.001"):
            fitting.fit_and_export(product, parts)

    @pytest.mark.parametrize(
        ("returned", "lacking"),
        [
            (constant(1), "value, lower, upper"),
            (IntervalRegressor(value=constant(1), lower=constant(1), upper=None), "upper"),
        ],
    )
    def test_of_something_else_is_refused(
        self, product: Product, monkeypatch: pytest.MonkeyPatch, returned: Any, lacking: str
    ) -> None:
        monkeypatch.setattr(fitting, "_function", lambda _: lambda *_: returned)

        with pytest.raises(fitting.InvalidFit, match=f"without a regressor as {lacking}; allowed"):
            fitting.fit(product, None, None)

    def test_is_refused_by_who_wants_another_task_or_knows_no_quantiles(
        self, product: Product, fitted: tuple[bytes, Any]
    ) -> None:
        with pytest.raises(ModelRefused, match="a classification gives `probabilities`"):
            Scorer(fitted[0], product.features.request, Task.CLASSIFICATION)
        graph = onnx.load_from_string(fitted[0])
        del graph.metadata_props[:]
        with pytest.raises(ModelRefused, match="entry `interval` is None"):
            Scorer(graph.SerializeToString(), product.features.request, product.task)


def _pipelines(rows: Any, minutes: Any, quantiles: list[Any]) -> list[Any]:
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import Pipeline

    columns = ColumnTransformer([("distance", "passthrough", ["distance"])])
    return [
        Pipeline([("columns", columns), ("model", one)]).fit(rows, minutes) for one in quantiles
    ]


def _fit_linear(rows: Any, minutes: Any, interval: tuple[float, float]) -> IntervalRegressor:
    from sklearn.linear_model import LinearRegression

    del interval
    value, lower, upper = _pipelines(
        rows, minutes, [LinearRegression(), LinearRegression(), LinearRegression()]
    )
    upper.named_steps["model"].intercept_ += 10
    lower.named_steps["model"].intercept_ -= 10
    return IntervalRegressor(value=value, lower=lower, upper=upper)


def _fit_crossed(rows: Any, minutes: Any, interval: tuple[float, float]) -> IntervalRegressor:
    right = _fit_linear(rows, minutes, interval)
    return IntervalRegressor(value=right.value, lower=right.upper, upper=right.lower)


class TestEvaluation:
    @pytest.fixture(scope="class")
    def evaluated(
        self, product: Product, fitted: tuple[bytes, dict[str, pa.Table]]
    ) -> evaluation.Evaluated:
        with pytest.MonkeyPatch.context() as patch:
            return evaluation.evaluate(product, fitted[0], frozen(patch, **fitted[1]))

    def test_beats_who_knows_only_the_labels(self, evaluated: evaluation.Evaluated) -> None:
        found = evaluated.evaluation

        assert set(found.metrics) == {"mae", "rmse", "pinball", "coverage_error"}
        for metric in ("mae", "rmse", "pinball"):
            assert found.metrics[metric].high < found.baseline[metric].low
        assert found.threshold is None
        assert found.coverage is not None
        assert found.coverage.share.low < found.coverage.share.value < found.coverage.share.high
        assert found.coverage.share.value + found.coverage.below + found.coverage.above == (
            pytest.approx(1)
        )
        assert {one.column for one in found.slices} == {"origin", "carrier"}

    def test_profiles_the_answers_and_the_label(self, evaluated: evaluation.Evaluated) -> None:
        found = evaluated.answers_profile

        assert set(found) == {"value", "lower", "upper", "minutes_late"}
        assert all(sum(one["counts"]) == one["rows"] == 800 for one in found.values())

    def test_gives_examples_with_their_intervals(self, evaluated: evaluation.Evaluated) -> None:
        values = [one.value for one in evaluated.examples]

        assert values == sorted(values)
        assert all(
            one.lower is not None and one.upper is not None and one.lower <= one.value <= one.upper
            for one in evaluated.examples
        )

    def test_is_drawn_as_a_regression(self, evaluated: evaluation.Evaluated) -> None:
        assert list(evaluated.plots) == ["predictions.svg", "residuals.svg", "calibration.svg"]
        for drawn in evaluated.plots.values():
            assert drawn.startswith("<svg")
            assert "model" in drawn

    def test_is_reported_in_words_of_minutes_and_not_of_classes(
        self, product: Product, evaluated: evaluation.Evaluated
    ) -> None:
        part = Data(uri="", sha256="", rows=1500, start=NOW, end=NOW)
        text = report(product, evaluated.evaluation, Extract(training=part, holdout=part))

        assert "| metric | model | interval | training median |" in text
        assert "lie in their interval, whose quantiles 0.1 and 0.9 promise 80%" in text
        assert "| slice | rows | minutes_late | mae |" in text
        assert "Says yes" not in text


class TestValidation:
    @pytest.mark.parametrize(
        ("label", "said"),
        [
            ([3] * 600, "`minutes_late` is 3 in every row"),
            ([float("nan"), *[1.0] * 599], "1 values of `minutes_late` are not finite"),
            (["late"] * 600, "`minutes_late` is of type string; allowed: numbers"),
        ],
    )
    def test_refuses_labels_that_teach_nothing(
        self, product: Product, monkeypatch: pytest.MonkeyPatch, label: list[Any], said: str
    ) -> None:
        table = rows(product, 600)
        spoilt = table.set_column(
            table.column_names.index("minutes_late"), "minutes_late", pa.array(label)
        )

        with pytest.raises(InvalidData, match=said):
            data.validate(product, frozen(monkeypatch, training=spoilt, holdout=table))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"task": "regression"}, "allowed: classification, regression of workloads.product.Task"),
        ({"task": Task.CLASSIFICATION}, "gate.metric is 'mae'; allowed for classification: brier"),
        ({"interval": (0.6, 0.9)}, "interval is .0.6, 0.9.; allowed"),
    ],
)
def test_a_declaration_that_does_not_fit_its_task_is_refused(
    product: Product, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidProduct, match=said):
        dataclasses.replace(product, **changes)

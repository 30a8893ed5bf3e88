"""What may be trained on, and an export that answers as the fitted model does."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from workloads.contracts import fields
from workloads.features import snapshot
from workloads.features.query import FeatureQuery
from workloads.manifest import Data
from workloads.product import Product
from workloads.scoring import ModelRefused, Scorer
from workloads.training import data, fitting
from workloads.training.data import Extract, InvalidData

NOW = datetime(2013, 1, 1, tzinfo=UTC)
SAMPLES = {
    "carrier": ["UA", "AA", "B6"],
    "origin": ["EWR", "JFK", "LGA"],
    "destination": ["IAH", "MIA", "BOS", "LAX"],
}


def rows(product: Product, count: int = 2000, seed: int = 0) -> pa.Table:
    """Rows that the contract allows, with nulls, and a label that features explain in part."""
    draw = np.random.default_rng(seed)
    columns: dict[str, Any] = {
        "flight_id": [f"flight-{seed}-{one}" for one in range(count)],
        "asked_at": [NOW + timedelta(minutes=one) for one in range(count)],
    }
    limits = {
        "late_": (0, 1),
        "weekday": (1, 7),
        "year": (1990, 2013),
        "pressure": (980, 1040),
        "precipitation": (0, 1),
    }
    for field in fields(product.features.request):
        if field.name in SAMPLES:
            columns[field.name] = draw.choice(SAMPLES[field.name], count).tolist()
            continue
        low, high = next((v for k, v in limits.items() if k in field.name), (1, 100))
        values = draw.uniform(low, high, count).round(2).tolist()
        if field.kind == "integer":
            values = [round(one) for one in values]
        if field.nullable:
            values = [None if draw.random() < 0.1 else one for one in values]
        columns[field.name] = values
    chance = np.where(np.array(columns["carrier"]) == "UA", 0.5, 0.1)
    columns["late"] = (draw.random(count) < chance).tolist()
    table = pa.table(columns)
    return table.select(list(FeatureQuery(product).columns))


def frozen(table: pa.Table, monkeypatch: pytest.MonkeyPatch, **tables: pa.Table) -> Extract:
    """An extract whose snapshots are these tables."""
    tables = {"training": table, "holdout": table, **tables}
    monkeypatch.setattr(data, "thaw", lambda uri, _: tables[uri])
    part = {
        name: Data(uri=name, sha256="", rows=one.num_rows, start=NOW, end=NOW)
        for name, one in tables.items()
    }
    return Extract(**part)


class TestValidation:
    @pytest.mark.parametrize(
        ("spoil", "said"),
        [
            (lambda t: t.drop_columns(["distance"]), "columns are"),
            (lambda t: t.slice(0, 10), "10 rows with a label; allowed: at least 500"),
            (lambda t: pa.concat_tables([t, t]), "2000 rows repeat a `flight_id`"),
            (
                lambda t: _with(t, "distance", [0] * t.num_rows),
                "field `distance` is 0; allowed: an integer at least 1",
            ),
            (
                lambda t: _with(t, "carrier", ["united"] * t.num_rows),
                "field `carrier` is 'united'",
            ),
            (lambda t: _with(t, "late", [True] * t.num_rows), "one class teaches nothing"),
            (
                lambda t: _with(t, "visibility", pa.nulls(t.num_rows, pa.float64())),
                "`visibility` is null in every row",
            ),
        ],
    )
    def test_refuses(
        self,
        product: Product,
        monkeypatch: pytest.MonkeyPatch,
        spoil: Callable[[pa.Table], pa.Table],
        said: str,
    ) -> None:
        good = rows(product)

        with pytest.raises(InvalidData) as found:
            data.validate(product, frozen(good, monkeypatch, training=spoil(good)))

        assert said in str(found.value)
        assert all(fault.startswith("training: ") for fault in found.value.faults)

    def test_names_the_rows_that_break_the_contract_wherever_they_are(
        self, product: Product, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        good = rows(product)
        monkeypatch.setattr(data, "_AT_ONCE", 64)
        distances = good.column("distance").to_pylist()
        wrong = [70, 500, good.num_rows - 1]
        for one in wrong:
            distances[one] = 0

        parts = frozen(good, monkeypatch, training=_with(good, "distance", distances))
        with pytest.raises(InvalidData) as found:
            data.validate(product, parts)

        entities = good.column("flight_id").to_pylist()
        named = [fault.split(": ")[1] for fault in found.value.faults]
        assert named == [entities[one] for one in wrong]

    def test_features_are_32_bit_floats_and_what_is_missing_is_no_number(
        self, product: Product
    ) -> None:
        good = rows(product)
        gust = [None, *good.column("wind_gust").to_pylist()[1:]]
        found = data.frame(product, _with(good, "wind_gust", pa.array(gust, pa.float64())))

        expected = np.array(good.column("distance").to_pylist(), dtype=np.float32)
        assert found["distance"].dtype == np.float32
        assert (found["distance"].to_numpy() == expected).all()
        assert np.isnan(found["wind_gust"].to_numpy()[0])
        assert found["carrier"].dtype == object

    def test_passes_what_is_right(self, january: Product) -> None:
        day = datetime(2013, 1, 5, tzinfo=UTC)
        parts = data.extract(january, day, day + timedelta(days=2), day + timedelta(days=4))

        found = data.validate(january, parts)

        assert all(rows > 1000 for rows in found.rows.values())
        assert 0.05 < found.label_mean["training"] < 0.5
        assert found.null_share["carrier"] == 0 < found.null_share["wind_gust"]


def _with(table: pa.Table, name: str, values: Any) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, pa.array(values))


class TestExport:
    def test_answers_as_the_fitted_model_on_rows_never_seen(
        self, product: Product, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        parts = frozen(rows(product), monkeypatch, holdout=rows(product, seed=9))
        model = fitting.fit_and_export(product, parts)

        strange = _with(rows(product, seed=5), "destination", ["ZZZ"] * 2000)

        found = Scorer(model, product.features.request, product.task).table(strange).value
        assert ((found > 0) & (found < 1)).all()
        assert found.std() > 0.01

    def test_that_differs_is_refused(
        self, product: Product, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        parts = frozen(rows(product, 600), monkeypatch)
        export = fitting.export

        def other(of: Product, fitted: Any) -> bytes:
            again = rows(product, 600, seed=4)
            train = fitting._function(of)
            return export(of, train(data.frame(of, again), data.labels(of, again)))

        monkeypatch.setattr(fitting, "export", other)

        with pytest.raises(fitting.ExportDiffers, match="allowed difference: 1e-05"):
            fitting.fit_and_export(product, parts)

    def test_takes_the_fields_of_the_request_and_no_others(self, product: Product) -> None:
        from workloads.products.flight_delay.contracts import Aircraft

        table = rows(product, 600)
        fitted = fitting._function(product)(data.frame(product, table), data.labels(product, table))
        model = fitting.export(product, fitted)

        with pytest.raises(ModelRefused, match="of contract aircraft v1"):
            Scorer(model, Aircraft, product.task)
        with pytest.raises(ModelRefused, match="cannot be loaded"):
            Scorer(b"no model", product.features.request, product.task)


def test_a_snapshot_is_the_same_bytes_wherever_it_is_made(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "esteira-test")
    monkeypatch.setattr(snapshot.Folder, "write_once", lambda self, name, *_: written.append(name))

    snapshot.freeze(product, rows(product, 50))
    snapshot.freeze(product, rows(product, 50).slice(0, 50))
    snapshot.freeze(product, rows(product, 50, seed=1))

    assert written[0] == written[1] != written[2]

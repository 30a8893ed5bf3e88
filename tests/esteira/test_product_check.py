"""What `esteira product check` finds wrong, and what it does without a BigQuery."""

from __future__ import annotations

import dataclasses
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from esteira import product_check, product_check_seeds, product_commands
from esteira.cli import app
from workloads import product as products
from workloads import schemas
from workloads.product import Arrival, Product, Source
from workloads.products.flight_delay.contracts import Flight
from workloads.training.regression import IntervalRegressor

ASKED = {"flight_id": "STRING", "asked_at": "TIMESTAMP", "minutes_late": "INTEGER"}


@pytest.fixture
def product() -> Product:
    return products.load("arrival-delay")


def types(product: Product, **changes: str) -> dict[str, str]:
    """What BigQuery would say of the columns."""
    from workloads.contracts import fields

    kinds = {"string": "STRING", "integer": "INTEGER", "number": "FLOAT"}
    request = {one.name: kinds[one.kind] for one in fields(product.features.request)}
    return {**request, **ASKED, **changes}


def answering(columns: dict[str, str]) -> tuple[list[str], product_check.Ask]:
    asked: list[str] = []

    def ask(sql: str, parameters: dict[str, datetime]) -> list[tuple[str, str]]:
        assert set(parameters) == {"start", "end"}
        asked.append(sql)
        return list(columns.items())

    return asked, ask


def failed(product: Product, ask: Any = None) -> dict[str, str]:
    found = product_check.check(product, ask)
    return {one.what: one.found for one in found if one.passed is False}


def test_a_product_that_is_right_passes(product: Product) -> None:
    asked, ask = answering(types(product))

    findings = list(product_check.check(product, ask))

    assert all(one.passed for one in findings)
    assert {one.what for one in findings} >= {"contracts", "features", "leak guard", "training"}
    plain, cut = asked
    assert "flight_delay_raw" not in plain, "no raw table has to be there"
    assert "WHERE asked_at <= TIMESTAMP '2020-01-01" in cut


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"distance": "STRING"}, "`distance` is STRING; arrival_question wants INTEGER"),
        ({"minutes_late": "BOOLEAN"}, "`minutes_late` is BOOLEAN; regression wants FLOAT"),
        ({"asked_at": "DATE"}, "`asked_at` is no TIMESTAMP"),
    ],
)
def test_a_column_of_another_type_is_told(
    product: Product, changes: dict[str, str], said: str
) -> None:
    _, ask = answering(types(product, **changes))

    assert said in failed(product, ask)["features"]


def test_what_bigquery_refuses_is_told(product: Product) -> None:
    def ask(*_: Any) -> Any:
        raise RuntimeError("Unrecognized name: distence at [3:1]")

    assert "Unrecognized name: distence" in failed(product, ask)["features"]


def _with_sql(product: Product, folder: Path, text: str) -> Product:
    sql = folder / "features.sql"
    sql.write_text(text)
    return dataclasses.replace(product, features=dataclasses.replace(product.features, sql=sql))


def test_a_query_that_names_a_raw_table_is_told(product: Product, tmp_path: Path) -> None:
    wrong = _with_sql(product, tmp_path, "SELECT * FROM `p.flight_delay_raw.flights`")

    assert "names the dataset flight_delay_raw" in failed(wrong)["features"]


def test_a_source_that_is_never_read_is_told(product: Product, tmp_path: Path) -> None:
    wrong = _with_sql(product, tmp_path, "SELECT 1 FROM {flights}, {weather}, {aircraft}")

    assert "features.sql reads no {arrivals}" in failed(wrong)["features"]


@pytest.mark.parametrize(
    ("train", "said"),
    [
        ("workloads.products.nowhere:train", "cannot be imported: No module named"),
        ("workloads.products.arrival_delay.training:fit", "cannot be imported: module"),
        (
            "workloads.products.flight_delay.training:train",
            "does not take (rows, labels, interval)",
        ),
    ],
)
def test_a_training_function_that_cannot_be_called_is_told(
    product: Product, train: str, said: str
) -> None:
    assert said in failed(dataclasses.replace(product, train=train))["training"]


def test_a_training_function_without_a_seed_that_reruns_would_set_is_told(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    gated = dataclasses.replace(product, gate=dataclasses.replace(product.gate, reruns=3))
    assert "training" not in failed(gated)

    def seedless(rows: Any, minutes: Any, interval: Any) -> None: ...

    monkeypatch.setattr("workloads.products.arrival_delay.training.train", seedless)

    assert "does not take (rows, labels, interval, seed=)" in failed(gated)["training"]
    assert "training" not in failed(product)


class TestSeeds:
    """Trainings that the gate takes to be alike are compared."""

    @pytest.fixture(autouse=True)
    def _few(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(product_check_seeds, "ROWS", 400)

    @pytest.fixture
    def trained_by(self, product: Product, monkeypatch: pytest.MonkeyPatch) -> Any:
        """`trained_by(train)`: the product, with another training function."""

        def replaced(train: Any) -> Product:
            monkeypatch.setattr("workloads.products.arrival_delay.training.train", train)
            return product

        return replaced

    @staticmethod
    def fitted(rows: Any, minutes: Any, **settings: Any) -> IntervalRegressor:
        from sklearn.compose import ColumnTransformer
        from sklearn.ensemble import HistGradientBoostingRegressor
        from sklearn.pipeline import make_pipeline

        columns = list(rows.select_dtypes("number").columns)
        model = make_pipeline(
            ColumnTransformer([("numbers", "passthrough", columns)]),
            HistGradientBoostingRegressor(max_iter=3, **settings),
        ).fit(rows, minutes)
        return IntervalRegressor(value=model, lower=model, upper=model)

    def test_one_that_a_seed_moves_is_refused_without_reruns(
        self, product: Product, trained_by: Any
    ) -> None:
        def half(rows: Any, minutes: Any, interval: Any, *, seed: int = 0) -> IntervalRegressor:
            return self.fitted(rows, minutes, max_features=0.5, random_state=seed)

        found = product_check_seeds.check(trained_by(half))

        assert found.passed is False
        assert "gate.reruns is 0, and seeds 1 and 2 gave two models" in found.found
        reruns = dataclasses.replace(product.gate, reruns=3)
        counted = product_check_seeds.check(dataclasses.replace(product, gate=reruns))
        assert counted.passed is True
        assert "3 reruns" in counted.found

    def test_one_that_a_seed_does_not_move_passes(self, trained_by: Any) -> None:
        def whole(rows: Any, minutes: Any, interval: Any, *, seed: int = 0) -> IntervalRegressor:
            return self.fitted(rows, minutes, random_state=seed)

        assert product_check_seeds.check(trained_by(whole)).passed is True

    def test_one_that_draws_without_a_seed_is_refused(self, trained_by: Any) -> None:
        def drawn(rows: Any, minutes: Any, interval: Any) -> IntervalRegressor:
            return self.fitted(rows, minutes, max_features=0.5)

        found = product_check_seeds.check(trained_by(drawn))

        assert found.passed is False
        assert "the same call gave two models" in found.found

    def test_of_one_that_takes_no_seed_nothing_can_be_said(self, trained_by: Any) -> None:
        def fixed(rows: Any, minutes: Any, interval: Any) -> IntervalRegressor:
            return self.fitted(rows, minutes, max_features=0.5, random_state=7)

        found = product_check_seeds.check(trained_by(fixed))

        assert found.passed is None
        assert "takes no seed=" in found.found

    def test_one_that_refuses_invented_rows_is_not_judged(self, trained_by: Any) -> None:
        def picky(rows: Any, minutes: Any, interval: Any, *, seed: int = 0) -> IntervalRegressor:
            raise ValueError("no such airline")

        found = product_check_seeds.check(trained_by(picky))

        assert found.passed is None
        assert "no such airline" in found.found


def test_a_contract_without_its_schema_is_told_with_how_to_mend_it(
    product: Product, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(schemas, "file", lambda _: tmp_path / schemas.NAME)
    own = (Source(contract=Flight, arrival=Arrival.STREAM),)

    said = failed(dataclasses.replace(product, sources=own))["contracts"]

    assert "`esteira product check arrival-delay --write`" in said


class TestCommand:
    @pytest.fixture
    def without_cloud(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(product_commands, "_local_bigquery", lambda: None)

    @pytest.mark.usefixtures("without_cloud")
    @pytest.mark.parametrize("name", products.names())
    def test_every_product_of_this_checkout_passes(
        self, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(product_check_seeds, "ROWS", 200)
        ended = CliRunner().invoke(app, ["product", "check", name, "--json"])

        assert ended.exit_code == 0, ended.output
        assert '"what": "training"' in ended.output
        assert '"found": "move nothing: seeds 1 and 2 gave one model' in ended.output

    @pytest.mark.usefixtures("without_cloud")
    def test_a_product_that_is_wrong_exits_with_1(
        self, product: Product, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        wrong = dataclasses.replace(product, train="workloads.products.nowhere:train")
        monkeypatch.setattr(products, "load", lambda _: wrong)

        assert CliRunner().invoke(app, ["product", "check", "arrival-delay"]).exit_code == 1

    def test_all_products_are_listed(self) -> None:
        ended = CliRunner().invoke(app, ["product", "list", "--json"])

        assert all(f'"name": "{name}"' in ended.output for name in products.names())
        assert '"reads_from": [\n      "flight-delay"\n    ]' in ended.output

    @pytest.mark.parametrize("name", ["flight-delay", "Flight"])
    def test_a_name_that_is_taken_or_bad_makes_nothing(self, name: str) -> None:
        ended = CliRunner().invoke(app, ["product", "new", name])

        assert ended.exit_code == 1
        assert type(ended.exception).__name__ == "InvalidName"

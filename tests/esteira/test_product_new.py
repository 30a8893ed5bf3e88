"""A product that did not exist a moment ago: scaffolded, previewed, trained, served."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from esteira import product_check, product_check_seeds
from esteira.cli import app
from esteira.scaffold import PRODUCTS, TESTS, InvalidName, Scaffold
from esteira.scaffold.likeness import Likeness
from stacks.outputs import Outputs
from tests.stacks.conftest import _compose
from workloads import product as products
from workloads import products as package
from workloads import schemas
from workloads.contracts import convert, fields
from workloads.features.query import FeatureQuery
from workloads.manifest import Data, Manifest
from workloads.product import Product, Task
from workloads.scoring import Scorer
from workloads.serving.model import ServedModel
from workloads.training import data, evaluation, fitting
from workloads.training.data import Extract

# Boosting spins at barriers by default; beside other processes a fit of 1 s then takes 20.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

CHECKOUT = Path(__file__).resolve().parents[2]
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(params=list(Task))
def task(request: pytest.FixtureRequest) -> Task:
    return request.param


Make = Callable[[Scaffold | Likeness], Product]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Makes products outside the checkout, which `products.load` finds all the same."""
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path / PRODUCTS)])
    made: list[str] = []

    def write(scaffold: Scaffold | Likeness) -> Product:
        scaffold.write(tmp_path)
        made.append(scaffold.id)
        return products.load(scaffold.name)

    yield write
    for one in made:
        for name in [name for name in sys.modules if f"workloads.products.{one}" in name]:
            del sys.modules[name]


def scaffold(task: Task) -> Scaffold:
    return Scaffold(name=f"parcel-{task.value[:5]}", task=task)


@pytest.fixture
def made(make: Make, task: Task) -> Product:
    return make(scaffold(task))


class TestNames:
    @pytest.mark.parametrize(
        "name",
        ["Parcel", "1st", "", "parcel-", "a" * 31, "parcel_loss", "class", "a--b", "../x", "é"],
    )
    def test_that_no_product_can_have_are_refused(self, name: str) -> None:
        with pytest.raises(InvalidName, match="allowed: "):
            Scaffold(name=name, task=Task.REGRESSION)

    def test_that_exist_are_refused_and_nothing_is_touched(self, tmp_path: Path) -> None:
        scaffold = Scaffold(name="parcels", task=Task.REGRESSION)
        scaffold.write(tmp_path)
        mine = tmp_path / PRODUCTS / "parcels" / "product.py"
        mine.write_text("mine")

        with pytest.raises(InvalidName, match="exists; choose another name"):
            scaffold.write(tmp_path)

        assert mine.read_text() == "mine"

    def test_whose_test_is_of_something_else_are_refused(self, tmp_path: Path) -> None:
        theirs = tmp_path / TESTS / "test_parcels.py"
        theirs.parent.mkdir(parents=True)
        theirs.write_text("theirs")

        with pytest.raises(InvalidName, match="tests something else"):
            Scaffold(name="parcels", task=Task.REGRESSION).write(tmp_path)

        assert theirs.read_text() == "theirs"
        assert not (tmp_path / PRODUCTS).exists()


class TestBeingKilled:
    @pytest.mark.parametrize("step", ["write_text", "rename"])
    def test_leaves_no_product_and_can_be_run_again(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
    ) -> None:
        scaffold = Scaffold(name="parcels", task=Task.CLASSIFICATION)
        calls = 0
        real = getattr(Path, step)

        def killed(path: Path, *given: Any) -> Any:
            nonlocal calls
            calls += 1
            if step == "rename" or calls == 4:
                raise KeyboardInterrupt
            return real(path, *given)

        with monkeypatch.context() as patch:
            patch.setattr(Path, step, killed)
            with pytest.raises(KeyboardInterrupt):
                scaffold.write(tmp_path)
        with monkeypatch.context() as patch:
            patch.setattr(package, "__path__", [str(tmp_path / PRODUCTS)])
            assert products.names() == []

        files = scaffold.write(tmp_path)

        assert [one.name for one in (tmp_path / PRODUCTS).iterdir()] == ["parcels"]
        assert all(one.is_file() for one in files)


def test_a_new_folder_is_formatted_checked_and_whole(made: Product, tmp_path: Path) -> None:
    folder = tmp_path / PRODUCTS / made.id
    assert {one.name for one in folder.iterdir() if one.is_file()} == {
        "__init__.py",
        "contracts.py",
        "dataset.py",
        "features.sql",
        "product.py",
        "training.py",
    }
    test = tmp_path / TESTS / f"test_{made.id}.py"
    for file in [*folder.glob("*.py"), test]:
        assert ast.get_docstring(ast.parse(file.read_text())), file
    _ruffed(tmp_path)


def _ruffed(folder: Path) -> None:
    ruff = [str(Path(sys.executable).with_name("ruff"))]
    given = ["--no-cache", "--config", str(CHECKOUT / "pyproject.toml"), str(folder)]
    # Away from the checkout, ruff cannot tell whose packages are imported.
    for words in (["format", "--check"], ["check", "--ignore", "I001"]):
        ended = subprocess.run([*ruff, *words, *given], capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stdout


@pytest.mark.parametrize("environment", ["local", "prod"])
def test_they_are_previewed_from_their_declarations_alone(make: Make, environment: str) -> None:
    names = [make(scaffold(task)).name for task in Task]

    composed = _compose(
        {
            "environment": environment,
            "project": "esteira-test",
            "products": json.dumps(names),
        }
    )

    found = Outputs.model_validate(composed.outputs["esteira"]).products
    assert set(found) == set(names)
    for name, one in found.items():
        assert set(one.streams) == {"case", "outcome"}
        assert set(one.tables.raw) == {"cases", "outcomes", "dead_letters", "discarded"}
        assert one.endpoint.display_name == name


class TestLikeAnother:
    """Products that share the sources of another and build on its query, and take in nothing."""

    @pytest.fixture(params=["flight-delay", "arrival-delay"])
    def like(self, request: pytest.FixtureRequest) -> Product:
        return products.load(request.param)

    @pytest.fixture
    def alike(self, make: Make, like: Product) -> Product:
        return make(Likeness.of(like, "gate-change", "ground-services", "gs-3003"))

    def test_it_is_whole_and_formatted(self, alike: Product, tmp_path: Path) -> None:
        folder = tmp_path / PRODUCTS / alike.id
        made = {one.name for one in folder.iterdir() if one.is_file()}
        assert made == {
            "__init__.py", "contracts.py", "features.sql", "product.py", "training.py"
        }  # fmt: skip
        _ruffed(tmp_path)

    def test_it_reads_what_the_other_reads_and_builds_on_its_query(
        self, alike: Product, like: Product
    ) -> None:
        assert alike.own == ()
        assert alike.owners == ("flight-delay",)
        assert alike.features.base == like.name
        assert issubclass(alike.features.request, like.features.request)
        assert alike.features.request.NAME == "gate_change_question"
        assert (alike.task, alike.label, alike.interval) == (like.task, like.label, like.interval)
        text = FeatureQuery(alike).text(project="p")
        assert FeatureQuery(like).relation(project="p") in text
        assert "{" not in text

    def test_it_is_checked(self, alike: Product) -> None:
        findings = list(product_check.check(alike, None))

        assert [one.found for one in findings if one.passed is False] == []
        assert {one.what for one in findings} >= {"declaration", "contracts", "training"}
        assert schemas.faults(alike) == []

    @pytest.mark.parametrize("environment", ["local", "prod"])
    def test_they_are_previewed_beside_the_owner(self, make: Make, environment: str) -> None:
        names = [
            make(Likeness.of(products.load(like), name, "ground-services", "gs-3003")).name
            for like, name in (("flight-delay", "gate-change"), ("arrival-delay", "gate-move"))
        ]

        composed = _compose(
            {
                "environment": environment,
                "project": "esteira-test",
                "products": json.dumps(["flight-delay", *names]),
            }
        )

        found = Outputs.model_validate(composed.outputs["esteira"]).products
        for name in names:
            assert found[name].streams == {}
            assert found[name].endpoint.display_name == name

    def test_another_task_than_the_others_is_refused_and_nothing_is_made(self) -> None:
        words = ["product", "new", "gate-change", "--like", "arrival-delay"]

        ended = CliRunner().invoke(app, [*words, "--task", "classification"])

        assert ended.exit_code == 2
        assert not (CHECKOUT / PRODUCTS / "gate_change").exists()

    def test_another_that_is_none_is_refused(self) -> None:
        ended = CliRunner().invoke(app, ["product", "new", "gate-change", "--like", "ferries"])

        assert "no product 'ferries'" in str(ended.exception)


def features(product: Product, seed: int, count: int = 1200) -> pa.Table:
    """Rows that its feature query could have given, whose label follows from the size."""
    draw = np.random.default_rng(seed)
    size = draw.uniform(0, 100, count)
    amount = size / 2 + draw.normal(0, 5, count)
    columns: dict[str, Any] = {
        "case_id": [f"case-{seed}-{one}" for one in range(count)],
        "asked_at": [NOW + timedelta(minutes=one) for one in range(count)],
        "region": draw.choice(["north", "south"], count).tolist(),
        "size": size,
        "age": [None if one < 0.1 else one for one in draw.random(count)],
        "region_amount_7d": draw.uniform(0, 10, count),
        "bad": amount > 25,
        "amount": amount,
    }
    table = pa.table({name: columns[name] for name in FeatureQuery(product).columns})
    assert set(product.features.request.__struct_fields__) <= set(table.column_names)
    return table


def test_it_is_trained_and_served(made: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    tables = {"training": features(made, 1), "holdout": features(made, 2)}
    monkeypatch.setattr(data, "thaw", lambda uri, _: tables[uri])
    parts = Extract(
        **{
            name: Data(uri=name, sha256="", rows=one.num_rows, start=NOW, end=NOW)
            for name, one in tables.items()
        }
    )
    model = fitting.fit_and_export(made, parts)
    found = evaluation.evaluate(made, model, parts).evaluation
    request = made.features.request
    served = ServedModel(
        Manifest(
            product=made.name,
            run="run-1",
            contract=request.NAME,
            contract_version=request.VERSION,
            features=request.__struct_fields__,
            label=made.label.column,
            model_sha256="",
            task=made.task,
            threshold=found.threshold,
            training=parts.training,
            holdout=parts.holdout,
            metrics=found.metrics,
            baseline=found.baseline,
            code_version="1",
        ),
        Scorer(model, request, made.task),
        request,
    )
    small, large = (
        convert(request, {"region": "north", "size": size, "region_amount_7d": 5.0})
        for size in (2.0, 98.0)
    )

    answers = served.answers(served.score([small, large]))

    if made.task is Task.CLASSIFICATION:
        assert [one["bad"] for one in answers] == [False, True]
        assert answers[0]["probability"] < 0.1 < 0.9 < answers[1]["probability"]
    else:
        assert answers[0]["amount"] < 10 < 40 < answers[1]["amount"]
        assert all(one["lower"] < one["amount"] < one["upper"] for one in answers)
    assert all(one["model"] == "run-1" for one in answers)
    json.dumps(msgspec.to_builtins(answers))


def test_its_training_is_given_its_seed_which_moves_nothing(
    made: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(product_check_seeds, "ROWS", 500)

    found = product_check_seeds.check(made)

    assert found.passed is True
    assert "seeds 1 and 2 gave one model" in found.found


def test_its_schemas_are_written_beside_it(made: Product) -> None:
    assert len(schemas.faults(made)) == len(made.own)

    schemas.write(made)

    assert schemas.faults(made) == []
    assert schemas.file(made).parent == made.features.sql.parent


def test_its_sample_keeps_its_contracts(made: Product) -> None:
    from workloads.replay import history

    for source in made.own:
        rows = history.frame(made, source.contract).head(20)
        kinds = {one.name: one.kind for one in fields(source.contract)}
        assert set(rows.columns) == set(kinds)
        for line in history.lines(rows, source.contract).splitlines():
            convert(source.contract, json.loads(line))

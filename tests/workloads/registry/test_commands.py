"""`esteira models`, on a registry with MLflow beside."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner, Result

from esteira import registry_commands
from esteira.cli import app
from tests.workloads.registry.conftest import Add
from workloads.product import Product
from workloads.registry import CHALLENGER, CHAMPION, Registry


@pytest.fixture(scope="module")
def _first() -> list[Product]:
    return []


@pytest.fixture
def mirrored(mirrored: Product, _first: list[Product]) -> Product:
    """The same for all tests here: what one changes, it mends."""
    _first.append(mirrored)
    return _first[0]


@pytest.fixture(autouse=True)
def connected(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the stack were the one of this test."""
    monkeypatch.setattr(registry_commands, "_registry", lambda *_: registry)


@pytest.fixture(autouse=True)
def versions(registry: Registry, add: Add, connected: None) -> None:
    if registry.numbers():
        return
    with registry.writing("two versions"):
        one, two = add("one", 1), add("two", 2)
        registry.move(CHAMPION, one)
        registry.move(CHALLENGER, two)
        registry.mark(two, "canary-25")


def models(*words: str) -> Result:
    return CliRunner().invoke(app, ["models", *words])


def test_list_shows_the_newest_first() -> None:
    ended = models("list", "flight-delay", "--json")

    found = json.loads(ended.stdout)["versions"]
    assert [one["version"] for one in found] == ["2", "1"]
    newest = found[0]
    assert (newest["release"], newest["aliases"]) == ("canary-25", ["challenger"])
    assert newest["metrics"]["roc_auc"] == {"value": 0.72, "low": 0.68, "high": 0.75}
    assert newest["gate"] is None
    assert newest["links"]["mlflow"].endswith("/versions/2")
    assert newest["links"]["artefacts"].endswith("/versions/two")


def test_list_for_people_says_what_was_not_judged() -> None:
    ended = models("list", "flight-delay")

    assert ended.exit_code == 0
    assert "canary-25" in ended.stdout
    assert "not judged" in ended.stdout


def test_show_takes_an_alias(registry: Registry) -> None:
    found = json.loads(models("show", "flight-delay", "--version", "champion", "--json").stdout)

    assert (found["version"], found["run"]) == ("1", "one")
    assert found["sha256"] == registry.record("1").sha256
    assert found["data"]["training"]["rows"] == 1000


def test_card_prints_markdown_and_nothing_else(registry: Registry) -> None:
    ended = models("card", "flight-delay", "--version", "2")

    assert ended.stdout.startswith(f"# {registry.product.name}, version 2\n")
    assert registry.record("2").folder.read("model_card.md").decode() == ended.stdout


def test_reconcile_lists_then_mends(registry: Registry) -> None:
    assert json.loads(models("reconcile", "flight-delay", "--check", "--json").stdout)["agree"]
    mirror = registry.mirror()
    assert mirror is not None
    name = registry.product.name
    mirror._server.call(  # pyright: ignore[reportPrivateUsage]
        "DELETE", "registered-models/alias", {"name": name, "alias": "champion"}
    )

    checked = models("reconcile", "flight-delay", "--check", "--json")
    again = models("reconcile", "flight-delay", "--check")
    mended = models("reconcile", "flight-delay", "--json")

    assert checked.exit_code == again.exit_code == 1
    (one,) = json.loads(checked.stdout)["differences"]
    assert (one["kind"], one["version"], one["name"]) == ("alias", "1", "champion")
    assert "version 1: alias `champion`: MLflow has nothing, Vertex AI version 1" in again.stdout
    assert mended.exit_code == 0
    assert json.loads(mended.stdout)["differences"] == [one]
    assert models("reconcile", "flight-delay", "--check").exit_code == 0


def test_reconcile_without_mlflow_says_how_to_switch_it_on(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    untracked = Registry(registry.product, "")
    monkeypatch.setattr(registry_commands, "_registry", lambda *_: untracked)

    ended = models("reconcile", "flight-delay")

    assert ended.exit_code == 1
    assert "esteira:tracking.enabled" in ended.stderr

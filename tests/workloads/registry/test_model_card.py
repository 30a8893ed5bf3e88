"""The model card says what was recorded, for people."""

from __future__ import annotations

from typing import Any

import pytest

from tests.workloads.registry.conftest import Add, register
from workloads import model_card
from workloads.artifacts import ArtifactNotFound, Folder
from workloads.gate.record import FOLDER, name
from workloads.manifest import METRICS
from workloads.product import Product
from workloads.registry import Recorded, Registry


@pytest.fixture
def alone(mirrored: Product) -> Registry:
    """A registry without MLflow."""
    return Registry(mirrored, "")


@pytest.fixture
def recorded(alone: Registry) -> Recorded:
    register(alone, "carded", 1)
    return alone.record("1")


def decide(folder: Folder, day: int, *, approved: bool, champion: str | None) -> None:
    decision: dict[str, Any] = {
        "approved": approved,
        "decided_at": f"2026-11-{day:02d}T10:00:00Z",
        "champion": None if champion is None else {"version": champion},
        "judgement": {
            "checks": [
                {"name": "floor", "passed": True, "reason": "roc_auc 0.71 reaches 0.65"},
                {"name": "gain", "passed": approved, "reason": "gains 0.01"},
            ]
        },
        "record": f"gs://b/decisions/{day}.json",
    }
    Folder(f"{folder.uri}/{FOLDER}").write_json(f"{name(champion)}.json", decision)


def test_it_holds_what_a_reader_has_to_know(alone: Registry, recorded: Recorded) -> None:
    text = model_card.write(alone.product, recorded)

    assert recorded.folder.read(model_card.CARD).decode() == text
    for said in (
        f"# {alone.product.name}, version 1",
        "| owner | flight-operations |",
        "the probability of `late`, and yes from 0.250 on",
        "| learn from | 1,000 | 2013-01-01 00:00 to 2013-01-11 00:00 |",
        "| roc_auc (higher is better) | 0.7100 | 0.6800 to 0.7500 | 0.5000 |",
        "| origin JFK | 400 | 0.7100 |",
        "Calibration error 0.0130.",
        "| 500 | 0.400 | 0.380 |",
        "Weakest on origin JFK: roc_auc 0.7100 on 400 rows",
        f"| model, SHA-256 | `{recorded.sha256}` |",
    ):
        assert said in text


def test_it_shows_the_last_decision_with_what_failed_first(
    alone: Registry, recorded: Recorded
) -> None:
    assert "None yet." in model_card.write(alone.product, recorded)
    decide(recorded.folder, 1, approved=True, champion=None)
    decide(recorded.folder, 2, approved=False, champion="7")

    text = model_card.write(alone.product, recorded)

    assert (
        "**rejected** on 2026-11-02 10:00 UTC, against version 7; `gs://b/decisions/2.json`" in text
    )
    assert text.index("- fails: gains 0.01") < text.index("- passes: roc_auc 0.71 reaches 0.65")


def test_a_value_with_a_pipe_stays_in_its_cell(alone: Registry, recorded: Recorded) -> None:
    evaluation = recorded.folder.read_json(METRICS, dict[str, Any])
    evaluation["slices"][0]["value"] = "J|K"
    recorded.folder.write_json(METRICS, evaluation)

    assert "| origin J\\|K | 400 |" in model_card.write(alone.product, recorded)


def test_a_release_renews_it(registry: Registry, add: Add) -> None:
    version = add("carded", 1)
    decide(version.folder, 3, approved=True, champion=None)

    registry.mark(version, "shadow")

    assert "**approved** on 2026-11-03" in version.folder.read(model_card.CARD).decode()
    mirror = registry.mirror()
    assert mirror is not None
    assert mirror.differences() == []


def test_without_its_manifest_there_is_none(alone: Registry, recorded: Recorded) -> None:
    recorded.folder.remove("manifest.json")

    with pytest.raises(ArtifactNotFound, match=r"no object gs://.*manifest\.json"):
        model_card.write(alone.product, recorded)

"""The gate on the local cloud: real versions, a frozen hold-out, a record."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from workloads import gcp
from workloads.artifacts import Folder
from workloads.gate import decision as decisions
from workloads.gate.decision import Decision, NoCommonHoldout, NothingToDecide, decide
from workloads.manifest import MANIFEST, MODEL
from workloads.product import Product
from workloads.registry import CHAMPION, Registry
from workloads.scoring import ModelRefused
from workloads.training.registration import run_folder


@pytest.fixture
def lenient(january: Product) -> Product:
    """Ten days of January teach little: a floor that such a model reaches."""
    gate = dataclasses.replace(january.gate, floor=0.6, slice_tolerance=0.2)
    return dataclasses.replace(january, gate=gate)


@pytest.fixture
def champion(lenient: Product, trained: object) -> Product:
    """The trained version is champion."""
    registry = Registry(lenient)
    registry.move(CHAMPION, registry.get("1"))
    yield lenient
    registry.drop(CHAMPION)


def test_the_first_model_is_approved_on_its_floor(lenient: Product, trained: object) -> None:
    decision = decide(lenient, "1")

    assert decision.approved
    assert decision.champion is None
    assert decision.reasons[0].startswith("passes: roc_auc 0.")
    folder, _, name = decision.record.rpartition("/")
    assert Folder(folder).read_json(name, Decision) == decision
    text = Folder(folder).read(name.replace(".json", ".md")).decode()
    assert "Version 1 of flight-delay is approved" in text
    assert decision.holdout.sha256[:16] in text


def test_a_floor_out_of_reach_rejects_it(lenient: Product, trained: object) -> None:
    gate = dataclasses.replace(lenient.gate, floor=0.99)

    decision = decide(dataclasses.replace(lenient, gate=gate), "1")

    assert not decision.approved
    assert "misses the floor of 0.99" in decision.reasons[0]


def test_a_worse_challenger_is_rejected(
    champion: Product, challenge: Callable[..., object]
) -> None:
    worse = challenge("worse", noise=0.3)

    decision = decide(champion)

    assert decision.challenger.version == worse.version
    assert not decision.approved
    assert any(reason.startswith("fails: gains -0.") for reason in decision.reasons)
    recorded = decisions.read(
        champion, Registry(champion).get(worse.version), Registry(champion).get(CHAMPION)
    )
    assert recorded == decision


def test_the_champion_has_nothing_to_prove(champion: Product) -> None:
    with pytest.raises(NothingToDecide, match="is the champion already"):
        decide(champion, CHAMPION)


def test_a_champion_that_saw_the_holdout_is_not_compared_on_it(
    champion: Product, challenge: Callable[..., object]
) -> None:
    late = challenge("trained-later")
    folder = run_folder(champion, late.run)
    manifest = Registry(champion).get(late.version).manifest()
    import msgspec

    seen = msgspec.structs.replace(manifest.training, end=manifest.holdout.end)
    folder.write_json(MANIFEST, msgspec.structs.replace(manifest, training=seen))
    registry = Registry(champion)
    registry.move(CHAMPION, registry.get(late.version))

    with pytest.raises(NoCommonHoldout, match="0 are later than 2013-01-14"):
        decide(champion, "1")


def test_an_altered_model_is_not_judged(lenient: Product, challenge: Callable[..., object]) -> None:
    made = challenge("altered")
    run_folder(lenient, made.run).write(MODEL, b"another model", "application/octet-stream")

    with pytest.raises(ModelRefused, match="is not the model that was evaluated"):
        decide(lenient, made.version)
    assert gcp.project() == "esteira-test"

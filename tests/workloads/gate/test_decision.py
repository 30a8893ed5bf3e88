"""The gate on the local cloud: real versions, a frozen hold-out, a record."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from xml.etree import ElementTree

import pytest

from workloads import gcp
from workloads.artifacts import Folder
from workloads.gate import decision as decisions
from workloads.gate.decision import Decision, NoCommonHoldout, NothingToDecide, decide
from workloads.manifest import MANIFEST, MODEL
from workloads.product import Fairness, Product
from workloads.registry import CHAMPION, Registry
from workloads.scoring import ModelRefused
from workloads.training.registration import run_folder


@pytest.fixture
def lenient(january: Product) -> Product:
    """Ten days of January teach little: a floor that such a model reaches."""
    gate = dataclasses.replace(
        january.gate, floor=0.6, slice_tolerance=0.2, calibration_tolerance=0.2
    )
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
    assert decision.asked_by
    assert decision.thresholds["floor"] == 0.6
    assert decision.leaks is not None
    assert decision.leaks.query.leaking is None
    assert decision.leaks.alone[0].score < 0.75
    assert decision.skew is not None
    assert (decision.skew.rows, decision.skew.features) == (500, ())
    assert {one.feature for one in decision.shifts} == set(
        lenient.features.request.__struct_fields__
    )
    for plot in decision.plots:
        assert ElementTree.fromstring(Folder(folder).read(plot)).tag.endswith("svg")
        assert f"]({plot})" in text
    labels = Registry(lenient).get("1").model.labels
    assert (labels["gate"], labels["gate-against"]) == ("approved", "none")
    assert labels["product"] == "flight-delay"  # what was there stays


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
    assert f"against-{decision.champion.version}-gain.svg" in decision.plots
    assert Registry(champion).get(worse.version).model.labels["gate"] == "rejected"


def test_a_decision_that_was_killed_is_made_again(
    lenient: Product, trained: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it had not written yet: a record is there as a whole or not at all."""
    version = Registry(lenient).get("1")
    before = decide(lenient, "1")
    for name in ("write", "write_json"):
        with monkeypatch.context() as broken:
            broken.setattr(Folder, name, _killed)
            with pytest.raises(KeyboardInterrupt):
                decide(lenient, "1")
        assert decisions.read(lenient, version, None) == before

    after = decide(lenient, "1")

    assert decisions.read(lenient, version, None) == after
    assert after.judgement == before.judgement


def test_groups_are_held_together(lenient: Product, trained: object) -> None:
    gate = dataclasses.replace(
        lenient.gate, fairness=Fairness(column="origin", maximum_difference=0.01)
    )

    decision = decide(dataclasses.replace(lenient, gate=gate), "1")

    assert not decision.approved
    assert decision.reasons[0].startswith("fails: rate is 0.")
    assert decision.groups is not None
    assert [one.group for one in decision.groups.groups] == ["EWR", "JFK", "LGA"]


def _killed(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


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

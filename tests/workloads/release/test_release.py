"""Releases on the local Vertex AI, with the real container behind the endpoint."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from workloads.gate.decision import decide
from workloads.manifest import EXAMPLES, Example
from workloads.product import Product
from workloads.registry import CHALLENGER, CHAMPION, DEFAULT, PREVIOUS, Registry
from workloads.release import controller
from workloads.release.controller import (
    NotApproved,
    NothingToRollBackTo,
    SmokeTestFailed,
    release,
    rollback,
)
from workloads.release.endpoint import Endpoint, NoEndpoint


@pytest.fixture
def lenient(january: Product) -> Product:
    gate = dataclasses.replace(january.gate, floor=0.6, slice_tolerance=0.5)
    return dataclasses.replace(january, gate=gate)


@pytest.fixture
def unreleased(lenient: Product, trained: object) -> Iterator[Product]:
    """One trained version, nothing deployed, no champion."""

    def clear() -> None:
        registry, endpoint = Registry(lenient), Endpoint(lenient)
        for alias in (CHAMPION, PREVIOUS):
            registry.drop(alias)
        for one in sorted(endpoint.deployed(), key=lambda one: one.traffic):
            endpoint.undeploy(one)

    clear()
    yield lenient
    clear()


@pytest.fixture
def released(unreleased: Product) -> Product:
    """The first version serves."""
    release(unreleased, "1", approved=True)
    return unreleased


def state(product: Product) -> dict[str, Any]:
    registry = Registry(product)
    aliases = {}
    for alias in (CHAMPION, PREVIOUS, DEFAULT):
        found = registry.find(alias)
        aliases[alias] = None if found is None else found.number
    traffic = {one.version: one.traffic for one in Endpoint(product).deployed()}
    return {**aliases, "traffic": traffic}


class TestTheFirstRelease:
    def test_serves_what_the_gate_approved(self, unreleased: Product) -> None:
        assert decide(unreleased, "1").approved

        done = release(unreleased, "1")

        assert (done.version, done.previous, done.smoke_rows) == ("1", None, 5)
        assert state(unreleased) == {
            CHAMPION: "1",
            PREVIOUS: None,
            DEFAULT: "1",
            "traffic": {"1": 100},
        }

    def test_answers_through_the_endpoint_as_it_was_evaluated(self, released: Product) -> None:
        examples = Registry(released).get("1").folder.read_json(EXAMPLES, list[Example])

        _, predictions = Endpoint(released).predict([one.instance for one in examples])

        assert [one["probability"] for one in predictions] == pytest.approx(
            [one.value for one in examples], abs=1e-6
        )
        assert {one["model"] for one in predictions} == {Registry(released).get("1").manifest().run}

    def test_again_changes_nothing(self, released: Product) -> None:
        before = [one.id for one in Endpoint(released).deployed()]

        release(released, "1", approved=True)

        assert [one.id for one in Endpoint(released).deployed()] == before

    def test_cannot_be_rolled_back(self, released: Product) -> None:
        with pytest.raises(NothingToRollBackTo, match="Release a version by its number"):
            rollback(released)


class TestTheNextRelease:
    def test_keeps_the_one_before_without_traffic(
        self, released: Product, challenge: Callable[..., Any]
    ) -> None:
        new = challenge("next").version

        release(released, approved=True)

        assert state(released) == {
            CHAMPION: new,
            PREVIOUS: "1",
            DEFAULT: new,
            "traffic": {"1": 0, new: 100},
        }
        assert Registry(released).find(CHALLENGER) is None

    def test_and_the_one_after_leave_only_two(
        self, released: Product, challenge: Callable[..., Any]
    ) -> None:
        second, third = challenge("second").version, challenge("third").version

        release(released, second, approved=True)
        release(released, third, approved=True)

        assert state(released)["traffic"] == {second: 0, third: 100}
        assert state(released)[PREVIOUS] == second

    def test_is_taken_back_by_one_call(
        self, released: Product, challenge: Callable[..., Any]
    ) -> None:
        release(released, challenge("regretted").version, approved=True)

        done = rollback(released)

        assert done.version == "1"
        assert state(released) == {
            CHAMPION: "1",
            PREVIOUS: None,
            DEFAULT: "1",
            "traffic": {"1": 100},
        }

    def test_needs_the_gate(self, released: Product, challenge: Callable[..., Any]) -> None:
        worse = challenge("worse-release", noise=0.3).version

        with pytest.raises(NotApproved, match="has not judged version"):
            release(released, worse)
        decide(released, worse)
        with pytest.raises(NotApproved, match=r"rejected version .* fails: gains -0"):
            release(released, worse)
        assert state(released)["traffic"] == {"1": 100}

    def test_that_answers_wrongly_gives_the_traffic_back(
        self, released: Product, challenge: Callable[..., Any]
    ) -> None:
        wrong = challenge("wrong")
        folder = Registry(released).get(wrong.version).folder
        examples = folder.read_json(EXAMPLES, list[Example])
        folder.write_json(
            EXAMPLES,
            [Example(instance=one.instance, value=1 - one.value) for one in examples],
        )

        with pytest.raises(SmokeTestFailed, match="when it was evaluated it gave"):
            release(released, wrong.version, approved=True)

        assert state(released)["traffic"] == {"1": 100}
        assert state(released)[CHAMPION] == "1"


class Killed(BaseException):
    """As SIGKILL would, it lets no handler run that catches exceptions."""


STEPS = ("route", "smoke", PREVIOUS, CHAMPION, DEFAULT, "undeploy")


@pytest.mark.parametrize(
    ("act", "step"),
    [
        *(("release", step) for step in STEPS),
        # A roll-back leaves `previous` where it is until its end.
        *(("rollback", step) for step in STEPS if step != PREVIOUS),
    ],
)
def test_a_kill_anywhere_is_mended_by_running_it_again(
    released: Product,
    challenge: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    act: str,
    step: str,
) -> None:
    new = challenge("killed").version
    if act == "rollback":
        release(released, new, approved=True)

    def run() -> object:
        return release(released, new, approved=True) if act == "release" else rollback(released)

    def kill(*_: object, **__: object) -> None:
        raise Killed

    move = Registry.move

    def move_or_die(self: Registry, alias: str, version: Any) -> None:
        if alias == step:
            raise Killed
        move(self, alias, version)

    with monkeypatch.context() as patch:
        if step in ("route", "undeploy"):
            patch.setattr(Endpoint, step, kill)
        elif step == "smoke":
            patch.setattr(controller, "smoke_test", kill)
        else:
            patch.setattr(Registry, "move", move_or_die)
        with contextlib.suppress(Killed):
            run()
    run()

    expected = {
        "release": (new, "1", {"1": 0, new: 100}),
        "rollback": ("1", None, {"1": 100}),
    }
    champion, previous, traffic = expected[act]
    assert state(released) == {
        CHAMPION: champion,
        PREVIOUS: previous,
        DEFAULT: champion,
        "traffic": traffic,
    }


def test_without_an_endpoint_nothing_is_released(january: Product, trained: object) -> None:
    other = dataclasses.replace(january, name="no-endpoint")

    with pytest.raises(NoEndpoint, match=r"0 endpoints .* `esteira up STACK` makes it"):
        Endpoint(other)

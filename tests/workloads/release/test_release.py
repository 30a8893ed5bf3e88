"""Releases on the local Vertex AI, with the real container behind the endpoint."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.workloads.conftest import LocalCloud, reaching
from tests.workloads.release.conftest import Killed
from workloads.database import DatabaseSettings
from workloads.gate.decision import decide
from workloads.manifest import EXAMPLES, Example
from workloads.product import Product
from workloads.registry import CHALLENGER, CHAMPION, DEFAULT, PREVIOUS, Registry
from workloads.release.approval import NotApproved
from workloads.release.controller import Controller, NothingToRollBackTo, Status
from workloads.release.endpoint import Endpoint, NoEndpoint
from workloads.release.smoke import SmokeTestFailed
from workloads.release.states import State, Strategy
from workloads.release.store import Store
from workloads.release.targets import DeployFailed, DeployTimedOut, InvalidSplit, Unreachable
from workloads.release.targets.vertex import VertexTarget

CHECKOUT = Path(__file__).resolve().parents[3]


@pytest.fixture
def lenient(january: Product) -> Product:
    gate = dataclasses.replace(january.gate, floor=0.6, slice_tolerance=0.5)
    return dataclasses.replace(january, gate=gate)


def clear(product: Product) -> None:
    registry, endpoint = Registry(product), Endpoint(product)
    for alias in (CHAMPION, PREVIOUS):
        registry.drop(alias)
    if endpoint.deployed():
        endpoint.resource.undeploy_all()


@pytest.fixture
def unreleased(lenient: Product, trained: object) -> Iterator[Product]:
    """One trained version, nothing deployed, no champion."""
    clear(lenient)
    yield lenient
    clear(lenient)


def release(
    product: Product,
    store: Store,
    version: str = CHALLENGER,
    *,
    approved: bool = True,
    strategy: Strategy = Strategy.DIRECT,
) -> Status:
    return Controller(product, store).promote(version, approved=approved, strategy=strategy)


def rollback(product: Product, store: Store) -> Status:
    return Controller(product, store).rollback()


@pytest.fixture(scope="module")
def _served(_processes: LocalCloud) -> Iterator[list[Product]]:
    """What still serves at the end of the module, which other modules want to find as it was."""
    served: list[Product] = []
    yield served
    with pytest.MonkeyPatch.context() as patch, reaching(_processes, patch):
        for one in served:
            clear(one)


@pytest.fixture
def released(lenient: Product, trained: object, store: Store, _served: list[Product]) -> Product:
    """The first version serves; it stays from one test to the next that leaves it so."""
    VertexTarget(lenient).tidy({"1"})
    if state(lenient) != FIRST:
        clear(lenient)
        release(lenient, store, "1")
    _served[:] = [lenient]
    return lenient


def state(product: Product) -> dict[str, Any]:
    registry = Registry(product)
    aliases = {}
    for alias in (CHAMPION, PREVIOUS, DEFAULT):
        found = registry.find(alias)
        aliases[alias] = None if found is None else found.number
    traffic = {one.version: one.traffic for one in Endpoint(product).deployed()}
    return {**aliases, "traffic": traffic}


FIRST = {CHAMPION: "1", PREVIOUS: None, DEFAULT: "1", "traffic": {"1": 100}}
"""The first version serves, and nothing else."""


class TestTheFirstRelease:
    def test_serves_what_the_gate_approved_and_again_changes_nothing(
        self, unreleased: Product, store: Store
    ) -> None:
        assert decide(unreleased, "1").approved

        done = release(unreleased, store, "1", approved=False, strategy=Strategy.POLICY)

        assert (done.champion, done.previous, done.waits_for) == ("1", None, "")
        assert state(unreleased) == FIRST
        before = [one.id for one in Endpoint(unreleased).deployed()]

        release(unreleased, store, "1")

        assert [one.id for one in Endpoint(unreleased).deployed()] == before

    def test_answers_through_the_endpoint_as_it_was_evaluated(self, released: Product) -> None:
        examples = Registry(released).get("1").folder.read_json(EXAMPLES, list[Example])

        _, predictions = Endpoint(released).predict([one.instance for one in examples])

        assert [one["probability"] for one in predictions] == pytest.approx(
            [one.value for one in examples], abs=1e-6
        )
        assert {one["model"] for one in predictions} == {Registry(released).get("1").manifest().run}

    def test_cannot_be_rolled_back(self, released: Product, store: Store) -> None:
        with pytest.raises(NothingToRollBackTo, match="Release a version by its number"):
            rollback(released, store)


class TestTheNextRelease:
    def test_walks_through_shadow_and_canary_to_full_and_back(
        self, released: Product, store: Store, challenge: Callable[..., Any]
    ) -> None:
        new = challenge("next").version

        shown = release(released, store, strategy=Strategy.POLICY)

        assert shown.release is not None
        assert (shown.release.state, shown.release.share) == (State.CANARY, 5)
        assert state(released)["traffic"] == {"1": 95, new: 5}
        # The same model on the same rows: no divergence at all.
        passed = store.history(released.name)
        assert any("rows of the hold-out, divergence 0.000" in one.reason for one in passed), [
            one.reason for one in passed
        ]

        for _ in range(2):
            Controller(released, store).advance(whatever_the_evidence_says=True)
        assert state(released) == {
            CHAMPION: new,
            PREVIOUS: "1",
            DEFAULT: new,
            "traffic": {"1": 0, new: 100},
        }
        assert Registry(released).find(CHALLENGER) is None

        rollback(released, store)
        assert state(released) == FIRST

    @pytest.mark.long
    def test_that_learned_from_wrong_labels_is_stopped_in_the_shadow(
        self, released: Product, store: Store, challenge: Callable[..., Any]
    ) -> None:
        worse = challenge("worse-shadow", noise=0.3).version

        done = release(released, store, worse, strategy=Strategy.POLICY)

        assert done.release is not None
        assert done.release.state is State.ABORTED
        assert "predictions differ from the champion's" in done.release.reason
        assert state(released)["traffic"] == {"1": 100}

    @pytest.mark.long
    def test_and_the_one_after_leave_only_two(
        self, released: Product, store: Store, challenge: Callable[..., Any]
    ) -> None:
        second, third = challenge("second").version, challenge("third").version

        release(released, store, second)
        release(released, store, third)

        assert state(released)["traffic"] == {second: 0, third: 100}
        assert state(released)[PREVIOUS] == second

    def test_needs_the_gate(
        self, released: Product, store: Store, challenge: Callable[..., Any]
    ) -> None:
        worse = challenge("worse-release", noise=0.3).version

        with pytest.raises(NotApproved, match="has not judged version"):
            release(released, store, worse, approved=False)
        decide(released, worse)
        with pytest.raises(NotApproved, match=r"rejected version .* fails: "):
            release(released, store, worse, approved=False)
        assert state(released)["traffic"] == {"1": 100}
        assert store.find(released.name) is None

    def test_that_answers_wrongly_gives_the_traffic_back(
        self, released: Product, store: Store, challenge: Callable[..., Any]
    ) -> None:
        wrong = challenge("wrong")
        folder = Registry(released).get(wrong.version).folder
        examples = folder.read_json(EXAMPLES, list[Example])
        folder.write_json(
            EXAMPLES,
            [Example(instance=one.instance, value=1 - one.value) for one in examples],
        )

        with pytest.raises(SmokeTestFailed, match="when it was evaluated it gave"):
            release(released, store, wrong.version)

        assert state(released)["traffic"] == {"1": 100}
        assert state(released)[CHAMPION] == "1"

    @pytest.mark.long
    def test_whose_server_never_starts_is_aborted(
        self, released: Product, store: Store, challenge: Callable[..., Any]
    ) -> None:
        broken = challenge("broken")
        Registry(released).get(broken.version).folder.write("model.onnx", b"no model", "text/plain")

        with pytest.raises(DeployFailed, match=f"version {broken.version}: "):
            release(released, store, broken.version)

        assert state(released)["traffic"] == {"1": 100}
        latest = store.latest(released.name)
        assert latest is not None
        assert latest.state is State.ABORTED


class TestTheEndpoint:
    def test_a_deployment_that_takes_too_long_is_given_up(
        self, released: Product, challenge: Callable[..., Any]
    ) -> None:
        new = Registry(released).get(challenge("slow").version)
        target = VertexTarget(released)

        with pytest.raises(DeployTimedOut, match=r"was not healthy on .* within 0\.01 s"):
            target.deploy(new, timedelta(seconds=0.01))
        target.tidy({"1"})

        assert state(released)["traffic"] == {"1": 100}

    def test_splits_that_are_none_and_versions_without_traffic_are_refused(
        self, released: Product, challenge: Callable[..., Any]
    ) -> None:
        new = challenge("split").version
        target = VertexTarget(released)
        target.deploy(Registry(released).get(new), timedelta(minutes=1))

        with pytest.raises(InvalidSplit, match="100 together"):
            target.split({"1": 95})
        with pytest.raises(Unreachable, match="has no traffic"):
            target.ask(new, [])
        assert state(released)["traffic"] == {"1": 100, new: 0}

    @pytest.mark.long
    def test_one_version_of_two_is_found_by_its_answers(
        self, released: Product, challenge: Callable[..., Any]
    ) -> None:
        new = Registry(released).get(challenge("found", noise=0.3).version)
        examples = new.folder.read_json(EXAMPLES, list[Example])
        target = VertexTarget(released)
        target.deploy(new, timedelta(minutes=1))
        target.split({"1": 90, new.number: 10})

        asked = target.ask(new.number, [one.instance for one in examples])

        found = [(one or {}).get("model") for one in asked.predictions]
        assert found == [new.manifest().run] * len(examples)


@pytest.mark.parametrize(
    ("act", "step"),
    [
        ("release", CHAMPION),
        *(
            pytest.param(*one, marks=pytest.mark.long)
            for one in (("release", "split"), ("rollback", "split"), ("rollback", DEFAULT))
        ),
    ],
)
def test_a_kill_is_mended_by_running_it_again(
    released: Product,
    store: Store,
    challenge: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    act: str,
    step: str,
) -> None:
    """On the real Vertex AI; every act with fakes is in test_controller."""
    new = challenge("killed").version
    if act == "rollback":
        release(released, store, new)

    def run() -> object:
        return release(released, store, new) if act == "release" else rollback(released, store)

    def kill(*_: object, **__: object) -> None:
        raise Killed

    move = Registry.move

    def move_or_die(self: Registry, alias: str, version: Any) -> None:
        if alias == step:
            raise Killed
        move(self, alias, version)

    with monkeypatch.context() as patch:
        if step == "split":
            patch.setattr(VertexTarget, step, kill)
        else:
            patch.setattr(Registry, "move", move_or_die)
        with contextlib.suppress(Killed):
            run()
    Controller(released, store).advance()

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


def job(database: DatabaseSettings, **given: str) -> subprocess.Popen[bytes]:
    """The Cloud Run job of the product, as it is started."""
    environment = {
        **os.environ,
        "PRODUCT": "flight-delay",
        "DATABASE_HOST": database.database_host,
        "DATABASE_NAME": database.database_name,
        "DATABASE_USER": database.database_user,
        **{f"RELEASE_{name.upper()}": value for name, value in given.items()},
    }
    return subprocess.Popen(
        [sys.executable, "-m", "workloads.release"],
        cwd=CHECKOUT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


@pytest.mark.long
def test_a_job_that_is_killed_at_work_is_mended_by_the_next(
    released: Product, store: Store, database: DatabaseSettings, challenge: Callable[..., Any]
) -> None:
    new = challenge("sigkill").version
    begun = job(database, command="promote", version=new, strategy="direct", approved="true")
    deadline = time.monotonic() + 120
    while (record := store.find(released.name)) is None or record.intent is None:
        assert begun.poll() is None, "it ended before it was at work"
        assert time.monotonic() < deadline, "it never began"
        time.sleep(0.01)
    begun.kill()
    assert begun.wait(10) == -signal.SIGKILL
    assert state(released)[CHAMPION] == "1"

    assert job(database, command="advance").wait(120) == 0

    assert store.find(released.name) is None
    assert state(released) == {
        CHAMPION: new,
        PREVIOUS: "1",
        DEFAULT: new,
        "traffic": {"1": 0, new: 100},
    }
    assert job(database, command="rollback").wait(120) == 0
    assert state(released) == FIRST

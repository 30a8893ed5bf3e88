"""The state machine on real records, with fakes at the edge of everything it acts on."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

import msgspec
import psycopg
import pytest

from tests.workloads.release.conftest import (
    POLICY,
    USERS,
    Killed,
    Stage,
    settings_of,
    sick,
    window,
)
from workloads.database import DatabaseSettings
from workloads.product import Product
from workloads.release.controller import NothingToRollBackTo, NothingUnderWay
from workloads.release.smoke import SmokeTestFailed
from workloads.release.states import State, Strategy, Transition, WrongTransition
from workloads.release.store import Busy, NoRecords, Overtaken, Store, opened
from workloads.release.targets import DeployFailed, DeployTimedOut, InvalidSplit, check_split

FULL = {
    "state": "full",
    "intent": None,
    "shares": {"2": 100},
    "champion": "2",
    "default": "2",
    "previous": "1",
}
UNTOUCHED = {
    "intent": None,
    "shares": {"1": 100},
    "champion": "1",
    "default": "1",
    "previous": None,
}


def walk(stage: Stage) -> None:
    """All the way to full, with evidence that is always clean."""
    stage.tell(4)
    stage.controller().promote("2")
    for _ in range(6):
        stage.clock.pass_(minutes=5)
        stage.controller().advance()


class TestTheFirstRelease:
    def test_goes_straight_to_full_after_the_smoke_test(self, stage: Stage) -> None:
        status = stage.controller().promote("1")

        assert status.release is not None
        assert (status.release.state, status.release.champion) == (State.FULL, None)
        assert stage.state() == {**UNTOUCHED, "state": "full"}
        assert "ask 1" in stage.death.acts

    def test_that_never_becomes_healthy_leaves_nothing(self, stage: Stage) -> None:
        stage.target.sick["1"] = DeployTimedOut("version 1 was not healthy within 5 s")

        with pytest.raises(DeployTimedOut):
            stage.controller().promote("1")

        assert stage.target.shares == {}
        assert stage.state()["champion"] is None
        assert stage.state()["state"] == "aborted"

    def test_that_answers_wrongly_is_taken_off(self, stage: Stage) -> None:
        stage.target.wrong.add("1")

        with pytest.raises(SmokeTestFailed, match="when it was evaluated it gave"):
            stage.controller().promote("1")

        assert stage.target.shares == {}
        assert stage.state()["champion"] is None


class TestTheNextRelease:
    def test_walks_through_shadow_and_each_step_to_full(self, stage: Stage) -> None:
        stage.serve()

        walk(stage)

        assert stage.target.splits[-3:] == [{"1": 95, "2": 5}, {"1": 75, "2": 25}, {"2": 100}]
        assert stage.state() == FULL
        passed = [
            (one.version, one.to.value, one.share)
            for one in reversed(stage.store.history(stage.product.name))
            if one.phase == "done"
        ]
        assert passed[2:] == [
            ("2", "registered", 0),
            ("2", "shadow", 0),
            ("2", "canary", 5),
            ("2", "canary", 25),
            ("2", "full", 100),
            ("1", "retired", 0),
        ]
        told = [one for one in stage.death.acts if one.startswith("mark 2")]
        assert told == [f"mark 2 {one}" for one in ("shadow", "canary-5", "canary-25", "full")]
        assert stage.versions.states == {"1": "retired", "2": "full"}

    def test_keeps_its_evidence_with_each_transition(self, stage: Stage) -> None:
        stage.serve()

        walk(stage)

        history = stage.store.history(stage.product.name)
        to_full = next(one for one in history if one.to is State.FULL and one.phase == "intent")
        figures = [one["window"]["challenger"]["requests"] for one in to_full.evidence]
        assert figures == [200, 200]
        assert to_full.actor == "ana@laptop"

    def test_waits_while_there_is_no_evidence(self, stage: Stage) -> None:
        stage.serve()

        first = stage.controller().promote("2")
        stage.clock.pass_(hours=1)
        later = stage.controller().advance()

        assert "2 more clean windows of at least 100 requests" in first.waits_for
        assert later.release is not None
        assert (later.release.state, later.release.step) == (State.CANARY, 0)
        assert stage.state()["shares"] == {"1": 95, "2": 5}

    def test_goes_on_without_evidence_when_a_person_says_so_one_step_at_a_time(
        self, stage: Stage
    ) -> None:
        stage.serve()
        stage.controller().promote("2")

        status = stage.controller().advance(whatever_the_evidence_says=True)

        assert status.release is not None
        assert (status.release.step, status.release.share) == (1, 25)
        assert status.release.reason == "told to by ana@laptop"

    def test_goes_straight_to_full_when_told_to(self, stage: Stage) -> None:
        stage.serve()

        stage.controller().promote("2", strategy=Strategy.DIRECT)

        assert stage.state() == FULL
        assert stage.target.splits[-1] == {"2": 100}

    def test_of_what_is_champion_already_changes_nothing(self, stage: Stage) -> None:
        stage.serve()

        stage.controller().promote("1")

        assert stage.death.acts == []
        assert stage.state() == {**UNTOUCHED, "state": "full"}

    def test_is_asked_before_any_traffic_where_it_has_an_address(self, stage_beside: Stage) -> None:
        stage_beside.serve()
        stage_beside.target.wrong.add("2")

        with pytest.raises(SmokeTestFailed):
            stage_beside.controller().promote("2")

        assert all("2" not in split for split in stage_beside.target.splits)
        assert stage_beside.state() == {**UNTOUCHED, "state": "aborted"}

    def test_is_asked_with_its_first_share_where_it_has_none(self, stage: Stage) -> None:
        stage.serve()
        stage.target.wrong.add("2")

        with pytest.raises(SmokeTestFailed):
            stage.controller().promote("2")

        assert stage.target.splits[-2:] == [{"1": 95, "2": 5}, {"1": 100}]
        assert stage.state() == {**UNTOUCHED, "state": "aborted"}
        assert list(stage.target.shares) == ["1"]


class TestAbort:
    @pytest.mark.parametrize(
        ("figures", "said"),
        [
            ({"errors": 20}, "error rate 10.00%"),
            ({"p95": 40.0}, "latency p95 40.0 ms"),
            ({"drift": 0.4}, "differ from the champion's by 0.400"),
        ],
    )
    def test_follows_evidence_that_stays(
        self, stage: Stage, figures: dict[str, Any], said: str
    ) -> None:
        stage.serve()
        stage.controller().promote("2")
        stage.tell(3, **figures)

        for _ in range(3):
            stage.clock.pass_(minutes=5)
            status = stage.controller().advance()

        assert status.release is not None
        assert said in status.release.reason
        assert stage.state() == {**UNTOUCHED, "state": "aborted"}
        assert list(stage.target.shares) == ["1"]

    def test_does_not_follow_evidence_that_comes_and_goes(self, stage: Stage) -> None:
        stage.serve()
        stage.controller().promote("2")
        for _ in range(5):
            stage.tell(1, errors=20)
            stage.tell(1)

        for _ in range(10):
            stage.clock.pass_(minutes=5)
            stage.controller().advance()

        assert stage.state()["state"] == "canary"
        assert stage.state()["shares"] == {"1": 95, "2": 5}

    def test_follows_a_shadow_that_predicts_otherwise(self, stage: Stage) -> None:
        stage.serve()
        stage.rehearsal.drift = 0.6

        status = stage.controller().promote("2")

        assert status.release is not None
        assert status.release.reason.startswith("in the shadow (hold-out): predictions differ")
        assert stage.state() == {**UNTOUCHED, "state": "aborted"}

    def test_follows_a_model_that_never_becomes_healthy(self, stage: Stage) -> None:
        stage.serve()
        stage.target.sick["2"] = sick()

        with pytest.raises(DeployFailed, match="never became ready"):
            stage.controller().promote("2")

        assert stage.state() == {**UNTOUCHED, "state": "aborted"}

    def test_follows_a_champion_that_changed_meanwhile(self, stage: Stage) -> None:
        stage.serve()
        stage.controller().promote("2")
        stage.versions.aliases |= {"champion": "3", "default": "3"}

        status = stage.controller().advance()

        assert status.release is not None
        assert "the champion is version 3 now, and was 1" in status.release.reason
        assert stage.state() == {
            **UNTOUCHED,
            "state": "aborted",
            "shares": {"3": 100},
            "champion": "3",
            "default": "3",
        }

    def test_can_be_told(self, stage: Stage) -> None:
        stage.serve()
        stage.controller().promote("2")

        stage.controller().abort("the campaign begins today")

        assert stage.state() == {**UNTOUCHED, "state": "aborted"}
        assert stage.store.history(stage.product.name)[0].reason == "the campaign begins today"

    def test_needs_something_under_way(self, stage: Stage) -> None:
        stage.serve()

        with pytest.raises(NothingUnderWay, match="esteira release rollback flight-delay"):
            stage.controller().abort("no reason")

    def test_lets_the_next_one_begin(self, stage: Stage) -> None:
        stage.serve()
        stage.controller().promote("2")
        stage.controller().abort("no reason")

        status = stage.controller().promote("3")

        assert status.release is not None
        assert (status.release.version, status.release.state) == ("3", State.CANARY)


class TestTheShadow:
    def test_that_has_an_address_is_asked_again_before_it_is_stopped(
        self, stage_beside: Stage
    ) -> None:
        stage_beside.serve()
        stage_beside.rehearsal.first = [0.6, 0.6]

        status = stage_beside.controller().promote("2")

        assert status.release is not None
        assert status.release.state is State.CANARY

    def test_that_breaches_each_time_is_stopped(self, stage_beside: Stage) -> None:
        stage_beside.serve()
        stage_beside.rehearsal.drift = 0.6

        status = stage_beside.controller().promote("2")

        assert status.release is not None
        assert "3 times in a row" in status.release.reason
        assert stage_beside.state() == {**UNTOUCHED, "state": "aborted"}

    def test_of_a_graph_is_asked_once(self, stage: Stage) -> None:
        stage.serve()
        stage.rehearsal.first = [0.6]

        stage.controller().promote("2")

        assert stage.state() == {**UNTOUCHED, "state": "aborted"}


def alone(stage: Stage, count: int, **figures: Any) -> None:
    """Windows in which the champion has all traffic."""
    for _ in range(count):
        stage.evidence.windows.append(
            lambda start, end: msgspec.structs.replace(
                window(start, end, **{"drift": None, **figures}), champion=None
            )
        )


class TestTheWatch:
    """Of a champion whose predecessor is still deployed."""

    @pytest.mark.parametrize(
        ("figures", "said"),
        [
            ({"errors": 20}, "as champion: 3 of the last 3 windows breach"),
            ({"p95": 1200.0}, "latency p95 1200.0 ms; allowed: 1000 ms"),
        ],
    )
    def test_takes_it_back_by_evidence_that_stays(
        self, stage: Stage, figures: dict[str, Any], said: str
    ) -> None:
        stage.serve()
        stage.controller().promote("2", strategy=Strategy.DIRECT)
        alone(stage, 3, **figures)

        for _ in range(3):
            assert stage.state() == FULL
            stage.clock.pass_(minutes=10)
            status = stage.controller().advance()

        assert status.release is not None
        assert said in status.release.reason
        assert stage.state() == {**UNTOUCHED, "state": "aborted"}
        again = stage.store.last(stage.product.name, "1", State.FULL)
        assert again is not None
        assert again.reason == "version 2 was aborted"
        assert status.watched_until is None

    def test_takes_it_back_at_once_where_most_fails(self, stage: Stage) -> None:
        stage.serve()
        stage.controller().promote("2", strategy=Strategy.DIRECT)
        alone(stage, 1, errors=150)

        stage.clock.pass_(minutes=10)
        stage.controller().advance()

        assert stage.state() == {**UNTOUCHED, "state": "aborted"}

    def test_lets_it_be_while_all_is_well_or_comes_and_goes(self, stage: Stage) -> None:
        stage.serve()
        stage.controller().promote("2", strategy=Strategy.DIRECT)
        for _ in range(5):
            alone(stage, 1, errors=20)
            alone(stage, 1)

        for _ in range(10):
            stage.clock.pass_(minutes=10)
            stage.controller().advance()

        assert stage.state() == FULL

    def test_holds_it_to_what_the_one_before_did_beside_it(self, stage: Stage) -> None:
        stage.serve()
        stage.tell(4, errors=20, p95=200.0, champion={"errors": 200, "p95": 200.0})
        stage.controller().promote("2")
        for _ in range(6):
            stage.clock.pass_(minutes=5)
            stage.controller().advance()
        assert stage.state() == FULL
        alone(stage, 3, errors=20, p95=210.0)

        for _ in range(3):
            stage.clock.pass_(minutes=10)
            stage.controller().advance()

        assert stage.state() == FULL
        alone(stage, 3, errors=20, p95=310.0)
        for _ in range(3):
            stage.clock.pass_(minutes=10)
            status = stage.controller().advance()
        assert status.release is not None
        assert "champion 200.0 ms; allowed: 300.0 ms" in status.release.reason

    def test_is_over_after_its_time(self, stage: Stage) -> None:
        stage.serve()
        before = stage.controller().promote("2", strategy=Strategy.DIRECT)
        alone(stage, 3, errors=150)
        assert before.watched_until == stage.clock() + POLICY.watch_time

        stage.clock.pass_(hours=24)
        after = stage.controller().advance()

        assert stage.state() == FULL
        assert after.watched_until is None
        with pytest.raises(NothingUnderWay, match="not watched any more"):
            stage.controller().abort("too late")

    def test_is_of_none_that_has_no_version_to_return_to(self, stage: Stage) -> None:
        stage.serve()
        alone(stage, 3, errors=150)

        stage.clock.pass_(minutes=10)
        status = stage.controller().advance()

        assert status.watched_until is None
        assert stage.state() == {**UNTOUCHED, "state": "full"}

    def test_ends_when_a_person_aborts_it(self, stage: Stage) -> None:
        stage.serve()
        stage.controller().promote("2", strategy=Strategy.DIRECT)

        stage.controller().abort("complaints by telephone")

        assert stage.state() == {**UNTOUCHED, "state": "aborted"}

    def test_to_a_version_that_answers_wrongly_leaves_the_champion(self, stage: Stage) -> None:
        stage.serve()
        stage.controller().promote("2", strategy=Strategy.DIRECT)
        stage.target.wrong.add("1")

        with pytest.raises(SmokeTestFailed):
            stage.controller().abort("complaints by telephone")

        assert stage.state() == FULL


class TestRollBack:
    def test_returns_to_the_version_before(self, stage: Stage) -> None:
        stage.serve()
        stage.controller().promote("2", strategy=Strategy.DIRECT)

        stage.controller().rollback()

        assert stage.state() == {**UNTOUCHED, "state": "rolled_back"}
        full = stage.store.last(stage.product.name, "1", State.FULL)
        assert full is not None
        assert full.reason == "version 2 was rolled back"
        assert stage.versions.states == {"1": "full", "2": "rolled_back"}

    @pytest.mark.parametrize("steps", [0, 1])
    def test_takes_a_release_under_way_back(self, stage: Stage, steps: int) -> None:
        stage.serve()
        stage.controller().promote("2")
        for _ in range(steps):
            stage.controller().advance(whatever_the_evidence_says=True)

        stage.controller().rollback()

        assert stage.state() == {**UNTOUCHED, "state": "rolled_back"}

    def test_to_a_version_that_answers_wrongly_is_refused_and_the_champion_stays(
        self, stage: Stage
    ) -> None:
        stage.serve()
        stage.controller().promote("2", strategy=Strategy.DIRECT)
        stage.target.wrong.add("1")

        with pytest.raises(SmokeTestFailed):
            stage.controller().rollback()

        assert stage.state() == FULL
        assert stage.store.history(stage.product.name)[0].phase == "failed"

    def test_needs_a_version_before(self, stage: Stage) -> None:
        stage.serve()

        with pytest.raises(NothingToRollBackTo, match="Release a version by its number"):
            stage.controller().rollback()

    def test_of_a_champion_without_records_works_too(self, stage: Stage) -> None:
        stage.target.shares = {"1": 0, "2": 100}
        stage.versions.aliases = {"champion": "2", "default": "2", "previous": "1"}

        stage.controller().rollback()

        assert stage.state() == {**UNTOUCHED, "state": "rolled_back"}


class TestTwoAtOnce:
    def test_the_second_is_refused_with_who_holds_it(self, stage: Stage) -> None:
        stage.serve()
        stage.controller().promote("2")

        with pytest.raises(Busy, match=r"version 2 .* is being released \(canary, 5 % .* by ana@"):
            stage.controller().promote("3")

    def test_the_second_of_the_same_version_goes_on_with_the_first(self, stage: Stage) -> None:
        stage.serve()
        stage.controller().promote("2")

        status = stage.controller().promote("2")

        assert status.release is not None
        assert status.release.state is State.CANARY
        assert len({one.release for one in stage.store.history(stage.product.name)}) == 2

    def test_whoever_acts_now_keeps_others_out(
        self, stage: Stage, database: DatabaseSettings
    ) -> None:
        with (
            opened(database, "ben@laptop") as other,
            other.alone(stage.product.name),
            pytest.raises(Busy, match=r"ben@laptop, since .* is acting on the releases"),
        ):
            stage.controller().promote("1")

    def test_the_right_to_act_ends_with_the_connection(
        self, stage: Stage, database: DatabaseSettings
    ) -> None:
        with contextlib.suppress(psycopg.Error), opened(database, "ben@laptop") as other:
            other._connection.execute(
                "SELECT pg_advisory_lock(hashtextextended(%s, 0))",
                [f"release of {stage.product.name}"],
            )
            other._connection.close()

        stage.controller().promote("1")

        assert stage.state()["champion"] == "1"

    def test_waiting_ends_with_the_release_that_was_under_way(self, stage: Stage) -> None:
        stage.serve()
        stage.controller().promote("2")

        with pytest.raises(Busy, match="version 2"):
            stage.controller().promote("3", wait_seconds=0.1)
        stage.controller().abort("no reason")
        status = stage.controller().promote("3", wait_seconds=0.1)

        assert status.release is not None
        assert status.release.version == "3"


def act(stage: Stage, what: str) -> None:
    if what == "walk":
        walk(stage)
    elif what == "direct":
        stage.controller().promote("2", strategy=Strategy.DIRECT)
    elif what == "roll back":
        stage.controller().rollback()
    elif what in ("abort", "abort the champion"):
        stage.controller().abort("no reason")
    elif what == "watch":
        stage.evidence.windows.clear()
        alone(stage, 3, errors=20)
        for _ in range(3):
            stage.clock.pass_(minutes=10)
            stage.controller().advance()
    else:
        with contextlib.suppress(DeployFailed, SmokeTestFailed):
            stage.controller().promote("2")


ACTS: dict[str, tuple[Callable[[Stage], None], dict[str, Any]]] = {
    "walk": (lambda stage: None, FULL),
    "direct": (lambda stage: None, FULL),
    "roll back": (
        lambda stage: act(stage, "direct"),
        {**UNTOUCHED, "state": "rolled_back"},
    ),
    "abort": (
        lambda stage: stage.controller().promote("2") and None,
        {**UNTOUCHED, "state": "aborted"},
    ),
    "abort the champion": (
        lambda stage: act(stage, "direct"),
        {**UNTOUCHED, "state": "aborted"},
    ),
    "watch": (
        lambda stage: act(stage, "direct"),
        {**UNTOUCHED, "state": "aborted"},
    ),
    "sick": (
        lambda stage: stage.target.sick.update({"2": sick()}),
        {**UNTOUCHED, "state": "aborted"},
    ),
    "wrong": (lambda stage: stage.target.wrong.add("2"), {**UNTOUCHED, "state": "aborted"}),
}


LONG = ("walk", "watch")


@pytest.mark.parametrize(
    ("what", "beside"),
    [
        *((what, False) for what in ACTS if what not in LONG),
        ("wrong", True),
        # Together some 200 deaths.
        *(pytest.param(what, False, marks=pytest.mark.long) for what in LONG),
        *(
            pytest.param(what, True, marks=pytest.mark.long)
            for what in ("walk", "direct", "sick", "abort")
        ),
    ],
)
def test_a_kill_before_or_after_any_act_is_mended_by_advancing(
    product: Product,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    what: str,
    beside: bool,
) -> None:
    """Every act on the target, the registry and the records, in turn; each of another product,
    of which nothing is recorded yet."""
    prepare, expected = ACTS[what]
    numbers = itertools.count()

    def fresh() -> Stage:
        another = dataclasses.replace(product, name=f"{product.name}-{next(numbers)}")
        stage = Stage(another, store, beside=beside)
        stage.serve()
        prepare(stage)
        stage.death.acts.clear()
        for name in ("begin", "intend", "finish", "look"):
            method = getattr(Store, name)

            def mortal(self: Store, *given: Any, _do: Any = method, _as: str = name, **more: Any):
                with stage.death.around(f"write {_as}"):
                    return _do(self, *given, **more)

            monkeypatch.setattr(stage.store, name, mortal.__get__(stage.store))
        return stage

    whole = fresh()
    act(whole, what)
    assert whole.state() == expected
    acts = list(whole.death.acts)
    assert len(acts) >= 5

    for number in range(len(acts)):
        for side in ("before", "after"):
            stage = fresh()
            stage.death.at = (number, side)
            with pytest.raises(Killed):
                act(stage, what)
            stage.death.at = None
            where = f"{side} {acts[number]}"
            record = store.find(stage.product.name)
            stage.tell(8)
            if stage.state() != expected and (record is None or record.intent is None):
                # What was asked for was not written down yet, so it is asked for again.
                act(stage, what)
            # What was written down goes on by the schedule; nobody remembers anything else.
            while store.find(stage.product.name) is not None:
                stage.clock.pass_(minutes=5)
                with contextlib.suppress(DeployFailed, SmokeTestFailed):
                    stage.controller().advance()
            assert stage.state() == expected, where
            assert stage.versions.states == whole.versions.states, where
            assert sum(stage.target.shares.values()) == 100, where


class TestRecords:
    def test_transitions_cannot_be_changed(self, stage: Stage) -> None:
        stage.serve()

        for statement in ("UPDATE release.transitions SET reason = 'x'", "DELETE FROM "):
            query = statement if "UPDATE" in statement else f"{statement} release.transitions"
            with pytest.raises(psycopg.errors.RaiseException, match="append-only"):
                stage.store._connection.execute(query)

    def test_who_was_overtaken_does_not_write(self, stage: Stage) -> None:
        stage.serve()
        stage.controller().promote("2")
        record = stage.store.find(stage.product.name)
        assert record is not None
        stage.controller().advance(whatever_the_evidence_says=True)

        with pytest.raises(Overtaken, match="changed by somebody else"):
            stage.store.look(record, (), stage.clock())

    def test_no_release_skips_back(self, stage: Stage) -> None:
        stage.serve()
        record = stage.store.last(stage.product.name, "1", State.FULL)
        assert record is not None

        with pytest.raises(WrongTransition, match="is full cannot become shadow"):
            stage.store.intend(
                record, Transition(to=State.SHADOW, reason="no reason"), stage.clock()
            )

    def test_products_share_the_tables_under_accounts_of_their_own(
        self, stage: Stage, database: DatabaseSettings
    ) -> None:
        stage.serve()

        with opened(settings_of(USERS[1]), "other job") as other:
            assert other.history("another-product") == []
            assert other.latest(stage.product.name) is not None

    def test_without_a_database_it_says_what_to_switch_on(
        self, database: DatabaseSettings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CLOUD_SQL_EMULATOR_HOST", "127.0.0.1:1")

        with (
            pytest.raises(NoRecords, match=r"`database\.enabled` is true"),
            opened(database, "ana@laptop"),
        ):
            pass


@pytest.mark.parametrize(
    ("shares", "said"),
    [
        ({"1": 90, "2": 5}, "100 together"),
        ({"1": 101, "2": -1}, "0 to 100 each"),
        ({"1": 50, "3": 50}, "version 3, which is not deployed; deployed: 1, 2"),
    ],
)
def test_a_split_that_cannot_be_is_refused(shares: dict[str, int], said: str) -> None:
    with pytest.raises(InvalidSplit, match=said):
        check_split(shares, ["1", "2"])

"""What a run does step by step, with fakes at the edge: killed anywhere, it converges."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from google.api_core.exceptions import ServiceUnavailable

from workloads import product as products
from workloads.manifest import Data
from workloads.monitoring import model_monitoring, tables
from workloads.monitoring.assessment import FeatureScore, Verdict, assess
from workloads.monitoring.champion import Champion
from workloads.monitoring.counting import count
from workloads.monitoring.job import Edge, NotAsked, last_window, monitor
from workloads.monitoring.measuring import Measured, Rated
from workloads.monitoring.performance import Performance
from workloads.monitoring.publishing import Point
from workloads.monitoring.reference import Reference, number
from workloads.monitoring.store import Past, PastFeature, PastScore, StoreRefused, Subject
from workloads.monitoring.thresholds import thresholds
from workloads.monitoring.window import Window
from workloads.notifications.incident import TOP, decode
from workloads.product import InvalidProduct, Monitoring, Product
from workloads.telemetry import MONITOR_ALARM

PRODUCT = products.load("flight-delay")
START = datetime(2013, 4, 1, tzinfo=UTC)
WEEK = timedelta(days=7)
NOW = datetime(2013, 6, 1, tzinfo=UTC)
ROWS = 2_000
EXPECTED = 0.75


def week(index: int) -> Window:
    return Window(start=START + index * WEEK, end=START + (index + 1) * WEEK)


def features(count_: int) -> Reference:
    generator = np.random.default_rng(0)
    return Reference(
        features=tuple(number(f"x{one}", generator.normal(size=ROWS)) for one in range(count_))
    )


def data() -> Data:
    return Data(uri="gs://b/d", sha256="0", rows=ROWS, start=START - timedelta(days=90), end=START)


def champion(count_: int = 3) -> Champion:
    known = features(count_)
    fake = SimpleNamespace(
        number="1",
        features=known,
        expected=EXPECTED,
        manifest=SimpleNamespace(training=data(), holdout=data()),
    )
    return cast("Champion", fake)


@dataclasses.dataclass
class World:
    """Everything outside, as it is kept between attempts, and what is broken of it."""

    shift: Callable[[Window], float] = lambda _: 0.0
    auc: Callable[[Window], float | None] = lambda _: EXPECTED
    columns: int = 3
    rows: int = ROWS
    broken: str = ""
    scores: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    rated: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    objects: dict[str, bytes] = dataclasses.field(default_factory=dict)
    gauges: dict[tuple[str, str], float] = dataclasses.field(default_factory=dict)
    requests: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    uri: str = "gs://models/reports/flight-delay"

    def at(self, step: str) -> None:
        if self.broken == step:
            raise KeyboardInterrupt(step)

    def edge(self) -> Edge:
        return Edge(
            champion=lambda _: champion(self.columns),
            measure=self.measure,
            store=cast("Any", self),
            objects=cast("Any", SimpleNamespace(uri=self.uri, write=self.put)),
            gauges=cast("Any", SimpleNamespace(write=self.tell)),
            retraining=self.ask,
        )

    def measure(
        self, known: Champion, window: Window, *, at: datetime, earlier: Sequence[Any]
    ) -> Measured:
        self.at("measure")
        found = Measured(version="1", window=window, at=at)
        generator = np.random.default_rng(int(window.start.timestamp()))
        counts = count(
            known.features,
            {
                one.name: generator.normal(self.shift(window), 1, self.rows)
                for one in known.features.features
            },
        )
        found.scores[tables.TRAINING] = assess(
            known.features, counts, thresholds(PRODUCT, tables.TRAINING), window=window
        )
        found.before[tables.TRAINING] = known.features
        found.counts[tables.TRAINING] = counts
        for one in [window, *(past for _, past in earlier)]:
            found.rated.append(Rated(performance=rated(one, self.auc(one)), version="1"))
        return found

    def write(self, measured: Measured) -> int:
        self.at("store scores")
        for reference, one in measured.all:
            row = tables.score_row(
                one, model_version="1", reference=reference, measured_at=measured.at
            )
            self.scores[row["measurement_id"]] = {**row, "score_": one, "reference": reference}
        self.at("store performance")
        for one in measured.rated:
            row = tables.performance_row(
                one.performance, model_version=one.version, measured_at=measured.at
            )
            self.rated[row["measurement_id"]] = {**row, "window": one.performance.window}
        return len(measured.all) + len(measured.rated)

    def history(self, version: str, window: Window, count_: int) -> dict[Subject, list[Past]]:
        self.at("history")
        found: dict[Subject, dict[Window, list[Verdict]]] = {}
        for row in self.scores.values():
            one: FeatureScore = row["score_"]
            if one.window.end <= window.start and one.window.end > window.start - count_ * WEEK:
                subject = (row["reference"], one.feature, one.slice)
                found.setdefault(subject, {}).setdefault(one.window, []).append(one.verdict)
        return {
            subject: [
                Past(
                    window=past,
                    breach=None
                    if set(verdicts) == {Verdict.UNKNOWN}
                    else Verdict.DRIFTED in verdicts,
                )
                for past, verdicts in sorted(windows.items())
            ]
            for subject, windows in found.items()
        }

    def trend(
        self, version: str, window: Window, count_: int, features_: Collection[str]
    ) -> list[PastFeature]:
        self.at("trend")
        return sorted(
            (
                PastFeature(
                    window=one.window,
                    reference=row["reference"],
                    feature=one.feature,
                    statistic=one.statistic,
                    score=one.score,
                    threshold=one.threshold,
                )
                for row in self.scores.values()
                if (one := row["score_"]).window.end <= window.start
                and one.window.end > window.start - count_ * WEEK
                and one.feature in features_
                and one.score is not None
            ),
            key=lambda one: one.window,
        )

    def unfinished(self, window: Window, at: datetime) -> list[tuple[str, Window]]:
        return [
            ("1", row["window"])
            for row in self.rated.values()
            if row["window"].end <= window.start and (row["waiting"] or row["value"] is None)
        ]

    def ask(
        self, product: Product, reason: str, evidence: dict[str, Any], as_of: datetime | None
    ) -> str:
        self.at("ask")
        self.requests[evidence["key"]] = {"reason": reason, **evidence}
        return "A retraining has been asked for."

    def put(self, name: str, content: bytes | str, content_type: str) -> None:
        self.at("report" if name.endswith(".html") else "incident")
        self.objects[name] = content.encode() if isinstance(content, str) else content

    def tell(self, points: Sequence[Point], at: datetime) -> None:
        self.at("metrics")
        for one in points:
            self.gauges[one.metric.type, str(sorted(one.labels.items()))] = one.value

    def past_scores(self, version: str, window: Window, count_: int) -> list[PastScore]:
        return [
            PastScore(
                window=row["window"],
                estimated=False,
                value=row["value"],
                low=row["low"],
                high=row["high"],
            )
            for row in self.rated.values()
            if window.start - count_ * WEEK < row["window"].end <= window.start
        ]

    @property
    def alarms(self) -> dict[str, float]:
        return {
            labels.split("'kind', '")[1].split("'")[0]: value
            for (kind, labels), value in self.gauges.items()
            if kind == MONITOR_ALARM.type
        }


class Stored:
    """The store's side of a world: `scores` is a table there and a question here."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.write, self.history = world.write, world.history
        self.unfinished, self.scores = world.unfinished, world.past_scores
        self.trend = world.trend


def run(world: World, index: int, product: Product = PRODUCT) -> Any:
    edge = dataclasses.replace(world.edge(), store=cast("Any", Stored(world)))
    return monitor(product, week(index), at=NOW, edge=edge)


def rated(window: Window, value: float | None) -> Performance:
    return Performance(
        metric="roc_auc",
        value=value,
        low=None if value is None else value - 0.01,
        high=None if value is None else value + 0.01,
        window=window,
        rows=ROWS,
        labelled=0 if value is None else ROWS,
        waiting=ROWS if value is None else 0,
        never=0,
        future=0,
        reason="no label is mature yet" if value is None else "",
    )


def after(index: int, by: float) -> Callable[[Window], float]:
    return lambda window: by if window.start >= week(index).start else 0.0


def test_quiet_weeks_are_measured_and_nobody_is_told() -> None:
    world = World()
    for index in range(4):
        found = run(world, index)
        assert found.verdict == "quiet"
        assert found.incident is None
    assert not [one for one in world.objects if one.startswith("latest-")]
    assert world.requests == {}
    assert world.alarms == {"drift": 0.0, "performance": 0.0}
    assert len([one for one in world.objects if one.endswith(".html")]) == 4


def test_one_odd_week_raises_no_alarm_and_a_second_one_does() -> None:
    world = World(shift=after(2, 0.5))
    assert [run(world, index).verdict for index in range(4)] == [
        "quiet",
        "quiet",
        "drifted",
        "alarm",
    ]
    told = decode(world.objects["latest-drift.json"])
    assert told.kind == "drift"
    assert told.since == week(2).start
    assert told.window.start == week(3).start
    assert told.report.endswith(".html")
    assert told.action == "A retraining has been asked for."
    [request] = world.requests.values()
    assert request["reason"] == "drift"
    assert world.alarms["drift"] == 1


def test_an_alarm_ends_with_the_first_week_that_is_well() -> None:
    world = World(shift=lambda one: 0.5 if week(1).start <= one.start < week(3).start else 0.0)
    assert [run(world, index).verdict for index in range(4)] == [
        "quiet",
        "drifted",
        "alarm",
        "quiet",
    ]
    assert world.alarms["drift"] == 0


STEPS = (
    "measure",
    "store scores",
    "store performance",
    "history",
    "ask",
    "trend",
    "report",
    "incident",
    "metrics",
)


@pytest.mark.parametrize("step", STEPS)
def test_killed_before_any_step_the_next_attempt_converges(step: str) -> None:
    undisturbed, world = (World(shift=after(0, 0.5)) for _ in range(2))
    for one in (undisturbed, world):
        run(one, 0)
    run(undisturbed, 1)
    world.broken = step
    with pytest.raises(KeyboardInterrupt):
        run(world, 1)
    world.broken = ""
    run(world, 1)
    run(world, 1)
    assert world.scores.keys() == undisturbed.scores.keys()
    assert world.rated.keys() == undisturbed.rated.keys()
    assert world.objects == undisturbed.objects
    assert world.requests == undisturbed.requests
    assert world.gauges == undisturbed.gauges
    assert len(world.requests) == 1


def test_nobody_is_told_before_the_record_says_what() -> None:
    """The relay reads the record when the metric raises the alert."""
    world = World(shift=after(0, 0.5))
    run(world, 0)
    world.broken = "incident"
    with pytest.raises(KeyboardInterrupt):
        run(world, 1)
    assert world.alarms["drift"] == 0


def test_a_thousand_features_are_one_incident_and_one_request() -> None:
    world = World(shift=after(0, 1.0), columns=1_000)
    run(world, 0)
    found = run(world, 1)
    [drift] = [one for one in found.findings if one.kind == "drift"]
    assert drift.subjects == 1_000
    assert len(decode(world.objects["latest-drift.json"]).top) == TOP
    assert len(world.requests) == 1
    assert len(world.objects[found.report.rpartition("/")[2]]) < 500_000


def test_a_hundred_quiet_features_raise_no_alarm() -> None:
    world = World(columns=100)
    assert {run(world, index).verdict for index in range(6)} == {"quiet"}


def test_a_window_without_rows_is_unknown_and_neither_alarm_nor_recovery() -> None:
    world = World(shift=after(0, 0.5))
    run(world, 0)
    run(world, 1)
    world.rows, world.auc = 0, lambda _: None
    world.gauges.clear()
    found = run(world, 2)
    assert {one.verdict for one in found.findings} == {"unknown"}
    assert found.incident is None
    assert world.alarms == {}


def test_a_window_is_judged_again_when_its_labels_have_come() -> None:
    late = {0: None, 1: None}
    world = World(auc=lambda one: late.get((one.start - START) // WEEK, 0.6))
    for index in (0, 1):
        [performance] = [one for one in run(world, index).findings if one.kind == "performance"]
        assert performance.verdict == "unknown"
        assert not performance.alarm
    late.clear()
    found = run(world, 2)
    assert [one["value"] for one in world.rated.values()] == [0.6, 0.6, 0.6]
    [performance] = [one for one in found.findings if one.kind == "performance"]
    assert performance.alarm
    assert performance.since == week(0).start
    assert found.incident is not None
    assert found.incident.kind == "performance"
    [request] = world.requests.values()
    assert request["reason"] == "performance"


def test_labels_that_never_come_say_nothing() -> None:
    world = World(auc=lambda _: None)
    for index in range(5):
        [performance] = [one for one in run(world, index).findings if one.kind == "performance"]
        assert performance.verdict == "unknown"
    assert {one["value"] for one in world.rated.values()} == {None}


def test_without_a_database_people_are_told_to_start_it_by_hand() -> None:
    world = World(shift=after(0, 0.5))

    def off(*_: Any) -> str:
        raise NotAsked("the stack has no database", passing=False)

    world.ask = off  # pyright: ignore[reportAttributeAccessIssue]
    run(world, 0)
    found = run(world, 1)
    assert found.incident is not None
    assert "the stack has no database" in found.incident.action
    assert "esteira train flight-delay" in found.incident.action
    assert found.unasked == ""


def test_vertex_is_asked_to_follow_the_champion_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "p")
    world, asked = World(), list[str]()

    def follow(_: Product, known: Champion) -> None:
        assert world.gauges
        asked.append(known.number)

    edge = dataclasses.replace(world.edge(), store=cast("Any", Stored(world)), follow=follow)
    monitor(PRODUCT, week(0), at=NOW, edge=edge)
    assert asked == ["1"]
    assert Edge.of(PRODUCT).follow is model_monitoring.follow


def test_bigquery_that_refuses_leaves_nothing_half_told() -> None:
    world = World(shift=after(0, 0.5))
    run(world, 0)
    before = dict(world.objects)

    def refuse(_: Measured) -> int:
        raise StoreRefused("no") from ServiceUnavailable("busy")

    world.write = refuse  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(StoreRefused):
        run(world, 1)
    assert world.objects == before
    assert world.requests == {}


def test_a_missing_column_is_told_at_once_and_not_trained_on() -> None:
    world = World()
    measure = world.measure

    def renamed(*given: Any, **named: Any) -> Measured:
        found = measure(*given, **named)
        found.faults, found.missing = ("no column x1: was it renamed?",), ("x1",)
        return found

    world.measure = renamed  # pyright: ignore[reportAttributeAccessIssue]
    found = run(world, 0)
    assert found.verdict == "schema"
    assert found.incident is not None
    assert (found.incident.kind, found.incident.severity) == ("skew", "CRITICAL")
    assert [one.feature for one in found.incident.top] == ["x1"]
    assert world.requests == {}
    assert "was it renamed?" in world.objects[found.report.rpartition("/")[2]].decode()


@pytest.mark.parametrize(
    ("now", "start", "end"),
    [
        ("2013-04-10T12:00:00-04:00", "2013-04-01", "2013-04-08"),
        ("2013-04-15T00:00:00-04:00", "2013-04-08", "2013-04-15"),
        # A week in which the clocks go forward is a week all the same.
        ("2013-03-11T03:00:00-04:00", "2013-03-04", "2013-03-11"),
    ],
)
def test_windows_are_whole_weeks_of_the_products_zone(now: str, start: str, end: str) -> None:
    found = last_window(PRODUCT, datetime.fromisoformat(now))
    assert f"{found.start:%Y-%m-%d %H}" == f"{start} 00"
    assert f"{found.end:%Y-%m-%d %H}" == f"{end} 00"
    assert f"{found.start:%a}" == "Mon"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"window": timedelta(hours=5)}, "whole days"),
        ({"least": 4}, "1 to monitoring.of"),
        ({"slices": ("nowhere",)}, "fields of the request"),
        ({"significance": 0}, "above 0, below 1"),
        # A week is as long as an incident stays open without a verdict.
        ({"schedule": "0 5 * * 1"}, "schedule is 0 5 . . 1; allowed: a run at least every 6 days"),
        ({"schedule": "0 5 1,15 * *"}, "at least every 6 days"),
        ({"schedule": "0 5 * *"}, "monitoring: schedule is .*five fields of crontab"),
    ],
)
def test_a_declaration_that_makes_no_sense_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidProduct, match=message):
        dataclasses.replace(PRODUCT, monitoring=Monitoring(**wrong))


def test_thresholds_are_numbers_whatever_is_declared_and_shared_among_tests() -> None:
    product = dataclasses.replace(
        PRODUCT, monitoring=Monitoring(drift={"psi": 0.3}, features={"carrier": {"psi": 0.4}})
    )
    ours = thresholds(product, tables.TRAINING, tests=4)
    assert ours.of("carrier", "psi") == 0.4
    assert ours.of("origin", "psi") == 0.3
    assert ours.of("origin", "jensen_shannon") == 0.02
    assert ours.significance == product.monitoring.significance / 4
    assert thresholds(product, tables.ANSWERS).of("value", "psi") == 0.1
    wrong = dataclasses.replace(PRODUCT, monitoring=Monitoring(drift={"psy": 0.3}))
    with pytest.raises(InvalidProduct, match="psy"):
        thresholds(wrong, tables.TRAINING)

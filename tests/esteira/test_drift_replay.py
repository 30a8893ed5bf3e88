"""The replay of nine months, without a platform: its calendar, its journal, what it says."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from esteira.demo import drift, drift_scenario, scenario
from esteira.demo.drift_journal import (
    Finding,
    Journal,
    Looked,
    MonthDone,
    NotAtTheBeginning,
    Retrained,
    Served,
    begin,
)
from workloads import product as products

APRIL = drift_scenario.MONTHS[0]
VERSION = ("1", "run-of-march", datetime(2013, 3, 21, tzinfo=UTC))


def found(kind: str, feature: str, *, alarm: bool = True) -> Finding:
    return Finding(
        kind=kind,
        verdict="drifted",
        alarm=alarm,
        feature=feature,
        statistic="psi",
        score=0.5,
        threshold=0.1,
    )


class TestTheCalendar:
    def test_months_follow_each_other_from_april_to_december(self) -> None:
        months = drift_scenario.MONTHS
        assert [one.name for one in months] == [f"2013-{month:02d}" for month in range(4, 13)]
        assert all(one.end == other.start for one, other in itertools.pairwise(months))

    def test_files_begin_where_the_demonstration_stopped_and_leave_no_gap(self) -> None:
        landings = drift_scenario.landings()
        assert landings[0][0] == scenario.PRESENT
        assert all(one[1] == other[0] for one, other in itertools.pairwise(landings))
        assert landings[-1][1] == drift_scenario.MONTHS[-1].looked_at

    def test_each_month_has_landed_when_it_is_looked_at(self) -> None:
        ends = [end for _, end in drift_scenario.landings()]
        for month in drift_scenario.MONTHS:
            assert any(end >= month.looked_at for end in ends)

    def test_a_month_is_looked_at_when_its_last_label_is_mature(self) -> None:
        product = products.load(scenario.PRODUCT)
        assert product.label.maturity == drift_scenario.MATURITY


class TestTheJournal:
    def test_a_replay_that_was_cut_off_goes_on(self, tmp_path: Path) -> None:
        place = tmp_path / "drift.json"
        journal = begin([VERSION], "1", place)
        journal.month("2013-04").done = True
        journal.served.append(Served(since=APRIL.looked_at, version="2"))
        journal.save(place)
        again = begin([VERSION, ("2", "r2", APRIL.end)], "2", place)
        assert again == journal
        assert again.first == "1"

    def test_a_platform_that_was_made_anew_begins_anew(self, tmp_path: Path) -> None:
        place = tmp_path / "drift.json"
        journal = begin([VERSION], "1", place)
        journal.month("2013-04").done = True
        journal.save(place)
        assert begin([("1", "another-run", VERSION[2])], "1", place).months == {}

    def test_a_champion_that_knows_the_future_is_refused(self, tmp_path: Path) -> None:
        knowing = ("2", "r2", APRIL.start + timedelta(days=1))
        with pytest.raises(NotAtTheBeginning, match="version 2, has learned from rows until"):
            begin([VERSION, knowing], "2", tmp_path / "drift.json")

    def test_a_draft_that_was_cut_off_is_not_read(self, tmp_path: Path) -> None:
        place = tmp_path / "drift.json"
        begin([VERSION], "1", place).save(place)
        place.with_suffix(".new").write_text('{"run": "run-of')
        assert begin([VERSION], "1", place).run == "run-of-march"


def journal(*months: MonthDone) -> Journal:
    names = (one.name for one in drift_scenario.MONTHS)
    return Journal(
        run="r1",
        served=[Served(since=APRIL.start, version="1")],
        months=dict(zip(names, months, strict=False)),
        seconds=12.34,
    )


class TestTheReport:
    def test_while_nothing_has_drifted_there_is_no_alarm(self) -> None:
        quiet = Looked(findings=(), report="gs://b/r.html", action="")
        report = drift.document(journal(MonthDone(looked=quiet, done=True)))
        assert report["alarm"] is None
        assert report["retrained"] is None
        assert report["released"] is False

    def test_a_breach_that_does_not_last_is_no_alarm(self) -> None:
        once = Looked(findings=(found("drift", "humidity", alarm=False),), report="r", action="")
        report = drift.document(journal(MonthDone(looked=once, done=True)))
        assert report["alarm"] is None

    def test_it_tells_the_first_alarm_by_the_feature_that_drifted(self) -> None:
        quiet = Looked(findings=(), report="r", action="")
        alarmed = Looked(
            findings=(found("concept-drift", "loss"), found("drift", "temperature")),
            report="gs://b/may.html",
            action="trains",
        )
        later = Looked(findings=(found("drift", "pressure"),), report="r", action="")
        report = drift.document(
            journal(*(MonthDone(looked=one, done=True) for one in (quiet, alarmed, later)))
        )
        alarm = report["alarm"]
        assert (alarm["feature"], alarm["score"], alarm["threshold"]) == ("temperature", 0.5, 0.1)
        assert alarm["window"]["start"] == "2013-05-01T00:00:00-04:00"
        assert alarm["report"] == "gs://b/may.html"

    def test_it_tells_of_the_first_run_that_was_released(self) -> None:
        refused = Retrained(
            run="a", version="2", reasons=("drift",), state="rejected", why="", gate="rejected"
        )
        released = Retrained(
            run="b",
            version="3",
            reasons=("drift",),
            state="released",
            why="",
            gate="approved",
            reasons_of_gate=("passes: it gains",),
            record="gs://b/d.json",
        )
        report = drift.document(
            journal(*(MonthDone(retrained=one, done=True) for one in (refused, released)))
        )
        assert (report["retrained"], report["released"]) == ("3", True)
        assert report["gate"]["decision"] == "approved"
        assert [one["state"] for one in report["runs"]] == ["rejected", "released"]

    def test_scores_are_by_month_with_and_without(self) -> None:
        done = MonthDone(with_retraining=0.71234, without=0.7, done=True)
        report = drift.document(journal(done, MonthDone(with_retraining=0.9)))
        assert report["monthly_auc"] == {"2013-04": {"with": 0.7123, "without": 0.7}}
        assert report["seconds"] == 12.3

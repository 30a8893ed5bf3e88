"""The replay of nine months, without a platform: its calendar, its journal, what it says."""

from __future__ import annotations

import base64
import itertools
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from esteira.demo import drift, drift_scenario, scenario, scheduled, weeks
from esteira.demo.data import NothingArrives
from esteira.demo.drift_data import Landing
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
from workloads.monitoring.settings import MonitoringSettings
from workloads.monitoring.window import Window

PLACE = "projects/p/locations/l/jobs"

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


class TestTheSchedulersEntry:
    """That starts the monitors for a window of the replay."""

    WINDOW = Window(start=APRIL.start, end=APRIL.end)
    OWN: ClassVar[dict[str, Any]] = {
        "monitoring": {"job": f"{PLACE}/flight-delay-monitor", "schedule": "flight-delay-monitor"}
    }

    def test_the_body_tells_the_job_its_window_and_moment(self) -> None:
        (given,) = scheduled.body(self.WINDOW, APRIL.looked_at)["overrides"]["containerOverrides"]
        settings = MonitoringSettings.model_validate(
            {one["name"].lower(): one["value"] for one in given["env"]}
            | {"google_cloud_project": "p", "google_cloud_location": "l", "product": "flight-delay"}
        )
        assert settings.window_start == APRIL.start
        assert settings.window_end == APRIL.end
        assert settings.measured_at == APRIL.looked_at

    def test_is_run_once_and_gone_when_the_execution_has_ended(
        self, google: Google, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        found = object()
        asked = list[str]()
        monkeypatch.setattr(
            scheduled.outcomes, "read", lambda _, execution: asked.append(execution) or found
        )
        product = products.load(scenario.PRODUCT)
        outcome = scheduled.run_monitor(product, self.OWN, self.WINDOW, APRIL.looked_at)

        assert outcome is found
        assert asked == ["execution-1"]
        assert google.entries.keys() == {f"{PLACE}/flight-delay-monitor"}
        (ran,) = google.ran
        # The schedule's own target and caller; only the window is another.
        assert ran["httpTarget"]["uri"] == google.target["uri"]
        assert ran["httpTarget"]["oauthToken"] == google.target["oauthToken"]
        told = json.loads(base64.b64decode(ran["httpTarget"]["body"]))
        assert told == scheduled.body(self.WINDOW, APRIL.looked_at)
        assert ran["state"] == "PAUSED"

    def test_is_gone_also_when_the_execution_failed(self, google: Google) -> None:
        google.succeeds = False
        product = products.load(scenario.PRODUCT)
        with pytest.raises(scheduled.MonitorFailed, match="execution-1 failed"):
            scheduled.run_monitor(product, self.OWN, self.WINDOW, APRIL.looked_at)
        assert google.entries.keys() == {f"{PLACE}/flight-delay-monitor"}

    def test_a_schedule_that_starts_nothing_is_told(self, google: Google) -> None:
        google.refuses = "PERMISSION_DENIED"
        product = products.load(scenario.PRODUCT)
        with pytest.raises(scheduled.MonitorFailed, match=r"did not start .*: PERMISSION_DENIED"):
            scheduled.run_monitor(product, self.OWN, self.WINDOW, APRIL.looked_at)


class Google:
    """Cloud Scheduler and Cloud Run as far as a replay talks to them."""

    target: ClassVar[dict[str, Any]] = {
        "httpMethod": "POST",
        "uri": f"https://run.googleapis.com/v2/{PLACE}/flight-delay-monitor:run",
        "oauthToken": {"serviceAccountEmail": "call@p.iam.gserviceaccount.com"},
    }

    def __init__(self) -> None:
        own = {"schedule": "0 5 * * *", "timeZone": "Etc/UTC", "httpTarget": self.target}
        self.entries: dict[str, dict[str, Any]] = {f"{PLACE}/flight-delay-monitor": own}
        self.ran: list[dict[str, Any]] = []
        self.succeeds = True
        self.refuses = ""

    def scheduler(self) -> Any:
        return self._api(
            get=lambda name: self.entries[name],
            create=lambda parent, body: self.entries.setdefault(body["name"], dict(body)),
            pause=lambda name, body: self.entries[name].update(state="PAUSED"),
            run=lambda name, body: self._run(self.entries[name]),
            delete=self._delete,
        )

    def cloud_run(self) -> Any:
        executions = SimpleNamespace(
            list=_request(
                lambda parent: {
                    "executions": [
                        {"name": f"{parent}/executions/execution-{number}"}
                        for number in range(len(self.ran) + 1)
                    ]
                }
            ),
            get=_request(
                lambda name: {
                    "completionTime": "2026-11-22T00:00:00Z",
                    "succeededCount" if self.succeeds else "failedCount": 1,
                }
            ),
        )
        return self._api(executions=lambda: executions, plain=("executions",))

    def _delete(self, *, name: str) -> None:
        del self.entries[name]

    def _run(self, entry: dict[str, Any]) -> None:
        if self.refuses:
            entry["status"] = {"code": 7, "message": self.refuses}
        else:
            self.ran.append(dict(entry))

    def _api(self, *, plain: tuple[str, ...] = (), **methods: Any) -> Any:
        jobs = SimpleNamespace(
            **{name: one if name in plain else _request(one) for name, one in methods.items()}
        )
        locations = SimpleNamespace(jobs=lambda: jobs)
        return SimpleNamespace(projects=lambda: SimpleNamespace(locations=lambda: locations))


def _request(answer: Any) -> Any:
    return lambda **given: SimpleNamespace(execute=lambda: answer(**given))


@pytest.fixture
def google(monkeypatch: pytest.MonkeyPatch) -> Google:
    one = Google()
    monkeypatch.setattr(scheduled.gcp, "scheduler", one.scheduler)
    monkeypatch.setattr(scheduled.gcp, "run", one.cloud_run)
    return one


class TestTheWeeksOfTheDemonstration:
    def test_are_as_many_as_an_alarm_takes_and_the_last_is_seen_at_the_present(self) -> None:
        product = products.load(scenario.PRODUCT)
        found = weeks.weeks(product)
        assert len(found) == product.monitoring.least
        assert all(one.end == later.start for (one, _), (later, _) in itertools.pairwise(found))
        assert found[-1][1] == scenario.PRESENT


class TestTheLanding:
    def test_what_has_not_landed_is_not_waited_for_in_vain(self) -> None:
        landing = Landing(products.load(scenario.PRODUCT), "bucket")
        with pytest.raises(NothingArrives, match="has not landed"):
            landing.await_rows(APRIL.looked_at, lambda _: None)

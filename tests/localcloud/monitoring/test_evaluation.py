"""When incidents open and close, by a clock that the test moves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from localcloud.rest.discovery import Api
from localcloud.rest.store import Documents
from localcloud.services.monitoring.conditions import read
from localcloud.services.monitoring.descriptors import Descriptors
from localcloud.services.monitoring.evaluator import Evaluator
from localcloud.services.monitoring.filters import Header
from localcloud.services.monitoring.incidents import Incidents
from localcloud.services.monitoring.policies import Policies
from localcloud.services.monitoring.series import Point, SeriesStore

METRIC = "custom.googleapis.com/esteira/monitor_alarm"
POLICY = "projects/p/alertPolicies/1"
START = 1_800_000_000.0
MINUTE = 60.0
HOUR = 3_600.0


def threshold(**fields: Any) -> dict[str, Any]:
    """A condition on the alarms of one product."""
    aggregation = {
        "alignmentPeriod": "3600s",
        "perSeriesAligner": "ALIGN_NEXT_OLDER",
        "crossSeriesReducer": "REDUCE_MAX",
        **fields.pop("aggregation", {}),
    }
    return {
        "conditionThreshold": {
            "filter": f'metric.type = "{METRIC}" AND resource.type = "global" '
            'AND metric.labels.product = "flights"',
            "aggregations": [aggregation],
            "comparison": "COMPARISON_GT",
            "thresholdValue": 0.5,
            "duration": "0s",
            **fields,
        }
    }


def absent(seconds: int) -> dict[str, Any]:
    """A condition on their absence."""
    given = threshold()["conditionThreshold"]
    kept = {key: given[key] for key in ("filter", "aggregations")}
    return {"conditionAbsent": {**kept, "duration": f"{seconds}s"}}


class World:
    """A project with one policy, and a clock."""

    def __init__(self, folder: Path) -> None:
        self.documents = Documents(folder / "state.sqlite")
        self.series = SeriesStore(folder / "series.sqlite")
        descriptors = Descriptors(self.documents, self.series)
        incidents = Incidents(self.documents)
        policies = Policies(
            Api.load("monitoring", "v3"), self.documents, descriptors, incidents, lambda: None
        )
        self.evaluator = Evaluator(self.documents, self.series, policies, incidents)
        self.now = START
        self.due: float | None = None
        self.told: list[dict[str, Any]] = []

    def policy(self, condition: dict[str, Any], **fields: Any) -> None:
        self.documents.put(
            f"policy:{POLICY}",
            {
                "name": POLICY,
                "displayName": "flights: the data has drifted",
                "enabled": True,
                "conditions": [{**condition, "name": f"{POLICY}/conditions/1"}],
                "notificationChannels": ["projects/p/notificationChannels/1"],
                **fields,
            },
        )

    def write(self, value: float, product: str = "flights", **labels: str) -> list[str]:
        """Write a point now, and evaluate."""
        header = Header(METRIC, {"product": product, **labels}, "global", {"project_id": "p"})
        self.series.append("projects/p", header, Point(self.now, value))
        return self.evaluate()

    def after(self, seconds: float) -> list[str]:
        """Move the clock, and evaluate."""
        self.now += seconds
        return self.evaluate()

    def evaluate(self) -> list[str]:
        """What was told since the last time: `open` and `closed`."""
        self.due = self.evaluator.evaluate(self.now)
        told = self.documents.list("delivery:")
        for one in told:
            self.documents.delete(one.key)
        self.told = [one.value["notice"]["incident"] for one in told]
        return [one["state"] for one in self.told]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    one = World(tmp_path)
    yield one
    one.documents.close()
    one.series.close()


class TestThreshold:
    """A value on the wrong side of a number."""

    def test_an_incident_opens_once_and_closes_with_the_newest_value(self, world: World) -> None:
        world.policy(threshold())
        assert world.write(0.0) == []
        world.now += MINUTE
        assert world.write(1.0) == ["open"]
        assert world.evaluate() == []
        world.now += MINUTE
        assert world.write(1.0) == []
        world.now += MINUTE
        assert world.write(0.0) == ["closed"]
        assert world.after(HOUR) == []

    def test_of_many_series_the_worst_counts_and_there_is_one_incident(self, world: World) -> None:
        world.policy(threshold())
        told = [one for index in range(100) for one in world.write(1.0, feature=f"f{index}")]
        assert told == ["open"]
        world.now += 1
        told = [one for index in range(100) for one in world.write(0.0, feature=f"f{index}")]
        assert told == ["closed"]

    def test_groups_have_incidents_of_their_own(self, world: World) -> None:
        grouped = {"groupByFields": ["metric.labels.kind"]}
        world.policy(threshold(aggregation=grouped))
        assert world.write(1.0, kind="drift") == ["open"]
        assert world.write(1.0, kind="skew") == ["open"]
        world.now += 1
        assert world.write(0.0, kind="drift") == ["closed"]

    def test_what_the_filter_leaves_out_counts_for_nothing(self, world: World) -> None:
        world.policy(threshold())
        assert world.write(1.0, product="others") == []

    def test_a_policy_that_is_switched_off_opens_nothing(self, world: World) -> None:
        world.policy(threshold(), enabled=False)
        assert world.write(1.0) == []

    def test_it_has_to_last_as_long_as_the_condition_says(self, world: World) -> None:
        world.policy(threshold(duration="300s"))
        assert world.write(1.0) == []
        assert world.due == world.now + 5 * MINUTE
        world.now += MINUTE
        assert world.write(0.0) == []
        world.now += MINUTE
        assert world.write(1.0) == []
        assert world.after(4 * MINUTE) == []
        assert world.after(1 * MINUTE) == ["open"]

    def test_an_aligner_over_a_window_changes_when_its_oldest_point_leaves(
        self, world: World
    ) -> None:
        world.policy(threshold(aggregation={"perSeriesAligner": "ALIGN_MAX"}))
        assert world.write(1.0) == ["open"]
        world.now += 30 * MINUTE
        assert world.write(0.0) == []
        assert world.due == START + HOUR
        world.now = START
        assert world.after(HOUR) == ["closed"]


class TestMissing:
    """No data is no news, unless the condition says so."""

    def test_an_incident_stays_open_without_data_until_it_is_closed_for_that(
        self, world: World
    ) -> None:
        world.policy(threshold(), alertStrategy={"autoClose": "86400s"})
        assert world.write(1.0) == ["open"]
        assert world.after(2 * HOUR) == []
        assert world.due is not None
        assert world.after(21 * HOUR) == []
        world.now = world.due
        assert world.evaluate() == ["closed"]
        assert world.due is None
        # As Google sums it up, where there is no value that it has returned to.
        [notice] = world.told
        assert "with a value of There was no data" in notice["summary"]
        assert notice["observed_value"] == "1.000"

    def test_one_that_is_over_tells_the_value_that_it_returned_to(self, world: World) -> None:
        world.policy(threshold())
        assert world.write(1.0) == ["open"]
        world.now += 1
        assert world.write(0.25) == ["closed"]
        [notice] = world.told
        assert notice["summary"].endswith("returned to normal with a value of 0.250.")
        assert notice["observed_value"] == "0.250"

    @pytest.mark.parametrize(("missing", "told"), [("INACTIVE", ["closed"]), ("NO_OP", [])])
    def test_the_condition_may_say_what_it_means(
        self, world: World, missing: str, told: list[str]
    ) -> None:
        name = f"EVALUATION_MISSING_DATA_{missing}"
        world.policy(threshold(duration="60s", evaluationMissingData=name))
        world.write(1.0)
        assert world.after(MINUTE) == ["open"]
        assert world.after(HOUR) == told

    def test_missing_may_be_an_alarm(self, world: World) -> None:
        name = "EVALUATION_MISSING_DATA_ACTIVE"
        world.policy(threshold(duration="60s", evaluationMissingData=name))
        world.write(0.0)
        assert world.after(HOUR) == []
        assert world.after(MINUTE) == ["open"]


class TestAbsence:
    """A series that has fallen silent."""

    def test_it_is_missed_after_the_time_and_back_with_the_next_point(self, world: World) -> None:
        world.policy(absent(600))
        assert world.evaluate() == []
        assert world.write(0.0) == []
        assert world.due == world.now + 600
        assert world.after(599) == []
        assert world.after(1) == ["open"]
        assert world.after(HOUR) == []
        assert world.write(0.0) == ["closed"]


class TestRestart:
    """What was decided is not decided again."""

    def test_nothing_is_told_twice_by_another_process(self, world: World, tmp_path: Path) -> None:
        world.policy(threshold())
        assert world.write(1.0) == ["open"]
        again = World(tmp_path)
        again.now = world.now
        assert again.evaluate() == []
        again.now += 1
        assert again.write(0.0) == ["closed"]

    def test_a_kill_before_the_state_was_kept_leaves_neither_incident_nor_notice(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        world.policy(threshold())
        header = Header(METRIC, {"product": "flights"}, "global", {"project_id": "p"})
        world.series.append("projects/p", header, Point(world.now, 1.0))
        put = world.documents.put

        def killed(key: str, value: dict[str, Any], if_etag: str | None = None) -> str:
            if key.startswith("state:"):
                raise KeyboardInterrupt
            return put(key, value, if_etag)

        with monkeypatch.context() as patch:
            patch.setattr(world.documents, "put", killed)
            with pytest.raises(KeyboardInterrupt):
                world.evaluate()
        assert world.documents.list("incident:") == []
        assert world.documents.list("delivery:") == []
        assert world.evaluate() == ["open"]


class TestRefusals:
    """What is not evaluated is refused, and nothing pretends."""

    @pytest.mark.parametrize(
        ("condition", "said"),
        [
            ({"conditionPrometheusQueryLanguage": {"query": "up"}}, "conditionThreshold and"),
            ({"conditionMatchedLog": {"filter": "x"}}, "conditionThreshold and"),
            (threshold(denominatorFilter="metric.type"), "denominatorFilter"),
            (threshold(filter='metric.type = "run.googleapis.com/request_count"'), "no service"),
            (threshold(filter=f'metric.type = "{METRIC}" OR project = "p"'), "joined by AND"),
            (threshold(filter='resource.type = "global"'), "name one metric type"),
            (threshold(aggregation={"perSeriesAligner": "ALIGN_RATE"}), "ALIGN_RATE"),
            (threshold(aggregation={"crossSeriesReducer": "REDUCE_STDDEV"}), "REDUCE_STDDEV"),
            (threshold(aggregation={"alignmentPeriod": "90s"}), "whole minutes"),
            (threshold(trigger={"count": 2}), "trigger"),
            (threshold(comparison="COMPARISON_EQ"), "COMPARISON_EQ"),
            (absent(60), "120s"),
            ({}, "exactly one"),
        ],
    )
    def test_it_says_what_it_has_instead(self, condition: dict[str, Any], said: str) -> None:
        from localcloud.rest.errors import ApiError

        with pytest.raises(ApiError) as refused:
            read(condition, "conditions[0]")
        assert said in refused.value.message

"""Alerts, dashboards, channels and logs: what nothing else would find wrong before it matters."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from pulumi.runtime.mocks import MockResourceArgs

from components import checks, metric_types
from components.alert_policy import (
    AlertPolicy,
    AlertPolicyArgs,
    LogMatch,
    Query,
    Threshold,
)
from components.custom_metric import CustomMetricArgs
from components.dashboard import Chart, Dashboard, DashboardArgs, Line, Logs, Note, document
from components.log_metric import LogMetricArgs, prometheus_name
from components.log_sink import LogSink, LogSinkArgs
from components.metric_types import ALIGNERS, RESOURCES, TABLE
from components.notification_channels import NotificationChannels, NotificationChannelsArgs
from components.series import REDUCERS, Series
from components.teams_relay import TeamsRelayArgs
from components.uptime_check import UptimeCheckArgs
from localcloud.provider.inprocess import ProviderMocks
from localcloud.provider.values import Secret, from_signed
from localcloud.rest.discovery import Api

RUNBOOK = "https://github.com/o/r/blob/main/docs/runbooks/stream-backlog.md"
WAITING = Series(metric=metric_types.BACKLOG, aligner="ALIGN_MEAN")
LOG = LogMatch(title="failed", filter="severity=ERROR", quiet_seconds=600)
QUERY = Query(title="many", query="sum(up) > 1")


def _policy(*conditions: Threshold | Query | LogMatch, **change: Any) -> AlertPolicyArgs:
    return AlertPolicyArgs(
        **{
            "title": "demo: something",
            "conditions": conditions or [Threshold(title="many", series=WAITING, above=1)],
            "severity": "ERROR",
            "summary": "It is so.",
            "runbook": RUNBOOK,
            "channels": ["projects/p/notificationChannels/1"],
            "labels": {"product": "demo"},
            **change,
        }
    )


def _channels(**change: Any) -> NotificationChannelsArgs:
    return NotificationChannelsArgs(
        **{"project": "test-project", "project_number": "123456789012", **change}
    )


class TestMetrics:
    """The table that every use is held to."""

    @pytest.mark.parametrize("metric", TABLE.values(), ids=lambda one: one.type)
    def test_each_is_described_as_google_lists_it(self, metric: metric_types.MetricType) -> None:
        assert metric.kind in ("GAUGE", "DELTA", "CUMULATIVE")
        assert metric.value in ("INT64", "DOUBLE", "BOOL", "DISTRIBUTION")
        assert metric.resource in RESOURCES
        initial = metric.type[0]
        [page] = re.findall(r"metrics_gcp_(\w+)$", metric.source)
        first, _, last = page.partition("_")
        assert first <= initial <= (last or first)

    def test_aligners_and_reducers_are_googles(self) -> None:
        api = Api.load("monitoring", "v3")
        for aligner in ALIGNERS:
            assert api.violations_of("Aggregation", {"perSeriesAligner": aligner}) == []
        for reducer in REDUCERS:
            assert api.violations_of("Aggregation", {"crossSeriesReducer": reducer}) == []
        assert api.violations_of("Aggregation", {"perSeriesAligner": "ALIGN_AVERAGE"}) != []


class TestSeries:
    """A selection that Cloud Monitoring would take, but that would never find anything."""

    @pytest.mark.parametrize(
        ("change", "argument"),
        [
            ({"where": {"resource.labels.subscription": "s"}}, "where"),
            ({"where": {"metric.labels.state": "s"}}, "where"),
            ({"starts": {"subscription_id": "s"}}, "starts"),
            ({"aligner": "ALIGN_DELTA"}, "aligner"),
            ({"aligner": "ALIGN_RATE"}, "aligner"),
            ({"aligner": "ALIGN_PERCENTILE_99"}, "aligner"),
            ({"aligner": "ALIGN_AVERAGE"}, "aligner"),
            ({"reducer": "REDUCE_COUNT_FALSE"}, "reducer"),
            ({"reducer": "REDUCE_SUM", "group_by": ("resource.labels.topic_id",)}, "group_by"),
            ({"group_by": ("resource.labels.subscription_id",)}, "group_by"),
            ({"period_seconds": 90}, "period_seconds"),
            ({"period_seconds": 0}, "period_seconds"),
        ],
    )
    def test_what_does_not_fit_the_metric_is_refused(
        self, change: dict[str, Any], argument: str
    ) -> None:
        with pytest.raises(checks.InvalidArgs, match=rf"num_undelivered_messages: `{argument}`"):
            Series(**{"metric": metric_types.BACKLOG, "aligner": "ALIGN_MEAN", **change})

    def test_a_gauge_is_no_counter_and_a_counter_no_gauge(self) -> None:
        Series(metric=metric_types.REQUESTS, aligner="ALIGN_RATE")
        with pytest.raises(checks.InvalidArgs, match="one that takes DELTA of INT64"):
            Series(metric=metric_types.REQUESTS, aligner="ALIGN_MEAN")
        with pytest.raises(checks.InvalidArgs, match="one that takes DELTA of DISTRIBUTION"):
            Series(metric=metric_types.LATENCIES, aligner="ALIGN_RATE")

    def test_the_filter_names_metric_resource_and_labels_in_one_order(self) -> None:
        series = Series(
            metric=metric_types.PRIVATE_RESPONSES,
            aligner="ALIGN_DELTA",
            where={"resource.labels.location": "us-central1", "resource.labels.endpoint_id": "7"},
            starts={"metric.labels.deployed_model_id": "4"},
            at_least={"metric.labels.response_code": 500},
        )
        assert series.filter() == (
            'metric.type = "aiplatform.googleapis.com/prediction/online/private/response_count" '
            'AND resource.type = "aiplatform.googleapis.com/Endpoint" '
            'AND metric.labels.deployed_model_id = starts_with("4") '
            "AND metric.labels.response_code >= 500 "
            'AND resource.labels.endpoint_id = "7" AND resource.labels.location = "us-central1"'
        )


class TestAlertPolicy:
    """What Google refuses, and what would wake up nobody."""

    @pytest.mark.parametrize(
        ("make", "argument"),
        [
            (lambda: _policy(channels=[]), "channels"),
            (lambda: _policy(conditions=[]), "conditions"),
            (lambda: _policy(severity="BAD"), "severity"),
            (lambda: _policy(runbook=""), "runbook"),
            (lambda: _policy(auto_close_seconds=60), "auto_close_seconds"),
            (lambda: _policy(remind_seconds=60), "remind_seconds"),
            (lambda: _policy(LOG, QUERY), "conditions"),
            (lambda: _policy(QUERY, Threshold(title="t", series=WAITING, above=1)), "conditions"),
            (lambda: Threshold(title="t", series=WAITING), "above"),
            (lambda: Threshold(title="t", series=WAITING, above=1, below=0), "above"),
            (lambda: Threshold(title="t", series=WAITING, above=1, for_seconds=30), "for_seconds"),
            (lambda: Threshold(title="t", series=WAITING, above=1, missing="?"), "missing"),
            (
                lambda: Threshold(
                    title="t",
                    series=WAITING,
                    above=1,
                    over=Series(
                        metric=metric_types.BACKLOG, aligner="ALIGN_MEAN", period_seconds=120
                    ),
                ),
                "over",
            ),
            (lambda: Query(title="t", query=" "), "query"),
            (lambda: Query(title="t", query="up", every_seconds=45), "every_seconds"),
            (lambda: LogMatch(title="t", filter=""), "filter"),
            (lambda: LogMatch(title="t", filter="f", labels={"a": "field"}), "labels"),
            (lambda: LogMatch(title="t", filter="f", quiet_seconds=1), "quiet_seconds"),
        ],
    )
    def test_it_is_refused(self, make: Callable[[], Any], argument: str) -> None:
        with pytest.raises(checks.InvalidArgs, match=rf"`{argument}`"):
            make()

    def _declared(self, declare: Any, args: AlertPolicyArgs) -> dict[str, Any]:
        declared = declare(lambda opts: AlertPolicy("demo", args=args, opts=opts))
        return declared.inputs("AlertPolicy")

    def test_only_a_log_match_limits_its_notifications(self, declare: Any) -> None:
        """Google answers 400 to a rate limit on a policy of any other kind."""
        logged = self._declared(declare, _policy(LOG))["alertStrategy"]
        assert logged["notificationRateLimit"] == {"period": "600s"}
        counted = self._declared(declare, _policy())["alertStrategy"]
        assert counted == {"autoClose": "86400s"}

    def test_missing_data_is_told_only_where_there_is_a_duration(self, declare: Any) -> None:
        at_once = Threshold(title="t", series=WAITING, above=1)
        lasting = Threshold(title="t", series=WAITING, above=1, for_seconds=60, missing="alert")
        first, second = (
            one["conditionThreshold"]
            for one in self._declared(declare, _policy(at_once, lasting))["conditions"]
        )
        assert "evaluationMissingData" not in first
        assert second["evaluationMissingData"] == "EVALUATION_MISSING_DATA_ACTIVE"

    def test_a_query_may_name_a_metric_that_nothing_has_written_yet(self, declare: Any) -> None:
        [condition] = self._declared(declare, _policy(QUERY))["conditions"]
        assert condition["conditionPrometheusQueryLanguage"]["disableMetricValidation"] is True

    def test_it_says_where_to_read_on(self, declare: Any) -> None:
        documentation = self._declared(declare, _policy())["documentation"]
        assert documentation["content"] == f"It is so.\n\nRunbook: {RUNBOOK}"
        assert documentation["links"] == [{"displayName": "Runbook", "url": RUNBOOK}]
        relative = self._declared(declare, _policy(runbook="docs/runbooks/drift.md"))
        assert "links" not in relative["documentation"]
        assert relative["documentation"]["content"].endswith("Runbook: docs/runbooks/drift.md")


class TestChannels:
    """Who is told, and what of it is secret."""

    @pytest.mark.parametrize(
        ("change", "argument"),
        [
            ({"emails": ["nobody"]}, "emails"),
            ({"emails": ["a@b.c", "a@b.c"]}, "emails"),
            ({"slack_channel": "alerts"}, "slack_token_secret"),
            ({"retention_days": 32}, "retention_days"),
        ],
    )
    def test_it_is_refused(self, change: dict[str, Any], argument: str) -> None:
        with pytest.raises(checks.InvalidArgs, match=rf"`{argument}`"):
            _channels(**change)

    def test_the_topic_is_always_told(self, declare: Any) -> None:
        declared = declare(lambda opts: NotificationChannels("alerts", args=_channels(), opts=opts))
        channel = declared.inputs("NotificationChannel")
        assert channel["type"] == "pubsub"
        assert channel["labels"] == {"topic": "projects/test-project/topics/alerts"}
        publisher = declared.inputs("TopicIAMMember")
        assert publisher["role"] == "roles/pubsub.publisher"
        assert publisher["member"] == (
            "serviceAccount:service-123456789012@gcp-sa-monitoring-notification"
            ".iam.gserviceaccount.com"
        )
        assert declared.inputs("Subscription")["name"] == "alerts-inbox"

    def test_slacks_token_is_a_secret_and_goes_in_by_a_write_only_property(
        self, declare: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        arrived: dict[str, Any] = {}
        plain = ProviderMocks.new_resource

        def spy(self: ProviderMocks, args: MockResourceArgs) -> Any:
            arrived[args.name] = args.inputs
            return plain(self, args)

        monkeypatch.setattr(ProviderMocks, "new_resource", spy)
        args = _channels(slack_channel="#ops", slack_token_secret="slack-token")
        declare(lambda opts: NotificationChannels("alerts", args=args, opts=opts))
        slack = arrived["alerts-slack"]
        assert slack["type"] == "slack"
        assert slack["labels"] == {"channel_name": "#ops"}
        sensitive = slack["sensitiveLabels"]
        # A property of a secret makes all of its group secret on the way to the engine.
        held = from_signed(sensitive)
        token = held.value if isinstance(held, Secret) else held
        assert set(token) == {"authTokenWo", "authTokenWoVersion"}
        assert isinstance(held, Secret) or isinstance(token["authTokenWo"], Secret)


class TestLogs:
    """What is kept of the logs, and who may write it."""

    @pytest.mark.parametrize(
        "make",
        [
            lambda: LogSinkArgs(
                project="p", location="l", dataset="a-b", description="", filter="f"
            ),
            lambda: LogSinkArgs(project="p", location="l", dataset="a", description="", filter=""),
            lambda: LogMetricArgs(metric="/a", description="", filter="f"),
            lambda: LogMetricArgs(metric="a", description="", filter=""),
            lambda: LogMetricArgs(metric="a", description="", filter="f", labels={"x": "y"}),
            lambda: CustomMetricArgs(type="run.googleapis.com/a", title="", description=""),
            lambda: UptimeCheckArgs(project="p", title="t", host="https://a/", labels={}),
            lambda: UptimeCheckArgs(project="p", title="t", host="a", labels={}, period_seconds=5),
            lambda: TeamsRelayArgs(
                **dict.fromkeys(TeamsRelayArgs.__dataclass_fields__, "A")  # pyright: ignore
            ),
        ],
    )
    def test_it_is_refused(self, make: Callable[[], Any]) -> None:
        with pytest.raises(checks.InvalidArgs):
            make()

    def test_the_sinks_writer_may_write_that_dataset_and_no_other(self, declare: Any) -> None:
        declared = declare(
            lambda opts: LogSink(
                "logs",
                args=LogSinkArgs(
                    project="test-project",
                    location="us-central1",
                    dataset="logs",
                    description="Logs",
                    filter="severity>=INFO",
                    exclusions={"b": "severity=DEBUG", "a": 'textPayload="ping"'},
                    retention_days=30,
                ),
                opts=opts,
            )
        )
        sink = declared.inputs("ProjectSink")
        assert sink["destination"] == (
            "bigquery.googleapis.com/projects/test-project/datasets/logs"
        )
        assert sink["uniqueWriterIdentity"] is True
        assert sink["bigqueryOptions"] == {"usePartitionedTables": True}
        assert [one["name"] for one in sink["exclusions"]] == ["a", "b"]
        assert declared.inputs("Dataset")["defaultPartitionExpirationMs"] == 30 * 86_400_000
        writer = declared.inputs("DatasetIamMember")
        assert (writer["datasetId"], writer["role"]) == ("logs", "roles/bigquery.dataEditor")
        assert writer["member"].endswith("@gcp-sa-logging.iam.gserviceaccount.com")

    def test_a_log_metric_has_another_name_in_promql(self) -> None:
        assert prometheus_name("esteira/flight-delay/dead_letters") == (
            "logging_googleapis_com:user_esteira_flight_delay_dead_letters"
        )


class TestDashboard:
    """The document is Cloud Monitoring's, and the same each time."""

    ARGS = DashboardArgs(
        title="demo",
        panels=[
            Note(content="**demo**"),
            Chart(
                title="Waiting",
                unit="messages",
                threshold=5,
                lines=[
                    Line(series=WAITING, legend="a"),
                    Line(series=WAITING, legend="share", over=WAITING),
                ],
            ),
            Logs(title="Warnings", filter="severity>=WARNING"),
            Note(content="more"),
            Logs(title="Errors", filter="severity>=ERROR"),
        ],
    )

    def test_it_is_what_the_api_takes(self) -> None:
        api = Api.load("monitoring", "v1")
        assert api.violations_of("Dashboard", document(self.ARGS)) == []
        wrong = document(self.ARGS)
        wrong["mosaicLayout"]["tiles"][1]["widget"]["xyChart"]["dataSets"][0]["plotType"] = "PIE"
        assert api.violations_of("Dashboard", wrong) != []

    def test_tiles_lie_side_by_side_and_none_on_another(self) -> None:
        tiles = document(self.ARGS)["mosaicLayout"]["tiles"]
        taken: set[tuple[int, int]] = set()
        for tile in tiles:
            cells = {
                (x, y)
                for x in range(tile["xPos"], tile["xPos"] + tile["width"])
                for y in range(tile["yPos"], tile["yPos"] + tile["height"])
            }
            assert not cells & taken
            assert max(x for x, _ in cells) < 48
            taken |= cells
        assert [tile["xPos"] for tile in tiles] == [0, 0, 24, 0, 0]

    def test_it_is_written_alike_each_time(self, declare: Any) -> None:
        first, second = (
            declare(lambda opts: Dashboard("demo", args=self.ARGS, opts=opts)).inputs("Dashboard")
            for _ in range(2)
        )
        assert first == second
        assert list(json.loads(first["dashboardJson"])) == ["displayName", "mosaicLayout"]

    def test_an_empty_one_is_refused(self) -> None:
        with pytest.raises(checks.InvalidArgs, match="`panels`"):
            DashboardArgs(title="t", panels=[])
        with pytest.raises(checks.InvalidArgs, match="`lines`"):
            Chart(title="t", unit="u", lines=[])

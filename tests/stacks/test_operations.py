"""What can fail is watched, somebody is told, and it says where to read on."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.log_metric import prometheus_name
from components.metric_types import ALIGNERS, TABLE
from components.series import REDUCERS
from esteira.dashboards import files
from localcloud.rest.discovery import Api
from localcloud.services.monitoring.conditions import read
from stacks.alerts.desk import runbook
from stacks.alerts.serving import processors
from stacks.settings import Settings, SettingsError
from tests.stacks.conftest import EVERYTHING
from workloads import product as products
from workloads import telemetry
from workloads.notifications.incident import KINDS, latest_path

CHECKOUT = Path(__file__).resolve().parents[2]
RUNBOOKS = CHECKOUT / "docs" / "runbooks"
ALERT = "gcp:monitoring/alertPolicy:AlertPolicy"
DASHBOARD = "gcp:monitoring/dashboard:Dashboard"
CUSTOM = {one.type for one in telemetry.CUSTOM_METRICS}


@dataclass
class Stack:
    """A composed stack."""

    mocks: Any
    outputs: dict[str, Any]

    def of(self, token: str) -> dict[str, dict[str, Any]]:
        """The checked inputs of all resources of a type, by name."""
        return {one.name: one.inputs for one in self.mocks.find(token)}


def composed(compose: Any, name: str, **settings: Any) -> Stack:
    """The program with these settings."""
    given = {"environment": name, "project": f"esteira-{name}"}
    made = compose(given | {key: json.dumps(value) for key, value in settings.items()})
    return Stack(made.mocks, made.outputs)


@pytest.fixture(scope="module")
def prod(compose: Any) -> Stack:
    return composed(compose, "prod", **EVERYTHING)


@pytest.fixture(scope="module")
def local(compose: Any) -> Stack:
    return composed(compose, "local")


def conditions(stack: Stack) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each threshold of each alert policy."""
    for name, policy in stack.of(ALERT).items():
        for condition in policy["conditions"]:
            if "conditionThreshold" in condition:
                yield name, condition["conditionThreshold"]


def queries(stack: Stack) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each filter with its aggregation, of every alert policy and every dashboard."""
    for name, threshold in conditions(stack):
        yield name, {"filter": threshold["filter"], "aggregation": threshold["aggregations"][0]}
        if "denominatorFilter" in threshold:
            [aggregation] = threshold["denominatorAggregations"]
            yield name, {"filter": threshold["denominatorFilter"], "aggregation": aggregation}

    def within(node: Any) -> Iterator[dict[str, Any]]:
        if isinstance(node, dict):
            if "filter" in node and "aggregation" in node:
                yield node
            for value in node.values():
                yield from within(value)
        elif isinstance(node, list):
            for value in node:
                yield from within(value)

    for name, dashboard in stack.of(DASHBOARD).items():
        for query in within(json.loads(dashboard["dashboardJson"])):
            yield name, query


def alert_of(policy: dict[str, Any]) -> str:
    """The name of an alert, from its runbook."""
    return re.findall(r"docs/runbooks/([\w-]+)\.md", policy["documentation"]["content"])[0]


class TestAlerts:
    """Every policy of a stack that has all of them."""

    def test_each_thing_that_can_fail_has_one(self, prod: Stack) -> None:
        product = products.load("flight-delay")
        policies = {name for name in prod.of(ALERT) if name.startswith("flight-delay-")}
        expected = {
            "dead-letters",
            "streaming-job-failed",
            "streaming-job-stalled",
            "batch-ingestion-failed",
            "batch-prediction-job-failed",
            "ingestion-starter-service-errors",
            "ingestion-starter-service-latency",
            "endpoint-errors",
            "endpoint-latency",
            "training-failed",
            *KINDS,
            "retraining-rejected",
            "retraining-budget",
            "stale-model",
            "stale-table",
            "serving-saturated",
            "prediction-api-serving-saturated",
            "ingestion-starter-serving-saturated",
            "prediction-api-service-errors",
            "prediction-api-service-latency",
            "api-unreachable",
        }
        for source in product.streams:
            plural = source.contract.PLURAL
            expected |= {
                f"{plural}-{alert}"
                for alert in ("stream-backlog", "stream-oldest-unacked", "undeliverable-messages")
            }
        assert {f"flight-delay-{one}" for one in expected} <= policies
        shared = {name for name in prod.of(ALERT) if name.startswith("platform-")}
        assert shared == {
            "platform-undelivered-alerts",
            "platform-database-disk",
            "platform-database-cpu",
            "platform-database-connections",
            "platform-mlflow-service-errors",
            "platform-mlflow-service-latency",
            "platform-mlflow-serving-saturated",
        }
        jobs = {one.inputs["name"] for one in prod.mocks.find("gcp:cloudrunv2/job:Job")}
        watched = {
            re.findall(r'job_name = "([^"]+)"', threshold["filter"])[0]
            for name, threshold in conditions(prod)
            if name.endswith("-job-failed") and "cloud_run_job" in threshold["filter"]
        }
        assert {job for job in jobs if job.startswith(tuple(products.names()))} == watched

    def test_each_tells_everybody_and_carries_the_labels(self, prod: Stack) -> None:
        kinds = sorted(one["type"] for one in prod.of("NotificationChannel").values())
        assert kinds == ["email", "pubsub", "slack"]
        for name, policy in prod.of(ALERT).items():
            assert len(policy["notificationChannels"]) == 3, name
            assert set(policy["userLabels"]) == {
                "environment",
                "product",
                "owner",
                "cost-center",
                "managed-by",
                "alert",
            }
            assert policy["userLabels"]["alert"] == alert_of(policy)
            assert policy["severity"] in ("CRITICAL", "ERROR", "WARNING")
            assert "autoClose" in policy["alertStrategy"]

    def test_each_has_a_runbook_and_each_runbook_an_alert(self, prod: Stack) -> None:
        pages = {page.stem for page in RUNBOOKS.glob("*.md")}
        alerts = {alert_of(policy) for policy in prod.of(ALERT).values()}
        assert alerts <= pages
        # A budget tells by itself; servers tell Prometheus more than Google counts.
        rules = files.generated(files.settings_of("prod"))[files.RULES]
        ruled = set(re.findall(r"docs/runbooks/([\w-]+)\.md", rules))
        assert pages - alerts - ruled == {"budget"}

    def test_the_runbook_is_linked_where_its_repository_is_known(
        self, prod: Stack, local: Stack
    ) -> None:
        policy = prod.of(ALERT)["flight-delay-drift"]
        page = "https://github.com/acme/flights/blob/main/docs/runbooks/drift.md"
        assert policy["documentation"]["links"][0] == {"displayName": "Runbook", "url": page}
        page = "docs/runbooks/drift.md"
        documentation = local.of(ALERT)["flight-delay-drift"]["documentation"]
        assert f"\n\nRunbook: {page}\n\n" in documentation["content"]
        assert "links" not in documentation

    def test_whoever_is_told_by_mail_finds_what_the_monitor_knows(
        self, prod: Stack, local: Stack
    ) -> None:
        """Cloud Monitoring writes the mail: it has what the policy says, and nothing else."""
        buckets = {one["name"] for one in prod.of("gcp:storage/bucket:Bucket").values()}
        for name in products.names():
            for kind in KINDS:
                documentation = prod.of(ALERT)[f"{name}-{kind}"]["documentation"]
                text = documentation["content"]
                bucket = f"esteira-prod-{name}-models"
                assert bucket in buckets
                # Where the job writes it.
                found = f"{bucket}/{latest_path(name, kind)}"
                assert f"gs://{found}" in text
                assert "The platform asks for a retraining" in text or kind == "skew"
                links = {one["displayName"]: one["url"] for one in documentation["links"]}
                assert links["What was found"] == f"https://storage.cloud.google.com/{found}"
                assert f"/browser/{bucket}/reports/{name}?" in links["Reports"]
                assert len(links) == 3
        text = local.of(ALERT)["flight-delay-skew"]["documentation"]["content"]
        assert "The platform does nothing by itself" in text

    def test_an_alarm_of_which_nothing_is_heard_stays_as_long_as_google_allows(
        self, prod: Stack
    ) -> None:
        for alert in (*KINDS, "retraining-rejected", "retraining-budget", "stale-table"):
            policy = prod.of(ALERT)[f"flight-delay-{alert}"]
            assert policy["alertStrategy"]["autoClose"] == "604800s", alert

    def test_a_table_is_stale_by_what_the_product_declares(self, prod: Stack) -> None:
        for name in products.names():
            policy = prod.of(ALERT)[f"{name}-stale-table"]
            [condition] = policy["conditions"]
            # The local cloud could evaluate it, were what is replayed there not years old.
            read({k: v for k, v in condition.items() if v is not None}, name)
            threshold = condition["conditionThreshold"]
            assert f'"{telemetry.TABLE_AGE.type}"' in threshold["filter"]
            assert f'"{name}"' in threshold["filter"]
            assert threshold["thresholdValue"] == 48

    def test_an_endpoint_is_saturated_when_it_refuses_or_all_its_processors_are_busy(
        self, prod: Stack
    ) -> None:
        made = [one for name, one in conditions(prod) if name == "flight-delay-serving-saturated"]
        refused = [one["filter"] for one in made if "denominatorFilter" in one]
        assert any('response_code = "429"' in one for one in refused)
        # Of a private endpoint the code is a number.
        assert any("private" in one and "response_code = 429" in one for one in refused)
        [busy] = [one for one in made if "denominatorFilter" not in one]
        assert busy["thresholdValue"] == pytest.approx(2 * 0.8)
        [service] = [
            one for name, one in conditions(prod) if name == "platform-mlflow-serving-saturated"
        ]
        assert 'response_code = "429"' in service["filter"]

    @pytest.mark.parametrize(
        ("machine", "count"),
        [
            ("n1-standard-2", 2),
            ("g2-standard-48", 48),
            ("n2-custom-4-8192", 4),
            ("a2-highgpu-1g", None),
        ],
    )
    def test_processors_are_counted_where_the_name_says(
        self, machine: str, count: int | None
    ) -> None:
        assert processors(machine) == count

    def test_the_settings_may_say_where_runbooks_are_read(self) -> None:
        values: dict[str, Any] = {"environment": "dev", "project": "acme-dev"}
        of_github = values | {"github": {"repository": "acme/flights"}}
        pages = "https://wiki.acme.io/runbooks"
        for given, page in (
            (values, "docs/runbooks/drift.md"),
            (of_github, "https://github.com/acme/flights/blob/main/docs/runbooks/drift.md"),
            (of_github | {"alerts": {"runbooks": pages}}, f"{pages}/drift.md"),
        ):
            assert runbook(Settings.from_values(given), "drift") == page

    @pytest.mark.parametrize(
        "address", ["docs/runbooks", "http://wiki.acme.io", "https://wiki.acme.io/"]
    )
    def test_which_is_an_address_that_google_links(self, address: str) -> None:
        with pytest.raises(SettingsError, match=r"esteira:alerts\.runbooks is '.*'; allowed: text"):
            Settings.from_values(
                {"environment": "dev", "project": "acme-dev", "alerts": {"runbooks": address}}
            )

    @pytest.mark.parametrize("name", ["dev", "prod"])
    def test_each_links_its_runbook_by_the_settings_that_are_committed(
        self, compose: Any, name: str
    ) -> None:
        config = yaml.safe_load((CHECKOUT / f"Pulumi.{name}.yaml").read_text())["config"]
        groups = {
            key.removeprefix("esteira:"): value
            for key, value in config.items()
            if not isinstance(value, str)
        }
        policies = composed(compose, name, **groups).of(ALERT)
        assert len(policies) > 20
        for policy in policies.values():
            link = policy["documentation"]["links"][0]
            page = f"{groups['alerts']['runbooks']}/{alert_of(policy)}.md"
            assert link == {"displayName": "Runbook", "url": page}

    def test_locally_there_are_those_that_the_local_cloud_evaluates(self, local: Stack) -> None:
        of = {name for name in local.of(ALERT) if name.startswith("flight-delay-")}
        kinds = {*KINDS, "retraining-rejected", "retraining-budget"}
        assert of == {f"flight-delay-{one}" for one in kinds}
        for name, policy in local.of(ALERT).items():
            for index, condition in enumerate(policy["conditions"]):
                read({k: v for k, v in condition.items() if v is not None}, f"{name}[{index}]")

    def test_a_private_endpoint_is_watched_as_one(self, prod: Stack) -> None:
        filters = [
            one["filter"]
            for name, one in conditions(prod)
            if name == "flight-delay-endpoint-errors"
        ]
        assert any("online/private/response_count" in one for one in filters)
        assert any("online/response_count" in one for one in filters)

    def test_batch_jobs_are_found_by_the_name_that_the_starter_gives(self, prod: Stack) -> None:
        starter = importlib.import_module("workloads.ingestion.starter")
        files = importlib.import_module("workloads.ingestion.files")
        landed = files.LandedObject.parse("gs://b/weather/a.jsonl#1")
        job = starter.job_name(products.load("flight-delay"), "weather", landed)
        [start] = [
            re.findall(r'starts_with\("([^"]+)"\)', one["filter"])[0]
            for name, one in conditions(prod)
            if name == "flight-delay-batch-ingestion-failed"
        ]
        assert job.startswith(start)


class TestMetrics:
    """A misspelt metric is no error anywhere: the alert just never fires."""

    def test_every_filter_names_a_metric_of_the_table_and_its_resource(self, prod: Stack) -> None:
        found = list(queries(prod))
        assert len(found) > 40
        for name, query in found:
            [metric] = re.findall(r'metric\.type = "([^"]+)"', query["filter"])
            [resource] = re.findall(r'resource\.type = "([^"]+)"', query["filter"])
            if metric in CUSTOM:
                kind, value, expected = "GAUGE", "DOUBLE", "global"
            else:
                known = TABLE[metric]
                kind, value, expected = known.kind, known.value, known.resource
            assert resource == expected, name
            aggregation = query["aggregation"]
            kinds, values = ALIGNERS[aggregation["perSeriesAligner"]]
            assert kind in kinds, (name, metric)
            assert value in values, (name, metric)
            assert aggregation.get("crossSeriesReducer", "REDUCE_SUM") in REDUCERS

    def test_ratios_are_of_one_period_and_one_grouping(self, prod: Stack) -> None:
        ratios = [one for _, one in conditions(prod) if "denominatorFilter" in one]
        assert ratios
        for ratio in ratios:
            assert ratio["aggregations"] == ratio["denominatorAggregations"]

    def test_our_own_metrics_are_declared_before_an_alert_needs_them(self, prod: Stack) -> None:
        declared = {one["type"]: one for one in prod.of("MetricDescriptor").values()}
        assert set(declared) == CUSTOM
        for one in telemetry.CUSTOM_METRICS:
            labels = {label["key"] for label in declared[one.type]["labels"]}
            assert labels == {name for name, _ in one.labels}
        made = [one.name for one in prod.mocks.made]
        assert made.index("drift-score") < made.index("flight-delay-drift")

    def test_what_is_logged_is_what_is_counted(self, prod: Stack) -> None:
        metrics = {one["name"]: one for one in prod.of("gcp:logging/metric:Metric").values()}
        dead = metrics["esteira/flight-delay/dead_letters"]
        [text] = re.findall(r'jsonPayload\.message=~"(.*)"', dead["filter"])
        line = telemetry.DEAD_LETTER % ("attributes.event_timestamp", "pubsub")
        assert re.search(text, line)
        for label, extractor in dead["labelExtractors"].items():
            [pattern] = re.findall(r'REGEXP_EXTRACT\(jsonPayload\.message, "(.*)"\)', extractor)
            found = re.search(pattern, line)
            assert found is not None, label
        [job] = re.findall(r'job_name=~"(.*)"', dead["filter"])
        assert re.search(job, "flight-delay-streaming-ingestion")
        assert not re.search(job, "flight-delay-two-streaming-ingestion")
        approved = metrics["esteira/flight-delay/gate_approvals"]["filter"].strip('"')
        assert approved == telemetry.GATE_DECISION % ("flight-delay", True)


class TestDashboards:
    """Generated from the products, alike each time."""

    def test_each_product_has_three_and_the_platform_two(self, prod: Stack) -> None:
        assert set(prod.of(DASHBOARD)) == {
            "platform-cost",
            "platform-database",
            *(
                f"{name}-{what}"
                for name in products.names()
                for what in ("stream", "serving", "models")
                if what != "stream" or products.load(name).own
            ),
        }

    def test_each_is_what_cloud_monitoring_takes(self, prod: Stack) -> None:
        api = Api.load("monitoring", "v1")
        for name, dashboard in prod.of(DASHBOARD).items():
            shown = json.loads(dashboard["dashboardJson"])
            assert api.violations_of("Dashboard", shown) == [], name
            assert "serviceAccount" not in dashboard["dashboardJson"]

    def test_no_metric_is_left_out(self, prod: Stack) -> None:
        shown = "".join(one["dashboardJson"] for one in prod.of(DASHBOARD).values())
        known = {*TABLE, *CUSTOM}
        missing = {one for one in known if f'metric.type = \\"{one}\\"' not in shown}
        assert missing == set(), "no dashboard in stacks/dashboards shows them"

    def test_what_is_counted_of_the_logs_is_there_to_be_read(self, prod: Stack) -> None:
        documents = [json.loads(one["dashboardJson"]) for one in prod.of(DASHBOARD).values()]
        text = json.dumps(documents)
        read = set(re.findall(r'"logsPanel": {"filter": "((?:[^"\\]|\\.)*)"}', text))
        for metric in prod.of("gcp:logging/metric:Metric").values():
            counted = json.dumps(metric["filter"])[1:-1]
            assert prometheus_name(metric["name"]) in text or any(
                # The panel shows what is counted, or more.
                counted == one or counted.strip('\\"').startswith(one.strip('\\"'))
                for one in read
            ), metric["name"]

    def test_each_product_is_on_what_it_shares(self, prod: Stack) -> None:
        for shared in ("platform-cost", "platform-database"):
            text = prod.of(DASHBOARD)[shared]["dashboardJson"]
            assert all(name in text for name in products.names()), shared

    def test_each_of_a_product_is_about_it_alone(self, prod: Stack) -> None:
        for name in products.names():
            others = set(products.names()) - {name}
            for what in ("serving", "models"):
                text = prod.of(DASHBOARD)[f"{name}-{what}"]["dashboardJson"]
                assert name in text
                assert not any(other in text for other in others), what

    def test_a_threshold_that_is_drawn_is_one_that_an_alert_opens_at(self, prod: Stack) -> None:
        opened = {one["thresholdValue"] for _, one in conditions(prod)}
        # The verdict is what an alert waits for; the score that it comes of is drawn with its own.
        opened.add(0.1)
        for dashboard in prod.of(DASHBOARD).values():
            for tile in json.loads(dashboard["dashboardJson"])["mosaicLayout"]["tiles"]:
                chart = tile["widget"].get("xyChart", {})
                assert {one["value"] for one in chart.get("thresholds", [])} <= opened


class TestSharing:
    """What products share: channels, the way to Teams, logs, the budget."""

    def test_alerts_and_budget_reach_the_topic(self, prod: Stack) -> None:
        topic = "projects/esteira-prod/topics/alerts"
        channel = next(
            one for one in prod.of("NotificationChannel").values() if one["type"] == "pubsub"
        )
        assert channel["labels"] == {"topic": topic}
        [budget] = prod.of("gcp:billing/budget:Budget").values()
        assert budget["allUpdatesRule"]["pubsubTopic"] == topic
        relay = prod.of("gcp:pubsub/subscription:Subscription")["alerts-to-teams"]
        assert relay["topic"] == topic
        assert relay["deadLetterPolicy"]["maxDeliveryAttempts"] == 100

    def test_the_webhook_is_filled_in_by_cloud_run_alone(self, prod: Stack) -> None:
        service = prod.of("gcp:cloudrunv2/service:Service")["alerts-to-teams"]
        [container] = service["template"]["containers"]
        envs = {one["name"]: one for one in container["envs"]}
        assert envs["TEAMS_WEBHOOK"]["valueSource"]["secretKeyRef"] == {
            "secret": "teams-webhook",
            "version": "latest",
        }
        assert "value" not in envs["TEAMS_WEBHOOK"]
        assert envs["LEDGER"]["value"] == "gs://esteira-prod-alerts"
        assert envs["ENVIRONMENT"]["value"] == "prod"
        assert service["ingress"] == "INGRESS_TRAFFIC_INTERNAL_ONLY"
        reader = prod.of("gcp:secretmanager/secretIamMember:SecretIamMember")
        for secret in ("teams-webhook", "slack-webhook"):
            member = reader[f"alerts-to-teams-{secret}"]
            assert member["secretId"] == secret
            assert member["role"] == "roles/secretmanager.secretAccessor"

    def test_locally_it_posts_to_the_inbox_and_reads_what_monitors_know(self, local: Stack) -> None:
        service = local.of("gcp:cloudrunv2/service:Service")["alerts-to-teams"]
        envs = {one["name"]: one["value"] for one in service["template"]["containers"][0]["envs"]}
        assert "TEAMS_WEBHOOK" not in envs
        assert envs["RECORDS"] == "gs://esteira-local-{product}-models"
        buckets = {one["name"] for one in local.of("gcp:storage/bucket:Bucket").values()}
        assert envs["RECORDS"].removeprefix("gs://").format(product="flight-delay") in buckets

    def test_logs_are_kept_as_long_as_the_settings_say(self, prod: Stack) -> None:
        dataset = prod.of("gcp:bigquery/dataset:Dataset")["workload-logs"]
        assert dataset["datasetId"] == "logs"
        assert dataset["defaultPartitionExpirationMs"] == 400 * 86_400_000
        assert "kmsKeyName" in dataset["defaultEncryptionConfiguration"]

    def test_the_outputs_tell_of_it(self, prod: Stack, local: Stack) -> None:
        told = prod.outputs["esteira"]
        assert told["operations"]["alerts_topic"] == "projects/esteira-prod/topics/alerts"
        assert told["operations"]["logs"] == "esteira-prod.logs"
        assert set(told["operations"]["dashboards"]) == {"cost", "database"}
        shown = told["products"]["flight-delay"]["dashboards"]
        assert set(shown) == {"stream", "serving", "models"}
        assert local.outputs["esteira"]["operations"] == {
            "alerts_topic": "projects/esteira-local/topics/alerts",
            "alerts_inbox": "projects/esteira-local/subscriptions/alerts-inbox",
            "logs": None,
            "dashboards": {},
        }

    def test_the_gateway_is_asked_from_outside_without_a_token(self, prod: Stack) -> None:
        checks = prod.of("UptimeCheckConfig")
        assert len(checks) == len(products.names())
        [check] = (one for name, one in checks.items() if name.startswith("flight-delay"))
        assert check["httpCheck"]["path"] == "/health"
        assert check["httpCheck"]["useSsl"] is True
        statuses = [one["statusValue"] for one in check["httpCheck"]["acceptedResponseStatusCodes"]]
        assert statuses == [200, 401]
        assert check["monitoredResource"]["labels"]["host"].endswith(".gateway.dev")

    def test_local_can_have_all_of_it_with_thresholds_of_its_own(self, compose: Any) -> None:
        alerts = {**EVERYTHING["alerts"], "scope": "all", "oldestUnackedSeconds": 777}
        alerts["staleModelDays"] = 45
        stack = composed(compose, "local", alerts=alerts)
        assert len(stack.of(DASHBOARD)) > 3
        made = stack.of(ALERT)
        oldest = made["flight-delay-flights-stream-oldest-unacked"]["conditions"][0]
        assert oldest["conditionThreshold"]["thresholdValue"] == 777
        old = made["flight-delay-stale-model"]["conditions"][0]
        assert old["conditionThreshold"]["thresholdValue"] == 45


GCLOUD = {
    "ai endpoints list": {"--region"},
    "api-gateway gateways list": {"--location"},
    "billing budgets list": {"--billing-account"},
    "dataflow jobs describe": {"--region", "--full"},
    "dataflow jobs drain": {"--region"},
    "dataflow jobs list": {"--region", "--status", "--filter"},
    "logging read": {"--freshness", "--limit"},
    "pubsub subscriptions describe": set[str](),
    "pubsub subscriptions pull": {"--limit", "--format", "--auto-ack"},
    "run jobs execute": {"--region", "--wait"},
    "run jobs executions list": {"--job", "--region"},
    "run services describe": {"--region"},
    "run services list": {"--region"},
    "run services update": {"--update-labels", "--region"},
    "run services update-traffic": {"--to-revisions", "--region"},
    "scheduler jobs list": {"--location"},
    "secrets versions add": {"--data-file"},
    "sql instances describe": {"--format"},
    "sql operations list": {"--instance", "--limit"},
    "storage cp": set[str](),
}
"""The commands that runbooks use, with their options: by the reference of gcloud,
https://cloud.google.com/sdk/gcloud/reference."""


class TestRunbooks:
    """What people do at night was tried by day."""

    @pytest.fixture(params=sorted(RUNBOOKS.glob("*.md")), ids=lambda one: one.stem)
    def page(self, request: pytest.FixtureRequest) -> str:
        return request.param.read_text()

    def test_it_says_what_how_to_look_and_how_to_mend(self, page: str) -> None:
        assert re.findall(r"^## (.*)$", page, re.MULTILINE) == [
            "What it means",
            "How to look",
            "How to mend",
        ]
        assert re.search(r"```(sh|bash|sql)\n", page)

    def test_gcloud_knows_its_commands(self, page: str) -> None:
        for block in re.findall(r"```bash\n(.*?)```", page, re.DOTALL):
            for line in block.splitlines():
                words = line.removeprefix("gcloud ")
                assert words != line, f"who checks `{line}`?"
                command = next((one for one in GCLOUD if words.startswith(f"{one} ")), None)
                assert command is not None, line
                # Quoted filters hold no options.
                options = set(re.findall(r"(?<= )--[\w-]+", re.sub(r"'[^']*'", "", words)))
                assert options <= GCLOUD[command] | {"--project"}, line
                assert "--project" in options or command.startswith("billing"), line

    def test_its_settings_exist(self, page: str) -> None:
        from stacks.settings import Settings

        schema = Settings.model_json_schema(by_alias=True)
        for group, key in re.findall(r"`esteira:(\w+)\.(\w+)`", page):
            reference = schema["properties"][group]
            name = (reference.get("$ref") or reference["allOf"][0]["$ref"]).rpartition("/")[2]
            assert key in schema["$defs"][name]["properties"], f"{group}.{key}"

    def test_its_queries_name_tables_and_columns_that_there_are(
        self, page: str, prod: Stack
    ) -> None:
        tables = {
            f"esteira-prod.{one['datasetId']}.{one['tableId']}": {
                column["name"] for column in json.loads(one["schema"])
            }
            for one in prod.of("gcp:bigquery/table:Table").values()
            if "schema" in one and "view" not in one
        }
        for query in re.findall(r"```sql\n(.*?)```", page, re.DOTALL):
            named = re.findall(r"`([^`]+)`", query)
            for table in named:
                text = re.sub(r"'[^']*'|`[^`]*`", "", query)
                aliases = set(re.findall(r"\bAS (\w+)", text))
                words = set(re.findall(r"\b[a-z_]{2,}\b", text))
                assert words <= tables[table] | aliases, words - tables[table] - aliases
            assert named or "pg_" in query

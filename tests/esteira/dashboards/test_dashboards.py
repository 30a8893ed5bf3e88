"""Dashboards and rules follow from the products, and ask for what there is."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from esteira.cli import app as cli
from esteira.dashboards import example, files, known, rules
from esteira.dashboards.grafana import SOURCES, Board
from esteira.dashboards.naming import Naming
from esteira.dashboards.promql import read
from stacks.alerts.models import HELD
from stacks.settings import Settings
from tests.workloads.serving.asking import GOOD, Halves, ask, run
from workloads import product as products
from workloads import telemetry
from workloads.notifications.incident import KINDS
from workloads.serving.app import build
from workloads.serving.settings import ServingSettings

CHECKOUT = Path(__file__).resolve().parents[3]
RUNBOOKS = CHECKOUT / "docs" / "runbooks"
ARGUMENTS = {"product": "flight-delay", "aip_storage_uri": "gs://models/run", "_env_file": None}


@pytest.fixture(scope="module")
def settings() -> Settings:
    return example.settings()


@pytest.fixture(scope="module")
def made(settings: Settings) -> dict[Path, str]:
    return files.generated(settings)


@pytest.fixture(scope="module")
def ruled(made: dict[Path, str]) -> list[dict[str, Any]]:
    """The groups of rules."""
    return yaml.safe_load(made[files.RULES])["groups"]


@pytest.fixture(scope="module")
def boards(made: dict[Path, str]) -> dict[str, dict[str, Any]]:
    """Grafana's dashboards by uid."""
    shown = [json.loads(text) for path, text in made.items() if path.suffix == ".json"]
    return {one["uid"]: one for one in shown}


def queries(boards: dict[str, Any], ruled: list[Any]) -> list[str]:
    """Every query there is."""
    shown = [
        target["expr"]
        for board in boards.values()
        for panel in board["panels"]
        for target in panel.get("targets", [])
    ]
    return shown + [rule["expr"] for group in ruled for rule in group["rules"]]


def test_the_examples_are_what_is_made(made: dict[Path, str]) -> None:
    assert files.outdated(made, example.FOLDER) == [], "run `python -m esteira.dashboards.example`"


@pytest.mark.parametrize("stack", ["dev", "prod"])
def test_each_stack_has_its_products_and_no_others(stack: str) -> None:
    settings = files.settings_of(stack)
    made = files.generated(settings)
    named = {path.stem.rpartition("-")[0] for path in made if path.suffix == ".json"}
    assert named == {"esteira", *settings.products}


def test_it_is_made_alike_each_time(settings: Settings, made: dict[Path, str]) -> None:
    assert files.generated(settings) == made


class TestQueries:
    """Nothing is asked for that nobody answers."""

    @pytest.fixture(scope="class")
    def exported(self) -> dict[str, set[str]]:
        """What a server really tells after it has answered: by metric, its labels."""
        given = ServingSettings.model_validate(ARGUMENTS)
        halves = Halves(products.load("flight-delay"))
        app = build(given, lambda: halves)
        assert run(ask(app, json.dumps({"instances": [GOOD]}).encode())).status == 200
        text = run(ask(app, path="/metrics")).body.decode()
        found: dict[str, set[str]] = {}
        for line in text.splitlines():
            if not line.startswith("#"):
                name, labels = re.findall(r"^(\w+)(?:{(.*)})? \S+$", line)[0]
                found.setdefault(name, set()).update(re.findall(r'(\w+)="', labels))
        return found

    def test_the_servers_metrics_are_those_that_a_server_tells(
        self, exported: dict[str, set[str]]
    ) -> None:
        said = {name: {"product", *labels} for name, labels in known.SERVER.items()}
        assert said == exported

    def test_each_query_names_what_is_exported_recorded_or_monitored(
        self, boards: dict[str, Any], ruled: list[Any], exported: dict[str, set[str]]
    ) -> None:
        declared = tuple(products.load(name) for name in products.names())
        there = {*exported, *rules.RECORDED, *known.monitored(Naming.GOOGLE, declared)}
        asked = {name for query in queries(boards, ruled) for name in read(query).metrics}
        assert asked <= there
        assert len(asked) > 30

    def test_each_metric_is_asked_for(self, boards: dict[str, Any], ruled: list[Any]) -> None:
        asked = {name for query in queries(boards, ruled) for name in read(query).metrics}
        custom = {Naming.GOOGLE.ours(one) for one in telemetry.CUSTOM_METRICS}
        assert {*known.SERVER, *custom, *rules.RECORDED} <= asked

    def test_what_is_recorded_is_what_is_said_to_be(self, ruled: list[Any]) -> None:
        recorded = {one["record"] for one in ruled[0]["rules"]}
        assert recorded == set(rules.RECORDED)
        for rule in ruled[0]["rules"]:
            labels = read(rule["expr"]).grouped - {"le"} | set(rule.get("labels", {}))
            assert labels == rules.RECORDED[rule["record"]], rule["record"]


class TestGrafana:
    """What Grafana takes, by the reference of its JSON model."""

    def test_each_product_has_its_own_and_all_have_one(self, boards: dict[str, Any]) -> None:
        assert set(boards) == {
            "esteira-overview",
            *(
                f"{name}-{what}"
                for name in example.PRODUCTS
                for what in ("serving", "models", "stream")
                if what != "stream" or products.load(name).own
            ),
        }
        overview = json.dumps(boards["esteira-overview"])
        assert all(name in overview for name in example.PRODUCTS)

    def test_each_is_of_the_model(self, boards: dict[str, Any]) -> None:
        for uid, board in boards.items():
            assert re.fullmatch(r"[a-zA-Z0-9_-]{8,40}", uid)
            assert board["schemaVersion"] >= 36
            assert "id" not in board
            assert "version" not in board
            variables = {one["name"]: one for one in board["templating"]["list"]}
            assert variables
            assert set(variables) <= set(SOURCES)
            assert {one["type"] for one in variables.values()} == {"datasource"}
            assert {one["query"] for one in variables.values()} == {"prometheus"}
            numbers = [panel["id"] for panel in board["panels"]]
            assert len(set(numbers)) == len(numbers)
            for panel in board["panels"]:
                assert panel["type"] in ("text", "timeseries")
                if panel["type"] == "text":
                    continue
                sources = [panel["datasource"], *(one["datasource"] for one in panel["targets"])]
                for source in sources:
                    assert source["type"] == "prometheus"
                    assert source["uid"].strip("${}") in variables
                letters = [one["refId"] for one in panel["targets"]]
                assert letters == [chr(ord("A") + place) for place in range(len(letters))]
                assert letters
                for target in panel["targets"]:
                    grouped = read(target["expr"]).grouped - {"le"}
                    named = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
                    assert named <= grouped | {"code", "limit"}
                assert panel["fieldConfig"]["defaults"]["unit"]

    def test_no_panel_lies_on_another(self, boards: dict[str, Any]) -> None:
        for board in boards.values():
            taken: set[tuple[int, int]] = set()
            for place in (panel["gridPos"] for panel in board["panels"]):
                cells = {
                    (x, y)
                    for x in range(place["x"], place["x"] + place["w"])
                    for y in range(place["y"], place["y"] + place["h"])
                }
                assert not cells & taken
                assert max(x for x, _ in cells) < 24
                taken |= cells

    def test_a_product_with_the_longest_name_has_a_uid(self) -> None:
        longest = "p" * 30
        for what in ("serving", "models", "stream"):
            Board(uid=f"{longest}-{what}", title="t", note="n", graphs=[], tags=[])
        with pytest.raises(ValueError, match="40 characters"):
            Board(uid="u" * 41, title="t", note="n", graphs=[], tags=[])


class TestRules:
    """What Prometheus tells people of, by the thresholds of the stack."""

    def test_each_product_is_told_of(self, ruled: list[Any]) -> None:
        assert [group["name"] for group in ruled] == [
            "esteira-servers",
            *(f"esteira-{name}" for name in example.PRODUCTS),
        ]
        expected = {*KINDS} | {f"retraining-{one}" for one, *_ in HELD}
        expected |= {"endpoint-errors", "endpoint-latency", "serving-saturated", "stale-model"}
        expected |= {"stale-table"}
        expected |= {"prediction-log-dropped"}
        for group in ruled[1:]:
            product = products.load(group["name"].removeprefix("esteira-"))
            told = {rule["labels"]["alert"] for rule in group["rules"]}
            own = {"stream-backlog", "stream-oldest-unacked", "undeliverable-messages"}
            stream = (own if product.streams else set()) | (
                {"dead-letters"} if product.own else set()
            )
            assert told == expected | stream
            names = [rule["alert"] for rule in group["rules"]]
            assert len(set(names)) == len(names)

    def test_each_has_a_runbook_that_there_is(self, ruled: list[Any]) -> None:
        for rule in (rule for group in ruled[1:] for rule in group["rules"]):
            assert (CHECKOUT / rule["annotations"]["runbook_url"]).is_file()
            assert rule["labels"]["severity"] in ("critical", "error", "warning")
            assert rule["annotations"]["summary"].startswith(rule["labels"]["product"])

    def test_thresholds_are_those_of_the_stack(self) -> None:
        values: dict[str, Any] = {"environment": "prod", "project": "esteira-prod"}
        values["alerts"] = {
            "errorShare": 0.25,
            "latencyMs": 1500,
            "staleModelDays": 99,
            "backlogMessages": 1234,
            "oldestUnackedSeconds": 4321,
            "deadLettersPerHour": 77,
        }
        values["github"] = {"repository": "acme/flights"}
        text = files.generated(Settings.from_values(values))[files.RULES]
        by_name = {
            rule["labels"]["alert"]: rule
            for group in yaml.safe_load(text)["groups"][1:]
            for rule in group["rules"]
            if rule["labels"]["product"] == "flight-delay"
        }
        for alert, limit in (
            ("endpoint-errors", "0.25"),
            ("endpoint-latency", "1.5"),
            ("stale-model", "99"),
            ("stale-table", "48"),
            ("stream-backlog", "1234"),
            ("stream-oldest-unacked", "4321"),
            ("dead-letters", "77"),
        ):
            assert by_name[alert]["expr"].endswith(f"> {limit}"), alert
        url = "https://github.com/acme/flights/blob/main/docs/runbooks/stale-model.md"
        assert by_name["stale-model"]["annotations"]["runbook_url"] == url

    def test_a_latency_that_servers_do_not_measure_is_refused(self) -> None:
        values = {"environment": "prod", "project": "esteira-prod", "alerts": {"latencyMs": 2500}}
        with pytest.raises(rules.Unmeasurable, match=r"alerts\.latencyMs is 2500; .* below 2500"):
            files.generated(Settings.from_values(values))

    def test_a_prometheus_of_ones_own_asks_by_the_exporters_names(self, settings: Settings) -> None:
        text = "".join(files.generated(settings, Naming.EXPORTER).values())
        assert "stackdriver_global_custom_googleapis_com_esteira_monitor_alarm" in text
        assert (
            "stackdriver_pubsub_subscription_pubsub_googleapis_com_subscription_"
            "num_undelivered_messages" in text
        )
        assert "googleapis_com:" not in text

    @pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
    @pytest.mark.parametrize("naming", list(Naming))
    def test_promtool_takes_them(self, settings: Settings, naming: Naming, tmp_path: Path) -> None:
        files.write(files.generated(settings, naming), tmp_path)
        done = subprocess.run(
            ["promtool", "check", "rules", str(tmp_path / files.RULES)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


class TestCommand:
    """`esteira dashboards generate`."""

    def test_it_writes_once_and_then_nothing(self, tmp_path: Path) -> None:
        arguments = ["dashboards", "generate", "--out", str(tmp_path), "--json"]
        first, second = (json.loads(CliRunner().invoke(cli, arguments).stdout) for _ in range(2))
        assert first["changed"] == first["files"]
        assert second["changed"] == []
        assert {str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*.*")} == set(
            first["files"]
        )

    def test_what_is_no_more_is_removed_and_what_others_made_is_kept(
        self, made: dict[Path, str], tmp_path: Path
    ) -> None:
        files.write(made, tmp_path)
        gone, theirs = tmp_path / "grafana" / "gone-serving.json", tmp_path / "grafana" / "own.json"
        gone.write_text('{"tags": ["esteira"]}')
        theirs.write_text('{"tags": ["ops"]}')
        assert files.write(made, tmp_path) == [Path("grafana/gone-serving.json")]
        assert not gone.exists()
        assert theirs.exists()

    def test_killed_while_it_wrote_it_goes_on(
        self, made: dict[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        replaced: list[Path] = []
        replace = Path.replace

        def killed(self: Path, target: Path) -> Path:
            if len(replaced) == 3:
                raise KeyboardInterrupt
            replaced.append(target)
            return replace(self, target)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", killed)
            with pytest.raises(KeyboardInterrupt):
                files.write(made, tmp_path)
        assert len(files.outdated(made, tmp_path)) == len(made) - 3
        files.write(made, tmp_path)
        assert files.outdated(made, tmp_path) == []

    def test_check_changes_nothing_and_fails(self, tmp_path: Path) -> None:
        arguments = ["dashboards", "generate", "--check", "--json", "--out", str(tmp_path)]
        done = CliRunner().invoke(cli, arguments)
        assert done.exit_code == 1
        assert json.loads(done.stdout)["changed"]
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        ("option", "value", "words"),
        [("--stack", "nowhere", "dev, local, prod"), ("--metrics", "other", "google, exporter")],
    )
    def test_what_there_is_not_is_refused(self, option: str, value: str, words: str) -> None:
        done = CliRunner().invoke(cli, ["dashboards", "generate", option, value])
        assert done.exit_code == 1
        assert words in " ".join(done.stderr.split())

"""The platform as its users meet it: the demonstration, then what they do with it, then what an
engineer on call does to it. In order: the last tests kill and destroy."""

from __future__ import annotations

import io
import json
import runpy
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery, pubsub_v1, storage
from pulumi import automation

from esteira import cli, local
from esteira.engine.brief import BriefStack
from esteira.engine.install import find
from esteira.printing import console
from tests.e2e.driver import CHECKOUT, Platform, wait_until

PRODUCT = "flight-delay"

pytestmark = [pytest.mark.timeout(900), pytest.mark.e2e]


def question(platform: Platform) -> dict[str, Any]:
    """A row that the endpoint answers: a flight of the morning, as a client would write it."""
    optional = {
        name for name, shape in request_schema(platform)["properties"].items() if "default" in shape
    }
    row = {
        "carrier": "UA",
        "origin": "EWR",
        "destination": "IAH",
        "distance": 1400,
        "departure_minute": 515,
        "weekday": 2,
        "scheduled_arrival_minute": 690,
    }
    missing = set(request_schema(platform)["properties"]) - optional - set(row)
    assert not missing, f"the request contract has grown: {missing}"
    return row


def request_schema(platform: Platform) -> dict[str, Any]:
    del platform
    from workloads import contracts
    from workloads.product import load

    return contracts.json_schema(load(PRODUCT).features.request)


def warehouse(platform: Platform) -> bigquery.Client:
    return bigquery.Client(
        project=platform.endpoints.project,
        credentials=AnonymousCredentials(),
        client_options={"api_endpoint": platform.endpoints.url("bigquery")},
    )


def post(url: str, body: bytes) -> tuple[int, dict[str, Any]]:
    request = urllib.request.Request(
        url, data=body, headers={"Content-Type": "application/json"}, method="POST"
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


class TestTheDemonstration:
    def test_it_began_where_an_up_was_killed_midway(self, platform: Platform) -> None:
        """All else here is seen on a platform whose first `up` was cut off by `kill -9`."""
        assert 30 < platform.made_at_kill < platform.report["resources"]

    def test_every_published_message_ended_in_exactly_one_place(self, platform: Platform) -> None:
        report = platform.report
        ends = ("ingested", "dead_letters", "duplicates", "late")
        assert report["published"] == sum(report[end] for end in ends)
        assert report["dead_letters"] >= 100
        assert report["duplicates"] >= 100
        assert report["late"] >= 1

    def test_three_months_of_flights_are_in_the_tables(self, platform: Platform) -> None:
        files = platform.report["files"]
        assert files["flights"]["ingested"] > 78_000
        assert files["weather"]["dead_letters"] == 1, "the wind of 1,048 mph is no weather"
        for account in files.values():
            ends = ("ingested", "dead_letters", "duplicates", "late")
            assert account["received"] == sum(account[end] for end in ends)

    def test_the_model_beats_the_reference_and_the_base_rate(self, platform: Platform) -> None:
        model = platform.report["model"]
        low, high = model["interval"]
        # 0.681 is gradient boosting on schedule and weather alone, trained and judged alike.
        assert low > 0.681
        assert low < model["roc_auc"] < high
        # A model that is told the departure delay scores about 0.9: that would be a leak.
        assert high < 0.85
        assert model["baseline"] == pytest.approx(0.5)

    def test_the_gate_approved_the_first_model_for_reaching_the_floor(
        self, platform: Platform
    ) -> None:
        assert platform.report["gate"]["decision"] == "approved"
        assert any("floor" in reason for reason in platform.report["gate"]["reasons"])

    def test_flights_of_april_were_predicted_beside_their_truth(self, platform: Platform) -> None:
        shown = platform.report["predictions"]
        assert len(shown) == 6
        assert all(one["flight_id"].startswith("2013-04-01") for one in shown)
        assert all(0 < one["probability"] < 1 for one in shown)
        assert len({one["probability"] for one in shown}) > 1
        assert platform.report["batch_rows"] > 300

    def test_what_drifts_for_two_weeks_is_an_alarm_that_people_get(
        self, platform: Platform
    ) -> None:
        drift = platform.report["drift"]
        assert drift["monitored"]["drift"] == "drifted"
        # What servers were shown is what was trained on.
        assert drift["monitored"]["skew"] in {"quiet", "unknown"}
        alarm = drift["alarm"]
        assert alarm["kind"] == "drift"
        # Of the end of March after a model that has seen winter.
        assert alarm["feature"] in {"temperature", "dew_point", "pressure"}
        assert alarm["score"] > alarm["threshold"] > 0
        assert alarm["window"]["start"].startswith("2013-03-25")
        assert drift["alerts"]
        assert all(alarm["feature"] in json.dumps(one["body"]) for one in drift["alerts"])

    def test_the_monitors_were_started_by_the_scheduler(self, platform: Platform) -> None:
        """As two executions of the Cloud Run job; the entry for their weeks is gone again."""
        rest = platform.endpoints.url("rest")
        place = "projects/esteira-local/locations/us-central1/jobs"
        with urllib.request.urlopen(f"{rest}/v1/{place}") as answer:
            entries = {one["name"].rpartition("/")[2] for one in json.load(answer)["jobs"]}
        assert "flight-delay-monitor" in entries
        assert "flight-delay-monitor-replay" not in entries
        executions = f"{rest}/v2/{place}/flight-delay-monitor/executions"
        with urllib.request.urlopen(executions) as answer:
            ended = json.load(answer)["executions"]
        assert len([one for one in ended if one.get("succeededCount") == 1]) >= 2

    def test_each_step_says_how_long_it_took(self, platform: Platform) -> None:
        seconds = platform.report["seconds"]
        assert {"up", "ingest", "train", "gate", "release", "predict", "batch", "drift"} <= set(
            seconds
        )
        assert sum(v for k, v in seconds.items() if k != "total") <= seconds["total"] + 1


class TestTheStack:
    def test_a_preview_right_after_the_release_is_empty(self, platform: Platform) -> None:
        digest = platform.json("preview", "local", "--json")
        assert set(digest["changeSummary"]) == {"same"}
        assert "sourcePosition" not in json.dumps(digest)

    def test_refresh_finds_no_drift(self, platform: Platform) -> None:
        assert set(platform.json("refresh", "local", "--json")["changes"]) == {"same"}

    def test_a_topic_removed_behind_its_back_is_found_and_mended(self, platform: Platform) -> None:
        endpoints = platform.endpoints
        topic = platform.json("outputs", "local", "--json")["flight_delay_flight_topic"]
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PUBSUB_EMULATOR_HOST", endpoints.address("pubsub"))
            client = pubsub_v1.PublisherClient()
            client.delete_topic(topic=topic)
            found = platform.json("refresh", "local", "--json")["changes"]
            assert found.get("delete", 0) >= 1, found
            mended = platform.json("up", "local", "--json")["changes"]
            assert mended.get("create", 0) >= 1, mended
            assert client.get_topic(topic=topic).name == topic

    def test_the_export_is_pulumis_own(self, platform: Platform) -> None:
        exported = platform.json("export", "local")
        assert exported["version"] >= 3
        urns = [resource["urn"] for resource in exported["deployment"]["resources"]]
        # The engine counts the providers that the program asks for, not those that it adds.
        declared = [urn for urn in urns if "::default" not in urn]
        assert len(declared) == platform.report["resources"]

    @pytest.mark.parametrize("form", ["json", "yaml", "env", "table"])
    def test_outputs_come_in_each_form(self, platform: Platform, form: str) -> None:
        ended = platform.esteira("outputs", "local", "--format", form)
        assert ended.returncode == 0
        assert "projects/esteira-local/topics/flight-delay-flights" in ended.stdout


class TestDataTeams:
    def test_a_notebook_finds_tables_and_endpoint_by_outputs_alone(
        self, platform: Platform
    ) -> None:
        ended = subprocess.run(
            [sys.executable, CHECKOUT / "examples" / "data_team" / "explore.py"],
            env={**platform.env, **platform.endpoints.environment()},
            input=platform.esteira("outputs", "local", "--format", "json").stdout,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr[-3000:]
        found = json.loads(ended.stdout)
        assert sum(one["flights"] for one in found["carriers"]) > 75_000
        assert sum(one["flights"] for one in found["predictions"]) == platform.report["batch_rows"]
        assert 0 < found["flight"]["probability"] < 1

    def test_another_pulumi_program_builds_upon_the_stack(
        self, platform: Platform, tmp_path: Path
    ) -> None:
        folder = CHECKOUT / "examples" / "data_team" / "late_flights"
        shutil.copy(folder / "Pulumi.yaml", tmp_path)
        engine = find()
        assert engine is not None
        team = BriefStack.open(
            "team",
            automation.LocalWorkspace(
                work_dir=str(tmp_path),
                program=runpy.run_path(str(folder / "__main__.py"))["program"],
                pulumi_command=automation.PulumiCommand(str(engine.path.parent.parent)),
                env_vars={
                    **platform.endpoints.environment(),
                    "PULUMI_BACKEND_URL": f"file://{platform.state / 'state'}?metadata=skip",
                    "PULUMI_CONFIG_PASSPHRASE": (platform.state / "passphrase").read_text(),
                    "PULUMI_SKIP_UPDATE_CHECK": "true",
                },
                stack_settings={
                    "team": automation.StackSettings(
                        config={
                            "late-flights:platform": "organization/esteira/local",
                            "gcp:project": platform.endpoints.project,
                        }
                    )
                },
            ),
        )
        made = team.up()
        try:
            assert made.outputs["view"].value == "esteira-local.late_flights.late_by_carrier"
            rows = warehouse(platform).query_and_wait(
                "SELECT SUM(flights) AS n FROM `late_flights.late_by_carrier`"
            )
            assert next(iter(rows)).n > 75_000
        finally:
            with team.brief():
                team.destroy(remove=True)


class TestTheEndpoint:
    def test_it_answers_a_plain_http_request(self, platform: Platform) -> None:
        body = json.dumps({"instances": [question(platform)]}).encode()
        status, answer = post(platform.report["endpoint"], body)
        assert status == 200, answer
        (prediction,) = answer["predictions"]
        assert 0 < prediction["probability"] < 1

    def test_the_command_line_asks_it_too(self, platform: Platform) -> None:
        row = json.dumps(question(platform))
        answer = platform.json("predict", PRODUCT, "--json", stdin=row)
        assert len(answer["predictions"]) == 1

    def test_the_command_line_passes_a_refusal_on(self, platform: Platform) -> None:
        row = json.dumps({**question(platform), "distance": -5})
        ended = platform.esteira("predict", PRODUCT, stdin=row)
        assert ended.returncode == 1
        said = " ".join(ended.stderr.split())
        assert "field `distance` is -5; allowed: an integer at least 1" in said

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"carrier": "United"}, ["carrier", "'United'", "matching"]),
            ({"distance": -5}, ["distance", "-5", "at least 1"]),
            ({"distance": "far"}, ["distance", "'far'", "an integer"]),
            ({"departure_delay": 30}, ["departure_delay", "one of the fields"]),
            ({"carrier": None}, ["carrier", "None"]),
        ],
    )
    def test_a_wrong_row_names_the_field_the_value_and_what_is_allowed(
        self, platform: Platform, change: dict[str, Any], words: list[str]
    ) -> None:
        body = json.dumps({"instances": [{**question(platform), **change}]}).encode()
        status, answer = post(platform.report["endpoint"], body)
        # The container answers 422; Vertex AI hands its words on under a status of its own.
        assert status == 400
        for word in words:
            assert word in answer["error"]["message"]

    def test_every_request_is_logged(self, platform: Platform) -> None:
        client = warehouse(platform)
        query = "SELECT COUNT(*) AS n FROM `flight_delay_predictions.online`"
        wait_until(
            lambda: next(iter(client.query(query).result()))["n"] > 0, 30, "a logged request"
        )

    def test_each_predicted_row_is_in_the_log_with_who_answered(self, platform: Platform) -> None:
        client = warehouse(platform)
        found: list[Any] = []

        def logged() -> bool:
            found[:] = client.query(
                "SELECT status, value, model_version, features FROM `flight_delay_predictions.log`"
            ).result()
            return {200, 422} <= {one["status"] for one in found}

        wait_until(logged, 60, "an answer and a refusal in the log")
        version = platform.report["model"]["version"]
        assert {one["model_version"] for one in found} == {version}
        for one in found:
            assert (one["value"] is not None) == (one["status"] == 200)

    def test_the_database_has_the_log_too(self, platform: Platform) -> None:
        rows: list[Any] = []

        def logged() -> bool:
            address = platform.endpoints.environment()["CLOUD_SQL_EMULATOR_HOST"]
            host, _, port = address.partition(":")
            project = platform.endpoints.project
            with psycopg.connect(
                host=host, port=port, dbname="esteira", user=f"flight-delay-log@{project}.iam"
            ) as connection:
                rows[:] = connection.execute("SELECT status FROM prediction_log").fetchall()
            return {(200,), (422,)} <= set(rows)

        wait_until(logged, 60, "an answer and a refusal in the database")

    def test_it_knows_a_flight_by_its_id_alone(self, platform: Platform) -> None:
        platform.json("features", "sync", PRODUCT, "--json")
        asked = platform.report["predictions"][0]
        body = json.dumps({"instances": [{"flight_id": asked["flight_id"]}]}).encode()
        status, answer = post(platform.report["endpoint"], body)
        assert status == 200, answer
        (prediction,) = answer["predictions"]
        assert prediction["probability"] == pytest.approx(asked["probability"], abs=1e-3)

    def test_both_registries_say_the_same(self, platform: Platform) -> None:
        assert platform.json("models", "reconcile", PRODUCT, "--check", "--json")


AGAIN = """
import sys
import msgspec
from esteira.session import connect
from workloads import product as products
from workloads.artifacts import Folder
from workloads.registry import CHAMPION, Registry
from workloads.training.registration import register, run_folder

connect("local", lambda _: None)
product = products.load(sys.argv[1])
champion = Registry(product).get(CHAMPION)
manifest = msgspec.structs.replace(champion.manifest(), run="the-same-again")
folder = run_folder(product, manifest.run)
for name in champion.folder.listed():
    folder.write(name, champion.folder.read(name), "application/octet-stream")
folder.write_json("manifest.json", manifest)
print(register(product, manifest, champion.model.container_spec.image_uri).version)
"""
"""The champion registered once more, as a version of its own."""


class TestARelease:
    """By the command line, of a version that answers like the one before."""

    @pytest.fixture(scope="class")
    def second(self, platform: Platform) -> str:
        ended = subprocess.run(
            [sys.executable, "-c", AGAIN, PRODUCT],
            env=platform.env,
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr[-3000:]
        return ended.stdout.split()[-1]

    def test_of_a_second_version_serves_it(self, platform: Platform, second: str) -> None:
        first = platform.report["model"]["version"]
        done = platform.json(
            "release", "promote", PRODUCT, "--version", second, "--direct",
            "--whatever-the-gate-says", "--json",
        )  # fmt: skip
        assert done["ok"] is True
        assert (done["champion"], done["previous"]) == (second, first)
        assert done["watched_until"] is not None
        shares = {one["version"]: one["share"] for one in done["served"]}
        assert {version: share for version, share in shares.items() if share} == {second: 100}
        assert platform.json("release", "status", PRODUCT, "--json")["champion"] == second

    def test_is_taken_back_by_one_command(self, platform: Platform, second: str) -> None:
        first = platform.report["model"]["version"]
        back = platform.json(
            "release", "rollback", PRODUCT, "--reason", "a drill", "--json", timeout=60
        )
        assert back["ok"] is True
        assert (back["champion"], back["previous"]) == (first, None)
        assert back["release"]["version"] == second
        assert (back["release"]["state"], back["release"]["reason"]) == ("rolled_back", "a drill")
        shares = {one["version"]: one["share"] for one in back["served"]}
        assert {version: share for version, share in shares.items() if share} == {first: 100}
        body = json.dumps({"instances": [question(platform)]}).encode()
        assert post(platform.report["endpoint"], body)[0] == 200
        newest = platform.json("release", "history", PRODUCT, "--json")[0]
        assert newest["to"] in ("rolled_back", "full")

    @pytest.mark.parametrize(
        ("command", "said"),
        [("rollback", "is kept as `previous`"), ("abort", "no release of flight-delay is under")],
    )
    def test_that_is_not_there_cannot_be_stopped(
        self, platform: Platform, second: str, command: str, said: str
    ) -> None:
        del second
        refused = platform.esteira("release", command, PRODUCT)
        assert refused.returncode == 1
        assert said in refused.stderr


class TestBadInput:
    @pytest.mark.parametrize(
        ("words", "stdin", "said"),
        [
            (["up", "staging"], "", "no stack 'staging'"),
            (["send", "flight-dealy", "flights"], "{}", "no product 'flight-dealy'"),
            (["predict", PRODUCT], "no json", "is no JSON"),
            (["local", "logs", "nothing"], "", "no log of 'nothing'"),
            (["release", "promote", PRODUCT, "--version", "99"], "", "99"),
        ],
    )
    def test_a_wrong_call_says_what_is_wrong_in_one_message(
        self, platform: Platform, words: list[str], stdin: str, said: str
    ) -> None:
        ended = platform.esteira(*words, stdin=stdin)
        assert ended.returncode == 1
        assert said in " ".join(ended.stderr.split())
        assert "Traceback" not in ended.stderr

    @pytest.mark.parametrize(
        ("words", "stdin", "said"),
        [
            (["preview", "staging", "--offline"], "", "no stack 'staging'"),
            (["send", PRODUCT, "trains"], "{}", "takes in no 'trains'"),
            (["send", PRODUCT, "weather"], "{}", "come as files"),
            (["send", PRODUCT, "flights"], "{", "one JSON object"),
            (["send", PRODUCT, "flights"], '{"flight_id": "x"}', "`flight_id` is 'x'"),
            (["send", PRODUCT, "flights"], "", "holds no rows"),
            (["predict", PRODUCT, "/nowhere.json"], "", "is no file"),
            (["predict", PRODUCT], "[]", "at least one"),
        ],
    )
    def test_a_wrong_call_is_refused_before_any_cloud_is_asked(
        self,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        words: list[str],
        stdin: str,
        said: str,
    ) -> None:
        """In this process, which knows of no platform: whatever it asked of one would fail."""
        monkeypatch.setattr(sys, "argv", ["esteira", *words])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        monkeypatch.setattr(console, "width", 200)
        monkeypatch.setattr(local, "start", lambda *_: pytest.fail("it asked for the cloud"))
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == 1
        told = capsys.readouterr()
        assert said in " ".join(told.err.split())
        assert "Traceback" not in told.err
        assert told.out == ""

    def test_a_good_row_among_bad_ones_is_not_sent(self, platform: Platform) -> None:
        good = {
            "flight_id": "2013-04-02-UA-1-EWR-0800",
            "landed_at": "2013-04-02T15:00:00Z",
            "arrival_delay": 3,
        }
        lines = "\n".join(json.dumps(row) for row in (good, {**good, "arrival_delay": 10**6}))
        ended = platform.esteira("send", PRODUCT, "arrivals", stdin=lines)
        assert ended.returncode == 1
        assert "line 2" in ended.stderr
        assert "nothing was sent" in ended.stderr

    def test_a_sent_event_is_ingested(self, platform: Platform) -> None:
        before = platform.json("accounting", PRODUCT, "--json")["contracts"]["arrivals"]
        row = {
            "flight_id": "2013-04-02-UA-2-EWR-0800",
            "landed_at": "2013-04-02T15:00:00Z",
            "arrival_delay": 3,
        }
        words = ("send", PRODUCT, "arrivals", "--happened", "now", "--json")
        assert len(platform.json(*words, stdin=json.dumps(row))["message_ids"]) == 1

        client = warehouse(platform)
        query = "SELECT COUNT(*) AS n FROM `flight_delay_raw.arrivals` WHERE flight_id = @sent"
        sent = bigquery.ScalarQueryParameter("sent", "STRING", row["flight_id"])
        config = bigquery.QueryJobConfig(query_parameters=[sent])
        wait_until(
            lambda: next(iter(client.query_and_wait(query, job_config=config)))["n"] == 1,
            60,
            "the event is in its table",
        )
        after = platform.json("accounting", PRODUCT, "--json")["contracts"]["arrivals"]
        assert after["ingested"] == before["ingested"] + 1


class TestFaults:
    def test_killed_with_all_its_services_the_cloud_comes_back_as_it_was(
        self, platform: Platform
    ) -> None:
        before = platform.json("accounting", PRODUCT, "--json")
        status = platform.json("local", "status", "--json")
        psutil.Process(status["pid"]).kill()

        assert platform.esteira("local", "status").returncode == 1
        assert platform.esteira("local", "start").returncode == 0
        assert platform.esteira("local", "status").returncode == 0

        assert platform.json("accounting", PRODUCT, "--json") == before
        body = json.dumps({"instances": [question(platform)]}).encode()
        wait_until(
            lambda: post(platform.report["endpoint"], body)[0] == 200, 60, "the model answers again"
        )
        assert platform.json("up", "local", "--json")["changes"] == {
            "same": platform.report["resources"]
        }

    @pytest.mark.parametrize("service", ["pubsub", "storage", "rest", "provider", "bigquery"])
    def test_a_service_that_is_killed_is_started_again(
        self, platform: Platform, service: str
    ) -> None:
        daemon = psutil.Process(platform.cloud.pid)
        port = platform.endpoints.ports[service]
        (victim,) = [
            child
            for child in daemon.children()
            if any(c.laddr.port == port for c in child.net_connections() if c.status == "LISTEN")
        ]
        victim.kill()
        victim.wait(10)
        wait_until(lambda: platform.cloud.healthy, 60, f"{service} answers")


class TestTheEnd:
    def test_destroy_leaves_nothing(self, platform: Platform) -> None:
        ended = platform.esteira("destroy", "local")
        assert ended.returncode == 0, ended.stderr[-3000:]
        endpoints = platform.endpoints
        anonymous = AnonymousCredentials()
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PUBSUB_EMULATOR_HOST", endpoints.address("pubsub"))
            patch.setenv("STORAGE_EMULATOR_HOST", endpoints.url("storage"))
            project = f"projects/{endpoints.project}"
            topics = list(pubsub_v1.PublisherClient().list_topics(project=project))
            subscriptions = list(pubsub_v1.SubscriberClient().list_subscriptions(project=project))
            buckets = list(
                storage.Client(project=endpoints.project, credentials=anonymous).list_buckets()
            )
        assert topics == []
        assert subscriptions == []
        assert buckets == []
        assert list(warehouse(platform).list_datasets()) == []
        place = f"{endpoints.url('rest')}/v1/{project}/locations/{endpoints.location}"
        with urllib.request.urlopen(f"{place}/endpoints", timeout=10) as answer:
            assert json.load(answer).get("endpoints", []) == []
        with urllib.request.urlopen(
            f"{endpoints.url('rest')}/v2/{project}/locations/{endpoints.location}/services",
            timeout=10,
        ) as answer:
            assert json.load(answer).get("services", []) == []
        resources = platform.json("export", "local")["deployment"].get("resources") or []
        assert resources == []

    def test_stop_leaves_no_process(self, platform: Platform) -> None:
        assert platform.esteira("local", "stop").returncode == 0
        wait_until(lambda: platform.processes() == [], 15, f"all end: {platform.processes()}")
        ended = subprocess.run(
            ["git", "status", "--porcelain", "Pulumi.local.yaml", "Pulumi.yaml"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert ended.stdout == "", "the engine wrote into the checkout"

"""Cloud Run services: one stable address, revisions behind it, traffic between them."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from googleapiclient.errors import HttpError

from localcloud.rest.discovery import Api

PARENT = "projects/p/locations/us-central1"
ECHO = """
import json, os, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/die":
            os._exit(1)
        body = json.dumps({**dict(os.environ), "path": self.path}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(201)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for part in (body[: len(body) // 2], body[len(body) // 2 :], b""):
            self.wfile.write(b"%x\\r\\n%s\\r\\n" % (len(part), part))

    def log_message(self, *args):
        pass

ThreadingHTTPServer((os.environ["HOST"], int(os.environ["PORT"])), Handler).serve_forever()
"""


@pytest.fixture
def rest(rest_process: Callable[[str], Any]) -> Any:
    return rest_process("run")


class Run:
    """Google's client, with the waiting that callers do."""

    def __init__(self, rest: Any, until: Callable[..., Any]) -> None:
        self._until = until
        self.locations = rest.client("run", "v2").projects().locations()
        self.services = self.locations.services()
        self.revisions = self.services.revisions()

    def done(self, operation: dict[str, Any]) -> dict[str, Any]:
        def poll() -> dict[str, Any] | None:
            now = self.locations.operations().get(name=operation["name"]).execute()
            return now if now.get("done") else None

        return self._until(poll, 30)

    def deploy(self, name: str, image: str, **template: Any) -> dict[str, Any]:
        body = {"template": {"containers": [{"image": image}], **template}}
        started = self.services.create(parent=PARENT, serviceId=name, body=body).execute()
        return self.done(started)

    def patch(self, name: str, body: dict[str, Any], **options: Any) -> dict[str, Any]:
        request = self.services.patch(name=f"{PARENT}/services/{name}", body=body, **options)
        return self.done(request.execute())

    def get(self, name: str) -> dict[str, Any]:
        return self.services.get(name=f"{PARENT}/services/{name}").execute()


@pytest.fixture
def run(rest: Any, until: Callable[..., Any]) -> Run:
    return Run(rest, until)


def fetch(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)


def refused(code: int, message: str, call: Any) -> None:
    with pytest.raises(HttpError) as caught:
        call.execute()
    assert caught.value.status_code == code
    assert message in caught.value.reason


def container(image: str, **env: str) -> dict[str, Any]:
    variables = [{"name": key, "value": value} for key, value in env.items()]
    return {"image": image, "env": variables}


def test_a_service_answers_at_its_uri_with_its_environment(rest: Any, run: Run) -> None:
    image = rest.image("echo", ECHO, GREETING="hello")
    operation = run.deploy("web", image, containers=[container(image, COLOUR="blue")])
    service = operation["response"]
    assert service["terminalCondition"]["state"] == "CONDITION_SUCCEEDED"
    assert service["latestReadyRevision"] == service["latestCreatedRevision"]
    api = Api.load("run", "v2")
    assert api.violations_of("GoogleCloudRunV2Service", run.get("web")) == []
    revision = run.revisions.get(name=service["latestReadyRevision"]).execute()
    assert api.violations_of("GoogleCloudRunV2Revision", revision) == []
    seen = fetch(f"{service['uri']}/a?b=c")
    assert seen["path"] == "/a?b=c"
    assert (seen["GREETING"], seen["COLOUR"]) == ("hello", "blue")
    assert seen["K_SERVICE"] == "web"
    assert service["latestReadyRevision"].endswith(seen["K_REVISION"])
    assert seen["GOOGLE_CLOUD_PROJECT"] == "p"
    assert "STORAGE_EMULATOR_HOST" in seen


def test_bodies_pass_both_ways(rest: Any, run: Run) -> None:
    uri = run.deploy("web", rest.image("echo", ECHO))["response"]["uri"]
    sent = b"x" * 3_000_000
    with urllib.request.urlopen(urllib.request.Request(uri, data=sent), timeout=20) as answer:
        assert answer.status == 201
        assert answer.read() == sent


def test_the_uri_survives_a_new_revision(rest: Any, run: Run) -> None:
    image = rest.image("echo", ECHO)
    uri = run.deploy("web", image)["response"]["uri"]
    body = {"template": {"containers": [container(image, VERSION="2")]}}
    service = run.patch("web", body, updateMask="template")["response"]
    assert service["uri"] == uri
    assert fetch(uri)["VERSION"] == "2"
    assert service["generation"] == "2"
    listed = run.revisions.list(parent=f"{PARENT}/services/web").execute()["revisions"]
    assert listed[0]["name"] == service["latestReadyRevision"]
    assert len(listed) == 2


def test_a_patch_that_changes_no_template_makes_no_revision(rest: Any, run: Run) -> None:
    image = rest.image("echo", ECHO)
    first = run.deploy("web", image)["response"]["latestCreatedRevision"]
    service = run.patch("web", {"labels": {"a": "b"}}, updateMask="labels")["response"]
    assert service["latestCreatedRevision"] == first
    assert service["labels"] == {"a": "b"}
    forced = run.patch("web", {"labels": {}}, updateMask="labels", forceNewRevision=True)
    assert forced["response"]["latestCreatedRevision"] != first


def test_traffic_is_split_exactly_and_tags_have_an_address(rest: Any, run: Run) -> None:
    image = rest.image("echo", ECHO)
    uri = run.deploy("web", image, revision="web-old")["response"]["uri"]
    template = {"revision": "web-new", "containers": [container(image, NEW="1")]}
    named = "TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION"
    traffic = [
        {"type": named, "revision": "web-old", "percent": 80},
        {"type": named, "revision": "web-new", "percent": 20, "tag": "canary"},
    ]
    service = run.patch("web", {"template": template, "traffic": traffic})["response"]
    counts = Counter(fetch(uri)["K_REVISION"] for _ in range(20))
    assert counts == {"web-old": 16, "web-new": 4}
    canary = service["trafficStatuses"][1]["uri"]
    assert {fetch(canary)["K_REVISION"] for _ in range(3)} == {"web-new"}
    back = [{"type": named, "revision": "web-old", "percent": 100}]
    run.patch("web", {"traffic": back}, updateMask="traffic")
    assert {fetch(uri)["K_REVISION"] for _ in range(5)} == {"web-old"}
    with pytest.raises(urllib.error.URLError):
        fetch(canary)


def test_traffic_that_does_not_sum_to_100_is_refused(rest: Any, run: Run) -> None:
    run.deploy("web", rest.image("echo", ECHO))
    name = f"{PARENT}/services/web"
    latest = "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST"
    body: dict[str, Any] = {"traffic": [{"type": latest, "percent": 90}]}
    call = run.services.patch(name=name, body=body, updateMask="traffic")
    refused(400, "must sum to 100, got 90", call)
    body = {"traffic": [{"revision": "web-none", "percent": 100}]}
    refused(
        404,
        "'web-none' does not exist",
        run.services.patch(name=name, body=body, updateMask="traffic"),
    )


def test_a_revision_that_never_listens_leaves_the_old_one_serving(rest: Any, run: Run) -> None:
    uri = run.deploy("web", rest.image("echo", ECHO))["response"]["uri"]
    old = fetch(uri)["K_REVISION"]
    broken = rest.image("broken", "raise SystemExit('no model at /model')")
    failed = run.patch("web", {"template": {"containers": [{"image": broken}]}})
    assert "failed to start and listen on the port" in failed["error"]["message"]
    assert "no model at /model" in failed["error"]["message"]
    assert fetch(uri)["K_REVISION"] == old
    service = run.get("web")
    assert service["terminalCondition"]["state"] == "CONDITION_FAILED"
    assert service["latestReadyRevision"].endswith(old)
    assert not service["latestCreatedRevision"].endswith(old)


def test_a_slow_starter_has_to_answer_its_startup_probe(rest: Any, run: Run) -> None:
    probe = {"httpGet": {"path": "/healthz"}, "periodSeconds": 1, "failureThreshold": 20}
    image = rest.image("echo", ECHO)
    containers = [{"image": image, "startupProbe": probe}]
    assert "response" in run.deploy("web", image, containers=containers)
    probe = {"tcpSocket": {}, "periodSeconds": 1, "failureThreshold": 1}
    deaf = rest.image("deaf", "import signal; signal.pause()")
    containers = [{"image": deaf, "startupProbe": probe}]
    assert (
        "allocated timeout" in run.deploy("deaf", deaf, containers=containers)["error"]["message"]
    )


def test_an_instance_that_crashes_comes_back(
    rest: Any, run: Run, until: Callable[..., Any]
) -> None:
    uri = run.deploy("web", rest.image("echo", ECHO))["response"]["uri"]
    with pytest.raises(urllib.error.HTTPError) as caught:
        fetch(f"{uri}/die")
    assert caught.value.code == 503

    def serves() -> bool:
        try:
            return fetch(uri)["K_SERVICE"] == "web"
        except urllib.error.HTTPError as error:
            # It is started again with a back-off; until then nobody serves.
            if error.code == 503:
                return False
            raise

    until(serves, 30)


class TestWhereNoInstanceIsTriedAtDeployment:
    def test_one_starts_with_the_first_requests(self, rest: Any, run: Run, tmp_path: Any) -> None:
        starts = tmp_path / "starts"
        image = rest.image("late", f"open({str(starts)!r}, 'a').write('x')\n" + ECHO)

        uri = run.deploy("late", image, healthCheckDisabled=True)["response"]["uri"]

        assert not starts.exists()
        with ThreadPoolExecutor(4) as pool:
            seen = list(pool.map(fetch, [uri] * 4))
        assert {one["K_SERVICE"] for one in seen} == {"late"}
        assert starts.read_text() == "x"

    def test_it_sleeps_again_after_a_restart(self, rest: Any, run: Run, tmp_path: Any) -> None:
        starts = tmp_path / "starts"
        image = rest.image("late", f"open({str(starts)!r}, 'a').write('x')\n" + ECHO)
        uri = run.deploy("late", image, healthCheckDisabled=True)["response"]["uri"]
        fetch(uri)

        rest.kill()
        rest.start()

        assert run.get("late")["terminalCondition"]["state"] == "CONDITION_SUCCEEDED"
        assert fetch(uri)["K_SERVICE"] == "late"
        assert starts.read_text() == "xx"

    def test_one_that_cannot_start_tells_whoever_asks(self, rest: Any, run: Run) -> None:
        image = rest.image("broken", "raise SystemExit('no model at /model')")
        uri = run.deploy("broken", image, healthCheckDisabled=True)["response"]["uri"]

        with pytest.raises(urllib.error.HTTPError) as caught:
            fetch(uri)

        assert caught.value.code == 503
        assert "no model at /model" in caught.value.read().decode()

    def test_a_minimum_of_instances_runs_all_the_same(
        self, rest: Any, run: Run, tmp_path: Any
    ) -> None:
        starts = tmp_path / "starts"
        image = rest.image("kept", f"open({str(starts)!r}, 'a').write('x')\n" + ECHO)

        run.deploy("kept", image, healthCheckDisabled=True, scaling={"minInstanceCount": 1})

        assert starts.read_text() == "x"


def test_an_unknown_image_fails_the_deployment_as_google_says(run: Run) -> None:
    operation = run.deploy("web", "gcr.io/p/none:1")
    assert operation["error"] == {"code": 5, "message": "Image 'gcr.io/p/none:1' not found."}
    assert run.get("web")["terminalCondition"]["reason"] == "CONTAINER_MISSING"


@pytest.mark.parametrize(
    ("code", "message", "template"),
    [
        (400, "a container is required", {"containers": []}),
        (400, "image: an image is required", {"containers": [{}]}),
        (501, "sidecars", {"containers": [{"image": "a"}, {"image": "b"}]}),
        (
            400,
            "reserved env names were provided: PORT",
            {"containers": [{"image": "a", "env": [{"name": "PORT", "value": "1"}]}]},
        ),
        (
            501,
            "no Secret Manager",
            {
                "containers": [
                    {
                        "image": "a",
                        "env": [
                            {
                                "name": "TOKEN",
                                "valueSource": {"secretKeyRef": {"secret": "s", "version": "1"}},
                            }
                        ],
                    }
                ]
            },
        ),
        (
            400,
            "min_instance_count 3",
            {
                "containers": [{"image": "a"}],
                "scaling": {"minInstanceCount": 3, "maxInstanceCount": 1},
            },
        ),
        (501, "mount no volumes", {"containers": [{"image": "a"}], "volumes": [{"name": "v"}]}),
        (400, 'Unknown name "imagee"', {"containers": [{"imagee": "a"}]}),
        (400, "must start with 'web-'", {"containers": [{"image": "a"}], "revision": "x"}),
    ],
)
def test_wrong_and_unsupported_templates_are_refused(
    run: Run, code: int, message: str, template: dict[str, Any]
) -> None:
    body = {"template": template}
    refused(code, message, run.services.create(parent=PARENT, serviceId="web", body=body))


def test_names_etags_and_masks_are_checked(rest: Any, run: Run) -> None:
    image = rest.image("echo", ECHO)
    body = {"template": {"containers": [{"image": image}]}}
    refused(400, "service_id", run.services.create(parent=PARENT, serviceId="Web", body=body))
    preview = run.services.create(
        parent=PARENT, serviceId="web", body=body, validateOnly=True
    ).execute()
    assert preview["response"]["name"] == f"{PARENT}/services/web"
    name = f"{PARENT}/services/web"
    refused(404, "'web' of kind 'SERVICE'", run.services.get(name=name))
    run.deploy("web", image)
    refused(409, "already exists", run.services.create(parent=PARENT, serviceId="web", body=body))
    refused(
        409,
        "version 'old' was specified",
        run.services.patch(name=name, body={**body, "etag": "old"}),
    )
    refused(
        400,
        "'colour' is not a field",
        run.services.patch(name=name, body=body, updateMask="colour"),
    )
    refused(409, "version 'old'", run.services.delete(name=name, etag="old"))


def test_iam_policies_are_kept(rest: Any, run: Run) -> None:
    run.deploy("web", rest.image("echo", ECHO))
    name = f"{PARENT}/services/web"
    binding = {"role": "roles/run.invoker", "members": ["serviceAccount:a@b.c"]}
    policy = run.services.setIamPolicy(
        resource=name, body={"policy": {"bindings": [binding]}}
    ).execute()
    assert run.services.getIamPolicy(resource=name).execute() == policy
    assert policy["bindings"] == [binding]
    stale = {"policy": {"etag": "b2xk", "bindings": []}}
    refused(409, "concurrent policy changes", run.services.setIamPolicy(resource=name, body=stale))
    asked = {"permissions": ["run.routes.invoke"]}
    assert run.services.testIamPermissions(resource=name, body=asked).execute() == asked
    refused(404, "does not exist", run.services.getIamPolicy(resource=f"{PARENT}/services/no"))


def test_lists_are_paged(rest: Any, run: Run) -> None:
    image = rest.image("echo", ECHO)
    for name in ("a", "b", "c"):
        run.deploy(name, image)
    first = run.services.list(parent=PARENT, pageSize=2).execute()
    second = run.services.list(parent=PARENT, pageToken=first["nextPageToken"]).execute()
    names = [one["name"][-1] for page in (first, second) for one in page["services"]]
    assert names == ["a", "b", "c"]
    everywhere = run.services.list(parent="projects/p/locations/-").execute()["services"]
    assert len(everywhere) == 3


def test_a_deleted_service_is_gone(rest: Any, run: Run, until: Callable[..., Any]) -> None:
    uri = run.deploy("web", rest.image("echo", ECHO))["response"]["uri"]
    name = f"{PARENT}/services/web"
    run.done(run.services.delete(name=name).execute())
    with pytest.raises(urllib.error.URLError):
        fetch(uri)
    refused(404, "does not exist", run.services.get(name=name))
    assert run.revisions.list(parent=name).execute() == {}


def test_services_survive_kill_9(rest: Any, run: Run, until: Callable[..., Any]) -> None:
    image = rest.image("echo", ECHO)
    uri = run.deploy("web", image)["response"]["uri"]
    before = fetch(uri)
    rest.kill()
    rest.start()
    after = until(lambda: _try(uri))
    assert after["K_REVISION"] == before["K_REVISION"]
    service = run.get("web")
    assert service["uri"] == uri
    assert service["terminalCondition"]["state"] == "CONDITION_SUCCEEDED"


def test_a_service_waits_for_what_it_needs_after_kill_9(
    rest: Any, run: Run, until: Callable[..., Any], tmp_path: Any
) -> None:
    """After a restart of everything, what has served before is tried until it serves again."""
    needed = tmp_path / "needed"
    needed.touch()
    image = rest.image("needy", f"import os\nassert os.path.exists({str(needed)!r})\n" + ECHO)
    uri = run.deploy("web", image)["response"]["uri"]
    rest.kill()
    needed.unlink()
    rest.start()
    until(lambda: "AssertionError" in _logs(rest))
    needed.touch()
    assert until(lambda: _try(uri))["K_SERVICE"] == "web"


def test_sigterm_ends_everything_in_time(rest: Any, run: Run) -> None:
    deaf = ECHO.replace(
        "import json", "import signal; signal.signal(15, signal.SIG_IGN)\nimport json"
    )
    uri = run.deploy("web", rest.image("deaf", deaf))["response"]["uri"]
    began = time.monotonic()
    assert rest.stop() == 0
    assert time.monotonic() - began < 3
    with pytest.raises(urllib.error.URLError):
        fetch(uri)


def test_a_deployment_cut_by_kill_9_ends_well(
    rest: Any, run: Run, until: Callable[..., Any]
) -> None:
    slow = rest.image("slow", "import time; time.sleep(2)\n" + ECHO)
    body = {"template": {"containers": [{"image": slow}]}}
    operation = run.services.create(parent=PARENT, serviceId="web", body=body).execute()
    assert not operation.get("done")
    rest.kill()
    rest.start()
    cut = run.locations.operations().get(name=operation["name"]).execute()
    assert cut["error"]["code"] == 10
    until(lambda: not run.get("web").get("reconciling"))
    assert fetch(run.get("web")["uri"])["K_SERVICE"] == "web"


def _try(uri: str) -> dict[str, Any] | None:
    try:
        return fetch(uri)
    except OSError:
        return None


def _logs(rest: Any) -> str:
    return "".join(file.read_text() for file in (rest.home.logs / "workloads").iterdir())

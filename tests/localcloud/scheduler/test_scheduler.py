"""Cloud Scheduler: targets are called when due, retried when they fail, and never twice."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
import pytest
from googleapiclient.errors import HttpError

from localcloud.rest.discovery import Api
from localcloud.rest.store import Documents

PARENT = "projects/p/locations/us-central1"
NAME = f"{PARENT}/jobs/nightly"
YEARLY = "0 0 1 1 *"


class Target:
    """An HTTP server that keeps what it was sent, and answers as told."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.answers: list[int] = []
        self.gate = threading.Event()
        self.gate.set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def handle_any(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                one = {
                    "method": self.command,
                    "path": self.path,
                    "headers": dict(self.headers),
                    "body": self.rfile.read(length),
                }
                outer.requests.append(one)
                outer.gate.wait(30)
                self.send_response(outer.answers.pop(0) if outer.answers else 200)
                self.end_headers()

            do_GET = handle_any  # noqa: N815 (the standard library's names)
            do_POST = handle_any  # noqa: N815

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def target() -> Iterator[Target]:
    one = Target()
    yield one
    one.gate.set()
    one.server.shutdown()
    one.server.server_close()


@pytest.fixture
def rest(rest_process: Callable[[str], Any]) -> Any:
    return rest_process("run,scheduler")


class Jobs:
    """Google's client. A new one for each call: a restart breaks the connection of an old one."""

    def __init__(self, rest: Any) -> None:
        self._rest = rest

    def __getattr__(self, method: str) -> Any:
        client = self._rest.client("cloudscheduler", "v1")
        return getattr(client.projects().locations().jobs(), method)


@pytest.fixture
def jobs(rest: Any) -> Jobs:
    return Jobs(rest)


def refused(code: int, message: str, call: Any) -> None:
    with pytest.raises(HttpError) as caught:
        call.execute()
    assert caught.value.status_code == code
    assert message in caught.value.reason


def body(uri: str, **more: Any) -> dict[str, Any]:
    http = {"uri": uri, **more.pop("http", {})}
    return {"name": NAME, "schedule": YEARLY, "httpTarget": http, **more}


def make_due(rest: Any, when: datetime) -> None:
    """Set the next time of the job while nothing runs."""
    documents = Documents(rest.home.folder("scheduler") / "state.sqlite")
    text = when.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    documents.change(f"job:{NAME}", lambda job: job.update(_due=text))
    documents.close()


def test_a_job_shows_its_next_time_and_googles_defaults(jobs: Any, target: Target) -> None:
    job = jobs.create(parent=PARENT, body=body(target.url)).execute()
    assert job["state"] == "ENABLED"
    year = datetime.now(UTC).year + 1
    assert job["scheduleTime"].startswith(f"{year}-01-01T00:00:00")
    assert (job["timeZone"], job["attemptDeadline"]) == ("Etc/UTC", "180s")
    assert job["retryConfig"]["minBackoffDuration"] == "5s"
    assert jobs.get(name=NAME).execute() == job
    assert Api.load("cloudscheduler", "v1").violations_of("Job", job) == []
    assert jobs.list(parent=PARENT).execute() == {"jobs": [job]}


def test_a_forced_run_sends_what_was_asked(
    jobs: Any, target: Target, until: Callable[..., Any]
) -> None:
    http = {
        "body": base64.b64encode(b'{"a": 1}').decode(),
        "headers": {"Content-Type": "application/json"},
        "oidcToken": {"serviceAccountEmail": "a@b.c", "audience": "x"},
    }
    jobs.create(parent=PARENT, body=body(f"{target.url}/start?x=1", http=http)).execute()
    jobs.run(name=NAME, body={}).execute()
    until(lambda: "status" in jobs.get(name=NAME).execute())
    (sent,) = target.requests
    assert (sent["method"], sent["path"], sent["body"]) == ("POST", "/start?x=1", b'{"a": 1}')
    assert sent["headers"]["Content-Type"] == "application/json"
    assert sent["headers"]["User-Agent"] == "Google-Cloud-Scheduler"
    assert sent["headers"]["X-CloudScheduler-JobName"] == "nightly"
    job = jobs.get(name=NAME).execute()
    assert job["status"] == {}
    assert job["lastAttemptTime"] > job["userUpdateTime"]
    assert job["httpTarget"]["oidcToken"]["audience"] == "x"


def test_failures_are_retried_with_back_off(
    rest: Any, jobs: Any, target: Target, until: Callable[..., Any]
) -> None:
    target.answers = [503, 500]
    retry = {"retryCount": 3, "minBackoffDuration": "0.2s", "maxBackoffDuration": "1s"}
    jobs.create(parent=PARENT, body=body(target.url, retryConfig=retry)).execute()
    rest.kill()
    make_due(rest, datetime.now(UTC))
    rest.start()
    until(lambda: len(target.requests) == 3)
    until(lambda: jobs.get(name=NAME).execute().get("status") == {})
    assert jobs.get(name=NAME).execute()["scheduleTime"].endswith("-01-01T00:00:00.000000Z")


def test_the_last_status_says_what_was_wrong(
    jobs: Any, target: Target, until: Callable[..., Any]
) -> None:
    target.answers = [404]
    jobs.create(parent=PARENT, body=body(target.url)).execute()
    jobs.run(name=NAME, body={}).execute()
    status = until(lambda: jobs.get(name=NAME).execute().get("status"))
    assert status["code"] == 5
    assert "answered 404" in status["message"]


def test_a_job_fires_when_it_is_due(
    rest: Any, jobs: Any, target: Target, until: Callable[..., Any]
) -> None:
    jobs.create(parent=PARENT, body=body(target.url)).execute()
    rest.kill()
    due = datetime.now(UTC) + timedelta(seconds=3)
    make_due(rest, due)
    rest.start()
    assert target.requests == []
    until(lambda: target.requests)
    assert datetime.now(UTC) >= due
    sent = target.requests[0]["headers"]["X-CloudScheduler-ScheduleTime"]
    assert sent == due.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def test_an_attempt_cut_by_kill_9_is_not_made_twice(
    rest: Any, jobs: Any, target: Target, until: Callable[..., Any]
) -> None:
    retry = {"retryCount": 3, "minBackoffDuration": "0.1s"}
    jobs.create(parent=PARENT, body=body(target.url, retryConfig=retry)).execute()
    rest.kill()
    make_due(rest, datetime.now(UTC))
    target.gate.clear()
    rest.start()
    until(lambda: target.requests)
    rest.kill()
    target.gate.set()
    rest.start()
    status = until(lambda: jobs.get(name=NAME).execute().get("status"))
    assert (status["code"], len(target.requests)) == (10, 1)
    assert "interrupted by a restart" in status["message"]
    next_time = jobs.get(name=NAME).execute()["scheduleTime"]
    assert next_time > datetime.now(UTC).strftime("%Y-%m-%dT")


def test_a_time_missed_long_ago_is_left_out(rest: Any, jobs: Any, target: Target) -> None:
    jobs.create(parent=PARENT, body=body(target.url)).execute()
    rest.kill()
    make_due(rest, datetime.now(UTC) - timedelta(days=300))
    rest.start()
    job = jobs.get(name=NAME).execute()
    assert job["scheduleTime"] > datetime.now(UTC).strftime("%Y-%m-%dT")
    jobs.run(name=NAME, body={}).execute()  # what would have fired has fired by the time this has
    assert len(target.requests) <= 1


def test_a_paused_job_does_not_fire_but_can_be_run(
    rest: Any, jobs: Any, target: Target, until: Callable[..., Any]
) -> None:
    jobs.create(parent=PARENT, body=body(target.url)).execute()
    assert jobs.pause(name=NAME, body={}).execute()["state"] == "PAUSED"
    refused(400, "only a job that is ENABLED can be paused", jobs.pause(name=NAME, body={}))
    rest.kill()
    make_due(rest, datetime.now(UTC))
    rest.start()
    jobs.run(name=NAME, body={}).execute()
    until(lambda: target.requests)
    assert jobs.resume(name=NAME, body={}).execute()["state"] == "ENABLED"
    assert len(target.requests) == 1
    refused(400, "only a job that is PAUSED can be resumed", jobs.resume(name=NAME, body={}))


def test_a_schedule_starts_a_cloud_run_job(rest: Any, jobs: Any, until: Callable[..., Any]) -> None:
    image = rest.image("task", "print('done')")
    run = rest.client("run", "v2").projects().locations().jobs()
    template = {"template": {"template": {"containers": [{"image": image}]}}}
    run.create(parent=PARENT, jobId="predict", body=template).execute()
    uri = f"https://run.googleapis.com/v2/{PARENT}/jobs/predict:run"
    token = {"oauthToken": {"serviceAccountEmail": "a@b.c"}}
    jobs.create(parent=PARENT, body=body(uri, http=token)).execute()
    jobs.run(name=NAME, body={}).execute()
    done = until(lambda: run.executions().list(parent=f"{PARENT}/jobs/predict").execute())
    assert len(done["executions"]) == 1
    assert until(lambda: "status" in jobs.get(name=NAME).execute())
    assert jobs.get(name=NAME).execute()["status"] == {}


def test_a_topic_gets_the_message(rest: Any, jobs: Any, until: Callable[..., Any]) -> None:
    from google.pubsub_v1.types import PublishRequest, PublishResponse

    got: list[Any] = []

    def publish(request: Any, context: Any) -> Any:
        got.append(request)
        return PublishResponse(message_ids=["1"])

    handler = grpc.unary_unary_rpc_method_handler(
        publish,
        request_deserializer=PublishRequest.deserialize,
        response_serializer=PublishResponse.serialize,
    )
    server = grpc.server(futures.ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler("google.pubsub.v1.Publisher", {"Publish": handler})]
    )
    pubsub = {
        "topicName": "projects/p/topics/retrain",
        "data": base64.b64encode(b"now").decode(),
        "attributes": {"why": "schedule"},
    }
    job = {"name": NAME, "schedule": YEARLY, "pubsubTarget": pubsub, "attemptDeadline": "15s"}
    jobs.create(parent=PARENT, body=job).execute()
    jobs.run(name=NAME, body={}).execute()
    # Nobody listens yet.
    status = until(lambda: jobs.get(name=NAME).execute().get("status"), 40)
    assert status["code"] in (4, 14)
    server.add_insecure_port(rest.home.endpoints().address("pubsub"))
    server.start()
    try:

        def sent() -> bool:
            jobs.run(name=NAME, body={}).execute()
            return bool(got)

        until(sent, 40)
        until(lambda: jobs.get(name=NAME).execute()["status"] == {}, 40)
    finally:
        server.stop(None)
    assert got[0].topic == "projects/p/topics/retrain"
    assert (got[0].messages[0].data, dict(got[0].messages[0].attributes)) == (
        b"now",
        {"why": "schedule"},
    )


def test_a_patch_replaces_what_its_mask_names(jobs: Any, target: Target) -> None:
    jobs.create(parent=PARENT, body=body(target.url, description="old")).execute()
    change = {"schedule": "0 3 * * *", "description": "new"}
    job = jobs.patch(name=NAME, body=change, updateMask="schedule").execute()
    assert (job["schedule"], job["description"]) == ("0 3 * * *", "old")
    assert "T03:00:00" in job["scheduleTime"]
    topic = {"topicName": "projects/p/topics/t", "attributes": {"a": "b"}}
    job = jobs.patch(name=NAME, body={"pubsubTarget": topic}, updateMask="pubsubTarget").execute()
    assert "httpTarget" not in job


def test_wrong_jobs_are_refused(jobs: Any, target: Target) -> None:
    def create(job: dict[str, Any]) -> Any:
        return jobs.create(parent=PARENT, body=job)

    url = target.url
    refused(400, "exactly one of http_target", create({"name": NAME, "schedule": YEARLY}))
    refused(400, "must begin with http", create(body("ftp://x/y")))
    refused(501, "storage.googleapis.com", create(body("https://storage.googleapis.com/b")))
    encoded = {"body": "YQ==", "httpMethod": "GET"}
    refused(400, "not with GET", create(body(url, http=encoded)))
    refused(400, "Schedule or time zone is invalid", create(body(url, schedule="61 * * * *")))
    refused(400, "attempt_deadline", create(body(url, attemptDeadline="5s")))
    refused(400, "Job.name", create({**body(url), "name": f"{PARENT}/jobs/a.b"}))
    refused(400, 'Unknown name "urii"', create(body(url, http={"urii": "x"})))
    other = {"topicName": "projects/q/topics/t", "attributes": {"a": "b"}}
    wrong = {"name": NAME, "schedule": YEARLY, "pubsubTarget": other}
    refused(400, "must be in the job's project", create(wrong))
    engine = {"name": NAME, "schedule": YEARLY, "appEngineHttpTarget": {}}
    refused(501, "no App Engine", create(engine))
    create(body(url)).execute()
    refused(409, "already exists", create(body(url)))
    jobs.delete(name=NAME).execute()
    refused(404, "Job not found", jobs.get(name=NAME))

"""Cloud Run jobs: executions of tasks that are retried, bounded in time, and survive restarts."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from googleapiclient.errors import HttpError

from localcloud.rest.discovery import Api

PARENT = "projects/p/locations/us-central1"
# Each attempt leaves a file with its environment; what happens next depends on the arguments.
TASK = """
import json, os, sys, time
from pathlib import Path

env = os.environ
name = f"{env['CLOUD_RUN_EXECUTION']}.{env['CLOUD_RUN_TASK_INDEX']}.{env['CLOUD_RUN_TASK_ATTEMPT']}"
seen = {**env, "args": sys.argv[1:], "began": time.time()}
out = Path(env["OUT"])
(out / name).write_text(json.dumps(seen))
mode = sys.argv[1] if len(sys.argv) > 1 else "ok"
if mode == "fail":
    sys.exit("nothing to predict")
if mode == "fail-first" and env["CLOUD_RUN_TASK_ATTEMPT"] == "0":
    sys.exit(3)
if mode == "hang" or (mode == "hang-first" and env["CLOUD_RUN_TASK_ATTEMPT"] == "0"):
    time.sleep(600)
time.sleep(0.3 if mode == "slow" else 0)
(out / name).write_text(json.dumps({**seen, "ended": time.time()}))
"""


@pytest.fixture
def rest(rest_process: Callable[[str], Any]) -> Any:
    return rest_process("run")


class Jobs:
    """Google's client, with the waiting that callers do."""

    def __init__(self, rest: Any, until: Callable[..., Any], out: Path) -> None:
        self._until = until
        self.out = out
        out.mkdir()
        self.image = rest.image("task", TASK)
        self.locations = rest.client("run", "v2").projects().locations()
        self.jobs = self.locations.jobs()
        self.executions = self.jobs.executions()
        self.tasks = self.executions.tasks()

    def body(self, *args: str, **template: Any) -> dict[str, Any]:
        task = {key: template.pop(key) for key in ("maxRetries", "timeout") if key in template}
        env = [{"name": "OUT", "value": str(self.out)}, {"name": "LEVEL", "value": "info"}]
        container = {"image": self.image, "args": list(args), "env": env}
        return {"template": {**template, "template": {"containers": [container], **task}}}

    def create(self, name: str, *args: str, **template: Any) -> dict[str, Any]:
        body = self.body(*args, **template)
        return self.done(self.jobs.create(parent=PARENT, jobId=name, body=body).execute())

    def start(self, name: str, **overrides: Any) -> dict[str, Any]:
        body = {"overrides": overrides} if overrides else {}
        return self.jobs.run(name=f"{PARENT}/jobs/{name}", body=body).execute()

    def done(self, operation: dict[str, Any]) -> dict[str, Any]:
        def poll() -> dict[str, Any] | None:
            now = self.locations.operations().get(name=operation["name"]).execute()
            return now if now.get("done") else None

        return self._until(poll, 30)

    def attempts(self) -> dict[str, dict[str, Any]]:
        files = sorted(self.out.iterdir())
        return {file.name.partition(".")[2]: json.loads(file.read_text()) for file in files}


@pytest.fixture
def jobs(rest: Any, until: Callable[..., Any], tmp_path: Path) -> Jobs:
    return Jobs(rest, until, tmp_path / "out")


def refused(code: int, message: str, call: Any) -> None:
    with pytest.raises(HttpError) as caught:
        call.execute()
    assert caught.value.status_code == code
    assert message in caught.value.reason


def test_every_task_runs_with_its_index(jobs: Jobs) -> None:
    created = jobs.create("batch", taskCount=3)
    assert created["response"]["terminalCondition"]["state"] == "CONDITION_SUCCEEDED"
    execution = jobs.done(jobs.start("batch"))["response"]
    assert (execution["taskCount"], execution["succeededCount"]) == (3, 3)
    assert execution["conditions"][0]["state"] == "CONDITION_SUCCEEDED"
    seen = jobs.attempts()
    assert sorted(seen) == ["0.0", "1.0", "2.0"]
    for index, one in enumerate(seen.values()):
        assert one["CLOUD_RUN_TASK_INDEX"] == str(index)
        assert (one["CLOUD_RUN_TASK_COUNT"], one["CLOUD_RUN_TASK_ATTEMPT"]) == ("3", "0")
        assert one["CLOUD_RUN_JOB"] == "batch"
        assert execution["name"].endswith(one["CLOUD_RUN_EXECUTION"])
    tasks = jobs.tasks.list(parent=execution["name"]).execute()["tasks"]
    assert [task["lastAttemptResult"]["exitCode"] for task in tasks] == [0, 0, 0]
    job = jobs.jobs.get(name=f"{PARENT}/jobs/batch").execute()
    api = Api.load("run", "v2")
    assert api.violations_of("GoogleCloudRunV2Job", job) == []
    held = jobs.executions.get(name=execution["name"]).execute()
    assert api.violations_of("GoogleCloudRunV2Execution", held) == []
    assert api.violations_of("GoogleCloudRunV2Task", tasks[0]) == []
    assert job["executionCount"] == 1
    assert job["latestCreatedExecution"]["completionStatus"] == "EXECUTION_SUCCEEDED"


def test_a_failing_task_is_retried_and_then_succeeds(jobs: Jobs) -> None:
    jobs.create("batch", "fail-first", maxRetries=1)
    execution = jobs.done(jobs.start("batch"))["response"]
    assert (execution["succeededCount"], execution["retriedCount"]) == (1, 1)
    assert sorted(jobs.attempts()) == ["0.0", "0.1"]


def test_an_execution_fails_when_retries_are_used_up(jobs: Jobs) -> None:
    jobs.create("batch", "fail", maxRetries=2, taskCount=1)
    operation = jobs.done(jobs.start("batch"))
    message = operation["error"]["message"]
    assert "-task0 failed with exit code: 1" in message
    assert "nothing to predict" in message
    assert sorted(jobs.attempts()) == ["0.0", "0.1", "0.2"]
    name = operation["metadata"]["name"]
    execution = jobs.executions.get(name=name).execute()
    assert execution["failedCount"] == 1
    assert execution["conditions"][0]["executionReason"] == "NON_ZERO_EXIT_CODE"
    task = jobs.tasks.get(name=f"{name}/tasks/{name.rpartition('/')[2]}-task0").execute()
    assert (task["retried"], task["lastAttemptResult"]["exitCode"]) == (2, 1)


def test_a_task_that_takes_too_long_is_ended(jobs: Jobs) -> None:
    jobs.create("batch", "hang", maxRetries=0, timeout="1s")
    operation = jobs.done(jobs.start("batch"))
    assert "timeout of 1s was reached" in operation["error"]["message"]


def test_parallelism_bounds_what_runs_at_once(jobs: Jobs) -> None:
    jobs.create("batch", "slow", taskCount=3, parallelism=1)
    jobs.done(jobs.start("batch"))
    runs = sorted((one["began"], one["ended"]) for one in jobs.attempts().values())
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(runs))


def test_overrides_hold_for_one_execution(jobs: Jobs) -> None:
    jobs.create("batch", "fail")
    change = {"args": ["ok"], "env": [{"name": "LEVEL", "value": "debug"}]}
    execution = jobs.done(jobs.start("batch", containerOverrides=[change], taskCount=2))
    assert execution["response"]["succeededCount"] == 2
    assert {one["LEVEL"] for one in jobs.attempts().values()} == {"debug"}
    job = jobs.jobs.get(name=f"{PARENT}/jobs/batch").execute()
    assert job["template"]["template"]["containers"][0]["args"] == ["fail"]
    assert job["template"]["taskCount"] == 1
    refused(
        400,
        "no container named 'x'",
        jobs.jobs.run(
            name=f"{PARENT}/jobs/batch",
            body={"overrides": {"containerOverrides": [{"name": "x"}]}},
        ),
    )


def test_a_cancelled_execution_stops(jobs: Jobs, until: Callable[..., Any]) -> None:
    jobs.create("batch", "hang")
    operation = jobs.start("batch")
    name = operation["metadata"]["name"]
    until(jobs.attempts)
    jobs.done(jobs.executions.cancel(name=name, body={}).execute())
    execution = jobs.executions.get(name=name).execute()
    assert execution["cancelledCount"] == 1
    assert execution["conditions"][0]["executionReason"] == "CANCELLED"
    assert jobs.done(operation)["error"]["code"] == 1
    refused(400, "has completed", jobs.executions.cancel(name=name, body={}))


def test_interrupted_tasks_are_run_again(rest: Any, jobs: Jobs, until: Callable[..., Any]) -> None:
    """kill -9 costs an attempt but no retry, and the caller's operation goes on."""
    jobs.create("batch", "hang-first", maxRetries=0, taskCount=2)
    operation = jobs.start("batch")
    until(lambda: len(jobs.attempts()) == 2)
    rest.kill()
    rest.start()
    execution = jobs.done(operation)["response"]
    assert (execution["succeededCount"], execution["retriedCount"]) == (2, 2)
    assert sorted(jobs.attempts()) == ["0.0", "0.1", "1.0", "1.1"]


def test_a_changed_job_runs_as_changed(jobs: Jobs) -> None:
    jobs.create("batch", "fail")
    name = f"{PARENT}/jobs/batch"
    job = jobs.jobs.get(name=name).execute()
    changed = {**jobs.body("ok"), "labels": {"a": "b"}, "etag": job["etag"]}
    patched = jobs.done(jobs.jobs.patch(name=name, body=changed).execute())["response"]
    assert (patched["generation"], patched["labels"]) == ("2", {"a": "b"})
    refused(409, "was specified but current version", jobs.jobs.patch(name=name, body=changed))
    assert jobs.done(jobs.start("batch"))["response"]["succeededCount"] == 1


def test_a_deleted_job_takes_its_executions_along(jobs: Jobs, until: Callable[..., Any]) -> None:
    jobs.create("batch", "hang")
    jobs.start("batch")
    until(jobs.attempts)
    name = f"{PARENT}/jobs/batch"
    jobs.done(jobs.jobs.delete(name=name).execute())
    refused(404, "'batch' of kind 'JOB'", jobs.jobs.get(name=name))
    assert jobs.executions.list(parent=name).execute() == {}


def test_wrong_jobs_are_refused(jobs: Jobs) -> None:
    def create(**template: Any) -> Any:
        return jobs.jobs.create(parent=PARENT, jobId="batch", body=jobs.body(**template))

    refused(400, "task_count: 0", create(taskCount=0))
    refused(400, "max_retries: 11", create(maxRetries=11))
    refused(400, "timeout: 0s", create(timeout="0s"))
    body = jobs.body()
    body["template"]["template"]["containers"][0]["env"].append(
        {"name": "CLOUD_RUN_JOB", "value": "x"}
    )
    refused(400, "reserved env names", jobs.jobs.create(parent=PARENT, jobId="b", body=body))
    body = jobs.body()
    body["template"]["template"]["containers"][0]["image"] = "repo/none"
    operation = jobs.jobs.create(parent=PARENT, jobId="b", body=body).execute()
    assert operation["error"]["message"] == "Image 'repo/none' not found."
    refused(404, "Image 'repo/none' not found.", jobs.jobs.run(name=f"{PARENT}/jobs/b", body={}))

"""Dataflow: flex templates are checked, run, restarted, drained, cancelled and updated."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from googleapiclient.errors import HttpError

from localcloud.images import Images
from localcloud.rest.discovery import Api

LOCATION = "us-central1"
# Writes down each start, then does as its parameter says.
PIPELINE = """
import json, logging, os, signal, sys, time
from pathlib import Path

logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
options = dict(word[2:].partition("=")[::2] for word in sys.argv[1:])
out = Path(options["out"])
start = {"pid": os.getpid(), "options": options, "env": dict(os.environ)}
with out.open("a") as file:
    file.write(json.dumps(start) + "\\n")

def stop(*_):
    with out.open("a") as file:
        file.write('"stopped"\\n')
    sys.exit(0)

mode = options.get("mode", "")
signal.signal(signal.SIGTERM, signal.SIG_IGN if mode == "deaf" else stop)
counters = [{"namespace": "ingestion", "name": "rows", "step": "Load", "value": 7}]
sizes = {"namespace": "ingestion", "name": "bytes", "count": 2, "sum": 6, "min": 2, "max": 4}
metrics = {"counters": counters, "distributions": [sizes]}
Path(os.environ["DATAFLOW_METRICS_FILE"]).write_text(json.dumps(metrics))
logging.warning("late data")
if mode == "fail":
    raise ValueError("no such table: flights")
if mode in ("run", "deaf"):
    while True:
        time.sleep(0.1)
"""


class Dataflow:
    """Google's client and templates of one pipeline."""

    def __init__(self, rest: Any, until: Callable[..., Any], out: Path) -> None:
        self.rest = rest
        self.until = until
        self.out = out
        context = rest.home.path.parent / "contexts" / "pipeline"
        context.mkdir(parents=True)
        (context / "main.py").write_text(PIPELINE)
        (context / "Dockerfile").write_text(
            "FROM apache/beam_python3.13_sdk:2.77.0\nWORKDIR /template\nCOPY main.py .\n"
            "ENV FLEX_TEMPLATE_PYTHON_PY_FILE=/template/main.py LEVEL=info\n"
            'ENTRYPOINT ["/opt/google/dataflow/python_template_launcher"]\n'
        )
        self.image = "us-central1-docker.pkg.dev/p/esteira/ingestion:1"
        Images(rest.home).build(self.image, context / "Dockerfile", context)

    @property
    def located(self) -> Any:
        # A new one each time: a restart breaks the connection of an old one.
        return self.rest.client("dataflow", "v1b3").projects().locations()

    def spec(self, *, streaming: bool = False, **more: Any) -> dict[str, Any]:
        parameters = [
            {"name": "out", "label": "out", "helpText": "a file", "regexes": ["^/"]},
            {"name": "mode", "label": "mode", "helpText": "what to do", "isOptional": True},
        ]
        metadata = {"name": "test", "parameters": parameters, "streaming": streaming}
        sdk = {"language": "PYTHON"}
        return {"image": self.image, "sdkInfo": sdk, "metadata": metadata, **more}

    def request(self, name: str, mode: str = "", **more: Any) -> Any:
        streaming = more.pop("streaming", False)
        options = {"validateOnly": True} if more.pop("validateOnly", False) else {}
        launch = {
            "jobName": name,
            "parameters": {"out": str(self.out), "mode": mode},
            "containerSpec": self.spec(streaming=streaming),
            **more,
        }
        body = {"launchParameter": launch, **options}
        return self.located.flexTemplates().launch(projectId="p", location=LOCATION, body=body)

    def launch(self, name: str, mode: str = "", **more: Any) -> str:
        return str(self.request(name, mode, **more).execute()["job"]["id"])

    def job(self, job_id: str) -> dict[str, Any]:
        return self.call("get", job_id)

    def call(self, method: str, job_id: str, **more: Any) -> dict[str, Any]:
        jobs = getattr(self.located.jobs(), method)
        return jobs(projectId="p", location=LOCATION, jobId=job_id, **more).execute()

    def ask(self, job_id: str, state: str) -> dict[str, Any]:
        return self.call("update", job_id, body={"requestedState": f"JOB_STATE_{state}"})

    def reaches(self, job_id: str, state: str, seconds: float = 20) -> dict[str, Any]:
        def there() -> dict[str, Any] | None:
            job = self.job(job_id)
            return job if job["currentState"] == f"JOB_STATE_{state}" else None

        return self.until(there, seconds)

    def messages(self, job_id: str, **query: Any) -> list[dict[str, Any]]:
        messages = self.located.jobs().messages()
        answer = messages.list(projectId="p", location=LOCATION, jobId=job_id, **query).execute()
        return answer.get("jobMessages", [])

    def written(self) -> list[Any]:
        if not self.out.exists():
            return []
        return [json.loads(line) for line in self.out.read_text().splitlines()]


@pytest.fixture
def dataflow(rest: Any, until: Callable[..., Any], tmp_path: Path) -> Dataflow:
    return Dataflow(rest, until, tmp_path / "out.jsonl")


def refused(code: int, message: str, call: Any) -> None:
    with pytest.raises(HttpError) as caught:
        call.execute()
    assert caught.value.status_code == code
    assert message in caught.value.reason


def test_a_batch_job_runs_as_the_launcher_would_run_it(dataflow: Dataflow) -> None:
    environment = {
        "tempLocation": "gs://p-work/temp",
        "stagingLocation": "gs://p-work/staging",
        "additionalUserLabels": {"product": "flight-delay"},
        "additionalPipelineOptions": ["--extra=1"],
        "machineType": "n1-standard-2",
    }
    job_id = dataflow.launch("weather", environment=environment)
    job = dataflow.reaches(job_id, "DONE")
    assert (job["type"], job["labels"]) == ("JOB_TYPE_BATCH", {"product": "flight-delay"})
    assert re.fullmatch(r"\d{4}-\d\d-\d\d_\d\d_\d\d_\d\d-\d+", job_id)
    (start,) = dataflow.written()
    assert start["options"] | {"out": "", "mode": ""} == {
        "out": "",
        "mode": "",
        "runner": "FnApiRunner",
        "project": "p",
        "region": LOCATION,
        "job_name": "weather",
        "temp_location": "gs://p-work/temp",
        "staging_location": "gs://p-work/staging",
        "extra": "1",
    }
    assert start["env"]["LEVEL"] == "info"
    assert start["env"]["GOOGLE_CLOUD_PROJECT"] == "p"
    assert "PUBSUB_EMULATOR_HOST" in start["env"]


def test_metrics_come_back_in_googles_shape(dataflow: Dataflow) -> None:
    job_id = dataflow.launch("weather")
    dataflow.reaches(job_id, "DONE")
    answer = dataflow.call("getMetrics", job_id)
    rows, sizes = answer["metrics"]
    assert (rows["name"]["name"], rows["scalar"]) == ("rows", 7)
    assert rows["name"]["context"] == {"namespace": "ingestion", "step": "Load"}
    assert sizes["distribution"] == {"count": 2, "sum": 6, "min": 2, "max": 4, "mean": 3.0}
    api = Api.load("dataflow", "v1b3")
    assert api.violations_of("JobMetrics", answer) == []
    assert api.violations_of("Job", dataflow.job(job_id)) == []


def test_a_batch_job_that_dies_has_failed_and_says_why(dataflow: Dataflow) -> None:
    job_id = dataflow.launch("weather", "fail")
    dataflow.reaches(job_id, "FAILED")
    errors = dataflow.messages(job_id, minimumImportance="JOB_MESSAGE_ERROR")
    assert "Workflow failed: the pipeline exited with code 1." in errors[-1]["messageText"]
    assert "no such table: flights" in errors[-1]["messageText"]
    warnings = [
        one["messageText"]
        for one in dataflow.messages(job_id)
        if one["messageImportance"] == "JOB_MESSAGE_WARNING"
    ]
    assert warnings[0].endswith("WARNING late data")


def test_a_streaming_job_runs_until_it_is_drained(dataflow: Dataflow) -> None:
    job_id = dataflow.launch("stream", "run", streaming=True)
    dataflow.until(lambda: dataflow.job(job_id)["currentState"] == "JOB_STATE_RUNNING")
    dataflow.until(dataflow.written)
    start = dataflow.written()[0]
    assert start["options"]["runner"] == "BundleBasedDirectRunner"
    assert "streaming" in start["options"]
    dataflow.until(lambda: dataflow.messages(job_id, minimumImportance="JOB_MESSAGE_WARNING"))
    assert dataflow.ask(job_id, "DRAINED")["currentState"] == "JOB_STATE_DRAINING"
    assert dataflow.reaches(job_id, "DRAINED")["requestedState"] == "JOB_STATE_DRAINED"
    assert dataflow.written()[-1] == "stopped"


def test_cancel_does_not_wait_for_a_deaf_pipeline(dataflow: Dataflow) -> None:
    job_id = dataflow.launch("stream", "deaf", streaming=True)
    dataflow.until(dataflow.written)
    dataflow.ask(job_id, "CANCELLED")
    dataflow.reaches(job_id, "CANCELLED")
    assert "stopped" not in dataflow.written()


def test_a_streaming_job_whose_process_dies_is_started_again(dataflow: Dataflow) -> None:
    """It has to have been up once: what fails at its start was launched wrongly."""
    import os

    job_id = dataflow.launch("stream", "run", streaming=True)
    dataflow.until(dataflow.written)
    dataflow.rest.kill()  # after this, the job is known to have been up
    dataflow.rest.start()
    dataflow.until(lambda: len(dataflow.written()) == 2)
    os.kill(dataflow.written()[1]["pid"], 9)
    dataflow.until(lambda: len(dataflow.written()) == 3)
    assert dataflow.job(job_id)["currentState"] == "JOB_STATE_RUNNING"
    texts = [one["messageText"] for one in dataflow.messages(job_id)]
    assert "terminated by SIGKILL" in texts


def test_a_streaming_job_that_fails_at_its_start_has_failed(dataflow: Dataflow) -> None:
    job_id = dataflow.launch("stream", "fail", streaming=True)
    dataflow.reaches(job_id, "FAILED")
    assert len(dataflow.written()) == 1


def test_a_batch_job_cut_by_kill_9_is_run_again(dataflow: Dataflow) -> None:
    job_id = dataflow.launch("weather", "run")
    dataflow.until(dataflow.written)
    dataflow.rest.kill()
    dataflow.rest.start()
    dataflow.until(lambda: len(dataflow.written()) == 2)
    assert dataflow.job(job_id)["currentState"] == "JOB_STATE_RUNNING"


def test_an_update_replaces_the_job(dataflow: Dataflow) -> None:
    old = dataflow.launch("stream", "run", streaming=True)
    dataflow.until(dataflow.written)
    refused(409, "already an active job named stream", dataflow.request("stream", streaming=True))
    new = dataflow.launch("stream", "run", streaming=True, update=True)
    assert dataflow.reaches(old, "UPDATED")["replacedByJobId"] == new
    assert dataflow.reaches(new, "RUNNING")["replaceJobId"] == old
    dataflow.until(lambda: len(dataflow.written()) == 3)
    assert dataflow.written()[1] == "stopped"  # never both at once
    refused(
        400,
        "no active streaming job named other",
        dataflow.request("other", streaming=True, update=True),
    )
    refused(400, "only streaming jobs update", dataflow.request("stream", update=True))


def test_the_name_is_free_again_once_the_job_has_ended(dataflow: Dataflow) -> None:
    first = dataflow.launch("weather")
    dataflow.reaches(first, "DONE")
    second = dataflow.launch("weather")
    dataflow.reaches(second, "DONE")
    jobs = dataflow.located.jobs()
    listed = jobs.list(projectId="p", location=LOCATION, filter="TERMINATED").execute()["jobs"]
    assert [job["id"] for job in listed] == [second, first]
    assert jobs.list(projectId="p", location=LOCATION, filter="ACTIVE").execute() == {}
    everywhere = dataflow.rest.client("dataflow", "v1b3").projects().jobs()
    assert len(everywhere.aggregated(projectId="p").execute()["jobs"]) == 2
    assert everywhere.get(projectId="p", jobId=first, location=LOCATION).execute()["id"] == first


def test_the_specification_is_read_from_cloud_storage(dataflow: Dataflow, bucket: Any) -> None:
    bucket.blob("templates/batch.json").upload_from_string(json.dumps(dataflow.spec()))
    path = "gs://p-work/templates/batch.json"
    job_id = dataflow.launch("weather", containerSpec=None, containerSpecGcsPath=path)
    dataflow.reaches(job_id, "DONE")
    refused(
        400,
        "Unable to open template file: gs://p-work/none.json",
        dataflow.request(
            "weather", containerSpec=None, containerSpecGcsPath="gs://p-work/none.json"
        ),
    )
    bucket.blob("wrong.json").upload_from_string(json.dumps({"imagee": "x"}))
    refused(
        400,
        'Unknown name "imagee"',
        dataflow.request(
            "weather", containerSpec=None, containerSpecGcsPath="gs://p-work/wrong.json"
        ),
    )


def test_parameters_are_held_to_the_metadata(dataflow: Dataflow) -> None:
    with pytest.raises(HttpError) as caught:
        dataflow.request("weather", parameters={"mode": "x", "colour": "blue"}).execute()
    assert caught.value.status_code == 400
    (detail,) = caught.value.error_details  # type: ignore[misc]
    assert [one["parameter"] for one in detail["parameterViolations"]] == ["colour", "out"]
    assert "Missing required input" in caught.value.reason
    refused(400, "must match ^/", dataflow.request("weather", parameters={"out": "relative"}))


def test_a_validation_launches_nothing(dataflow: Dataflow) -> None:
    assert dataflow.request("weather", validateOnly=True).execute() == {}
    jobs = dataflow.located.jobs().list(projectId="p", location=LOCATION).execute()
    assert jobs == {}


def test_wrong_launches_are_refused(dataflow: Dataflow) -> None:
    refused(400, "Invalid job name (Weather)", dataflow.request("Weather"))
    refused(
        404,
        "Image 'repo/none' not found.",
        dataflow.request("weather", containerSpec=dataflow.spec(image="repo/none")),
    )
    refused(
        501,
        "'JAVA' is not supported",
        dataflow.request("weather", containerSpec=dataflow.spec(sdkInfo={"language": "JAVA"})),
    )
    refused(
        400,
        "must begin with gs://",
        dataflow.request("weather", environment={"tempLocation": "/tmp"}),
    )
    refused(
        400, 'Unknown name "machine"', dataflow.request("weather", environment={"machine": "x"})
    )
    plain = dataflow.rest.image("plain", "pass")
    refused(
        400,
        "no FLEX_TEMPLATE_PYTHON_PY_FILE",
        dataflow.request("weather", containerSpec=dataflow.spec(image=plain)),
    )


def test_states_that_cannot_be_asked_for_are_refused(dataflow: Dataflow) -> None:
    job_id = dataflow.launch("weather", "run")
    for state, message in (("DRAINED", "batch job"), ("DONE", "cannot be asked for")):
        with pytest.raises(HttpError, match=message):
            dataflow.ask(job_id, state)
    dataflow.ask(job_id, "CANCELLED")
    dataflow.reaches(job_id, "CANCELLED")
    assert dataflow.ask(job_id, "CANCELLED")["currentState"] == "JOB_STATE_CANCELLED"
    with pytest.raises(HttpError, match="could not be found"):
        dataflow.job("2026-01-01_00_00_00-1")


BEAM = """
import argparse, sys
import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

parser = argparse.ArgumentParser()
parser.add_argument("--out", required=True)
known, rest = parser.parse_known_args()
with beam.Pipeline(options=PipelineOptions(rest)) as pipeline:
    numbers = pipeline | "Numbers" >> beam.Create(range(10))
    total = numbers | "Sum" >> beam.CombineGlobally(sum)
    total | "Write" >> beam.Map(lambda value: open(known.out, "w").write(str(value)))
"""


def test_a_real_beam_pipeline_runs(rest: Any, until: Callable[..., Any], tmp_path: Path) -> None:
    dataflow = Dataflow(rest, until, tmp_path / "sum.txt")
    (rest.home.path.parent / "contexts" / "pipeline" / "main.py").write_text(BEAM)
    job_id = dataflow.launch("sum", parameters={"out": str(dataflow.out)})
    dataflow.reaches(job_id, "DONE", 60)
    assert dataflow.out.read_text() == "45"

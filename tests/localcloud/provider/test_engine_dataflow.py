"""A streaming job from a flex template on the real engine: launched, updated, cancelled."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pulumi
import pulumi_docker as docker
import pytest
from pulumi_gcp import dataflow, storage

from localcloud.provider.clients import Clients

from .conftest import Cloud, Deployment, changes

pytestmark = pytest.mark.engine

LOCATION = "us-central1"
STREAM = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
while True:
    time.sleep(0.1)
"""
SPECIFICATION = {
    "sdkInfo": {"language": "PYTHON"},
    "metadata": {
        "name": "test",
        "streaming": True,
        "parameters": [{"name": "topic", "label": "topic", "helpText": "what to read"}],
    },
}


@pytest.fixture
def clients(cloud: Cloud) -> Clients:
    cloud.start("rest")
    return Clients(cloud.home)


@pytest.fixture
def context(tmp_path: Path) -> Path:
    folder = tmp_path / "context"
    folder.mkdir()
    (folder / "main.py").write_text(STREAM)
    (folder / "Dockerfile").write_text(
        "FROM apache/beam_python3.13_sdk:2.77.0\nWORKDIR /template\nCOPY main.py .\n"
        "ENV FLEX_TEMPLATE_PYTHON_PY_FILE=/template/main.py\n"
        'ENTRYPOINT ["/opt/google/dataflow/python_template_launcher"]\n'
    )
    return folder


def program(context: Path, bucket_name: str, topic: str) -> None:
    image = docker.Image(
        "ingestion",
        image_name="us-central1-docker.pkg.dev/p/esteira/ingestion:1",
        build={"context": str(context)},
    )
    bucket = storage.Bucket("work", name=bucket_name, location="US", force_destroy=True)
    template = storage.BucketObject(
        "template",
        bucket=bucket.name,
        name="templates/stream.json",
        content=image.repo_digest.apply(lambda name: json.dumps({**SPECIFICATION, "image": name})),
    )
    job = dataflow.FlexTemplateJob(
        "streaming",
        name="orders-streaming",
        region=LOCATION,
        container_spec_gcs_path=pulumi.Output.format("gs://{0}/{1}", bucket.name, template.name),
        parameters={"topic": topic},
        on_delete="drain",
        temp_location=pulumi.Output.format("gs://{0}/temp", bucket.name),
    )
    pulumi.export("job", job.job_id)
    pulumi.export("state", job.state)


def test_whole_life(deploy: Deployment, clients: Clients, context: Path) -> None:
    project = deploy.config["gcp:project"]

    def up(topic: str) -> Any:
        return deploy.up(lambda: program(context, f"{project}-work", topic))

    def job(name: str) -> dict[str, Any]:
        return clients.rest.get(f"/v1b3/projects/{project}/locations/{LOCATION}/jobs/{name}")

    first = up("one")
    assert first.outputs["state"] == "JOB_STATE_RUNNING"
    assert changes(up("one")) == {}
    assert set(deploy.refresh()) == {"same"}

    second = up("two")
    assert changes(second) == {"update": 1}
    ended, running = first.outputs["job"], second.outputs["job"]
    assert running != ended
    assert job(running)["currentState"] == "JOB_STATE_RUNNING"
    assert changes(up("two")) == {}

    # Somebody cancels it: `refresh` finds that out and `up` launches it again.
    path = f"/v1b3/projects/{project}/locations/{LOCATION}/jobs/{running}"
    clients.rest.call("PUT", path, None, {"requestedState": "JOB_STATE_CANCELLED"})
    deadline = time.monotonic() + 60
    while job(running)["currentState"] != "JOB_STATE_CANCELLED":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert deploy.refresh()["delete"] == 1
    third = up("two")
    assert changes(third) == {"create": 1}
    relaunched = third.outputs["job"]

    deploy.destroy()
    assert job(relaunched)["currentState"] == "JOB_STATE_DRAINED"

"""A deployment that is killed midway: the next one converges, and takes over nothing foreign."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from localcloud.home import Home
from localcloud.provider.clients import Clients
from localcloud.provider.configuration import Configuration
from localcloud.provider.errors import AlreadyExists
from localcloud.provider.lifecycle import Lifecycle
from localcloud.provider.realise.pubsub_topic import Topic

from .conftest import ROOT, Cloud, Deployment, changes, nothing
from .interrupted_up import program

TOPIC = "gcp:pubsub/topic:Topic"
URN = "urn:pulumi:dev::test::gcp:pubsub/topic:Topic::orders"
CONFIGURATION = Configuration("gcp", project="interrupted", region="us-central1")
COUNT = 40
FEW = 20


class Killed(BaseException):
    """Stands for the end of the process: nothing below may catch it."""


@pytest.fixture
def lifecycle(cloud: Cloud) -> Lifecycle:
    return Lifecycle(cloud.home)


def test_a_creation_cut_before_its_answer_is_adopted(
    lifecycle: Lifecycle, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = {"name": "cut-before-answer", "labels": {"a": "1"}}
    real = Topic.create

    def cut(self: Topic, properties: Mapping[str, Any]) -> str:
        real(self, properties)
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(Topic, "create", cut)
        with pytest.raises(Killed):
            lifecycle.create(TOPIC, URN, inputs, CONFIGURATION)
    again = Lifecycle(cloud.home).create(
        TOPIC, URN, {**inputs, "labels": {"a": "2"}}, CONFIGURATION
    )
    assert again.outputs["effectiveLabels"]["a"] == "2"


def test_a_creation_that_the_engine_never_heard_of_is_adopted(lifecycle: Lifecycle) -> None:
    inputs = {"name": "never-heard-of"}
    first = lifecycle.create(TOPIC, URN, inputs, CONFIGURATION)
    assert lifecycle.create(TOPIC, URN, inputs, CONFIGURATION).id == first.id


def test_what_the_engine_knows_is_not_created_again(lifecycle: Lifecycle) -> None:
    inputs = {"name": "known"}
    made = lifecycle.create(TOPIC, URN, inputs, CONFIGURATION)
    lifecycle.diff(
        TOPIC,
        made.id,
        URN,
        olds=made.outputs,
        old_inputs=inputs,
        news=inputs,
        configuration=CONFIGURATION,
    )
    with pytest.raises(AlreadyExists, match="409"):
        lifecycle.create(TOPIC, URN, inputs, CONFIGURATION)


def test_another_resource_of_the_same_identity_is_refused(lifecycle: Lifecycle) -> None:
    inputs = {"name": "two-declare-it"}
    lifecycle.create(TOPIC, URN, inputs, CONFIGURATION)
    with pytest.raises(AlreadyExists):
        lifecycle.create(TOPIC, URN + "-again", inputs, CONFIGURATION)


def test_recorded_resources_are_adopted_and_refused_alike(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.reserve()
    token, urn = "gcp:secretmanager/secret:Secret", URN.replace("orders", "secret")
    inputs = {"secretId": "key", "replication": {"auto": {}}}
    first = Lifecycle(home).create(token, urn, inputs, CONFIGURATION)
    later = Lifecycle(home)
    assert later.create(token, urn, inputs, CONFIGURATION).id == first.id
    with pytest.raises(AlreadyExists):
        later.create(token, urn + "-other", inputs, CONFIGURATION)


def started(deployment: Deployment, bucket: str, count: int) -> subprocess.Popen[bytes]:
    """The deployment as a process of its own."""
    deployment.stack(nothing)
    script = Path(__file__).parent / "interrupted_up.py"
    return subprocess.Popen(
        [sys.executable, str(script), str(deployment.work), bucket, str(count)],
        env={**os.environ, **deployment.environment, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.DEVNULL,
    )


@pytest.mark.engine
@pytest.mark.long
def test_up_killed_midway_converges(deploy: Deployment, cloud: Cloud) -> None:
    project = deploy.config["gcp:project"]
    bucket = f"{project}-bucket"
    clients = Clients(cloud.home)
    running = started(deploy, bucket, COUNT)
    try:
        wait_for_topics(clients, project, 15)
    finally:
        kill_family(running.pid)
        running.wait()
    deploy.stack(nothing).cancel()
    assert changes(deploy.up(lambda: program(bucket, COUNT)))["create"] > 0
    assert count_topics(clients, project) == COUNT
    assert changes(deploy.up(lambda: program(bucket, COUNT))) == {}
    assert deploy.destroy()["delete"] == 3 * COUNT + 2
    assert count_topics(clients, project) == 0


@pytest.mark.engine
def test_a_provider_killed_midway_is_carried_on_by_the_next(
    deploy: Deployment, cloud: Cloud
) -> None:
    project = deploy.config["gcp:project"]
    bucket = f"{project}-bucket"
    clients = Clients(cloud.home)
    running = started(deploy, bucket, FEW)
    wait_for_topics(clients, project, 5)
    cloud.kill("provider")
    assert running.wait(60) != 0
    cloud.start("provider")
    deploy.up(lambda: program(bucket, FEW))
    assert count_topics(clients, project) == FEW
    assert changes(deploy.up(lambda: program(bucket, FEW))) == {}


def count_topics(clients: Clients, project: str) -> int:
    return len(list(clients.publisher.list_topics(project=f"projects/{project}")))


def wait_for_topics(clients: Clients, project: str, number: int) -> None:
    deadline = time.monotonic() + 90
    while count_topics(clients, project) < number:
        assert time.monotonic() < deadline, "the deployment makes no topics"
        time.sleep(0.02)


def kill_family(pid: int) -> None:
    """End a process and all below it at once."""
    parent = psutil.Process(pid)
    for process in [parent, *parent.children(recursive=True)]:
        try:
            os.kill(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue

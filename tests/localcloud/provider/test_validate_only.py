"""The provider without a local cloud: previews for a pull request that has no credentials."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import psutil
import pulumi
import pytest
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc
from pulumi_gcp import cloudrunv2, pubsub, serviceaccount, storage

from esteira.engine.install import Engine

from .conftest import ROOT, Deployment, Fresh, deployment, end

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """The port of a provider that only validates."""
    process = subprocess.Popen(
        [sys.executable, "-m", "localcloud.provider", "--validate-only", "--port", "0"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["port"]
    finally:
        end(process.pid)
        process.wait()


@pytest.fixture
def offline(port: int, engine: Engine, fresh: Fresh, tmp_path: Path) -> Deployment:
    """A fresh stack against it."""
    return deployment(engine, fresh, tmp_path, port)


def test_a_preview_needs_no_service(offline: Deployment) -> None:
    def program() -> None:
        account = serviceaccount.Account("train", account_id="train-product")
        topic = pubsub.Topic("orders", name="orders")
        pubsub.TopicIAMMember(
            "grant", topic=topic.id, role="roles/pubsub.publisher", member=account.member
        )
        service = cloudrunv2.Service(
            "serving",
            name="serving",
            location="us-central1",
            template={"containers": [{"image": "us-docker.pkg.dev/p/r/i:1"}]},
        )
        pubsub.Subscription(
            "push", name="push", topic=topic.id, push_config={"push_endpoint": service.uri}
        )

    assert offline.preview(program) == {"create": 6}


def test_a_wrong_input_fails_the_preview(offline: Deployment) -> None:
    def program() -> None:
        storage.Bucket("b", name="bucket", location="US", labels={"Team": "ml"})

    with pytest.raises(pulumi.automation.CommandError, match="no label"):
        offline.preview(program)


def test_previews_of_two_commits_name_a_thing_alike(port: int) -> None:
    """A name with new digits in each preview would read as a replacement in every review."""
    names = set[str]()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        provider = provider_pb2_grpc.ResourceProviderStub(channel)
        configure = provider_pb2.ConfigureRequest(
            urn="urn:pulumi:dev::esteira::pulumi:providers:gcp::default"
        )
        configure.args.update({"project": "acme-dev"})
        provider.Configure(configure)
        for seed in (b"one", b"two"):
            request = provider_pb2.CheckRequest(
                urn="urn:pulumi:dev::esteira::gcp:sql/databaseInstance:DatabaseInstance::records",
                randomSeed=seed,
            )
            request.news.update(
                {"databaseVersion": "POSTGRES_15", "settings": {"tier": "db-f1-micro"}}
            )
            answer = provider.Check(request)
            names.add(answer.inputs["name"])
    (name,) = names
    assert re.fullmatch(r"records-[0-9a-f]{7}", name)


def test_it_ends_when_its_parent_was_killed() -> None:
    """Its parent is the command line; the engine it serves is none the wiser."""
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            (
                "import time\n"
                "from esteira.engine.stack import validating_provider\n"
                "with validating_provider() as port:\n"
                "    print(port, flush=True)\n"
                "    time.sleep(300)\n"
            ),
        ],
        stdout=subprocess.PIPE,
    )
    assert parent.stdout is not None
    assert int(parent.stdout.readline()) > 0
    (provider,) = psutil.Process(parent.pid).children()
    parent.kill()
    parent.wait(10)
    provider.wait(10)

"""The provider without a local cloud: previews for a pull request that has no credentials."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pulumi
import pytest
from pulumi_gcp import cloudrunv2, pubsub, serviceaccount, storage

from .conftest import ROOT, Deployment, deployment, end

pytestmark = pytest.mark.engine


@pytest.fixture
def offline(engine: Path, tmp_path: Path) -> Iterator[Deployment]:
    process = subprocess.Popen(
        [sys.executable, "-m", "localcloud.provider", "--validate-only", "--port", "0"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        yield deployment(engine, tmp_path, json.loads(process.stdout.readline())["port"])
    finally:
        end(process.pid)
        process.wait()


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

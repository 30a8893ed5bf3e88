"""A deployment of many resources, run as a process of its own so that a test can kill it.

`python interrupted_up.py WORK BUCKET COUNT` deploys to the stack `test` that the test has made.
"""

from __future__ import annotations

import os
import sys

from pulumi import automation
from pulumi_gcp import pubsub, secretmanager, storage

from esteira.engine import install
from esteira.engine.brief import BriefStack, KnownCommand


def program(bucket: str, count: int) -> None:
    """A bucket, and `count` topics, subscriptions and secrets."""
    storage.Bucket("bucket", name=bucket, location="US")
    for number in range(count):
        topic = pubsub.Topic(f"topic-{number}", name=f"topic-{number}")
        pubsub.Subscription(f"sub-{number}", name=f"sub-{number}", topic=topic.id)
        secretmanager.Secret(f"secret-{number}", secret_id=f"s-{number}", replication={"auto": {}})


def main(work: str, bucket: str, count: int) -> None:
    """Deploy once."""
    engine = install.find()
    assert engine is not None
    workspace = automation.LocalWorkspace(
        program=lambda: program(bucket, count),
        work_dir=work,
        env_vars=dict(os.environ),
        pulumi_command=KnownCommand(engine.path, engine.version),
    )
    stack = BriefStack.open("test", workspace, exists=True)
    with stack.brief() as summary:
        stack.up(suppress_outputs=True, on_event=summary)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))

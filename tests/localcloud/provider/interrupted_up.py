"""A deployment of many resources, run as a process of its own so that a test can kill it.

`python interrupted_up.py WORK BUCKET COUNT` deploys to the stack `test` that the test has made.
"""

from __future__ import annotations

import os
import sys

from pulumi import automation
from pulumi_gcp import pubsub, secretmanager, storage


def program(bucket: str, count: int) -> None:
    """A bucket, and `count` topics, subscriptions and secrets."""
    storage.Bucket("bucket", name=bucket, location="US")
    for number in range(count):
        topic = pubsub.Topic(f"topic-{number}", name=f"topic-{number}")
        pubsub.Subscription(f"sub-{number}", name=f"sub-{number}", topic=topic.id)
        secretmanager.Secret(f"secret-{number}", secret_id=f"s-{number}", replication={"auto": {}})


def main(work: str, bucket: str, count: int) -> None:
    """Deploy once."""
    stack = automation.select_stack(
        stack_name="test",
        project_name="provider-test",
        program=lambda: program(bucket, count),
        opts=automation.LocalWorkspaceOptions(
            project_settings=automation.ProjectSettings(
                name="provider-test",
                runtime="python",
                backend=automation.ProjectBackend(url=f"file://{work}?metadata=skip"),
            ),
            work_dir=work,
            env_vars=dict(os.environ),
            pulumi_command=automation.PulumiCommand(os.environ["ENGINE"]),
        ),
    )
    stack.up(suppress_outputs=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))

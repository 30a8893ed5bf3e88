"""Where training pipelines run: their root in a bucket, and the identity of their steps.

Vertex AI Pipelines itself is nothing that is made: runs are submitted to it by the workloads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_gcp as gcp

from components import checks
from components.child_opts import child_opts
from components.column_policy import READER
from components.workload_identity import (
    Grant,
    ProjectWide,
    WorkloadIdentity,
    WorkloadIdentityArgs,
)


@dataclass(frozen=True, kw_only=True)
class PipelineRunnerArgs:
    """What pipelines need.

    Raises:
        InvalidArgs: at construction, when the root is no folder name.
    """

    project: str
    account_id: str
    """The part of its e-mail before the `@`; 6 to 30 characters."""
    bucket: gcp.storage.Bucket
    """Holds the root and all artefacts."""
    reads: Sequence[gcp.bigquery.Dataset]
    """Datasets whose tables the steps query."""
    writes: Sequence[gcp.bigquery.Dataset]
    """Datasets in which the steps make tables."""
    reads_personal: Sequence[gcp.datacatalog.PolicyTag] = ()
    """Policy tags of columns that the steps query, although they hold personal data."""
    images: gcp.artifactregistry.Repository
    """Where the steps' image is pulled from."""
    grants: Sequence[Grant] = ()
    """What else the steps may do."""
    root: str = "pipelines"
    """The folder of the bucket under which each run has its own."""

    def __post_init__(self) -> None:
        if not self.root or self.root.startswith("/") or self.root.endswith("/"):
            raise checks.InvalidArgs(
                "PipelineRunner", "root", self.root, "a folder, without slashes at its ends"
            )


class PipelineRunner(pulumi.ComponentResource):
    """Pipeline root and identity `<name>`."""

    identity: WorkloadIdentity
    root: pulumi.Output[str]
    """`gs://<bucket>/<folder>`, the `pipeline_root` of every run."""
    service_account: pulumi.Output[str]
    """E-mail of the identity of the steps."""

    def __init__(
        self, name: str, *, args: PipelineRunnerArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("esteira:pipeline_runner:PipelineRunner", name, {}, opts)
        self.identity = WorkloadIdentity(
            name,
            args=WorkloadIdentityArgs(
                account_id=args.account_id,
                description="Runs the steps of training pipelines",
                grants=[
                    Grant(role="roles/storage.objectAdmin", on=args.bucket, label="artefacts"),
                    Grant(
                        role="roles/artifactregistry.reader", on=args.images, label="pull-images"
                    ),
                    *[
                        Grant(role="roles/bigquery.dataViewer", on=dataset, label=f"read-{number}")
                        for number, dataset in enumerate(args.reads)
                    ],
                    *[
                        Grant(role=READER, on=tag, label=f"read-personal-{number}")
                        for number, tag in enumerate(args.reads_personal)
                    ],
                    *[
                        Grant(role="roles/bigquery.dataEditor", on=dataset, label=f"write-{number}")
                        for number, dataset in enumerate(args.writes)
                    ],
                    *[
                        Grant(
                            role=role,
                            on=ProjectWide(project=args.project),
                            label=role.rpartition(".")[2].lower(),
                        )
                        for role in (
                            "roles/aiplatform.user",
                            "roles/bigquery.jobUser",
                            "roles/bigquery.readSessionUser",
                            "roles/logging.logWriter",
                        )
                    ],
                    *args.grants,
                ],
                # A step submits custom jobs, and retraining submits runs, as this same identity.
                acts_as_itself=True,
            ),
            opts=child_opts(self),
        )
        self.root = pulumi.Output.concat(args.bucket.url, "/", args.root)
        self.service_account = self.identity.email
        self.register_outputs({"root": self.root, "service_account": self.service_account})

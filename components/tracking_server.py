"""MLflow's tracking server: the bucket that holds its files, and the service in front of it.

Clients see neither the database nor the bucket: runs, metrics and files all pass through the
service, which Cloud Run lets nobody but named callers reach.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_gcp as gcp

from components import checks
from components.child_opts import child_opts
from components.cloud_run import SERVICE_NAME, Container, Probes
from components.web_service import WebService, WebServiceArgs

SCHEMA_SECONDS: Final = 240
"""How long a start may take: the first one makes MLflow's tables, an upgrade may rewrite some.
Cloud Run allows a startup probe 240 s in all."""


@dataclass(frozen=True, kw_only=True)
class TrackingServerArgs:
    """What a tracking server needs.

    Raises:
        InvalidArgs: at construction, when a name or a number would be refused.
    """

    location: str
    bucket: str
    """Name of the bucket; unique in all of Google Cloud, so it starts with the project."""
    image: pulumi.Input[str]
    """By digest."""
    service_account: pulumi.Input[str]
    """E-mail of the identity that the server runs as; it is granted the bucket."""
    environment: Mapping[str, pulumi.Input[str]]
    callers: Mapping[str, pulumi.Input[str]]
    """Who may call it: members as IAM writes them, by a short name."""
    min_instances: int = 0
    on_first_request: bool = False
    """Whether a deployment starts no instance to try it."""
    max_instances: int = 2
    cpu: str = "1"
    memory: str = "2Gi"
    """Each of MLflow's workers takes about 300 MiB, measured with 3.17.2."""
    noncurrent_days: int = 30
    """How long a replaced or deleted file can be brought back."""
    subnetwork: pulumi.Input[str] | None = None
    """Through which it reaches the database."""
    kms_key: pulumi.Input[str] | None = None
    bucket_kms_key: pulumi.Input[str] | None = None
    access_log: pulumi.Input[str] | None = None
    """Bucket that keeps a log of who touched the files."""
    force_destroy: bool = False
    """Whether destroying the stack deletes the bucket while it holds files."""
    protect: bool = False
    """Whether Pulumi refuses to delete the bucket."""
    deletion_protection: bool = False

    def __post_init__(self) -> None:
        who = "TrackingServer"
        checks.matches(who, "bucket", self.bucket, checks.BUCKET)
        checks.between(who, "noncurrent_days", self.noncurrent_days, 1, 36_500, "days")
        checks.between(who, "max_instances", self.max_instances, 1, 100)
        checks.between(who, "min_instances", self.min_instances, 0, self.max_instances)


class TrackingServer(pulumi.ComponentResource):
    """Cloud Run service and bucket of MLflow."""

    bucket: gcp.storage.Bucket
    web: WebService

    def __init__(
        self, name: str, *, args: TrackingServerArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        checks.matches("TrackingServer", "name", name, SERVICE_NAME)
        super().__init__("esteira:tracking_server:TrackingServer", name, {}, opts)
        self.bucket = gcp.storage.Bucket(
            f"{name}-artifacts",
            name=args.bucket,
            location=args.location.upper(),
            uniform_bucket_level_access=True,
            public_access_prevention="enforced",
            versioning=gcp.storage.BucketVersioningArgs(enabled=True),
            lifecycle_rules=[
                gcp.storage.BucketLifecycleRuleArgs(
                    action=gcp.storage.BucketLifecycleRuleActionArgs(type="Delete"),
                    condition=gcp.storage.BucketLifecycleRuleConditionArgs(
                        days_since_noncurrent_time=args.noncurrent_days
                    ),
                ),
                gcp.storage.BucketLifecycleRuleArgs(
                    action=gcp.storage.BucketLifecycleRuleActionArgs(
                        type="AbortIncompleteMultipartUpload"
                    ),
                    condition=gcp.storage.BucketLifecycleRuleConditionArgs(age=7),
                ),
            ],
            encryption=None
            if args.bucket_kms_key is None
            else gcp.storage.BucketEncryptionArgs(default_kms_key_name=args.bucket_kms_key),
            logging=None
            if args.access_log is None
            else gcp.storage.BucketLoggingArgs(
                log_bucket=args.access_log, log_object_prefix=args.bucket
            ),
            force_destroy=args.force_destroy,
            opts=child_opts(self, protect=args.protect),
        )
        access = gcp.storage.BucketIAMMember(
            f"{name}-artifacts-server",
            bucket=self.bucket.name,
            role="roles/storage.objectAdmin",
            member=pulumi.Output.concat("serviceAccount:", args.service_account),
            opts=child_opts(self),
        )
        self.web = WebService(
            name,
            args=WebServiceArgs(
                location=args.location,
                description="MLflow: experiments, runs, files",
                container=Container(
                    image=args.image,
                    environment=args.environment,
                    cpu=args.cpu,
                    memory=args.memory,
                ),
                # Known once the server may use the bucket: it would start and fail before.
                service_account=pulumi.Output.all(args.service_account, access.urn).apply(
                    lambda known: str(known[0])
                ),
                callers=args.callers,
                probes=Probes(
                    startup="/health", liveness="/health", startup_seconds=SCHEMA_SECONDS
                ),
                min_instances=args.min_instances,
                on_first_request=args.on_first_request,
                max_instances=args.max_instances,
                # Files pass through it: an upload may take minutes.
                timeout_seconds=900,
                subnetwork=args.subnetwork,
                kms_key=args.kms_key,
                deletion_protection=args.deletion_protection,
            ),
            opts=child_opts(self),
        )
        self.register_outputs({"uri": self.web.service.uri, "bucket": self.bucket.url})

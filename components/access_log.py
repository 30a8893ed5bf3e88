"""The bucket that keeps who read and wrote the objects of the other buckets.

Cloud Storage delivers usage logs to it by the hour, under a prefix for each bucket. Cloud Audit
Logs tell the same with less delay; these cost nothing but their storage, and are what CIS-like
checks look for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_gcp as gcp

from components import checks
from components.child_opts import child_opts

WRITER: Final = "group:cloud-storage-analytics@google.com"
"""Delivers the logs, by Google's document on usage logs. An organisation that restricts sharing by
domain has to allow it."""


@dataclass(frozen=True, kw_only=True)
class AccessLogArgs:
    """What the log bucket needs.

    Raises:
        InvalidArgs: at construction, when its name or a number would be refused.
    """

    bucket: str
    """Its name, unique in all of Google Cloud, so it starts with the project."""
    location: str
    """That of the buckets whose access is logged."""
    retention_days: int = 400
    """Age at which an entry is deleted."""
    kms_key: pulumi.Input[str] | None = None
    """Key that encrypts the logs; Google's own when not given."""
    force_destroy: bool = False
    """Whether destroying the stack deletes it with what it holds."""
    protect: bool = False

    def __post_init__(self) -> None:
        checks.matches("AccessLog", "bucket", self.bucket, checks.BUCKET)
        checks.between("AccessLog", "retention_days", self.retention_days, 1, 3650, "days")


class AccessLog(pulumi.ComponentResource):
    """Bucket `<bucket>`, into which Cloud Storage writes."""

    bucket: gcp.storage.Bucket
    writer: gcp.storage.BucketIAMMember
    name: pulumi.Output[str]
    """Of the bucket, known once the logs can be delivered."""

    def __init__(
        self, name: str, *, args: AccessLogArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("esteira:access_log:AccessLog", name, {}, opts)
        self.bucket = gcp.storage.Bucket(
            name,
            name=args.bucket,
            location=args.location.upper(),
            uniform_bucket_level_access=True,
            public_access_prevention="enforced",
            versioning=gcp.storage.BucketVersioningArgs(enabled=True),
            lifecycle_rules=[
                gcp.storage.BucketLifecycleRuleArgs(
                    action=gcp.storage.BucketLifecycleRuleActionArgs(type="Delete"),
                    condition=condition,
                )
                for condition in (
                    gcp.storage.BucketLifecycleRuleConditionArgs(
                        age=args.retention_days, with_state="LIVE"
                    ),
                    gcp.storage.BucketLifecycleRuleConditionArgs(days_since_noncurrent_time=7),
                )
            ],
            soft_delete_policy=gcp.storage.BucketSoftDeletePolicyArgs(
                retention_duration_seconds=7 * 86_400
            ),
            encryption=None
            if args.kms_key is None
            else gcp.storage.BucketEncryptionArgs(default_kms_key_name=args.kms_key),
            force_destroy=args.force_destroy,
            opts=child_opts(self, protect=args.protect),
        )
        self.writer = gcp.storage.BucketIAMMember(
            f"{name}-writer",
            bucket=self.bucket.name,
            role="roles/storage.objectCreator",
            member=WRITER,
            opts=child_opts(self),
        )
        self.name = pulumi.Output.all(self.bucket.name, self.writer.urn).apply(
            lambda known: str(known[0])
        )
        self.register_outputs({"bucket": self.bucket.url})

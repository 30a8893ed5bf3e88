"""Buckets of Cloud Storage."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from policies.checks import at, equals, is_set, is_true, no_public_member, not_true
from policies.rule import HOUSE, Level, Resource, Rule, Severity

BUCKET: Final = "gcp:storage/bucket:Bucket"
GRANTS: Final = (
    "gcp:storage/bucketIAMMember:BucketIAMMember",
    "gcp:storage/bucketIAMBinding:BucketIAMBinding",
    "gcp:storage/bucketIAMPolicy:BucketIAMPolicy",
)


def _log_elsewhere(resource: Resource) -> Iterator[str]:
    if at(resource.props, "logging.logBucket") == resource.props.get("name"):
        yield "`logging.logBucket` is the bucket itself, so that each entry makes another"


RULES: Final = (
    Rule(
        name="bucket-uniform-access",
        description="Access to a bucket is granted on the bucket, not on single objects.",
        remedy="Set `uniformBucketLevelAccess` to true; grant roles with BucketIAMMember.",
        references=("CIS 5.2", "CKV_GCP_29"),
        level=Level.MANDATORY,
        severity=Severity.HIGH,
        types=(BUCKET,),
        checks=(is_true("uniformBucketLevelAccess"),),
    ),
    Rule(
        name="bucket-public-access-prevention",
        description="No grant can make a bucket public.",
        remedy="Set `publicAccessPrevention` to `enforced`.",
        references=("CIS 5.1", "CKV_GCP_114"),
        level=Level.MANDATORY,
        severity=Severity.CRITICAL,
        types=(BUCKET,),
        checks=(equals("publicAccessPrevention", "enforced"),),
    ),
    Rule(
        name="bucket-no-public-member",
        description="No role on a bucket is granted to everyone.",
        remedy="Grant the role to the service account or group that needs it.",
        references=("CIS 5.1", "CKV_GCP_28"),
        level=Level.MANDATORY,
        severity=Severity.CRITICAL,
        types=GRANTS,
        checks=(no_public_member,),
    ),
    Rule(
        name="bucket-versioning",
        description="A replaced or deleted object can be brought back.",
        remedy="Set `versioning.enabled` to true, with a lifecycle rule that ends old versions.",
        references=("CKV_GCP_78",),
        level=Level.IN_PROD,
        severity=Severity.MEDIUM,
        types=(BUCKET,),
        checks=(is_true("versioning.enabled"),),
    ),
    Rule(
        name="bucket-customer-key",
        description="Objects are encrypted with a key of our own.",
        remedy="Set `encryption.defaultKmsKeyName` (setting `security.customerManagedKeys`).",
        references=(HOUSE,),
        level=Level.IN_PROD,
        severity=Severity.HIGH,
        types=(BUCKET,),
        checks=(is_set("encryption.defaultKmsKeyName"),),
    ),
    Rule(
        name="bucket-access-log",
        description="Access to a bucket is logged to another bucket.",
        remedy="Set `logging.logBucket` to a bucket for logs, or rely on Cloud Audit Logs.",
        references=("CKV_GCP_62", "CKV_GCP_63"),
        level=Level.ADVISORY,
        severity=Severity.LOW,
        types=(BUCKET,),
        checks=(is_set("logging.logBucket"), _log_elsewhere),
    ),
    Rule(
        name="bucket-no-force-destroy",
        description="A bucket that still holds objects cannot be destroyed.",
        remedy="Leave `forceDestroy` out (setting `security.forceDestroy`); empty it by hand.",
        references=(HOUSE,),
        level=Level.IN_PROD,
        severity=Severity.HIGH,
        types=(BUCKET,),
        checks=(not_true("forceDestroy"),),
    ),
)

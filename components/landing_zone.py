"""The buckets of one product, and the notice that a file has landed.

Owns three buckets and one topic: `landing` takes files in, `models` keeps artefacts, pipeline roots
and decisions, `work` holds what Dataflow stages. It leaves alone who may read and write: those
grants belong to the identities of the workloads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import pulumi
import pulumi_gcp as gcp

from components import checks
from components.child_opts import child_opts

SNAPSHOTS: Final = "snapshots/"
"""The prefix in the models bucket under which training freezes its rows, each object named by the
hash of its content."""
TEMPORARY: Final = "temp/"
"""The prefix in the work bucket under which everything is forgotten after a while.

Only this one: a streaming job reads its staged files again for as long as it runs.
"""


@dataclass(frozen=True, kw_only=True)
class LandingZoneArgs:
    """What the buckets of a product need.

    Raises:
        InvalidArgs: at construction, when a bucket's name or a number would be refused.
    """

    bucket_prefix: str
    """Buckets are named `<prefix>-landing`, `-models` and `-work`; unique in all of Google Cloud,
    so it starts with the project."""
    location: str
    storage_agent: pulumi.Input[str]
    """`serviceAccount:...` of the project's Cloud Storage service agent, which sends the notice."""
    kms_key: pulumi.Input[str] | None = None
    """Key that encrypts objects; Google's own when not given."""
    topic_kms_key: pulumi.Input[str] | None = None
    """Key that encrypts notices; Google's own when not given."""
    landing_retention_days: int | None = None
    """Landed files are deleted after this long; kept when not given."""
    work_retention_days: int = 14
    """Temporary files of Dataflow are deleted after this long."""
    snapshot_retention_days: int | None = None
    """Frozen training snapshots in `models` are deleted after this long; kept when not given. A run
    whose snapshot is gone can no longer be reproduced, and its model still be served."""
    access_log: pulumi.Input[str] | None = None
    """Bucket that keeps who read and wrote; nothing is kept when not given."""
    noncurrent_days: int = 30
    """How long a replaced or deleted object can be brought back."""
    notice_retention_days: int = 7
    """How long the notice of a file waits to be read, up to 31."""
    force_destroy: bool = False
    """Whether destroying the stack deletes buckets that still hold objects."""
    protect: bool = False
    """Whether the buckets refuse to be deleted by a change of the program."""

    def __post_init__(self) -> None:
        who = "LandingZone"
        for role in ("landing", "models", "work"):
            checks.matches(who, "bucket_prefix", f"{self.bucket_prefix}-{role}", checks.BUCKET)
        for days in (
            "landing_retention_days",
            "work_retention_days",
            "snapshot_retention_days",
            "noncurrent_days",
        ):
            checks.between(who, days, getattr(self, days), 1, 36_500, "days")
        checks.between(who, "notice_retention_days", self.notice_retention_days, 1, 31, "days")


class LandingZone(pulumi.ComponentResource):
    """Buckets `landing`, `models`, `work`; topic `<name>-landed` with a message for each file."""

    landing: gcp.storage.Bucket
    models: gcp.storage.Bucket
    work: gcp.storage.Bucket
    landed: gcp.pubsub.Topic
    notification: gcp.storage.Notification

    def __init__(
        self, name: str, *, args: LandingZoneArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        checks.matches("LandingZone", "name", f"{name}-landed", checks.TOPIC)
        super().__init__("esteira:landing_zone:LandingZone", name, {}, opts)
        self._name = name
        self._args = args
        self.landing = self._bucket("landing", delete_after_days=args.landing_retention_days)
        self.models = self._bucket(
            "models", delete_after_days=args.snapshot_retention_days, prefix=SNAPSHOTS
        )
        self.work = self._bucket(
            "work", delete_after_days=args.work_retention_days, prefix=TEMPORARY, scratch=True
        )
        self.landed = gcp.pubsub.Topic(
            f"{name}-landed",
            name=f"{name}-landed",
            message_retention_duration=f"{args.notice_retention_days * 86_400}s",
            kms_key_name=args.topic_kms_key,
            opts=child_opts(self),
        )
        publisher = gcp.pubsub.TopicIAMMember(
            f"{name}-landed-publisher",
            topic=self.landed.name,
            role="roles/pubsub.publisher",
            member=args.storage_agent,
            opts=child_opts(self),
        )
        self.notification = gcp.storage.Notification(
            f"{name}-landed",
            bucket=self.landing.name,
            topic=self.landed.id,
            payload_format="JSON_API_V1",
            event_types=["OBJECT_FINALIZE"],
            # Cloud Storage tries to publish when the notification is made, and fails without it.
            opts=child_opts(self, depends_on=[publisher]),
        )
        self.register_outputs(
            {
                "landing": self.landing.url,
                "models": self.models.url,
                "work": self.work.url,
                "landed": self.landed.id,
            }
        )

    def _bucket(
        self,
        role: str,
        *,
        delete_after_days: int | None = None,
        prefix: str | None = None,
        scratch: bool = False,
    ) -> gcp.storage.Bucket:
        """One bucket: uniform access, never public, versioned, tidied by its lifecycle.

        Args:
            role: What it is for; the end of its name.
            delete_after_days: Age at which live objects go, those under `prefix` if one is given.
            prefix: See above.
            scratch: Nothing in it need ever be brought back, so versions go after a day.
        """
        args = self._args
        rules = [
            _rule("Delete", days_since_noncurrent_time=1 if scratch else args.noncurrent_days),
            _rule("AbortIncompleteMultipartUpload", age=7),
        ]
        if delete_after_days is not None:
            where = {} if prefix is None else {"matches_prefixes": [prefix]}
            rules.append(_rule("Delete", age=delete_after_days, with_state="LIVE", **where))
        return gcp.storage.Bucket(
            f"{self._name}-{role}",
            name=f"{args.bucket_prefix}-{role}",
            # Cloud Storage answers in capitals, and a bucket's location cannot be changed.
            location=args.location.upper(),
            uniform_bucket_level_access=True,
            public_access_prevention="enforced",
            versioning=gcp.storage.BucketVersioningArgs(enabled=True),
            lifecycle_rules=rules,
            # What nobody reads moves to cheaper classes by itself, and back without a fee. Files
            # of Dataflow live too short for it.
            autoclass=None
            if scratch
            else gcp.storage.BucketAutoclassArgs(enabled=True, terminal_storage_class="ARCHIVE"),
            logging=None
            if args.access_log is None
            else gcp.storage.BucketLoggingArgs(
                log_bucket=args.access_log, log_object_prefix=f"{args.bucket_prefix}-{role}"
            ),
            # Dataflow rewrites its files all the time: Google advises no soft deletion for them.
            soft_delete_policy=gcp.storage.BucketSoftDeletePolicyArgs(
                retention_duration_seconds=0 if scratch else 7 * 86_400
            ),
            encryption=None
            if args.kms_key is None
            else gcp.storage.BucketEncryptionArgs(default_kms_key_name=args.kms_key),
            force_destroy=args.force_destroy,
            opts=child_opts(self, protect=args.protect),
        )


def _rule(action: str, **condition: Any) -> gcp.storage.BucketLifecycleRuleArgs:
    return gcp.storage.BucketLifecycleRuleArgs(
        action=gcp.storage.BucketLifecycleRuleActionArgs(type=action),
        condition=gcp.storage.BucketLifecycleRuleConditionArgs(**condition),
    )

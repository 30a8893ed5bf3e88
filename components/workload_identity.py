"""Who a workload is, and what it may do: one service account, roles granted on resources.

No keys: workloads on Google Cloud get their identity from where they run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pulumi
import pulumi_gcp as gcp

from components import checks, dataset_access
from components.child_opts import child_opts

PROJECT_ROLES: Final = {
    "roles/aiplatform.viewer": "models of the registry take no grants of their own",
    "roles/aiplatform.user": "Vertex AI has no finer grant for pipeline jobs and the registry",
    "roles/bigquery.jobUser": "a query belongs to a project, not to a dataset",
    "roles/bigquery.readSessionUser": "a read session belongs to a project",
    "roles/cloudsql.instanceUser": "a database instance takes no grants of its own",
    "roles/dataflow.developer": "Dataflow jobs take no grants of their own",
    "roles/dataflow.worker": "Dataflow jobs take no grants of their own",
    "roles/logging.logWriter": "log entries belong to a project",
    "roles/monitoring.metricWriter": "time series belong to a project",
}
"""Roles that Google offers only on a project, and why. Every other role goes on a resource."""


@dataclass(frozen=True, kw_only=True)
class ProjectWide:
    """Stands for the project in a grant; only `PROJECT_ROLES` are allowed there."""

    project: str


@dataclass(frozen=True, kw_only=True)
class Grant:
    """A role on one resource.

    Raises:
        InvalidArgs: at construction, when the resource takes no grants here, or the role is too
            wide for where it is granted.
    """

    role: str
    """A predefined one, `roles/...`."""
    on: pulumi.Resource | ProjectWide
    """What it is granted on."""
    label: str
    """What the grant is for; ends the Pulumi name, so it is unique in one identity."""
    folder: str | None = None
    """Of a bucket: only the objects under this prefix, given without slashes at its ends."""

    def __post_init__(self) -> None:
        who = f"Grant {self.label!r}"
        if not self.role.startswith("roles/"):
            raise checks.InvalidArgs(who, "role", self.role, "a predefined role, `roles/...`")
        if self.folder is not None and (
            isinstance(self.on, ProjectWide)
            or self.on.pulumi_resource_type != "gcp:storage/bucket:Bucket"
            or self.folder.strip("/") != self.folder
        ):
            raise checks.InvalidArgs(
                who, "folder", self.folder, "on a bucket, a prefix without slashes at its ends"
            )
        if isinstance(self.on, ProjectWide):
            if self.role not in PROJECT_ROLES:
                raise checks.InvalidArgs(
                    who,
                    "role",
                    self.role,
                    f"on a project only {', '.join(sorted(PROJECT_ROLES))}; grant every other "
                    "role on the resource",
                )
        elif self.on.pulumi_resource_type not in _MEMBERS:
            raise checks.InvalidArgs(
                who, "on", self.on.pulumi_resource_type, f"one of {', '.join(sorted(_MEMBERS))}"
            )


@dataclass(frozen=True, kw_only=True)
class WorkloadIdentityArgs:
    """What an identity needs.

    Raises:
        InvalidArgs: at construction, when the id does not fit, or two grants share a label.
    """

    account_id: str
    """The part of the e-mail before the `@`; 6 to 30 characters."""
    description: str
    """What the workload does, in one line."""
    grants: Sequence[Grant] = ()
    """What it may do, each on one resource."""
    acts_as_itself: bool = False
    """Whether it may start jobs that run as this same identity."""

    def __post_init__(self) -> None:
        who = f"WorkloadIdentity {self.account_id!r}"
        checks.matches(who, "account_id", self.account_id, checks.ACCOUNT)
        labels = [grant.label for grant in self.grants]
        if len(set(labels)) != len(labels):
            raise checks.InvalidArgs(who, "grants", labels, "each label once")


class WorkloadIdentity(pulumi.ComponentResource):
    """A service account with its grants. What depends on it waits for the grants too."""

    account: gcp.serviceaccount.Account
    grants: dict[str, pulumi.Resource]

    def __init__(
        self, name: str, *, args: WorkloadIdentityArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("esteira:workload_identity:WorkloadIdentity", name, {}, opts)
        self.account = gcp.serviceaccount.Account(
            name,
            account_id=args.account_id,
            display_name=args.account_id,
            description=args.description,
            opts=child_opts(self),
        )
        self.grants = {
            grant.label: _grant(
                f"{name}-{grant.label}", grant, self.account.member, child_opts(self)
            )
            for grant in args.grants
        }
        if args.acts_as_itself:
            self.grants["act-as-itself"] = gcp.serviceaccount.IAMMember(
                f"{name}-act-as-itself",
                service_account_id=self.account.name,
                role="roles/iam.serviceAccountUser",
                member=self.account.member,
                opts=child_opts(self),
            )
        self.register_outputs({"email": self.account.email, "member": self.account.member})

    @property
    def email(self) -> pulumi.Output[str]:
        """The address of the account; known once all its grants are made."""
        ready = [one.urn for one in self.grants.values()]
        return pulumi.Output.all(self.account.email, *ready).apply(lambda known: str(known[0]))

    @property
    def member(self) -> pulumi.Output[str]:
        """`serviceAccount:<email>`, as IAM writes it."""
        return self.account.member


def _grant(
    name: str, grant: Grant, member: pulumi.Output[str], opts: pulumi.ResourceOptions
) -> pulumi.Resource:
    if isinstance(grant.on, ProjectWide):
        return gcp.projects.IAMMember(
            name, project=grant.on.project, role=grant.role, member=member, opts=opts
        )
    make, target = _MEMBERS[grant.on.pulumi_resource_type]
    extra = {} if grant.folder is None else {"condition": _within(grant.on, grant.folder)}
    return make()(name, **target(grant.on), role=grant.role, member=member, opts=opts, **extra)


def _within(bucket: Any, folder: str) -> gcp.storage.BucketIAMMemberConditionArgs:
    prefix = pulumi.Output.concat("projects/_/buckets/", bucket.name, "/objects/", folder, "/")
    return gcp.storage.BucketIAMMemberConditionArgs(
        title=f"under {folder}",
        description=f"Objects under {folder}/ only",
        expression=pulumi.Output.concat('resource.name.startsWith("', prefix, '")'),
    )


type _Make = Callable[[], Callable[..., pulumi.Resource]]
type _Target = Callable[[Any], dict[str, Any]]

# The classes are reached through functions: each module of pulumi_gcp is loaded when first used.
_MEMBERS: Final[Mapping[str, tuple[_Make, _Target]]] = {
    "gcp:storage/bucket:Bucket": (
        lambda: gcp.storage.BucketIAMMember,
        lambda on: {"bucket": on.name},
    ),
    "gcp:pubsub/topic:Topic": (lambda: gcp.pubsub.TopicIAMMember, lambda on: {"topic": on.name}),
    "gcp:pubsub/subscription:Subscription": (
        lambda: gcp.pubsub.SubscriptionIAMMember,
        lambda on: {"subscription": on.name},
    ),
    "gcp:bigquery/dataset:Dataset": (
        lambda: dataset_access.member,
        lambda on: {"dataset_id": on.dataset_id},
    ),
    "gcp:datacatalog/policyTag:PolicyTag": (
        lambda: gcp.datacatalog.PolicyTagIamMember,
        lambda on: {"policy_tag": on.name},
    ),
    "gcp:artifactregistry/repository:Repository": (
        lambda: gcp.artifactregistry.RepositoryIamMember,
        lambda on: {"repository": on.name, "location": on.location},
    ),
    "gcp:cloudrunv2/job:Job": (
        lambda: gcp.cloudrunv2.JobIamMember,
        lambda on: {"name": on.name, "location": on.location},
    ),
    "gcp:cloudrunv2/service:Service": (
        lambda: gcp.cloudrunv2.ServiceIamMember,
        lambda on: {"name": on.name, "location": on.location},
    ),
    "gcp:serviceaccount/account:Account": (
        lambda: gcp.serviceaccount.IAMMember,
        lambda on: {"service_account_id": on.name},
    ),
    "gcp:vertex/aiFeatureOnlineStoreFeatureview:AiFeatureOnlineStoreFeatureview": (
        lambda: gcp.vertex.AiFeatureOnlineStoreFeatureviewIamMember,
        lambda on: {
            "feature_view": on.name,
            "feature_online_store": on.feature_online_store,
            "region": on.region,
        },
    ),
}

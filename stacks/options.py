"""The groups of options that a stack can be given. `stacks/defaults.py` has their defaults by
environment, `Pulumi.yaml` documents them for whoever sets them.
"""

from __future__ import annotations

import ipaddress
import re
from enum import StrEnum
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic.alias_generators import to_camel

Days = Annotated[int, Field(ge=1, le=36_500)]
_MACHINE: Final = r"^[a-z][a-z0-9]*-[a-z0-9-]+$"
_EMAIL: Final = r"^[^@\s]+@[^@\s]+\.[a-z]{2,}$"
_ACCOUNT: Final = r"^[a-z0-9-]+@[a-z0-9.-]+\.gserviceaccount\.com$"
_PRINCIPAL: Final = re.compile(r"(user|group|serviceAccount|domain|principal|principalSet):\S+")

Principals = tuple[str, ...]


class Group(BaseModel):
    """Options that belong together. Keys are spelt `likeThis`; unknown ones are refused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, validate_by_name=False
    )


class Security(Group):
    """What keeps data in, and keeps it from being lost."""

    protect: bool = Field(description="Buckets, datasets and keys refuse to be deleted by Pulumi")
    deletion_protection: bool = Field(
        description="BigQuery tables, Cloud SQL, Cloud Run services and jobs refuse to be deleted "
        "by Google"
    )
    force_destroy: bool = Field(
        description="Destroying the stack deletes buckets and datasets that still hold something"
    )
    customer_managed_keys: bool = Field(
        description="Data at rest is encrypted with keys of our own in Cloud KMS"
    )
    key_rotation_days: Annotated[int, Field(ge=1, le=90)] = Field(
        default=90, description="Age at which those keys are replaced for new data"
    )
    private_endpoint: bool = Field(
        description="Endpoints are reached only through Private Service Connect"
    )
    audit_logs: bool = Field(
        description="Reads and writes of data are logged, not only changes of resources"
    )
    scan_images: bool = Field(
        default=False,
        description="Images are scanned for known vulnerabilities when they are pushed; Google "
        "charges by the image",
    )
    guard_rails: bool = Field(
        default=False,
        description="Organisation policies on the project forbid what the platform never does; "
        "who deploys needs roles/orgpolicy.policyAdmin",
    )
    access_policy: str | None = Field(
        default=None,
        pattern=r"^[0-9]+$",
        description="Number of the organisation's access policy, to put a VPC Service Controls "
        "perimeter around the project",
    )
    perimeter_members: Principals = Field(
        default=(),
        description="Principals that may reach in through the perimeter, which knows no `domain:`",
    )

    @field_validator("perimeter_members")
    @classmethod
    def _named(cls, members: Principals) -> Principals:
        for member in members:
            if member.startswith("domain:"):
                raise ValueError(f"each of a domain's groups or users by itself, not {member!r}")
        return principals(members)


class Network(Group):
    """Where workers and instances run."""

    private: bool = Field(
        description="A network of our own with private access to Google's APIs; without it, the "
        "project's default network"
    )
    cidr: str = Field(
        default="10.64.0.0/20", description="Private addresses of its subnetwork, /8 to /26"
    )
    services_cidr: str = Field(
        default="10.65.0.0/20",
        description="Private addresses for Google's managed services, /8 to /24",
    )
    nat: bool = Field(
        default=False,
        description="Instances without a public address reach the internet through Cloud NAT",
    )
    private_connect: bool = Field(
        default=False,
        description="Google's APIs are reached at an address of the network, by Private Service "
        "Connect; without `nat`, nothing else outside is then reached",
    )
    api_address: str = Field(
        default="10.66.0.2", description="That address, outside both ranges of the network"
    )

    @model_validator(mode="after")
    def _apart(self) -> Network:
        """Ranges of one network cannot overlap."""
        own = ipaddress.ip_network(self.cidr)
        services = ipaddress.ip_network(self.services_cidr)
        if own.overlaps(services):
            raise ValueError(
                f"`services_cidr` {services} overlaps `cidr` {own}; give ranges that do not"
            )
        if any(ipaddress.ip_address(self.api_address) in one for one in (own, services)):
            raise ValueError(
                f"`api_address` {self.api_address} lies in `cidr` {own} or `services_cidr` "
                f"{services}; give a private address outside both"
            )
        if self.private_connect and not self.private:
            raise ValueError("`private_connect` needs `private`: it is an address of that network")
        if self.nat and not self.private:
            raise ValueError("`nat` needs `private`: the default network is not ours to change")
        return self


class Apis(Group):
    """The project's Google APIs."""

    propagation_seconds: Annotated[int, Field(ge=0, le=600)] = Field(
        description="How long to wait after an API is switched on, a service agent made or a key "
        "granted for the first time, until all of Google knows"
    )


class Retention(Group):
    """How long things are kept. Days; no value means for ever."""

    messages: Annotated[int, Field(ge=1, le=31)] = Field(
        description="Messages of a topic, for seeking back"
    )
    dead_letters: Annotated[int, Field(ge=1, le=31)] = Field(
        default=31, description="Dead letters of a subscription"
    )
    landed_files: Days | None = Field(default=None, description="Files in the landing bucket")
    temporary_files: Days = Field(default=14, description="Temporary files of Dataflow")
    noncurrent_objects: Days = Field(description="Replaced or deleted objects, to bring them back")
    raw_rows: Days | None = Field(
        default=None,
        description="Rows of the raw tables, by event time: replayed history counts as old",
    )
    prediction_rows: Days | None = Field(
        default=None, description="Rows of the request log and of batch predictions"
    )
    snapshots: Days | None = Field(default=None, description="Frozen training snapshots")
    logs: Annotated[int, Field(ge=1, le=3650)] = Field(
        default=30, description="Log entries that the sink keeps in BigQuery"
    )


class Lifetime(Group):
    """How long a stack lives that nobody needs for ever."""

    idle_days: Days | None = Field(
        default=None,
        description="A stack that was not updated for this long may be destroyed by "
        "`esteira destroy STACK --if-idle`",
    )
    rest: bool = Field(
        default=False,
        description="The stack rests: no streaming job, Cloud SQL stopped, schedules paused, "
        "alerts off; what it holds stays",
    )


class Access(Group):
    """Which people may read what."""

    readers: Principals = Field(
        default=(), description="Principals of data teams, who read views and predictions"
    )
    sensitive_readers: Principals = Field(
        default=(), description="Principals who also see columns that hold personal data"
    )

    @field_validator("readers", "sensitive_readers")
    @classmethod
    def _named(cls, members: Principals) -> Principals:
        return principals(members)


class Streaming(Group):
    """The streaming ingestion job and its subscriptions."""

    machine_type: str = Field(
        default="n1-standard-2", pattern=_MACHINE, description="Machine of a worker"
    )
    max_workers: Annotated[int, Field(ge=1, le=1000)] = Field(
        description="Workers that the job may grow to"
    )
    drain: bool = Field(description="Deleting the job first finishes what it has pulled")
    ack_deadline_seconds: Annotated[int, Field(ge=10, le=600)] = Field(
        description="After this long without an answer a message is delivered again"
    )
    minimum_backoff_seconds: Annotated[int, Field(ge=0, le=600)] = Field(
        description="Least wait before a message that failed comes again"
    )
    at_least_once: bool = Field(
        default=False,
        description="Dataflow may process a message twice, which costs less; the views read each "
        "event once in any case",
    )


class Batch(Group):
    """Batch ingestion, batch prediction and training."""

    max_concurrent_jobs: Annotated[int, Field(ge=1, le=100)] = Field(
        description="Batch ingestion jobs of one product at once"
    )
    pause_schedules: bool = Field(
        default=False, description="Schedules rest; jobs can still be started by hand"
    )
    pause_retraining: bool = Field(
        default=False, description="Schedules of retraining rest, whatever the others do"
    )


class Database(Group):
    """Cloud SQL for PostgreSQL: release records, inference logs, MLflow."""

    enabled: bool = Field(description="There is an instance")
    name: str | None = Field(
        default=None,
        pattern=r"^[a-z]([a-z0-9-]{0,96}[a-z0-9])?$",
        description="Its name; without one, `esteira-` and seven digits that are new whenever it "
        "is made anew: Google keeps the name of a deleted instance for a week",
    )
    tier: str = Field(
        default="db-custom-1-3840",
        pattern=r"^db-(f1-micro|g1-small|custom-[0-9]+-[0-9]+|perf-optimized-N-[0-9]+)$",
        description="Its machine",
    )
    edition: str = Field(
        default="ENTERPRISE", pattern=r"^ENTERPRISE(_PLUS)?$", description="Its edition"
    )
    highly_available: bool = Field(description="A standby in another zone takes over")
    disk_gb: Annotated[int, Field(ge=10, le=65_536)] = Field(
        default=10, description="Disk at the start, in GB; it grows by itself"
    )
    backups: bool = Field(description="Daily backups, with recovery to any point in time")
    recovery_days: Annotated[int, Field(ge=1, le=35)] = Field(
        default=7, description="Days to which a point in time can be recovered"
    )

    @model_validator(mode="after")
    def _recoverable(self) -> Database:
        """Cloud SQL makes no standby of what it cannot recover."""
        if self.enabled and self.highly_available and not self.backups:
            raise ValueError(
                "`highly_available` needs `backups`: the standby is fed from what recovery keeps"
            )
        return self


class Tracking(Group):
    """MLflow: experiments, runs, artefacts."""

    enabled: bool = Field(description="There is a server, which needs the database")
    min_instances: Annotated[int, Field(ge=0, le=100)] = Field(
        default=0, description="Instances that always run"
    )
    max_instances: Annotated[int, Field(ge=1, le=100)] = Field(
        default=2, description="Instances that it may grow to"
    )


class Experiments(Group):
    """What Vertex AI keeps of training runs."""

    metadata_store: bool = Field(description="A metadata store: lineage of runs and artefacts")
    tensorboard: bool = Field(description="A Tensorboard instance")


class Serving(Group):
    """The prediction endpoint, and the prediction API on Cloud Run."""

    request_log_sampling: Annotated[float, Field(gt=0, le=1)] = Field(
        default=1.0, description="Share of requests and responses that are logged"
    )
    max_replicas: Annotated[int, Field(ge=1, le=1000)] | None = Field(
        default=None,
        description="Replicas of each deployed model at most; without it, as many as its product "
        "says",
    )
    api: bool = Field(description="A prediction API on Cloud Run, behind API Gateway")
    api_min_instances: Annotated[int, Field(ge=0, le=1000)] = Field(
        default=0, description="Instances of that API that always run"
    )
    api_max_instances: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=3, description="Instances that it may grow to"
    )
    api_concurrency: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=40, description="Requests that one of its instances takes at once"
    )
    api_timeout_seconds: Annotated[int, Field(ge=1, le=3600)] = Field(
        default=30, description="How long one of its requests may take"
    )
    api_domain: str | None = Field(
        default=None,
        pattern=r"^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}$",
        description="Domain under which each product's API has a name, <product>.<domain>; a stack "
        "with `security.privateEndpoint` has API Gateway only with one, on a load balancer",
    )
    api_clients: tuple[Annotated[str, Field(pattern=_ACCOUNT)], ...] = Field(
        default=(),
        description="E-mails of service accounts that the gateway lets in, beside each product's "
        "own caller",
    )


class Features(Group):
    """The feature store."""

    registry: bool = Field(description="Features are registered as a Vertex AI feature group")
    online: bool = Field(description="They are served online from a feature online store")
    sync: str = Field(
        default="0 * * * *",
        pattern=r"^\S+( +\S+){4}$",
        description="Cron, UTC, of the copies from BigQuery to that store",
    )
    min_nodes: Annotated[int, Field(ge=1, le=10)] = Field(
        default=1, description="Nodes of that store that always run"
    )
    max_nodes: Annotated[int, Field(ge=1, le=10)] = Field(
        default=1, description="Nodes that it may grow to"
    )


class Workbench(Group):
    """A notebook instance for data scientists."""

    enabled: bool = Field(default=False, description="There is one")
    machine_type: str = Field(default="e2-standard-4", pattern=_MACHINE, description="Its machine")
    idle_minutes: Annotated[int, Field(ge=10, le=1440)] = Field(
        default=60, description="It stops after so long without use"
    )
    users: Principals = Field(default=(), description="Principals who may use it")

    @field_validator("users")
    @classmethod
    def _named(cls, members: Principals) -> Principals:
        return principals(members)


class AlertScope(StrEnum):
    """Which alerts a stack has."""

    ALL = "all"
    MODELS = "models"
    """On metrics of our own: those that the local cloud evaluates."""


class Alerts(Group):
    """What is watched, and who is told."""

    enabled: bool = Field(description="There are alert policies")
    scope: AlertScope = Field(
        default=AlertScope.ALL,
        description="`models`: only those on models, which the local cloud evaluates",
    )
    emails: tuple[Annotated[str, Field(pattern=_EMAIL)], ...] = Field(
        default=(), description="Addresses that get every alert"
    )
    slack_channel: str | None = Field(
        default=None, pattern=r"^#?[a-z0-9._-]{1,80}$", description="Slack channel that gets them"
    )
    slack_token_secret: str = Field(
        default="slack-token",
        pattern=r"^[A-Za-z0-9_-]{1,255}$",
        description="Secret of Secret Manager that holds Slack's token",
    )
    teams_webhook_secret: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9_-]{1,255}$",
        description="Secret that holds the webhook of a Teams channel, which a relay posts to",
    )
    slack_webhook_secret: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9_-]{1,255}$",
        description="Secret that holds the incoming webhook of a Slack channel, which the relay "
        "posts to",
    )
    runbooks: str | None = Field(
        default=None,
        pattern=r"^https://[^\s/]+(/[^\s/]+)*$",
        description="Where the pages of docs/runbooks are read, "
        "https://host/.../docs/runbooks, which each alert links; without it, in "
        "`github.repository`",
    )
    settle_seconds: Annotated[int, Field(ge=0, le=3_600)] = Field(
        default=300, description="How long an alert is over before its recovery is told"
    )
    oldest_unacked_seconds: Annotated[int, Field(ge=60, le=604_800)] = Field(
        default=600, description="Age of the oldest message that nobody acknowledged"
    )
    backlog_messages: Annotated[int, Field(ge=1)] = Field(
        default=100_000, description="Messages that wait in a subscription"
    )
    dead_letters_per_hour: Annotated[int, Field(ge=1)] = Field(
        default=100, description="Messages that could not be processed"
    )
    error_share: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.01, description="Share of requests that fail"
    )
    latency_ms: Annotated[int, Field(ge=1, le=60_000)] = Field(
        default=500, description="99th percentile of an endpoint's latency"
    )
    stale_model_days: Days = Field(default=45, description="Age of the model in production")
    drift_score: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.1, description="Jensen-Shannon divergence of a feature"
    )
    uptime_checks: bool = Field(
        default=False, description="Public addresses are probed from several regions"
    )
    dashboards: bool = Field(description="There are dashboards")
    log_sink: bool = Field(description="Logs of the workloads are kept in BigQuery")


class Budget(Group):
    """What a month may cost. It warns; it stops nothing."""

    billing_account: str | None = Field(
        default=None,
        pattern=r"^[0-9A-F]{6}-[0-9A-F]{6}-[0-9A-F]{6}$",
        description="The billing account; without it there is no budget",
    )
    monthly_amount: Annotated[int, Field(ge=1)] = Field(
        default=500, description="In the billing account's currency"
    )


class Github(Group):
    """Who deploys from GitHub, without a key."""

    repository: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9-]{1,39}/[A-Za-z0-9._-]{1,100}$",
        description="owner/name; without it there is no Workload Identity Federation",
    )
    branch: str = Field(
        default="main", pattern=r"^[\w./-]{1,200}$", description="The branch that may deploy"
    )


def principals(members: Principals) -> Principals:
    """The members, each written as IAM does and none that stands for everybody.

    Raises:
        ValueError: one is not.
    """
    for member in members:
        if not _PRINCIPAL.fullmatch(member):
            raise ValueError(
                "principals as IAM writes them, `user:a@example.com`, `group:`, "
                f"`serviceAccount:`, `domain:`, `principal:` or `principalSet:`, not {member!r}"
            )
    return members

"""A Cloud Run job, and the schedule that starts it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
import pulumi_gcp as gcp

from components import checks
from components.child_opts import child_opts
from components.cloud_run import Container, task_template


@dataclass(frozen=True, kw_only=True)
class ScheduledJobArgs:
    """What a scheduled job needs.

    Raises:
        InvalidArgs: at construction, when a value is out of range.
    """

    image: pulumi.Input[str]
    """By digest."""
    location: str
    service_account: pulumi.Input[str]
    """E-mail of the identity that the tasks run as."""
    scheduler: pulumi.Input[str]
    """E-mail of the identity that starts the job; it is granted just that."""
    schedule: str
    """Cron, in `time_zone`."""
    environment: Mapping[str, pulumi.Input[str]]
    command: tuple[str, ...] = ()
    """Replaces the image's entry point when given."""
    time_zone: str = "Etc/UTC"
    """Of the schedule, by its name in the tz database."""
    tasks: int = 1
    """Tasks of one run, which work side by side on a share each."""
    retries: int = 3
    """How often a failed task is tried again."""
    timeout_seconds: int = 3600
    """Of one task; up to a week."""
    cpu: str = "1"
    memory: str = "2Gi"
    paused: bool = False
    """Whether the schedule rests; the job can still be started by hand."""
    subnetwork: pulumi.Input[str] | None = None
    """Through which all traffic leaves; Google's own way out when not given."""
    kms_key: pulumi.Input[str] | None = None
    deletion_protection: bool = False

    def __post_init__(self) -> None:
        who = "ScheduledJob"
        checks.matches(who, "schedule", self.schedule, checks.CRON)
        checks.between(who, "tasks", self.tasks, 1, 10_000)
        checks.between(who, "retries", self.retries, 0, 10)
        checks.between(who, "timeout_seconds", self.timeout_seconds, 1, 604_800, "seconds")


class ScheduledJob(pulumi.ComponentResource):
    """Cloud Run job `<name>` and Cloud Scheduler job of the same name."""

    job: gcp.cloudrunv2.Job
    invoker: gcp.cloudrunv2.JobIamMember
    schedule: gcp.cloudscheduler.Job

    def __init__(
        self, name: str, *, args: ScheduledJobArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        checks.matches("ScheduledJob", "name", name, checks.SERVICE)
        super().__init__("esteira:scheduled_job:ScheduledJob", name, {}, opts)
        run = gcp.cloudrunv2
        self.job = run.Job(
            name,
            name=name,
            location=args.location,
            deletion_protection=args.deletion_protection,
            template=run.JobTemplateArgs(
                task_count=args.tasks,
                parallelism=args.tasks,
                template=task_template(
                    Container(
                        image=args.image,
                        environment=args.environment,
                        command=args.command,
                        cpu=args.cpu,
                        memory=args.memory,
                    ),
                    service_account=args.service_account,
                    timeout_seconds=args.timeout_seconds,
                    retries=args.retries,
                    subnetwork=args.subnetwork,
                    kms_key=args.kms_key,
                ),
            ),
            opts=child_opts(self),
        )
        self.invoker = run.JobIamMember(
            f"{name}-invoker",
            name=self.job.name,
            location=args.location,
            role="roles/run.invoker",
            member=pulumi.Output.concat("serviceAccount:", args.scheduler),
            opts=child_opts(self),
        )
        self.schedule = gcp.cloudscheduler.Job(
            name,
            name=name,
            region=args.location,
            description=f"Starts the Cloud Run job {name}",
            schedule=args.schedule,
            time_zone=args.time_zone,
            paused=args.paused,
            attempt_deadline="320s",
            http_target=gcp.cloudscheduler.JobHttpTargetArgs(
                uri=pulumi.Output.concat("https://run.googleapis.com/v2/", self.job.id, ":run"),
                http_method="POST",
                oauth_token=gcp.cloudscheduler.JobHttpTargetOauthTokenArgs(
                    service_account_email=args.scheduler,
                    scope="https://www.googleapis.com/auth/cloud-platform",
                ),
            ),
            opts=child_opts(self, depends_on=[self.invoker]),
        )
        self.register_outputs({"job": self.job.id, "schedule": self.schedule.id})

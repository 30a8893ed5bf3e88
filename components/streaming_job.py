"""A Dataflow job that never ends, launched from a flex template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_gcp as gcp

from components import checks
from components.child_opts import child_opts
from components.flex_template import FlexTemplate

AUTOSCALING: Final = "AUTOSCALING_ALGORITHM_BASIC"
"""By throughput and backlog, in the words of Dataflow's API: that of templates refuses the pipeline
option's `THROUGHPUT_BASED`."""
AT_LEAST_ONCE: Final = "streaming_mode_at_least_once"
"""How a template is told, by Google's document "Set the pipeline streaming mode"."""


@dataclass(frozen=True, kw_only=True)
class StreamingJobArgs:
    """What a streaming job needs.

    Raises:
        InvalidArgs: at construction, when a parameter is not what the template takes.
    """

    template: FlexTemplate
    """The pipeline that it runs."""
    parameters: Mapping[str, pulumi.Input[str]]
    """The pipeline's own options. Dataflow's options have arguments of their own below."""
    location: str
    service_account: pulumi.Input[str]
    """E-mail of the identity that workers run as."""
    temporary: pulumi.Input[str]
    """`gs://...` folder for what can be forgotten."""
    staging: pulumi.Input[str]
    """`gs://...` folder for what the job reads again for as long as it runs."""
    machine_type: str = "n1-standard-2"
    max_workers: int = 3
    """Workers that it may grow to."""
    at_least_once: bool = False
    """Whether Dataflow may process a message twice, which is quicker and cheaper. Only for a
    pipeline that says so in its template."""
    subnetwork: pulumi.Input[str] | None = None
    """`regions/<region>/subnetworks/<name>`; workers have no public address in any case."""
    kms_key: pulumi.Input[str] | None = None
    reads: Sequence[pulumi.Resource] = ()
    """Subscriptions. A job cannot go on with one that was replaced, so it is replaced with it."""
    writes: Sequence[pulumi.Resource] = ()
    """Tables, which the pipeline expects when it starts."""
    drain: bool = True
    """Whether deletion first finishes what was pulled; otherwise the job is cancelled, and what it
    had not written is delivered again."""

    def __post_init__(self) -> None:
        if not self.template.streaming:
            raise checks.InvalidArgs("StreamingJob", "template", "batch", "a streaming template")
        checks.between("StreamingJob", "max_workers", self.max_workers, 1, 1000)
        mode = "supportsAtLeastOnce" if self.at_least_once else "supportsExactlyOnce"
        if not self.template.metadata.get(mode, True):
            raise checks.InvalidArgs(
                "StreamingJob",
                "at_least_once",
                self.at_least_once,
                f"what the template supports; it says `{mode}: false`",
            )
        self.template.check(self.parameters)


class StreamingJob(pulumi.ComponentResource):
    """Job `<name>`. A new image or parameter updates it in place, keeping its state."""

    job: gcp.dataflow.FlexTemplateJob

    def __init__(
        self, name: str, *, args: StreamingJobArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        checks.matches("StreamingJob", "name", name, checks.SERVICE)
        super().__init__("esteira:streaming_job:StreamingJob", name, {}, opts)
        self.job = gcp.dataflow.FlexTemplateJob(
            name,
            name=name,
            container_spec_gcs_path=args.template.location,
            region=args.location,
            parameters=dict(args.parameters),
            # The path of the specification never changes; the digest here is what makes a new
            # image an update of the job.
            sdk_container_image=args.template.image,
            service_account_email=args.service_account,
            temp_location=args.temporary,
            staging_location=args.staging,
            machine_type=args.machine_type,
            # From one worker to as many as the backlog asks for.
            num_workers=1,
            max_workers=args.max_workers,
            autoscaling_algorithm=AUTOSCALING,
            enable_streaming_engine=True,
            additional_experiments=[AT_LEAST_ONCE] if args.at_least_once else None,
            ip_configuration="WORKER_IP_PRIVATE",
            subnetwork=args.subnetwork,
            kms_key_name=args.kms_key,
            on_delete="drain" if args.drain else "cancel",
            opts=child_opts(
                self,
                depends_on=[args.template.specification, *args.reads, *args.writes],
                replace_with=list(args.reads),
                # Dataflow runs no two jobs of one name.
                delete_before_replace=True,
            ),
        )
        self.register_outputs({"job_id": self.job.job_id})

"""What services and jobs of Cloud Run share: one container, how it is sized, the way out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import pulumi
import pulumi_gcp as gcp

SERVICE_NAME: Final = (
    re.compile(r"[a-z]([a-z0-9-]{0,47}[a-z0-9])?"),
    "at most 49 lower-case letters, digits and hyphens, starting with a letter",
)
"""By the reference of `projects.locations.services`: a revision's name appends to it."""


@dataclass(frozen=True, kw_only=True)
class Container:
    """The one container of a service or job."""

    image: pulumi.Input[str]
    """By digest."""
    environment: Mapping[str, pulumi.Input[str]]
    command: Sequence[str] = ()
    """Replaces the image's entry point when given."""
    cpu: str = "1"
    memory: str = "512Mi"
    secrets: Mapping[str, str] = field(default_factory=dict[str, str])
    """By variable, the secret of Secret Manager whose newest version fills it at each start. The
    identity that it runs as has to be allowed to read it."""


@dataclass(frozen=True, kw_only=True)
class Probes:
    """How Cloud Run finds out that a service's container has started, and still lives."""

    startup: str
    """Route that answers 200 once the container can take requests."""
    liveness: str
    """Route that answers 200 until the container is broken for good; it is then restarted."""
    startup_seconds: int = 60
    """How long a start may take."""


def service_template(
    container: Container,
    *,
    service_account: pulumi.Input[str],
    timeout_seconds: int,
    max_instances: int,
    min_instances: int = 0,
    concurrency: int | None = None,
    probes: Probes | None = None,
    on_first_request: bool = False,
    subnetwork: pulumi.Input[str] | None = None,
    kms_key: pulumi.Input[str] | None = None,
) -> gcp.cloudrunv2.ServiceTemplateArgs:
    """What each instance of a service is.

    Args:
        container: See there.
        service_account: E-mail of the identity that it runs as.
        timeout_seconds: For one request.
        max_instances: It grows no further.
        min_instances: So many always run.
        concurrency: Requests that one instance takes at once; Cloud Run's own 80 when not given.
        probes: Cloud Run's own, an open port, when not given.
        on_first_request: No instance is started, and none is tried, when it is deployed.
        subnetwork: Through which all traffic leaves; Google's own way out when not given.
        kms_key: Encrypts the stored container.
    """
    run = gcp.cloudrunv2
    return run.ServiceTemplateArgs(
        service_account=service_account,
        timeout=f"{timeout_seconds}s",
        encryption_key=kms_key,
        max_instance_request_concurrency=concurrency,
        health_check_disabled=on_first_request or None,
        scaling=run.ServiceTemplateScalingArgs(
            min_instance_count=min_instances, max_instance_count=max_instances
        ),
        vpc_access=None
        if subnetwork is None
        else run.ServiceTemplateVpcAccessArgs(
            egress="ALL_TRAFFIC",
            network_interfaces=[
                run.ServiceTemplateVpcAccessNetworkInterfaceArgs(subnetwork=subnetwork)
            ],
        ),
        containers=[
            run.ServiceTemplateContainerArgs(
                image=container.image,
                commands=list(container.command) or None,
                # In one order, so that the same program never shows a difference.
                envs=[
                    *(
                        run.ServiceTemplateContainerEnvArgs(name=key, value=value)
                        for key, value in sorted(container.environment.items())
                    ),
                    *(
                        run.ServiceTemplateContainerEnvArgs(
                            name=key,
                            value_source=run.ServiceTemplateContainerEnvValueSourceArgs(
                                secret_key_ref=run.ServiceTemplateContainerEnvValueSourceSecretKeyRefArgs(
                                    secret=secret, version="latest"
                                )
                            ),
                        )
                        for key, secret in sorted(container.secrets.items())
                    ),
                ],
                resources=run.ServiceTemplateContainerResourcesArgs(
                    limits={"cpu": container.cpu, "memory": container.memory}
                ),
                startup_probe=None
                if probes is None
                else run.ServiceTemplateContainerStartupProbeArgs(
                    http_get=run.ServiceTemplateContainerStartupProbeHttpGetArgs(
                        path=probes.startup
                    ),
                    period_seconds=5,
                    timeout_seconds=5,
                    failure_threshold=-(-probes.startup_seconds // 5),
                ),
                liveness_probe=None
                if probes is None
                else run.ServiceTemplateContainerLivenessProbeArgs(
                    http_get=run.ServiceTemplateContainerLivenessProbeHttpGetArgs(
                        path=probes.liveness
                    ),
                    period_seconds=30,
                    timeout_seconds=5,
                    failure_threshold=3,
                ),
            )
        ],
    )


def task_template(
    container: Container,
    *,
    service_account: pulumi.Input[str],
    timeout_seconds: int,
    retries: int,
    subnetwork: pulumi.Input[str] | None = None,
    kms_key: pulumi.Input[str] | None = None,
) -> gcp.cloudrunv2.JobTemplateTemplateArgs:
    """What each task of a job is.

    Args:
        container: See there.
        service_account: E-mail of the identity that it runs as.
        timeout_seconds: For one attempt.
        retries: How often a failed task is tried again.
        subnetwork: Through which all traffic leaves; Google's own way out when not given.
        kms_key: Encrypts the stored container.
    """
    run = gcp.cloudrunv2
    return run.JobTemplateTemplateArgs(
        service_account=service_account,
        max_retries=retries,
        timeout=f"{timeout_seconds}s",
        encryption_key=kms_key,
        vpc_access=None
        if subnetwork is None
        else run.JobTemplateTemplateVpcAccessArgs(
            egress="ALL_TRAFFIC",
            network_interfaces=[
                run.JobTemplateTemplateVpcAccessNetworkInterfaceArgs(subnetwork=subnetwork)
            ],
        ),
        containers=[
            run.JobTemplateTemplateContainerArgs(
                image=container.image,
                commands=list(container.command) or None,
                envs=[
                    run.JobTemplateTemplateContainerEnvArgs(name=key, value=value)
                    for key, value in sorted(container.environment.items())
                ],
                resources=run.JobTemplateTemplateContainerResourcesArgs(
                    limits={"cpu": container.cpu, "memory": container.memory}
                ),
            )
        ],
    )

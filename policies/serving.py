"""What runs and serves: images, replicas, request logs, alerts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from policies import dataflow, run, vertex
from policies.checks import each, for_types, is_set, is_true, shown, texts
from policies.rule import HOUSE, Level, Resource, Rule, Severity

BY_DIGEST: Final = re.compile(r"@sha256:[0-9a-f]{64}$")
POD: Final = "spec.template.spec"
IMAGES: Final[Mapping[str, tuple[str, ...]]] = {
    run.SERVICE: ("template.containers.*.image",),
    run.JOB: ("template.template.containers.*.image",),
    dataflow.FLEX_JOB: ("sdkContainerImage",),
    "kubernetes:apps/v1:Deployment": (f"{POD}.containers.*.image", f"{POD}.initContainers.*.image"),
    "kubernetes:apps/v1:StatefulSet": (
        f"{POD}.containers.*.image",
        f"{POD}.initContainers.*.image",
    ),
    "kubernetes:apps/v1:DaemonSet": (f"{POD}.containers.*.image", f"{POD}.initContainers.*.image"),
    "kubernetes:batch/v1:Job": (f"{POD}.containers.*.image", f"{POD}.initContainers.*.image"),
    "kubernetes:batch/v1:CronJob": (
        f"spec.jobTemplate.{POD}.containers.*.image",
        f"spec.jobTemplate.{POD}.initContainers.*.image",
    ),
}
"""By type, where its images are named."""
LOGGING: Final = "predictRequestResponseLoggingConfig"
REPLICAS: Final = "template.scaling.maxInstanceCount"


def _by_digest(resource: Resource) -> Iterator[str]:
    for path in IMAGES[resource.type]:
        for where, image in each(resource.props, path):
            if not BY_DIGEST.search(str(image or "")):
                yield f"`{where}` is {shown(image)}; it has to end in `@sha256:` and the digest"


def _has_channel(resource: Resource) -> Iterator[str]:
    if not texts(resource.props.get("notificationChannels")):
        yield "`notificationChannels` is empty: nobody hears of it"


RULES: Final = (
    Rule(
        name="image-by-digest",
        description="What runs is what was built: images are named by digest.",
        remedy="Use the `ref` of component Image, `<repository>/<name>@sha256:...`.",
        references=(HOUSE,),
        level=Level.IN_PROD,
        severity=Severity.HIGH,
        types=tuple(IMAGES),
        checks=(_by_digest,),
    ),
    Rule(
        name="bounded-replicas",
        description="A service or job grows no further than a number that is set.",
        remedy=f"Set `{REPLICAS}`, or `maxWorkers` of a Dataflow job.",
        references=(HOUSE,),
        level=Level.MANDATORY,
        severity=Severity.MEDIUM,
        types=(run.SERVICE, dataflow.FLEX_JOB, dataflow.JOB),
        checks=(
            for_types((run.SERVICE,), is_set(REPLICAS)),
            for_types((dataflow.FLEX_JOB, dataflow.JOB), is_set("maxWorkers")),
        ),
    ),
    Rule(
        name="endpoint-request-log",
        description="Requests and responses are logged from the day an endpoint is made.",
        remedy=f"Set `{LOGGING}`; Google takes it only at creation.",
        references=(HOUSE,),
        level=Level.MANDATORY,
        severity=Severity.MEDIUM,
        types=(vertex.ENDPOINT,),
        checks=(
            is_true(f"{LOGGING}.enabled"),
            is_set(f"{LOGGING}.bigqueryDestination.outputUri"),
        ),
    ),
    Rule(
        name="alert-has-channel",
        description="Every alert reaches somebody.",
        remedy="Set `notificationChannels`.",
        references=(HOUSE,),
        level=Level.IN_PROD,
        severity=Severity.MEDIUM,
        types=("gcp:monitoring/alertPolicy:AlertPolicy",),
        checks=(_has_channel,),
    ),
)

"""What Cloud Run, Scheduler, API Gateway, Vertex AI and GKE want beyond single values."""

from __future__ import annotations

import base64
import ipaddress
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from localcloud.provider.check import Failure, dotted
from localcloud.provider.rules.data import ordered
from localcloud.provider.rules.forms import documents, schedules
from localcloud.provider.rules.given import Given, possible, present
from localcloud.provider.values import UNKNOWN, Path

_ALL: Final = 100
_CPUS: Final = re.compile(r"(?:0\.\d+|\d{2,3}m|[12468](?:\.0+)?|[1-8]000m|1)")
_QUANTITY: Final = re.compile(r"\d+(?:\.\d+)?(?:[kKMGT]i?)?")
# cloud.google.com/run/docs/container-contract#env-vars
_RESERVED: Final = frozenset({"PORT", "K_SERVICE", "K_REVISION", "K_CONFIGURATION"})
_HTTP_DEADLINE: Final = 1800


def _service(given: Given) -> Iterator[Failure]:
    """cloud.google.com/run/docs/reference/rest/v2/projects.locations.services."""
    yield from _containers(given, "template")
    few = given.one("template.scaling.minInstanceCount")
    many = given.one("template.scaling.maxInstanceCount")
    if isinstance(few, int) and isinstance(many, int) and few > many > 0:
        yield given.refuse(
            ("template", "scaling", "minInstanceCount"),
            few,
            f"is more than maxInstanceCount {many}",
        )
    for where, name in given.at("template.containers[].envs[].name"):
        if name in _RESERVED:
            yield given.refuse(where, name, "is reserved; Cloud Run sets it")
    traffics = given.values.get("traffics")
    if isinstance(traffics, list) and traffics:
        for index, target in enumerate(traffics):
            if isinstance(target, Mapping):
                revision = target.get("type") == "TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION"
                if revision and not possible(target, "revision"):
                    yield Failure(
                        f"traffics[{index}].revision", f"missing; {target['type']} needs it"
                    )
        percents = [one.get("percent", 0) if isinstance(one, Mapping) else UNKNOWN
                    for one in traffics]  # fmt: skip
        known = [one for one in percents if isinstance(one, int)]
        if len(known) == len(percents) and sum(known) != _ALL:
            yield Failure("traffics", f"percents sum to {sum(known)}; they must sum to 100")


def _job(given: Given) -> Iterator[Failure]:
    """cloud.google.com/run/docs/reference/rest/v2/projects.locations.jobs."""
    yield from _containers(given, "template.template")
    tasks, parallel = given.one("template.taskCount"), given.one("template.parallelism")
    if isinstance(tasks, int) and isinstance(parallel, int) and parallel > max(tasks, 1):
        yield given.refuse(("template", "parallelism"), parallel, f"is more than taskCount {tasks}")


def _containers(given: Given, template: str) -> Iterator[Failure]:
    volumes = given.one(f"{template}.volumes")
    names = {one.get("name") for one in volumes if isinstance(one, Mapping)} if isinstance(
        volumes, list) else set()  # fmt: skip
    certain = given.one(template) is not None and UNKNOWN not in names and not any(
        one is UNKNOWN for one in (volumes if isinstance(volumes, list) else ())
    )  # fmt: skip
    if isinstance(given.one(template), Mapping) and given.one(template).get("volumes") is UNKNOWN:
        certain = False
    for where, name in given.at(f"{template}.containers[].volumeMounts[].name"):
        if certain and name not in names:
            yield given.refuse(where, name, "names no volume of the template")
    for where, limits in given.at(f"{template}.containers[].resources.limits"):
        if isinstance(limits, Mapping):
            yield from _limits(given, where, limits)


def _limits(given: Given, where: Path, limits: Mapping[str, Any]) -> Iterator[Failure]:
    """Docstring of `resources.limits`; cloud.google.com/run/docs/configuring/services/cpu."""
    for name, value in limits.items():
        if name not in ("cpu", "memory", "nvidia.com/gpu"):
            yield Failure(
                dotted((*where, name)), "is no resource; give cpu, memory, nvidia.com/gpu"
            )
        elif not isinstance(value, str):
            continue
        elif name == "cpu" and not _CPUS.fullmatch(value):
            yield given.refuse((*where, name), value, "must be 1, 2, 4, 6, 8 or less than 1")
        elif name == "memory" and not _QUANTITY.fullmatch(value):
            yield given.refuse((*where, name), value, "is no quantity; write it like 512Mi or 2Gi")


def _scheduled(given: Given) -> Iterator[Failure]:
    """cloud.google.com/scheduler/docs/reference/rest/v1/projects.locations.jobs."""
    yield from schedules(given, "schedule")
    if not possible(given.values, "schedule"):
        yield Failure("schedule", "missing; give crontab's five fields, such as '0 9 * * 1'")
    yield from ordered(given, "retryConfig.minBackoffDuration", "retryConfig.maxBackoffDuration")
    for path in ("httpTarget.body", "pubsubTarget.data", "appEngineHttpTarget.body"):
        yield from documents(given, path, _base64, "base64")
    method = given.one("httpTarget.httpMethod")
    if given.one("httpTarget.body") and method in ("GET", "HEAD", "DELETE", "OPTIONS"):
        yield Failure("httpTarget.body", f"not allowed with httpMethod {method!r}")
    deadline = given.one("attemptDeadline")
    if present(given.values, "httpTarget") and isinstance(deadline, str):
        seconds = re.fullmatch(r"(\d+(?:\.\d+)?)s", deadline)
        if seconds and float(seconds[1]) > _HTTP_DEADLINE:
            yield given.refuse(("attemptDeadline",), deadline, "is over 1800s, the most "
                               "for HTTP targets")  # fmt: skip


def _api_config(given: Given) -> Iterator[Failure]:
    for path in (
        "openapiDocuments[].document.contents",
        "grpcServices[].fileDescriptorSet.contents",
        "managedServiceConfigs[].contents",
    ):
        yield from documents(given, path, _base64, "base64")


def _base64(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _endpoint(given: Given) -> Iterator[Failure]:
    """cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.endpoints."""
    split = given.one("trafficSplit")
    if isinstance(split, str) and split:
        try:
            shares = json.loads(split)
        except ValueError as error:
            yield Failure("trafficSplit", f"is no JSON: {error}")
            return
        if not isinstance(shares, Mapping):
            yield Failure("trafficSplit", "must be a JSON object of deployed models and shares")
        elif shares and sum(share for share in shares.values() if isinstance(share, int)) != _ALL:
            yield Failure("trafficSplit", "shares must sum to 100")


def _online_store(given: Given) -> Iterator[Failure]:
    few = given.one("bigtable.autoScaling.minNodeCount")
    many = given.one("bigtable.autoScaling.maxNodeCount")
    if isinstance(few, int) and isinstance(many, int) and not few <= many <= few * 10:
        yield given.refuse(
            ("bigtable", "autoScaling", "maxNodeCount"), many,
            f"must be from minNodeCount {few} to ten times that",
        )  # fmt: skip


def _feature_view(given: Given) -> Iterator[Failure]:
    yield from schedules(given, "syncConfig.cron")


def _cluster(given: Given) -> Iterator[Failure]:
    """Docstrings of Cluster."""
    for where, text in given.at("privateClusterConfig.masterIpv4CidrBlock"):
        try:
            fits = not text or ipaddress.ip_network(str(text), strict=False).prefixlen == 28
        except ValueError:
            continue
        if not fits:
            yield given.refuse(where, text, "must be a /28 range")


def _node_pool(given: Given) -> Iterator[Failure]:
    """Docstrings of NodePool."""
    for low, high in (("minNodeCount", "maxNodeCount"), ("totalMinNodeCount", "totalMaxNodeCount")):
        few, many = given.one(f"autoscaling.{low}"), given.one(f"autoscaling.{high}")
        if isinstance(few, int) and isinstance(many, int) and few > many:
            yield given.refuse(("autoscaling", low), few, f"is more than {high} {many}")
    surge = given.one("upgradeSettings.maxSurge")
    unavailable = given.one("upgradeSettings.maxUnavailable")
    if surge == 0 and unavailable == 0:
        yield Failure("upgradeSettings.maxSurge", "or maxUnavailable must be greater than zero")


JUDGES: Final[dict[str, Callable[[Given], Iterator[Failure]]]] = {
    "gcp:cloudrunv2/service:Service": _service,
    "gcp:cloudrunv2/job:Job": _job,
    "gcp:cloudscheduler/job:Job": _scheduled,
    "gcp:apigateway/apiConfig:ApiConfig": _api_config,
    "gcp:vertex/aiEndpoint:AiEndpoint": _endpoint,
    "gcp:vertex/aiFeatureOnlineStore:AiFeatureOnlineStore": _online_store,
    "gcp:vertex/aiFeatureOnlineStoreFeatureview:AiFeatureOnlineStoreFeatureview": _feature_view,
    "gcp:container/cluster:Cluster": _cluster,
    "gcp:container/nodePool:NodePool": _node_pool,
}

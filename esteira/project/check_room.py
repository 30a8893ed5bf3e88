"""Checks: whether there is room in the region, and whether it offers what is used."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from esteira.project.finding import Context, Finding, Status, ok
from esteira.project.refusals import Refused
from workloads import product

_SHARED_FAMILIES: Final = ("n1", "e2", "f1", "g1")
"""Machine families that count against `CPUS`; each other family has a quota of its own."""
_PER_ACCELERATOR: Final = {"a2-highgpu": 12, "a2-ultragpu": 12, "a3-highgpu": 26}
"""vCPUs for each accelerator, of machines named by those
(https://cloud.google.com/compute/docs/accelerator-optimized-machines)."""
LOCATED: Final[Mapping[str, tuple[str, str]]] = {
    "apigateway": ("apigateway", "v1"),
    "artifactregistry": ("artifactregistry", "v1"),
    "cloudrunv2": ("run", "v1"),
    "cloudscheduler": ("cloudscheduler", "v1"),
    "kms": ("cloudkms", "v1"),
    "vertex": ("aiplatform", "v1"),
    "workbench": ("notebooks", "v2"),
}
"""By Pulumi's module: the API that lists its locations. The others offer every region or list
none."""


def vcpus(machine: str) -> int:
    """vCPUs of a machine type: its last number, but 2 where it has none (`e2-medium`)."""
    for family, each in _PER_ACCELERATOR.items():
        if accelerators := re.fullmatch(rf"{family}-(\d+)g", machine):
            return each * int(accelerators[1])
    custom = re.search(r"custom-(\d+)-\d+", machine)
    found = custom or re.search(r"-(\d+)(?:-lssd)?$", machine)
    return int(found[1]) if found else 2


def cpu_metric(machine: str) -> str:
    """The quota of Compute Engine that a machine counts against."""
    family = machine.partition("-")[0]
    return "CPUS" if family in _SHARED_FAMILIES else f"{family.upper()}_CPUS"


def compute_needs(context: Context) -> dict[str, tuple[int, str]]:
    """By quota of Compute Engine: how much, and for what."""
    machines: dict[str, list[tuple[int, str]]] = {}
    workers = 0
    for job in context.plan.of("gcp:dataflow/flexTemplateJob:"):
        machine = str(job.inputs.get("machineType", context.settings.streaming.machine_type))
        count = int(job.inputs.get("maxWorkers", context.settings.streaming.max_workers))
        workers += count
        need = (count * vcpus(machine), f"{count} workers {machine} of {job.name}")
        machines.setdefault(cpu_metric(machine), []).append(need)
    if context.settings.workbench.enabled:
        machine = context.settings.workbench.machine_type
        need = (vcpus(machine), f"a workbench {machine}")
        machines.setdefault(cpu_metric(machine), []).append(need)
    needs = {
        metric: (sum(count for count, _ in some), ", ".join(what for _, what in some))
        for metric, some in machines.items()
    }
    total = sum(count for count, _ in needs.values())
    if total:
        needs["CPUS_ALL_REGIONS"] = (total, "all machines together")
    if addresses := len(context.plan.of("gcp:compute/address:")) + (
        1 if context.settings.network.nat else 0
    ):
        needs["IN_USE_ADDRESSES"] = (addresses, "addresses that leave the network")
    return needs


def service_needs(context: Context) -> dict[str, tuple[int, str]]:
    """By metric of Service Usage: how much, and for what."""
    needs: dict[str, tuple[int, str]] = {}
    milli = 0
    names: list[str] = []
    for service in context.plan.of("gcp:cloudrunv2/service:"):
        template: Any = service.inputs.get("template", {})
        limit = int(template.get("scaling", {}).get("maxInstanceCount", 1))
        for container in template.get("containers", ()):
            milli += limit * milli_cpu(container.get("resources", {}).get("limits", {}).get("cpu"))
        names.append(service.name)
    if milli:
        needs["run.googleapis.com/cpu_allocation"] = (milli, f"Cloud Run: {', '.join(names)}")
    most = context.settings.serving.max_replicas
    serving = [product.load(name).serving.within(most) for name in context.settings.products]
    if cpus := sum(one.max_replicas * vcpus(one.machine_type) for one in serving):
        needs["aiplatform.googleapis.com/custom_model_serving_cpus"] = (
            cpus,
            "prediction endpoints at their most replicas",
        )
    return needs


def milli_cpu(text: Any) -> int:
    """Thousandths of a vCPU in Kubernetes' words, `1`, `0.5` or `500m`; 1 by default."""
    words = str(text or "1")
    return int(words[:-1]) if words.endswith("m") else round(float(words) * 1000)


def machines(context: Context) -> Iterable[Finding]:
    """Compute Engine's quotas in the region, less what is used."""
    region = context.settings.location
    client = context.api("compute", "v1")
    found = context.calls.read(client.regions().get(project=context.project, region=region))
    if found is None:
        yield Finding(
            subject="Region",
            status=Status.FAILURE,
            found=f"Compute Engine has no region {region}",
            means="Dataflow's workers run there",
            mend=("choose another: pulumi config set esteira:location REGION",),
        )
        return
    whole = context.calls.read(client.projects().get(project=context.project)) or {}
    quotas = {
        one["metric"]: float(one["limit"]) - float(one.get("usage", 0))
        for one in (*found.get("quotas", ()), *whole.get("quotas", ()))
    }
    needs = compute_needs(context)
    short = 0
    for metric, (need, what) in needs.items():
        free = quotas.get(metric)
        if free is None or need <= free:
            continue
        short += 1
        yield Finding(
            subject="Quotas",
            status=Status.FAILURE,
            found=f"{metric} in {region}: {free:g} free, {need} needed for {what}",
            means="jobs would not start, or not grow as the settings allow",
            mend=(
                context.more_quota,
                (
                    "or less of it: esteira:streaming.maxWorkers, esteira:streaming.machineType, "
                    "esteira:profile free-trial"
                ),
            ),
            who="whoever has roles/servicemanagement.quotaAdmin on the project",
        )
    if not short:
        listed = ", ".join(f"{need} {metric}" for metric, (need, _) in needs.items())
        yield ok("Quotas", f"{region} has room for {listed or 'all machines: there are none'}")


def services(context: Context) -> Iterable[Finding]:
    """Quotas of Cloud Run and Vertex AI in the region, as Service Usage tells them."""
    metrics = context.api("serviceusage", "v1beta1").services().consumerQuotaMetrics()
    needs = service_needs(context)
    for host in sorted({metric.partition("/")[0] for metric in needs}):
        wanted = {metric: need for metric, need in needs.items() if metric.startswith(f"{host}/")}
        limits: dict[str, int] = {}
        token = None
        try:
            while True:
                answer = context.calls.read(
                    metrics.list(
                        parent=f"projects/{context.project}/services/{host}",
                        pageSize=500,
                        **({"pageToken": token} if token else {}),
                    )
                )
                for metric in (answer or {}).get("metrics", ()):
                    limit = _limit(metric, context.settings.location)
                    if limit is not None:
                        limits[metric["metric"]] = limit
                token = (answer or {}).get("nextPageToken")
                if not token:
                    break
        except Refused as error:
            if error.reason != "SERVICE_DISABLED":
                raise
            yield ok("Quotas", f"{host} tells its quotas after the first `up` switched it on")
            continue
        for metric, (need, what) in wanted.items():
            yield _compared(context, metric, need, what, limits.get(metric))


def _compared(context: Context, metric: str, need: int, what: str, limit: int | None) -> Finding:
    region = context.settings.location
    if limit is None:
        return ok("Quotas", f"{metric}: no limit is told for {region}")
    if need <= limit:
        return ok("Quotas", f"{metric}: {limit} in {region}, {need} needed")
    return Finding(
        subject="Quotas",
        status=Status.FAILURE,
        found=f"{metric} is {limit} in {region}, {need} needed for {what}",
        means="they cannot grow as far as they are allowed to",
        mend=(
            context.more_quota,
            (
                "or allow less: esteira:serving.maxReplicas, esteira:serving.apiMaxInstances, "
                "esteira:tracking.maxInstances"
            ),
        ),
        who="whoever has roles/servicemanagement.quotaAdmin on the project",
    )


def _limit(metric: Mapping[str, Any], region: str) -> int | None:
    """The least limit that holds in the region; -1 stands for none."""
    found: list[int] = []
    for limit in metric.get("consumerQuotaLimits", ()):
        if "region" not in str(limit.get("unit", "")):
            continue
        # The bucket of the region itself, where there is one, else the one without dimensions.
        buckets = {
            one.get("dimensions", {}).get("region", ""): int(one.get("effectiveLimit", -1))
            for one in limit.get("quotaBuckets", ())
        }
        value = buckets.get(region, buckets.get("", -1))
        if value >= 0:
            found.append(value)
    return min(found, default=None)


def locations(context: Context) -> Iterable[Finding]:
    """Each API that is used offers the region."""
    region = context.settings.location
    modules = {token.split(":")[1].partition("/")[0] for token in context.plan.tokens}
    offered: list[str] = []
    unknown: list[str] = []
    for module in sorted(modules & LOCATED.keys()):
        api, version = LOCATED[module]
        client = context.api(api, version).projects().locations()
        try:
            found = _listed(context, client, f"projects/{context.project}")
        except Refused as error:
            if error.reason != "SERVICE_DISABLED":
                raise
            unknown.append(api)
            continue
        if region in found:
            offered.append(api)
            continue
        yield Finding(
            subject="Region",
            status=Status.FAILURE,
            found=f"{api}.googleapis.com does not offer {region}",
            means="what this stack makes of it cannot be made there",
            mend=(
                (
                    f"choose one of {', '.join(sorted(found))}: pulumi config set esteira:location "
                    f"REGION -s {context.stack}"
                ),
            ),
        )
    if offered:
        yield ok("Region", f"{region} is offered by {', '.join(offered)}")
    if unknown:
        yield ok("Region", f"told only once they are on: {', '.join(unknown)}")


def _listed(context: Context, client: Any, parent: str) -> set[str]:
    found: set[str] = set()
    token = None
    while True:
        answer = context.calls.read(
            client.list(name=parent, **({"pageToken": token} if token else {}))
        )
        found |= {one["locationId"] for one in (answer or {}).get("locations", ())}
        token = (answer or {}).get("nextPageToken")
        if not token:
            return found


def network(context: Context) -> Iterable[Finding]:
    """Without a network of its own, a stack needs the project's default one."""
    networks = context.api("compute", "v1").networks()
    found = context.calls.read(networks.get(project=context.project, network="default"))
    if context.settings.network.private:
        if found is None:
            yield ok("Network", "the stack makes its own, and there is no default one beside it")
            return
        yield Finding(
            subject="Network",
            status=Status.WARNING,
            found="the project has a default network, which this stack does not use",
            means="its firewall lets SSH and RDP in from everywhere (CIS 3.1)",
            mend=(
                (
                    f"gcloud compute firewall-rules list --filter=network:default "
                    f"--project={context.project}"
                ),
                f"gcloud compute networks delete default --project={context.project}",
            ),
            who="whoever has roles/compute.networkAdmin on the project",
        )
    elif found is None:
        yield Finding(
            subject="Network",
            status=Status.FAILURE,
            found="there is no default network, and esteira:network.private is false",
            means="Dataflow's workers would have no network",
            mend=(
                f"pulumi config set --path esteira:network.private true -s {context.stack}",
                f"or: gcloud compute networks create default --project={context.project}",
            ),
        )
    else:
        yield ok("Network", "the project's default network is there")

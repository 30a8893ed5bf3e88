"""What a plan costs a month, by list prices: an estimate, and what it cannot tell."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from esteira.review.plan import Resource
from esteira.review.planned import Serving
from esteira.review.prices import Prices, size, table


@dataclass(frozen=True, kw_only=True)
class Line:
    """What one resource costs a month, from the least to the most, in US dollars."""

    urn: str
    name: str
    what: str
    """What is paid for, with its numbers."""
    least: float
    most: float


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What all resources of a plan cost a month."""

    lines: tuple[Line, ...]
    usage: Mapping[str, int]
    """By type of resource, how many there are that cost by use."""
    unpriced: tuple[str, ...]
    """What costs something that the table has no figure for."""

    @property
    def least(self) -> float:
        """With everything as small as it gets."""
        return sum(line.least for line in self.lines)

    @property
    def most(self) -> float:
        """With everything as big as it may grow."""
        return sum(line.most for line in self.lines)


class Unpriced(Exception):
    """There is no figure; the message names what."""


type Priced = Iterable[tuple[str, float, float]]
"""What is paid for; its least and most a month."""


def estimate(resources: Iterable[Resource], serving: Mapping[str, Serving]) -> Estimate:
    """Price all resources of a plan.

    Args:
        resources: As they will be.
        serving: By product, what its endpoint runs on, which no resource says.
    """
    prices = table()
    lines: list[Line] = []
    usage: dict[str, int] = {}
    unpriced: set[str] = set()
    for one in sorted(resources, key=lambda resource: resource.urn):
        if one.type in prices.usage:
            usage[one.type] = usage.get(one.type, 0) + 1
        if note := prices.unpriced.get(one.type):
            unpriced.add(f"{one.title}: {note}")
        try:
            lines += [
                Line(urn=one.urn, name=f"{one.title} {one.name}", what=what, least=low, most=high)
                for what, low, high in _priced(one, serving, prices)
            ]
        except Unpriced as error:
            unpriced.add(f"{one.title} {one.name}: {error}")
    return Estimate(
        lines=tuple(lines), usage=dict(sorted(usage.items())), unpriced=tuple(sorted(unpriced))
    )


def _priced(one: Resource, serving: Mapping[str, Serving], prices: Prices) -> Priced:
    if one.type == "gcp:vertex/aiEndpoint:AiEndpoint":
        return list(_endpoint(one, serving.get(one.product), prices))
    rule = _RULES.get(one.type)
    return list(rule(one.inputs, prices)) if rule else ()


def _endpoint(one: Resource, serving: Serving | None, prices: Prices) -> Priced:
    if serving is None:
        raise Unpriced(f"no product {one.product!r} declares what it runs on")
    key = f"vertex-{serving.machine_type}"
    if key not in prices.standing:
        raise Unpriced(f"no price of a {serving.machine_type} node for prediction")
    node = prices.month(key)
    low, high = serving.min_replicas, serving.max_replicas
    words = f"{_span(low, high)} {serving.machine_type}, by the product's serving settings"
    yield (
        f"{words}; nothing until a model is released{prices.doubt(key)}",
        node * low,
        node * high,
    )


def _cloud_sql(inputs: Mapping[str, Any], prices: Prices) -> Priced:
    settings = _map(inputs.get("settings"))
    tier = str(settings.get("tier"))
    custom = re.fullmatch(r"db-custom-(\d+)-(\d+)", tier)
    shared = f"cloud-sql-{tier.removeprefix('db-')}"
    known = custom is not None or shared in prices.standing
    if settings.get("edition") not in (None, "ENTERPRISE") or not known:
        raise Unpriced(f"no price of the tier {tier} {settings.get('edition') or ''}".rstrip())
    copies = 2 if settings.get("availabilityType") == "REGIONAL" else 1
    zones = "in two zones" if copies == 2 else "in one zone"
    if custom is None:
        month, words = prices.month(shared), f"a shared processor, {tier}"
    else:
        cpus, memory = int(custom[1]), int(custom[2]) / 1024
        month = cpus * prices.month("cloud-sql-vcpu") + memory * prices.month("cloud-sql-memory")
        words = f"{cpus} vCPU, {memory:g} GB"
    yield f"{words}, {zones}", copies * month, copies * month
    if settings.get("diskType") in (None, "PD_SSD"):
        gigabytes = _number(settings.get("diskSize"), 10)
        disk = copies * gigabytes * prices.month("cloud-sql-ssd")
        yield f"{gigabytes:g} GB SSD, {zones}; grows by itself if allowed to", disk, disk
    else:
        raise Unpriced(f"no price of the disk type {settings['diskType']}")


def _nat(inputs: Mapping[str, Any], prices: Prices) -> Priced:
    addresses = inputs.get("natIps")
    count = len(addresses) if isinstance(addresses, list) and addresses else 1
    ip = count * prices.month("address-in-use")
    yield (
        f"a gateway for 1 to 32 or more VMs, {count} address{'es' if count > 1 else ''}",
        prices.month("nat-vm") + ip,
        prices.month("nat-most") + ip,
    )


def _address(inputs: Mapping[str, Any], prices: Prices) -> Priced:
    # An address of ours costs nothing inside the network.
    if inputs.get("addressType", "EXTERNAL") == "EXTERNAL" and not inputs.get("purpose"):
        low, high = prices.month("address-in-use"), prices.month("address-idle")
        yield "a static external address, in use or not", low, high


def _forwarding_rule(inputs: Mapping[str, Any], prices: Prices) -> Priced:
    # Without a load balancing scheme it leads to a service: that is Private Service Connect.
    if inputs.get("loadBalancingScheme") == "":
        month = prices.month("psc-endpoint")
        yield f"a Private Service Connect endpoint{prices.doubt('psc-endpoint')}", month, month
    else:
        month = prices.month("forwarding-rules")
        yield "a load balancer's forwarding rule; up to five cost as much as one", month, month


def _dataflow(inputs: Mapping[str, Any], prices: Prices) -> Priced:
    streams = inputs.get("enableStreamingEngine") or inputs.get("onDelete") == "drain"
    if not streams:
        return
    machine = str(inputs.get("machineType") or "n1-standard-2")
    known = size(machine)
    if known is None:
        raise Unpriced(f"the size of the machine type {machine} is not known")
    low = int(_number(inputs.get("numWorkers"), 1))
    high = max(low, int(_number(inputs.get("maxWorkers"), low)))
    worker = known[0] * prices.month("dataflow-streaming-vcpu")
    worker += known[1] * prices.month("dataflow-streaming-memory")
    yield f"{_span(low, high)} streaming worker(s) {machine}", low * worker, high * worker


def _machine(machine: str, prices: Prices) -> float:
    known = size(machine)
    if known is None or not machine.startswith("e2-"):
        raise Unpriced(f"no price of the machine type {machine}")
    return known[0] * prices.month("e2-vcpu") + known[1] * prices.month("e2-memory")


def _feature_store(inputs: Mapping[str, Any], prices: Prices) -> Priced:
    scaling = _map(_map(inputs.get("bigtable")).get("autoScaling"))
    if not scaling:
        raise Unpriced("no price of an online feature store that is not on Bigtable")
    node = prices.month("feature-store-node")
    low = int(_number(scaling.get("minNodeCount"), 1))
    high = max(low, int(_number(scaling.get("maxNodeCount"), low)))
    words = f"{_span(low, high)} Bigtable node(s){prices.doubt('feature-store-node')}"
    yield words, low * node, high * node


def _workbench(inputs: Mapping[str, Any], prices: Prices) -> Priced:
    setup = _map(inputs.get("gceSetup"))
    machine = str(setup.get("machineType"))
    month = _machine(machine, prices)
    yield f"{machine}, always on; nothing while it is stopped", 0.0, month
    for disk in (_map(setup.get("bootDisk")), *_list(setup.get("dataDisks"))):
        yield from _disk_of(
            str(_map(disk).get("diskType") or "PD_STANDARD"), _map(disk).get("diskSizeGb"), prices
        )


def _disk(inputs: Mapping[str, Any], prices: Prices) -> Priced:
    return _disk_of(str(inputs.get("type") or "pd-standard"), inputs.get("size"), prices)


def _disk_of(kind: str, gigabytes: Any, prices: Prices) -> Priced:
    key = kind.lower().replace("_", "-")
    if key not in ("pd-standard", "pd-balanced", "pd-ssd") or gigabytes is None:
        raise Unpriced(f"no price of a disk of type {kind} and size {gigabytes}")
    month = _number(gigabytes, 0) * prices.month(key)
    yield f"{gigabytes} GB {key}", month, month


def _cluster(inputs: Mapping[str, Any], prices: Prices) -> Priced:
    del inputs
    month = prices.month("gke-cluster")
    yield "the cluster's management fee, without its nodes", month, month


def _node_pool(inputs: Mapping[str, Any], prices: Prices) -> Priced:
    machine = str(_map(inputs.get("nodeConfig")).get("machineType") or "e2-medium")
    month = _machine(machine, prices)
    scaling = _map(inputs.get("autoscaling"))
    count = _number(inputs.get("nodeCount") or inputs.get("initialNodeCount"), 1)
    low = int(_number(scaling.get("minNodeCount", scaling.get("totalMinNodeCount")), count))
    high = int(_number(scaling.get("maxNodeCount", scaling.get("totalMaxNodeCount")), count))
    yield f"{_span(low, high)} node(s) {machine} in each zone", low * month, high * month


def _key(inputs: Mapping[str, Any], prices: Prices) -> Priced:
    level = str(_map(inputs.get("versionTemplate")).get("protectionLevel") or "SOFTWARE")
    month = prices.month({"SOFTWARE": "kms-software", "HSM": "kms-hsm"}.get(level, "kms-external"))
    rotates = "; one version more with each rotation" if inputs.get("rotationPeriod") else ""
    yield f"1 key version, {level.lower()}{rotates}", month, month


def _secret_version(inputs: Mapping[str, Any], prices: Prices) -> Priced:
    del inputs
    month = prices.month("secret-version")
    yield "1 version", month, month


def _run_service(inputs: Mapping[str, Any], prices: Prices) -> Priced:
    template = _map(inputs.get("template"))
    scaling = _map(template.get("scaling"))
    count = int(_number(scaling.get("minInstanceCount"), 0))
    count = max(count, int(_number(_map(inputs.get("scaling")).get("minInstanceCount"), 0)))
    if not count:
        return
    cpus = memory = 0.0
    always = False
    for container in _list(template.get("containers")):
        resources = _map(_map(container).get("resources"))
        limits = _map(resources.get("limits"))
        cpus += _quantity(limits.get("cpu", "1"))
        memory += _quantity(limits.get("memory", "512Mi")) / 2**30
        always |= resources.get("cpuIdle") is False
    kind = "always" if always else "idle"
    month = cpus * prices.month(f"run-{kind}-vcpu") + memory * prices.month(f"run-{kind}-memory")
    billed = "instance-based billing" if always else "while they wait for requests"
    words = f"{count} minimum instance(s) of {cpus:g} vCPU, {memory:g} GiB, {billed}"
    yield words, count * month, count * month


def _quantity(text: Any) -> float:
    """Kubernetes' `500m`, `2`, `512Mi`."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(m|k|M|G|Ki|Mi|Gi)?", str(text))
    if found is None:
        raise Unpriced(f"the quantity {text} cannot be read")
    units = {"m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
    return float(found[1]) * units.get(found[2] or "", 1)


def _span(low: int, high: int) -> str:
    return str(low) if low == high else f"{low} to {high}"


def _number(value: Any, otherwise: float) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return otherwise


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


_RULES: Final[Mapping[str, Callable[[Mapping[str, Any], Prices], Priced]]] = {
    "gcp:sql/databaseInstance:DatabaseInstance": _cloud_sql,
    "gcp:compute/routerNat:RouterNat": _nat,
    "gcp:compute/address:Address": _address,
    "gcp:compute/globalAddress:GlobalAddress": _address,
    "gcp:compute/forwardingRule:ForwardingRule": _forwarding_rule,
    "gcp:compute/globalForwardingRule:GlobalForwardingRule": _forwarding_rule,
    "gcp:dataflow/flexTemplateJob:FlexTemplateJob": _dataflow,
    "gcp:vertex/aiFeatureOnlineStore:AiFeatureOnlineStore": _feature_store,
    "gcp:workbench/instance:Instance": _workbench,
    "gcp:compute/disk:Disk": _disk,
    "gcp:container/cluster:Cluster": _cluster,
    "gcp:container/nodePool:NodePool": _node_pool,
    "gcp:kms/cryptoKey:CryptoKey": _key,
    "gcp:secretmanager/secretVersion:SecretVersion": _secret_version,
    "gcp:cloudrunv2/service:Service": _run_service,
}

"""What the Kubernetes API refuses in the objects that our stacks use.

Source of each: kubernetes.io/docs/concepts/overview/working-with-objects/ (names, labels),
kubernetes.io/docs/reference/kubernetes-api/workload-resources/ (containers, workloads) and
kubernetes.io/docs/reference/kubernetes-api/service-resources/service-v1/.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from localcloud.provider.check import Failure, dotted
from localcloud.provider.rules.forms import schedules
from localcloud.provider.rules.given import Given
from localcloud.provider.values import UNKNOWN

_SUBDOMAIN: Final = re.compile(r"(?=.{1,253}$)[a-z0-9](?:[-.a-z0-9]*[a-z0-9])?")
_DNS_LABEL: Final = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?")
_SERVICE: Final = re.compile(r"[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?")
_RBAC: Final = frozenset({"Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"})
_VALUE: Final = re.compile(r"(?:[A-Za-z0-9](?:[-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?)?")
_LABEL_NAME: Final = re.compile(
    r"(?:[a-z0-9](?:[-.a-z0-9]{0,251}[a-z0-9])?/)?[A-Za-z0-9](?:[-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?"
)
_QUANTITY: Final = re.compile(r"[+-]?\d+(?:\.\d+)?(?:[numkMGTPE]|[KMGTPE]i|[eE][+-]?\d+)?")
_PULLS: Final = ("Always", "IfNotPresent", "Never")
_TOP: Final = 65535


def judge(given: Given) -> Iterator[Failure]:
    """What is wrong with an object's metadata, containers, ports and schedule."""
    title = given.token.rpartition(":")[2]
    yield from _metadata(given, title)
    for pod in ("spec", "spec.template.spec", "spec.jobTemplate.spec.template.spec"):
        for kind in ("containers", "initContainers"):
            for where, container in given.at(f"{pod}.{kind}[]"):
                if isinstance(container, Mapping):
                    yield from _container(given, where, container)
    if title == "CronJob":
        yield from schedules(given, "spec.schedule")
    if title == "Service":
        for where, port in given.at("spec.ports[].port"):
            yield from _port(given, where, port)
    for where, count in given.at("spec.replicas"):
        if isinstance(count, int) and count < 0:
            yield given.refuse(where, count, "is out of range; it must be at least 0")
    yield from _selector(given)


def _metadata(given: Given, title: str) -> Iterator[Failure]:
    form = (
        None if title in _RBAC else _SERVICE if title == "Service"
        else _DNS_LABEL if title == "Namespace" else _SUBDOMAIN
    )  # fmt: skip
    for where, name in given.at("metadata.name"):
        if form is not None and isinstance(name, str) and not form.fullmatch(name):
            yield given.refuse(
                where, name, "is not allowed; it must be lower-case letters, digits and hyphens"
            )
    for where, name in given.at("metadata.namespace"):
        if isinstance(name, str) and not _DNS_LABEL.fullmatch(name):
            yield given.refuse(
                where, name, "is not allowed; it must be lower-case letters, digits and hyphens"
            )
    for path in ("metadata.labels", "spec.selector.matchLabels", "spec.template.metadata.labels"):
        for where, labels in given.at(path):
            for key, value in labels.items() if isinstance(labels, Mapping) else ():
                if value is UNKNOWN or not isinstance(value, str):
                    continue
                if not (_LABEL_NAME.fullmatch(key) and _VALUE.fullmatch(value)):
                    yield given.refuse(
                        (*where, key), value,
                        "is no label; use at most 63 letters, digits, -, _ and .",
                    )  # fmt: skip


def _container(
    given: Given, where: tuple[str | int, ...], container: Mapping[str, Any]
) -> Iterator[Failure]:
    name = container.get("name")
    if isinstance(name, str) and name is not UNKNOWN and not _DNS_LABEL.fullmatch(name):
        yield given.refuse(
            (*where, "name"),
            name,
            "is not allowed; it must be lower-case letters, digits and hyphens",
        )
    pull = container.get("imagePullPolicy")
    if isinstance(pull, str) and pull not in ("", UNKNOWN) and pull not in _PULLS:
        yield given.refuse((*where, "imagePullPolicy"), pull, f"is not one of {', '.join(_PULLS)}")
    ports = container.get("ports")
    for index, port in enumerate(ports if isinstance(ports, list) else ()):
        if isinstance(port, Mapping):
            yield from _port(given, (*where, "ports", index, "containerPort"),
                             port.get("containerPort"))  # fmt: skip
    resources = container.get("resources")
    for kind in ("requests", "limits"):
        held = resources.get(kind) if isinstance(resources, Mapping) else None
        for resource, amount in held.items() if isinstance(held, Mapping) else ():
            if (
                isinstance(amount, str)
                and amount is not UNKNOWN
                and not _QUANTITY.fullmatch(amount)
            ):
                yield given.refuse(
                    (*where, "resources", kind, resource), amount,
                    "is no quantity; write it like 250m, 1 or 512Mi",
                )  # fmt: skip


def _port(given: Given, where: tuple[str | int, ...], port: Any) -> Iterator[Failure]:
    if isinstance(port, int) and not isinstance(port, bool) and not 1 <= port <= _TOP:
        yield given.refuse(where, port, "is out of range; it must be from 1 to 65535")


def _selector(given: Given) -> Iterator[Failure]:
    wanted, labels = (
        given.one("spec.selector.matchLabels"),
        given.one("spec.template.metadata.labels"),
    )
    if isinstance(wanted, Mapping) and isinstance(labels, Mapping):
        for key, value in wanted.items():
            there = labels.get(key)
            if UNKNOWN not in (value, there) and there != value:
                yield Failure(
                    dotted(("spec", "selector", "matchLabels", key)),
                    "matches no label of spec.template.metadata.labels",
                )

"""What is particular to Kubernetes: api version, kind, names, namespaces, what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from localcloud.provider.check import Failure
from localcloud.provider.configuration import Configuration
from localcloud.provider.identity import digits, now
from localcloud.provider.naming import KUBERNETES_DIGITS, Mode, unique
from localcloud.provider.schema import (
    NoSuchResource,
    Property,
    Resource,
    Shape,
    resource,
)
from localcloud.provider.values import UNKNOWN, knows

AUTONAMED: Final = "pulumi.com/autonamed"
_LONGEST: Final = 63
# pulumi-kubernetes expands these in the plugin itself, from charts and files.
_REFUSED: Final = ("helm.sh/", "yaml", "kustomize")
_CLUSTER_WIDE: Final = frozenset(
    {
        "APIService", "CertificateSigningRequest", "ClusterRole", "ClusterRoleBinding",
        "CSIDriver", "CSINode", "CustomResourceDefinition", "FlowSchema", "IngressClass",
        "MutatingWebhookConfiguration", "Namespace", "Node", "PersistentVolume",
        "PriorityClass", "PriorityLevelConfiguration", "RuntimeClass", "StorageClass",
        "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding",
        "ValidatingWebhookConfiguration", "VolumeAttachment",
    }
)  # fmt: skip


def schema(token: str) -> Resource:
    """The schema of a Kubernetes token; a custom resource takes any field beside its metadata.

    Raises:
        NoSuchResource: a chart, a file of manifests, or a kind that its API group does not have.
    """
    _, group, kind = token.split(":", 2)
    if group.startswith(_REFUSED):
        raise NoSuchResource(
            f"the local cloud does not expand {token} (charts, manifests and kustomizations are "
            "rendered by pulumi-kubernetes itself); declare the objects one by one"
        )
    if kind.endswith(("Patch", "List")):
        raise NoSuchResource(
            f"the local cloud has no {token}; declare the object itself instead of a "
            f"{'patch' if kind.endswith('Patch') else 'list'} of it"
        )
    try:
        return resource(token)
    except NoSuchResource:
        if "." not in group.partition("/")[0]:
            raise
    metadata = resource("kubernetes:core/v1:ConfigMap").inputs["metadata"]
    text = Shape("string")
    return Resource(
        token=token,
        cls=None,
        inputs={
            "apiVersion": Property("apiVersion", "api_version", text, True, ""),
            "kind": Property("kind", "kind", text, True, ""),
            "metadata": metadata,
        },
        outputs={"apiVersion": text, "kind": text, "metadata": metadata.shape},
        import_format=None,
        open=True,
    )


def complete(
    known: Resource,
    inputs: dict[str, Any],
    configuration: Configuration,
    *,
    name: str,
    olds: Mapping[str, Any] | None,
    seed: bytes,
    proposed: tuple[str, Mode] | None,
) -> list[Failure]:
    """Fill api version, kind, name and namespace in place (plain values)."""
    _, group, kind = known.token.split(":", 2)
    version = group.removeprefix("core/")
    failures: list[Failure] = []
    for field, right in (("apiVersion", version), ("kind", kind)):
        given = inputs.setdefault(field, right)
        if given is not UNKNOWN and given != right:
            failures.append(
                Failure(field, f"{given!r} does not belong to {known.token}: {right!r}")
            )
    metadata = inputs.get("metadata", {})
    if not isinstance(metadata, Mapping):
        return failures
    metadata = dict(metadata)
    if "name" not in metadata and "generateName" not in metadata:
        before = (olds or {}).get("metadata", {})
        kept = AUTONAMED in before.get("annotations", {}) and before.get("name")
        if proposed and proposed[1] == "disable" and not kept:
            return [*failures, Failure("metadata.name", "missing; automatic naming is off")]
        exact = proposed[0] if proposed and proposed[1] == "enforce" else None
        metadata["name"] = kept or exact or unique(name, seed, KUBERNETES_DIGITS, _LONGEST)
        annotations = metadata.get("annotations", {})
        if isinstance(annotations, Mapping):
            metadata["annotations"] = {**annotations, AUTONAMED: "true"}
    if kind not in _CLUSTER_WIDE and not known.open:
        metadata.setdefault("namespace", configuration.namespace or "default")
    inputs["metadata"] = metadata
    return failures


def object_id(properties: Mapping[str, Any]) -> str | None:
    """`namespace/name`, as pulumi-kubernetes forms ids; None while a part is not known."""
    metadata = properties.get("metadata", {})
    if not isinstance(metadata, Mapping) or not knows(metadata.get("name", UNKNOWN)):
        return None
    namespace = metadata.get("namespace")
    if namespace is UNKNOWN:
        return None
    return f"{namespace}/{metadata['name']}" if namespace else str(metadata["name"])


def outputs(properties: Mapping[str, Any], urn: str, preview: bool) -> dict[str, Any]:
    """What an API server adds to an object's metadata."""
    metadata = properties.get("metadata")
    if not isinstance(metadata, Mapping):
        return {}
    number = digits(urn, 12)
    added = {
        "uid": f"{digits(urn, 8)}-0000-4000-8000-{number}",
        "creationTimestamp": now(),
        "generation": 1,
        "resourceVersion": digits(urn, 6),
    }
    return {"metadata": {**(dict.fromkeys(added, UNKNOWN) if preview else added), **metadata}}

"""What changes between two sets of inputs, property by property, and what needs a new resource."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from localcloud.provider.check import dotted
from localcloud.provider.configuration import Configuration
from localcloud.provider.identity import identity
from localcloud.provider.immutable import FORCES_NEW
from localcloud.provider.plan import attributed, planned, whereabouts
from localcloud.provider.schema import Property, Resource, Shape, properties
from localcloud.provider.values import UNKNOWN, Asset, Path

type Change = Literal["add", "delete", "update"]

# Docstrings that speak of replacement although pulumi-gcp updates in place.
_IN_PLACE: Final[dict[str, frozenset[str]]] = {}
_KUBERNETES: Final = frozenset({"apiVersion", "kind", "metadata.name", "metadata.namespace"})


@dataclass(frozen=True)
class PropertyChange:
    """One changed property."""

    path: str
    change: Change
    replaces: bool
    input: bool = True


@dataclass
class Difference:
    """All changes of a resource."""

    changes: list[PropertyChange] = field(default_factory=list)
    delete_first: bool = False

    @property
    def replaces(self) -> list[str]:
        """The paths that need a new resource."""
        return [change.path for change in self.changes if change.replaces]


def changes(
    resource: Resource,
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    *,
    ignored: Iterable[str] = (),
    batch_job: bool = False,
) -> list[PropertyChange]:
    """What differs between old and new inputs (plain values).

    Args:
        resource: the schema.
        old: the inputs of the last deployment.
        new: the checked inputs of this one.
        ignored: property paths of `ignoreChanges`.
        batch_job: the resource is a batch job of Dataflow, which nothing can update.
    """
    found: list[PropertyChange] = []
    skip = tuple(_normal(path) for path in ignored)
    for path, change, before, after in _walk(_visible(old), _visible(new), ()):
        written = dotted(path)
        if any(_covers(prefix, written) for prefix in skip):
            continue
        replaces = batch_job or _replaces(resource, path, before, after)
        found.append(PropertyChange(written, change, replaces))
    return found


@dataclass(frozen=True)
class PlannedChange(PropertyChange):
    """One changed property, and the keys and indexes that lead to it."""

    keys: Path = ()


def planned_changes(
    resource: Resource,
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    *,
    ignored: Iterable[str] = (),
) -> list[PlannedChange]:
    """What differs between two plans' inputs (plain values), told by the rules of `changes`.

    A plan has no state, and values that nobody knows yet on either side are taken as equal.
    """
    skip = tuple(_normal(path) for path in ignored)
    return [
        PlannedChange(dotted(path), change, _replaces(resource, path, before, after), keys=path)
        for path, change, before, after in _walk(_visible(old), _visible(new), ())
        if not any(_covers(prefix, dotted(path)) for prefix in skip)
    ]


def configured(
    resource: Resource,
    state: Mapping[str, Any],
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    configuration: Configuration,
    ignored: Iterable[str] = (),
) -> list[PropertyChange]:
    """Changes that come from the provider's configuration rather than from inputs.

    Another project or region moves what names none itself; other default labels are an update.
    """
    if resource.package != "gcp":
        return []
    found = [
        PropertyChange(name, "update", replaces=True, input=False)
        for name, chosen in whereabouts(resource, configuration).items()
        if name not in old
        and name not in new
        and chosen is not None
        and state.get(name) not in (None, chosen)
    ]
    wanted = attributed(planned(resource, new, configuration), state).get("pulumiLabels")
    if (
        wanted is not None
        and not any(_normal(path).partition(".")[0] == "labels" for path in ignored)
        and same(old.get("labels", {}), new.get("labels", {}))
        and not same(wanted, state.get("pulumiLabels", {}))
    ):
        found.append(PropertyChange("pulumiLabels", "update", replaces=False, input=False))
    return found


def _visible(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if not key.startswith("__")}


def _walk(old: Any, new: Any, path: Path) -> Iterator[tuple[Path, Change, Any, Any]]:
    if same(old, new):
        return
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in [*old, *(key for key in new if key not in old)]:
            if key not in new:
                yield (*path, key), "delete", old[key], None
            elif key not in old:
                yield (*path, key), "add", None, new[key]
            else:
                yield from _walk(old[key], new[key], (*path, key))
    elif isinstance(old, list) and isinstance(new, list):
        for index in range(max(len(old), len(new))):
            if index >= len(new):
                yield (*path, index), "delete", old[index], None
            elif index >= len(old):
                yield (*path, index), "add", None, new[index]
            else:
                yield from _walk(old[index], new[index], (*path, index))
    else:
        yield path, "update", old, new


def same(one: Any, other: Any) -> bool:
    """Whether two values mean the same to Google: spelling of JSON, durations and links aside."""
    if one is UNKNOWN or other is UNKNOWN:
        return one is other
    if isinstance(one, Asset) and isinstance(other, Asset):
        return one.archive == other.archive and one.hash == other.hash
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, bool) or isinstance(other, bool):
        return _text(one) == _text(other)
    if isinstance(one, str) and isinstance(other, str):
        return one == other or _meaning(one) == _meaning(other)
    if isinstance(one, str | int | float) and isinstance(other, str | int | float):
        return one == other or _text(one) == _text(other)
    return one == other


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _meaning(text: str) -> Any:
    if text[:1] in ("{", "["):
        try:
            return json.loads(text)
        except ValueError:
            return text
    duration = re.fullmatch(r"(\d+(?:\.\d+)?)s", text)
    if duration:
        return ("duration", float(duration[1]))
    link = re.fullmatch(r"https://[\w.-]*googleapis\.com/(?:[\w-]+/)?v\d\w*/(projects/.+)", text)
    return link[1] if link else text


def _replaces(resource: Resource, path: Path, before: Any, after: Any) -> bool:
    names = tuple(part for part in path if isinstance(part, str))
    written = ".".join(names)
    if resource.package == "kubernetes":
        return written in _KUBERNETES or _kubernetes(resource, written)
    if resource.package == "docker":
        return names[0] == "imageName"
    if names[0] in _IN_PLACE.get(resource.token, frozenset()):
        return False
    special = _SPECIAL.get((resource.token, names[0]))
    if special is not None:
        return special(before, after)
    table = FORCES_NEW.get(resource.token, frozenset())
    if any(".".join(names[:count]) in table for count in range(1, len(names) + 1)):
        return True
    if _is_iam_member(resource) or names[0] in identity(resource).properties:
        return True
    return any(known.forces_new for known in _along(resource, path))


def _is_iam_member(resource: Resource) -> bool:
    return bool(re.search(r"(IAM|Iam)Member$", resource.token))


def _kubernetes(resource: Resource, written: str) -> bool:
    """Fields that the Kubernetes API refuses to change, as pulumi-kubernetes lists them."""
    immutable = {
        "Deployment": ("spec.selector",),
        "StatefulSet": ("spec.selector", "spec.serviceName", "spec.podManagementPolicy"),
        "DaemonSet": ("spec.selector",),
        "Job": ("spec.selector", "spec.template", "spec.completions"),
        "Secret": ("type",),
        "StorageClass": ("parameters", "provisioner"),
        "PersistentVolumeClaim": ("spec.storageClassName", "spec.accessModes"),
        "RoleBinding": ("roleRef",),
        "ClusterRoleBinding": ("roleRef",),
    }
    return any(
        written == prefix or written.startswith(prefix + ".")
        for prefix in immutable.get(resource.title, ())
    )


def _along(resource: Resource, path: Path) -> Iterator[Property]:
    """The properties that a path passes through."""
    allowed: Mapping[str, Property] = resource.inputs
    for part in path:
        if isinstance(part, int):
            continue
        known = allowed.get(part)
        if known is None:
            return
        yield known
        shape: Shape | None = known.shape
        while shape is not None and shape.kind == "array":
            shape = shape.item
        if shape is None or shape.kind != "object" or shape.cls is None:
            return
        allowed = properties(shape.cls)


def _schema_replaced(before: Any, after: Any) -> bool:
    """Whether BigQuery cannot change one table schema into the other.

    It can add columns that may be null and relax REQUIRED to NULLABLE; the rule is that of
    terraform-provider-google's `resourceBigQueryTableSchemaIsChangeable`.
    """
    if not isinstance(before, str) or not isinstance(after, str):
        return False
    try:
        return not _changeable(json.loads(before), json.loads(after))
    except ValueError:
        return True


def _changeable(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> bool:
    fields = {str(column.get("name", "")).lower(): column for column in after}
    for column in before:
        new = fields.pop(str(column.get("name", "")).lower(), None)
        if new is None or _sql_type(new) != _sql_type(column):
            return False
        modes = (str(column.get("mode") or "NULLABLE"), str(new.get("mode") or "NULLABLE"))
        if modes[0] != modes[1] and modes != ("REQUIRED", "NULLABLE"):
            return False
        if not _changeable(column.get("fields", []), new.get("fields", [])):
            return False
    return all(str(column.get("mode") or "NULLABLE") != "REQUIRED" for column in fields.values())


def _sql_type(column: Mapping[str, Any]) -> str:
    kind = str(column.get("type", "")).upper()
    same_types = {"INTEGER": "INT64", "FLOAT": "FLOAT64", "BOOLEAN": "BOOL", "STRUCT": "RECORD"}
    return same_types.get(kind, kind)


def _narrowed(before: Any, after: Any) -> bool:
    """Whether a subnetwork's range loses addresses; it can only be widened in place."""
    try:
        old, new = (ipaddress.IPv4Network(str(one), strict=False) for one in (before, after))
    except ValueError:
        return True
    return not old.subnet_of(new)


_SPECIAL: Final[dict[tuple[str, str], Callable[[Any, Any], bool]]] = {
    ("gcp:bigquery/table:Table", "schema"): _schema_replaced,
    ("gcp:compute/subnetwork:Subnetwork", "ipCidrRange"): _narrowed,
}


def _normal(path: str) -> str:
    return path.replace('["', ".").replace('"]', "").replace("[*]", "").strip(".")


def _covers(prefix: str, path: str) -> bool:
    normal = _normal(path)
    return normal == prefix or normal.startswith((prefix + ".", prefix + "["))

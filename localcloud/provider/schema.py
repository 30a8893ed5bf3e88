"""What a resource takes and gives, read from the SDK that the program itself uses.

Names, types and required properties come from the SDK's classes, allowed values and what forces a
replacement from their docstrings. A module of the SDK is imported when one of its resources is
first asked for, because importing all of pulumi-gcp takes half a minute.
"""

from __future__ import annotations

import collections.abc
import enum
import functools
import importlib
import inspect
import re
import threading
import types
import typing
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import pulumi
from pulumi import _types
from pulumi.runtime import rpc

PACKAGES: Final = {
    "gcp": "pulumi_gcp",
    "kubernetes": "pulumi_kubernetes",
    "docker": "pulumi_docker",
}

type Kind = Literal["string", "integer", "number", "boolean", "any", "array", "map", "object",
                    "asset", "union"]  # fmt: skip


class NoSuchResource(Exception):
    """The SDK has no resource of this token."""


@dataclass(frozen=True)
class Shape:
    """The type of a value: scalar, array or map of `item`, object of class `cls`, or a union."""

    kind: Kind
    item: Shape | None = None
    cls: type | None = None
    enum: tuple[str, ...] = ()
    options: tuple[Shape, ...] = ()

    def words(self) -> str:
        """The type as a person would say it."""
        match self.kind:
            case "array":
                return (
                    f"a list of {self.item.words().removeprefix('a ').removeprefix('an ')}"
                    if (self.item)
                    else "a list"
                )
            case "map":
                return "a map with string keys"
            case "object":
                return f"an object ({self.cls.__name__})" if self.cls else "an object"
            case "union":
                return " or ".join(option.words() for option in self.options)
            case "integer" | "asset":
                return f"an {self.kind}"
            case "any":
                return "any value"
            case _:
                return f"a {self.kind}"


@dataclass(frozen=True)
class Property:
    """One property of an object or resource, by its Pulumi name."""

    name: str
    python_name: str
    shape: Shape
    required: bool
    doc: str

    @functools.cached_property
    def allowed(self) -> tuple[str, ...]:
        """The values that the docstring allows; empty when it does not limit them."""
        return allowed_values(self.doc)

    @functools.cached_property
    def forces_new(self) -> bool:
        """Whether the docstring says that a change needs a new resource."""
        return forces_new(self.doc)

    @functools.cached_property
    def default(self) -> str | None:
        """The value that the provider fills in, as pulumi-gcp's generated docs word it."""
        found = re.search(r"Default value is `([^`]*)`\.", _flat(self.doc))
        return found[1] if found else None


@dataclass(frozen=True)
class Resource:
    """The inputs and outputs of one resource type."""

    token: str
    cls: type | None
    inputs: dict[str, Property]
    outputs: dict[str, Shape]
    import_format: str | None
    open: bool = field(default=False)
    """Whether properties beyond `inputs` are taken as they come (Kubernetes custom resources)."""

    @property
    def package(self) -> str:
        return self.token.partition(":")[0]

    @property
    def module(self) -> str:
        """`pubsub` of `gcp:pubsub/topic:Topic`."""
        return self.token.split(":")[1].partition("/")[0]

    @property
    def title(self) -> str:
        """`Topic` of `gcp:pubsub/topic:Topic`."""
        return self.token.rpartition(":")[2]

    @property
    def computed(self) -> dict[str, Shape]:
        """Outputs that are no inputs."""
        return {name: shape for name, shape in self.outputs.items() if name not in self.inputs}


_lock = threading.RLock()


@functools.cache
def resource(token: str) -> Resource:
    """The schema of a resource.

    Raises:
        NoSuchResource: the package or the token is not in the SDK installed here.
    """
    with _lock:
        cls = _class_of(token)
        args = _args_of(cls)
        return Resource(
            token=token,
            cls=cls,
            inputs=properties(args) if args else {},
            outputs={n: shape_of(t) for n, t in _types.resource_types(cls).items()},
            import_format=_import_format(cls),
        )


@functools.cache
def provider_inputs(package: str) -> dict[str, Property]:
    """The configuration that a provider of the package takes."""
    with _lock:
        module = importlib.import_module(f"{_sdk(package)}.provider")
        return properties(module.ProviderArgs)


@functools.cache
def properties(cls: type) -> dict[str, Property]:
    """The properties of an args class of the SDK, by Pulumi name."""
    with _lock:
        names = _types.input_type_py_to_pulumi_names(cls)
        shapes = _types.input_type_types(cls)
        required = {
            name
            for name, parameter in inspect.signature(cls.__init__).parameters.items()
            if parameter.default is inspect.Parameter.empty
        }
        return {
            name: Property(
                name=name,
                python_name=python_name,
                shape=shape_of(shapes[name]),
                required=python_name in required,
                doc=inspect.getdoc(getattr(cls, python_name, None)) or "",
            )
            for python_name, name in names.items()
            if name in shapes
        }


def _sdk(package: str) -> str:
    try:
        return PACKAGES[package]
    except KeyError:
        raise NoSuchResource(
            f"the local cloud has no package {package!r}; it has {', '.join(sorted(PACKAGES))}"
        ) from None


def _class_of(token: str) -> type:
    package, _, rest = token.partition(":")
    module, _, name = rest.rpartition(":")
    sdk = importlib.import_module(_sdk(package))
    for registered in rpc._RESOURCE_MODULES.get(f"{package}:{module}", ()):
        info = getattr(registered, "mod_info", {})
        if token in info.get("classes", {}):
            return getattr(importlib.import_module(info["fqn"]), info["classes"][token])
    version = sdk._utilities.get_version()
    raise NoSuchResource(f"pulumi-{package} {version} has no resource {token!r} ({name})")


def _args_of(cls: type) -> type | None:
    """The args class that the resource's constructor takes."""
    for overload in typing.get_overloads(cls.__init__):
        annotation = overload.__annotations__.get("args")
        for candidate in (annotation, *typing.get_args(annotation)):
            if isinstance(candidate, type) and _types.is_input_type(candidate):
                return candidate
    return None


def _import_format(cls: type) -> str | None:
    """The first id that `pulumi import` accepts: in pulumi-gcp that is the resource's id."""
    for overload in typing.get_overloads(cls.__init__):
        _, found, rest = (overload.__doc__ or "").partition("## Import")
        if found and "IAM" not in rest[:900].split(":param", 1)[0]:
            listed = re.search(r"^\s*[*-]\s+`?([^`\s]*\{\{[^`\s]*\}\}[^`\s]*)`?\s*$", rest, re.M)
            return listed[1] if listed else None
    return None


def shape_of(annotation: Any) -> Shape:
    """The shape that a type annotation of the SDK stands for."""
    origin = typing.get_origin(annotation)
    if origin in (typing.Union, types.UnionType):
        return _union(typing.get_args(annotation))
    if origin is Literal:
        return Shape("string", enum=tuple(str(one) for one in typing.get_args(annotation)))
    if origin in (list, collections.abc.Sequence):
        return Shape("array", item=shape_of(typing.get_args(annotation)[0]))
    if origin in (dict, collections.abc.Mapping):
        return Shape("map", item=shape_of(typing.get_args(annotation)[1]))
    if isinstance(annotation, type):
        return _plain(annotation)
    return Shape("any")


def _union(members: tuple[Any, ...]) -> Shape:
    kept = [
        shape_of(member)
        for member in members
        if member is not type(None)
        and typing.get_origin(member) is not collections.abc.Awaitable
        and not _is_output(member)
    ]
    if any(option.kind == "asset" for option in kept):
        return Shape("asset")
    if not kept or any(option.kind == "any" for option in kept):
        return Shape("any")
    # `str | SomeEnum` is a relaxed enum: any string is accepted.
    if any(option == Shape("string") for option in kept):
        kept = [option for option in kept if not option.enum]
    return kept[0] if len(kept) == 1 else Shape("union", options=tuple(kept))


def _is_output(member: Any) -> bool:
    return (
        member is pulumi.Output
        or typing.get_origin(member) is pulumi.Output
        or (isinstance(member, typing.ForwardRef) and member.__forward_arg__.startswith("Output"))
    )


def _plain(cls: type) -> Shape:
    if issubclass(cls, enum.Enum):
        kind: Kind = "string" if issubclass(cls, str) else "number"
        return Shape(kind, enum=tuple(str(member.value) for member in cls))
    if issubclass(cls, pulumi.Asset | pulumi.Archive):
        return Shape("asset")
    if _types.is_input_type(cls) or _types.is_output_type(cls):
        return Shape("object", cls=cls)
    scalars: dict[type, Kind] = {str: "string", bool: "boolean", int: "integer", float: "number"}
    return Shape(scalars.get(cls, "any"))


def _flat(doc: str) -> str:
    return " ".join(doc.split())


# Magic Modules, which generates pulumi-gcp's documents, writes exactly this for an enum that the
# provider validates; looser wordings ("such as", "include") are examples and limit nothing.
_LISTED = re.compile(
    r"(?:Possible values are|Each value may be one of): ((?:`[^`]+`, )*`[^`]+`)(?=\.|$)"
)


def allowed_values(doc: str) -> tuple[str, ...]:
    """The values that a docstring allows, in its order; empty when it does not limit them."""
    flat = _flat(doc)
    found: dict[str, None] = {}
    for listed in _LISTED.finditer(flat):
        found.update(dict.fromkeys(re.findall(r"`([^`]+)`", listed[1])))
    if not found or len(found) == 1:
        return ()
    default = re.search(r"(?:Default value is|Defaults to) `([^`]+)`", flat)
    if default:
        found.setdefault(default[1])
    return tuple(found)


_FORCES = re.compile(
    r"(?:[Cc]hang(?:ing|es to) (?:this|these|the|it)[^.]{0,60}forces? (?:a )?(?:new|re-?creation)"
    r"|forces? (?:a )?new resource"
    r"|(?:^|[.(*] ?|Required\. |Optional\. )Immutable\b"
    r"|[Tt]h(?:is|e) (?:field|property|value|setting) is immutable"
    r"|[Ii]t(?: i|')s immutable|is immutable and"
    r"|will trigger recreation"
    r"|cannot be (?:changed|updated|modified) (?:after|once))"
)


def forces_new(doc: str) -> bool:
    """Whether a docstring says that changing the property needs a new resource."""
    return bool(_FORCES.search(_flat(doc)))

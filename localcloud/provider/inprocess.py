"""The provider without an engine: Pulumi's mocks in front of Check and Create.

For unit tests of components (`ProviderMocks()` validates and records in memory) and for running the
program where no engine can be had (`ProviderMocks(Lifecycle(home))` makes resources real). There is
no state and no diff: every resource is created anew.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pulumi
from pulumi.runtime.mocks import MockCallArgs, MockResourceArgs

from localcloud.provider.configuration import (
    Configuration,
    check_configuration,
    configuration,
)
from localcloud.provider.functions import invoke
from localcloud.provider.lifecycle import Lifecycle
from localcloud.provider.schema import PACKAGES
from localcloud.provider.values import UNKNOWN_WIRE, from_signed, reveal

_PROVIDER = "pulumi:providers:"


class InvalidInputs(Exception):
    """A resource's inputs are wrong; every failure is named."""


@dataclass(frozen=True)
class Made:
    """One resource that the program declared."""

    token: str
    name: str
    id: str
    inputs: dict[str, Any]
    outputs: dict[str, Any]


@dataclass
class ProviderMocks(pulumi.runtime.Mocks):
    """Checks and creates whatever the program declares, and remembers it in `made`.

    Attributes:
        lifecycle: what checks and creates; validates and records in memory by default.
        project: the project of resources that name none.
        region: their region.
        default_labels: labels for every resource that takes them.
        namespace: Kubernetes' namespace.
        repeatable: whether another run of the program finds its own resources and updates them, as
            the creations of a killed deployment are finished; otherwise they are taken, a 409.
        made: all custom resources, in the order of their registration.
        components: all component resources as (token, name).
    """

    lifecycle: Lifecycle = field(default_factory=lambda: Lifecycle(None))
    project: str = "test-project"
    region: str = "us-central1"
    default_labels: Mapping[str, str] = field(default_factory=dict)
    namespace: str | None = None
    repeatable: bool = False
    made: list[Made] = field(default_factory=list)
    components: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._explicit: dict[str, Configuration] = {}
        self._lock = threading.Lock()

    def find(self, token: str) -> list[Made]:
        """The resources of a type: the whole token or its last part (`Topic`)."""
        return [one for one in self.made if token in (one.token, one.token.rpartition(":")[2])]

    def new_resource(self, args: MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        """Check, then create.

        Raises:
            InvalidInputs: naming each wrong property.
        """
        inputs = {name: _marked(value) for name, value in args.inputs.items() if value is not None}
        if args.typ.startswith(_PROVIDER):
            return self._provider(args.name, args.typ.removeprefix(_PROVIDER), inputs)
        if args.typ.partition(":")[0] not in PACKAGES:
            self.components.append((args.typ, args.name))
            return args.name, args.inputs
        configured = self._configuration(args.typ.partition(":")[0], args.provider)
        urn = f"urn:pulumi:{pulumi.get_stack()}::{pulumi.get_project()}::{args.typ}::{args.name}"
        if args.resource_id:
            return self._get(args, urn, configured)
        checked, failures = self.lifecycle.check(
            args.typ, args.name, inputs, configured, seed=urn.encode()
        )
        if failures:
            listed = "\n".join(f"  - {failure}" for failure in failures)
            raise InvalidInputs(f"{args.typ} {args.name!r} has invalid inputs:\n{listed}")
        state = self.lifecycle.create(args.typ, urn, checked, configured)
        if not self.repeatable:
            self.lifecycle.store.acknowledge(urn, state.id)
        outputs = reveal(state.outputs)[0]
        with self._lock:
            self.made.append(Made(args.typ, args.name, state.id, reveal(checked)[0], dict(outputs)))
        return state.id, outputs

    def call(self, args: MockCallArgs) -> tuple[dict[str, Any], list[tuple[str, str]]]:
        """Answer a function of a provider."""
        plain = reveal({name: _marked(value) for name, value in args.args.items()})[0]
        configured = self._configuration(args.token.partition(":")[0], args.provider)
        result, failures = invoke(self.lifecycle, args.token, plain, configured)
        return result, [(failure.property, failure.reason) for failure in failures]

    def _get(
        self, args: MockResourceArgs, urn: str, configured: Configuration
    ) -> tuple[str, dict[str, Any]]:
        identifier = str(args.resource_id)
        state = self.lifecycle.read(
            args.typ, identifier, urn, state={}, inputs={}, configuration=configured
        )
        if state is None:
            raise InvalidInputs(f"{args.typ} {args.name!r}: there is no {identifier!r} to read")
        return state.id, reveal(state.outputs)[0]

    def _provider(
        self, name: str, package: str, inputs: dict[str, Any]
    ) -> tuple[str, dict[str, Any]]:
        plain = reveal(inputs)[0]
        failures = check_configuration(package, plain)
        if failures:
            listed = "\n".join(f"  - {failure}" for failure in failures)
            raise InvalidInputs(f"provider {name!r} has invalid settings:\n{listed}")
        with self._lock:
            self._explicit[name] = configuration(
                package, plain, project=self.project, region=self.region
            )
        return name, plain

    def _configuration(self, package: str, provider: str | None) -> Configuration:
        # A reference reads `urn:…::name::id`, and the mocks gave the name as id.
        explicit = self._explicit.get((provider or "").rpartition("::")[2])
        if explicit is not None:
            return explicit
        values = {"project": self.project, "region": self.region, "namespace": self.namespace}
        if package == "gcp":
            values["defaultLabels"] = dict(self.default_labels)
        return configuration(package, {k: v for k, v in values.items() if v is not None})


def _marked(value: Any) -> Any:
    """Values as the provider holds them: the mocks hand over secrets as signed maps, assets as
    Pulumi's own objects, and unknown values as their wire string."""
    if isinstance(value, pulumi.Asset | pulumi.Archive):
        return _asset(value)
    if isinstance(value, Mapping):
        return from_signed({key: _marked(item) for key, item in value.items()})
    if isinstance(value, list):
        return [_marked(item) for item in value]
    if value == UNKNOWN_WIRE:
        raise InvalidInputs("a value is not known, which cannot be without an engine")
    return value


def _asset(value: pulumi.Asset | pulumi.Archive) -> Any:
    from localcloud.provider.assets import asset

    return asset(value)


InProcess = ProviderMocks
"""The same by the name of its use without an engine."""

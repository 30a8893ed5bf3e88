"""Declares components under the provider's own Check, without an engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_gcp as gcp
import pytest
from pulumi.runtime import mocks as pulumi_mocks
from pulumi.runtime import rpc

from localcloud.provider.inprocess import ProviderMocks

LABELS = {"environment": "test", "product": "demo", "owner": "team", "cost-center": "c-1"}


class Monitor(pulumi_mocks.MockMonitor):
    """Keeps what components register as outputs, which Pulumi's own mock monitor drops."""

    def __init__(self, mocks: pulumi_mocks.Mocks) -> None:
        super().__init__(mocks)
        self.outputs: dict[str, dict[str, Any]] = {}

    def RegisterResourceOutputs(self, request: Any) -> Any:  # noqa: N802 - the protocol's name
        self.outputs[request.urn] = rpc.deserialize_properties(request.outputs)
        return super().RegisterResourceOutputs(request)


@dataclass
class Declared:
    """What a program declared."""

    result: Any
    mocks: ProviderMocks
    monitor: Monitor
    promised: dict[str, set[str]]
    """By type and name of a component, the names of its outputs."""

    def inputs(self, token: str, name: str | None = None) -> dict[str, Any]:
        """The checked inputs of the one resource of a type (and name)."""
        found = [one for one in self.mocks.find(token) if name in (None, one.name)]
        assert len(found) == 1, f"{token} {name}: {[one.name for one in found]}"
        return found[0].inputs


type Declare = Callable[[Callable[[pulumi.ResourceOptions], Any]], Declared]


@pytest.fixture
def declare(monkeypatch: pytest.MonkeyPatch) -> Declare:
    """Runs a program; it is given options with a labelled provider for its components."""
    promised: dict[str, set[str]] = {}
    register = pulumi.ComponentResource.register_outputs

    def promise(self: pulumi.ComponentResource, outputs: Any) -> None:
        if self.pulumi_resource_type.startswith("esteira:"):
            promised[f"{self.pulumi_resource_type}::{self.pulumi_resource_name}"] = set(outputs)
        register(self, outputs)

    monkeypatch.setattr(pulumi.ComponentResource, "register_outputs", promise)

    def run(program: Callable[[pulumi.ResourceOptions], Any]) -> Declared:
        mocks = ProviderMocks()
        monitor = Monitor(mocks)
        pulumi_mocks.set_mocks(mocks, project="esteira", stack="test", monitor=monitor)
        results: list[Any] = []

        def whole() -> None:
            provider = gcp.Provider(
                "labelled",
                project="test-project",
                region="us-central1",
                default_labels=LABELS,
            )
            results.append(program(pulumi.ResourceOptions(providers=[provider])))

        pulumi.runtime.test(whole)()
        return Declared(results[0], mocks, monitor, promised)

    return run


@pytest.fixture
def labels() -> dict[str, str]:
    """The labels that the provider of `declare` puts on everything."""
    return LABELS

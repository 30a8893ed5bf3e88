"""Composes whole stacks under the provider's own Check, without an engine."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pulumi
import pytest

from localcloud.provider.inprocess import ProviderMocks
from stacks.program import program
from stacks.settings import Settings, SettingsError

EVERYTHING: dict[str, Any] = {
    "security": {
        "guardRails": True,
        "accessPolicy": "123456789",
        "perimeterMembers": ["group:operators@example.com"],
    },
    "network": {"nat": True},
    "retention": {"landedFiles": 365, "rawRows": 1_000, "predictionRows": 400, "snapshots": 400},
    "lifetime": {"idleDays": 90},
    "access": {
        "readers": ["group:analysts@example.com"],
        "sensitiveReaders": ["group:privacy@example.com"],
    },
    "streaming": {"atLeastOnce": True},
    "database": {"name": "esteira"},
    "serving": {
        "apiDomain": "predict.example.com",
        "maxReplicas": 5,
        "apiClients": ["web@acme-shop.iam.gserviceaccount.com"],
    },
    "workbench": {"enabled": True, "users": ["group:scientists@example.com"]},
    "alerts": {
        "enabled": True,
        "dashboards": True,
        "logSink": True,
        "uptimeChecks": True,
        "emails": ["ops@example.com"],
        "slackChannel": "#ops",
        "teamsWebhookSecret": "teams-webhook",
        "slackWebhookSecret": "slack-webhook",
        "runbooks": "https://github.com/acme/flights/blob/main/docs/runbooks",
    },
    "budget": {"billingAccount": "012345-6789AB-CDEF01", "monthlyAmount": 500},
    "github": {"repository": "acme/flights", "branch": "main"},
}
"""Settings that switch on all that prod can have."""


@dataclass
class Composed:
    """What the program declared and exported."""

    mocks: ProviderMocks
    outputs: dict[str, Any] = field(default_factory=dict)

    def inputs(self, token: str, name: str) -> dict[str, Any]:
        """The checked inputs of one resource."""
        found = [one for one in self.mocks.find(token) if one.name == name]
        assert len(found) == 1, f"{token} {name}: {[one.name for one in self.mocks.find(token)]}"
        return found[0].inputs


def configuration(environment: str, **groups: Any) -> dict[str, str]:
    """What `compose` takes: an environment's configuration with these groups of settings."""
    return {
        "environment": environment,
        "project": f"esteira-{environment}",
        **{key: json.dumps(value) for key, value in groups.items()},
    }


type Compose = Callable[[dict[str, str]], Composed]


@pytest.fixture(scope="session")
def compose() -> Compose:
    """Runs the program with the given configuration, keys without their namespace.

    Configurations that come to the same settings run once, and what is declared is only looked at.
    """
    done: dict[str, Composed] = {}

    def cached(configuration: dict[str, str]) -> Composed:
        key = _settings(configuration)
        if key not in done:
            done[key] = _compose(configuration)
        return done[key]

    return cached


@pytest.fixture
def compose_anew() -> Compose:
    """The same, run each time."""
    return _compose


def _settings(configuration: dict[str, str]) -> str:
    """All settings that a configuration comes to, or itself where it cannot be used."""
    values: dict[str, Any] = {
        key: json.loads(value) if value.startswith(("{", "[")) else value
        for key, value in configuration.items()
    }
    try:
        return Settings.from_values(values).model_dump_json()
    except SettingsError:
        return json.dumps(configuration, sort_keys=True)


def _compose(configuration: dict[str, str]) -> Composed:
    composed = Composed(ProviderMocks())
    pulumi.runtime.set_mocks(composed.mocks, project="esteira", stack="test")
    pulumi.runtime.set_all_config({f"esteira:{key}": value for key, value in configuration.items()})

    def export(name: str, value: Any) -> None:
        def keep(known: Any) -> None:
            composed.outputs[name] = known

        pulumi.Output.from_input(value).apply(keep)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pulumi, "export", export)
        pulumi.runtime.test(program)()
    return composed

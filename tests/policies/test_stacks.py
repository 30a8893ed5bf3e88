"""Our own stacks, composed in memory: every value is known, so every policy has its verdict."""

from __future__ import annotations

import functools
import json
from typing import Any

import pulumi
import pytest
import yaml
from pulumi.runtime import mocks as pulumi_mocks
from pulumi.runtime import rpc
from pulumi.runtime.mocks import MockResourceArgs

from esteira.engine import policies
from esteira.paths import ROOT
from localcloud.provider.inprocess import ProviderMocks
from policies.catalogue import RULES
from policies.rule import AnyRule, Environment, Rule
from stacks.program import program
from tests.policies.conftest import Judge, Verdict
from tests.stacks.conftest import EVERYTHING


class Mocks(ProviderMocks):
    """Gives an image a digest: in memory the provider builds none."""

    def new_resource(self, args: MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        made, outputs = super().new_resource(args)
        if args.typ == "docker:index/image:Image":
            repository = outputs["imageName"].rpartition(":")[0]
            outputs.setdefault("repoDigest", f"{repository}@sha256:{'0' * 64}")
        return made, outputs


class Monitor(pulumi_mocks.MockMonitor):
    """Notes of each resource what a policy sees beside its inputs."""

    def __init__(self, mocks: ProviderMocks) -> None:
        super().__init__(mocks)
        self.protected: set[tuple[str, str]] = set()
        self.provider_of: dict[tuple[str, str], str] = {}
        self.providers: dict[str, dict[str, Any]] = {}
        self.sources: dict[tuple[str, str], dict[str, list[str]]] = {}

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802 - the protocol's name
        key = (request.type, request.name)
        if request.protect:
            self.protected.add(key)
        if request.type == "pulumi:providers:gcp":
            self.providers[request.name] = rpc.deserialize_properties(request.object)
        self.provider_of[key] = request.provider.rpartition("::")[0].rpartition("::")[2]
        self.sources[key] = {k: list(v.urns) for k, v in request.propertyDependencies.items()}
        return super().RegisterResource(request)


@functools.cache
def composed(stack: str, *, everything: bool = False) -> list[dict[str, Any]]:
    """The resources of a stack, as the judge takes them; only to be looked at.

    With `everything`, its settings file and on top of it all that can be switched on.
    """
    settings = yaml.safe_load((ROOT / f"Pulumi.{stack}.yaml").read_text())["config"]
    if everything:
        settings |= {f"esteira:{key}": value for key, value in EVERYTHING.items()}
    mocks = Mocks()
    monitor = Monitor(mocks)
    pulumi_mocks.set_mocks(mocks, project="esteira", stack=stack, monitor=monitor)
    pulumi.runtime.set_all_config(
        {k: v if isinstance(v, str) else json.dumps(v) for k, v in settings.items()}
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pulumi, "export", lambda *_: None)
        pulumi.runtime.test(program)()
    resources: list[dict[str, Any]] = []
    for one in mocks.made:
        key = (one.token, one.name)
        resources.append(
            {
                "type": one.token,
                "name": one.name,
                "props": one.inputs,
                "protected": key in monitor.protected,
                "provider": monitor.providers.get(monitor.provider_of[key], {}),
                "from": monitor.sources[key],
            }
        )
    return resources


def verdicts(
    judge: Judge, rule: AnyRule, resources: list[dict[str, Any]]
) -> list[tuple[str, Verdict]]:
    options = json.loads(policies.CONFIG.read_text()).get(rule.name, {})
    if isinstance(rule, Rule):
        judged = [one for one in resources if rule.judges(one["type"])]
        return [(one["name"], judge(rule.name, one, options=options)) for one in judged]
    return [("the stack", judge(rule.name, *resources, options=options))]


@pytest.mark.parametrize(
    ("environment", "everything"),
    [*((one, False) for one in Environment), (Environment.PROD, True)],
    ids=[*Environment, "prod with everything"],
)
def test_a_stack_passes_every_policy_that_binds_it(
    judge: Judge, environment: Environment, everything: bool
) -> None:
    resources = composed(environment.value, everything=everything)
    assert len(resources) > 100
    decided = 0
    faults: list[str] = []
    for rule in (one for one in RULES if one.level.binds(environment)):
        for name, verdict in verdicts(judge, rule, resources):
            assert (verdict.undecided, verdict.error) == ("", ""), f"{rule.name}: {name}"
            faults += [f"{rule.name}: {name}: {said}" for _, said in verdict.violations]
            decided += 1
    assert faults == []
    assert decided > 100


def test_our_stacks_need_no_exemption() -> None:
    for options in json.loads(policies.CONFIG.read_text()).values():
        assert "exemptions" not in options


@pytest.mark.parametrize(
    ("kind", "breaking", "named"),
    [
        ("gcp:storage/bucket:Bucket", {"protected": False}, "stateful-protected"),
        ("gcp:pubsub/topic:Topic", {"provider": {}}, "required-labels"),
    ],
)
def test_prod_would_fail_without_what_its_settings_give_it(
    judge: Judge, kind: str, breaking: dict[str, Any], named: str
) -> None:
    one = next(one for one in composed("prod") if one["type"] == kind)
    props = {k: v for k, v in one["props"].items() if "abels" not in k}
    assert judge(named, {**one, "props": props}).violations == []
    assert judge(named, {**one, "props": props, **breaking}).violations

"""The pack as the engine starts it: another process, spoken to over gRPC."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf import empty_pb2
from pulumi.runtime.proto import analyzer_pb2, analyzer_pb2_grpc

from esteira.engine import policies
from policies.catalogue import RULES
from policies.rule import Environment, Level

LEVELS = {analyzer_pb2.MANDATORY: True, analyzer_pb2.ADVISORY: False}
type Pack = analyzer_pb2_grpc.AnalyzerStub


@pytest.fixture(scope="module")
def pack() -> Iterator[Pack]:
    if not policies.ready():
        pytest.skip("the policies have no environment; `make setup` makes it")
    # What the engine's starter does, with no engine to report to.
    starter = policies.PACK / policies.STARTER
    with subprocess.Popen([str(starter), "127.0.0.1:1"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield analyzer_pb2_grpc.AnalyzerStub(channel)
        process.terminate()


def mandatory(pack: Pack) -> set[str]:
    info = pack.GetAnalyzerInfo(empty_pb2.Empty())
    return {one.name for one in info.policies if LEVELS[one.enforcementLevel]}


@pytest.mark.parametrize(
    ("stack", "config", "environment"),
    [
        ("prod", {}, Environment.PROD),
        ("dev", {}, Environment.DEV),
        ("blue", {"esteira:environment": "dev"}, Environment.DEV),
        ("dev", {"esteira:environment": "prod"}, Environment.PROD),
        ("blue", {}, Environment.PROD),
        ("local", {"other:environment": "prod"}, Environment.LOCAL),
    ],
)
def test_levels_follow_the_environment_of_the_stack(
    pack: Pack, stack: str, config: dict[str, str], environment: Environment
) -> None:
    pack.ConfigureStack(
        analyzer_pb2.AnalyzerStackConfigureRequest(stack=stack, project="esteira", config=config)
    )
    assert mandatory(pack) == {one.name for one in RULES if one.level.binds(environment)}


def test_the_engine_is_told_all_about_each_policy(pack: Pack) -> None:
    told = {one.name: one for one in pack.GetAnalyzerInfo(empty_pb2.Empty()).policies}
    assert set(told) == {one.name for one in RULES}
    for rule in RULES:
        one = told[rule.name]
        assert one.description == rule.description
        assert list(one.tags) == list(rule.references)
        assert one.remediation_steps == rule.remedy
        assert one.severity != analyzer_pb2.POLICY_SEVERITY_UNSPECIFIED
        assert "exemptions" in one.configSchema.properties
        benchmark = [r for r in rule.references if r.startswith(("CIS ", "GKE "))]
        assert one.framework.reference == (benchmark[0].split()[1] if benchmark else "")


def test_what_binds_nowhere_else_binds_in_prod() -> None:
    in_prod = [one for one in RULES if one.level is Level.IN_PROD]
    assert in_prod
    assert not any(one.level.binds(Environment.DEV) for one in in_prod)
    assert not any(one.level.binds(Environment.LOCAL) for one in in_prod)


def configure(pack: Pack, config: dict[str, Any]) -> None:
    """Tell the pack its options, as the engine does before it judges anything."""
    request = analyzer_pb2.ConfigureAnalyzerRequest()
    for name, options in config.items():
        request.policyConfig[name].properties.update(options)
    pack.Configure(request)


@pytest.mark.parametrize("rule", ["bucket-versioning", "bucket-access-log"])
def test_an_exemption_that_has_ended_fails_the_pack_whatever_it_covers(
    pack: Pack, rule: str
) -> None:
    """Before a resource is judged: so also where none breaks the rule, or it only advises."""
    exemption = {"urn": "*::nothing", "reason": "not yet decided", "expires": "2020-01-31"}
    with pytest.raises(grpc.RpcError) as refused:
        configure(pack, {rule: {"exemptions": [exemption]}})
    told = f"{rule}: the exemption of `*::nothing` ended on 2020-01-31 (not yet decided)"
    assert told in str(refused.value)
    configure(pack, {rule: {"exemptions": [{**exemption, "expires": "9999-12-31"}]}})
    configure(pack, {})

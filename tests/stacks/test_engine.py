"""The program on the real engine, without credentials."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml
from pulumi.automation import EngineEvent

from esteira.engine import install, policies, stack
from esteira.paths import ROOT
from stacks.settings import Environment
from tests.components.test_contract import SAMPLES
from tests.stacks.conftest import EVERYTHING

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(install.find() is None, reason="no Pulumi engine; `make setup` gets one"),
]


# dev is judged in test_shell.py, as a person at a shell would have it judged; the others by each
# policy in tests/policies/test_stacks.py, and local's program runs for the tests of the platform.
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(one.value, marks=pytest.mark.long)
        for one in (Environment.LOCAL, Environment.PROD)
    ],
)
def test_a_stack_previews_without_credentials_and_breaks_no_policy(name: str) -> None:
    planned = judged(name)
    assert {
        "gcp:pubsub/topic:Topic",
        "gcp:dataflow/flexTemplateJob:FlexTemplateJob",
        "gcp:vertex/aiEndpoint:AiEndpoint",
        "docker:index/image:Image",
    } <= planned


# Composed in memory it is judged in tests/policies/test_stacks.py, in a quarter of the time.
@pytest.mark.long
def test_a_prod_that_has_everything_breaks_no_policy_either(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Pulumi.yaml", tmp_path)
    settings = yaml.safe_load((ROOT / "Pulumi.prod.yaml").read_text())
    settings["config"] |= {f"esteira:{key}": value for key, value in EVERYTHING.items()}
    (tmp_path / "Pulumi.prod.yaml").write_text(yaml.safe_dump(settings))
    planned = judged("prod", tmp_path)
    assert {
        f"esteira:{one.__module__.removeprefix('components.')}:{one.__name__}" for one in SAMPLES
    } <= planned


def judged(name: str, checkout: Path | None = None) -> set[str]:
    """Preview a stack with the policies on, which find nothing to stop it; the types it plans."""
    events: list[EngineEvent] = []
    with stack.opened(name, offline=True, progress=lambda _: None, checkout=checkout) as opened:
        changes = opened.preview(events.append, judged=True)
    errors = [
        event.diagnostic_event.message
        for event in events
        if event.diagnostic_event and event.diagnostic_event.severity == "error"
    ]
    assert errors == []
    assert set(changes.counts) == {"create"}
    findings = [policies.finding(one.policy_event) for one in events if one.policy_event]
    assert [one for one in findings if one.mandatory] == []
    # What is not known before it is made is left for the update to judge; the rest has its verdict.
    assert policies.ready() == any(one.decided for one in findings)
    return {event.resource_pre_event.metadata.type for event in events if event.resource_pre_event}

"""How policies are listed and reported."""

from __future__ import annotations

import io
import json

import pytest
from pulumi.automation.events import PolicyEvent
from rich.console import Console
from typer.testing import CliRunner

from esteira import cli, operations, policy_report
from esteira.engine import policies
from policies.catalogue import BY_NAME, RULES


def event(policy: str, message: str, *, mandatory: bool) -> PolicyEvent:
    return PolicyEvent(
        message=message,
        color="never",
        policy_name=policy,
        policy_pack_name="esteira",
        policy_pack_version="1.0.0",
        policy_pack_version_tag="1.0.0",
        enforcement_level="mandatory" if mandatory else "advisory",
        resource_urn="urn:pulumi:prod::esteira::gcp:storage/bucket:Bucket::landing",
    )


def said(policy: str, fault: str) -> str:
    """A message as the engine passes it on."""
    rule = BY_NAME[policy]
    lines = [f"<{{%reset%}}>{rule.description}", fault, f"To mend: {rule.remedy}"]
    return "\n".join([*lines, f"Reference: {', '.join(rule.references)}"])


def test_all_policies_are_listed() -> None:
    result = CliRunner().invoke(cli.app, ["policies", "list", "--json"])
    assert result.exit_code == 0
    listed = json.loads(result.stdout)
    assert [one["name"] for one in listed] == [one.name for one in RULES]
    assert listed[0]["references"] == ["CIS 5.2", "CKV_GCP_29"]
    text = CliRunner().invoke(cli.app, ["policies", "list"]).stdout
    assert all(one.name in text for one in RULES)


def test_a_finding_says_what_is_wrong_how_to_mend_it_and_by_which_reference() -> None:
    fault = "`uniformBucketLevelAccess` is false; it has to be true"
    found = policies.finding(
        event("bucket-uniform-access", said("bucket-uniform-access", fault), mandatory=True)
    )
    assert found.message == fault
    assert found.mandatory
    assert found.decided
    assert found.references == ("CIS 5.2", "CKV_GCP_29")
    assert found.remedy == BY_NAME["bucket-uniform-access"].remedy


def test_the_report_shows_violations_whole_and_sums_up_the_rest() -> None:
    waiting = "can't run policy 'x' from policy pack 'y' during preview: string value at .z"
    screen = io.StringIO()
    policy_report.show(
        [
            policies.finding(one)
            for one in (
                event("bucket-access-log", said("bucket-access-log", "not set"), mandatory=False),
                event("bucket-customer-key", waiting, mandatory=False),
                event("bucket-versioning", said("bucket-versioning", "is off"), mandatory=True),
            )
        ],
        Console(file=screen, width=300),
    )
    lines = screen.getvalue().splitlines()
    assert lines[0].strip() == "violation bucket-versioning: landing"
    assert lines[1].strip() == "is off"
    assert "CKV_GCP_78" in lines[2]
    assert lines[3].strip() == "advisory bucket-access-log: landing"
    assert lines[-1].strip() == "1 verdicts wait for values that `up` knows: bucket-customer-key"


def test_a_verdict_can_be_piped(monkeypatch: pytest.MonkeyPatch) -> None:
    fault = "`versioning.enabled` is not set"
    broken = policies.finding(
        event("bucket-versioning", said("bucket-versioning", fault), mandatory=True)
    )
    for findings, status, words in (
        ([broken], 1, ["violation bucket-versioning: landing", fault, "prod: 1 violations"]),
        ([], 0, ["prod: passed"]),
    ):
        monkeypatch.setattr(operations, "findings", lambda *_, found=findings: found)
        ended = CliRunner().invoke(cli.app, ["policies", "check", "prod"])
        assert ended.exit_code == status
        assert all(one in ended.stdout for one in words)
        assert ended.stderr == ""

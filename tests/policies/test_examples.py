"""Every rule on examples: what passes, what fails, and what cannot be said yet."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from localcloud.provider.configuration import configuration
from localcloud.provider.inprocess import ProviderMocks
from policies.catalogue import BY_NAME, RULES
from policies.rule import Level, Rule
from tests.policies.conftest import Judge, resource
from tests.policies.examples import EXAMPLES, Example

PASSING = [one for one in EXAMPLES if not one.fails]
FAILING = [one for one in EXAMPLES if one.fails]
UNHAPPY = "no-service-account-keys"
"""The one rule that nothing passes."""


def paths(value: Any, where: tuple[str | int, ...] = ()) -> Iterator[list[str | int]]:
    """Every place in a resource's properties."""
    if where:
        yield list(where)
    for key, inner in value.items() if isinstance(value, dict) else ():
        yield from paths(inner, (*where, key))
    for index, inner in enumerate(value) if isinstance(value, list) else ():
        yield from paths(inner, (*where, index))


@pytest.mark.parametrize("example", PASSING, ids=lambda one: one.id)
def test_what_is_right_passes(judge: Judge, example: Example) -> None:
    verdict = judge(example.rule, resource(example))
    assert verdict.violations == []
    assert (verdict.undecided, verdict.not_applicable, verdict.error) == ("", "", "")


@pytest.mark.parametrize("example", FAILING, ids=lambda one: one.id)
def test_what_is_wrong_is_named_with_its_remedy(judge: Judge, example: Example) -> None:
    verdict = judge(example.rule, resource(example))
    messages = [message for _, message in verdict.violations]
    assert any(example.fails in message for message in messages), messages
    rule = BY_NAME[example.rule]
    for message in messages:
        assert f"To mend: {rule.remedy}" in message
        assert f"Reference: {', '.join(rule.references)}" in message


@pytest.mark.parametrize("example", FAILING, ids=lambda one: one.id)
def test_a_fault_that_is_not_known_yet_never_passes_silently(
    judge: Judge, example: Example
) -> None:
    # Whichever part is not known at preview: the fault is reported, or the policy says that it
    # cannot tell yet. At `up` the part is known, and the test above holds.
    for path in paths(example.props):
        verdict = judge(example.rule, resource(example, path))
        assert not verdict.silent, path


@pytest.mark.parametrize("example", PASSING, ids=lambda one: one.id)
def test_what_is_not_known_yet_is_no_violation(judge: Judge, example: Example) -> None:
    for path in paths(example.props):
        verdict = judge(example.rule, resource(example, path))
        assert verdict.violations == [], path


@pytest.mark.parametrize(
    "rule", [one for one in RULES if isinstance(one, Rule)], ids=lambda r: r.name
)
def test_every_rule_has_both_kinds_of_examples_for_every_type(rule: Rule) -> None:
    failing = {one.type for one in FAILING if one.rule == rule.name}
    passing = {one.type for one in PASSING if one.rule == rule.name}
    assert failing
    assert passing or rule.name == UNHAPPY
    for one in failing | passing:
        assert rule.judges(one)
    if rule.name not in (
        "required-labels",
        "stateful-protected",
        "allowed-region",
        "image-by-digest",
    ):
        assert set(rule.types) <= failing | passing


@pytest.mark.parametrize(
    "rule", [one for one in RULES if isinstance(one, Rule)], ids=lambda r: r.name
)
def test_a_rule_says_what_it_does_not_judge(judge: Judge, rule: Rule) -> None:
    other = {"type": "random:index/randomId:RandomId", "name": "other", "props": {}}
    assert judge(rule.name, other).not_applicable == f"judges only {', '.join(rule.types)}"


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda one: one.id)
def test_examples_are_resources_that_the_provider_takes(example: Example) -> None:
    # Otherwise a rule could read a property that no resource has, and never fail.
    package = example.type.partition(":")[0]
    values = {"project": "a-project", "region": "us-central1"} if package == "gcp" else {}
    _, failures = ProviderMocks().lifecycle.check(
        example.type, "example", example.props, configuration(package, values), seed=b"example"
    )
    assert [str(one) for one in failures] == []


@pytest.mark.parametrize(
    ("rule", "kind", "props", "reason"),
    [
        ("table-customer-key", "gcp:bigquery/table:Table", {"view": {"query": "x"}}, "a view"),
        (
            "sql-backups",
            "gcp:sql/databaseInstance:DatabaseInstance",
            {"masterInstanceName": "m"},
            "a replica",
        ),
        (
            "sql-audit-flags",
            "gcp:sql/databaseInstance:DatabaseInstance",
            {"databaseVersion": "MYSQL_8_0"},
            "no PostgreSQL",
        ),
        (
            "key-rotation",
            "gcp:kms/cryptoKey:CryptoKey",
            {"purpose": "ASYMMETRIC_SIGN"},
            "does not rotate",
        ),
        (
            "repository-immutable-tags",
            "gcp:artifactregistry/repository:Repository",
            {"format": "PYTHON"},
            "no tags",
        ),
        (
            "firewall-no-open-administration",
            "gcp:compute/firewall:Firewall",
            {"direction": "EGRESS"},
            "lets nothing in",
        ),
        (
            "subnetwork-flow-logs",
            "gcp:compute/subnetwork:Subnetwork",
            {"purpose": "REGIONAL_MANAGED_PROXY"},
            "no machines",
        ),
        ("stateful-protected", "gcp:bigquery/table:Table", {"view": {"query": "x"}}, "a view"),
    ],
)
def test_a_rule_says_why_it_does_not_apply(
    judge: Judge, rule: str, kind: str, props: dict[str, Any], reason: str
) -> None:
    verdict = judge(rule, {"type": kind, "name": "example", "props": props})
    assert reason in verdict.not_applicable
    assert verdict.violations == []


SUBSCRIPTION = "gcp:pubsub/subscription:Subscription"


def test_only_a_subscription_to_dead_letters_needs_no_dead_letters(judge: Judge) -> None:
    verdict = judge(
        "subscription-dead-letters",
        {
            "type": SUBSCRIPTION,
            "name": "events",
            "props": {"deadLetterPolicy": {"deadLetterTopic": "projects/p/topics/grave"}},
            "from": {"topic": ["live"], "deadLetterPolicy": ["grave"]},
        },
        {
            "type": SUBSCRIPTION,
            "name": "inspection",
            "props": {"topic": "?"},
            "unknown": [["topic"]],
            "from": {"topic": ["grave"]},
        },
        {"type": SUBSCRIPTION, "name": "forgotten", "props": {}, "from": {"topic": ["live"]}},
    )
    assert [name for name, _ in verdict.violations] == ["forgotten"]


def test_a_dead_letter_policy_that_is_not_known_yet_is_not_passed_over(judge: Judge) -> None:
    verdict = judge(
        "subscription-dead-letters",
        {
            "type": SUBSCRIPTION,
            "name": "events",
            "props": {"deadLetterPolicy": "?"},
            "unknown": [["deadLetterPolicy"]],
        },
    )
    assert verdict.undecided


def test_rules_tell_what_a_reader_needs() -> None:
    assert len({one.name for one in RULES}) == len(RULES)
    for rule in RULES:
        assert rule.references
        assert rule.remedy.endswith(".")
        assert rule.description.endswith(".")
        assert rule.types
    levels = {level: [r for r in RULES if r.level is level] for level in Level}
    assert all(levels.values())

"""A resource may break a rule for a while, if somebody says why."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from policies import exemption
from tests.policies.conftest import Judge

RULE = "bucket-versioning"
SCRATCH = {"type": "gcp:storage/bucket:Bucket", "name": "scratch", "props": {}}
EXEMPTION = {"urn": "*::scratch", "reason": "thrown away every day", "expires": "9999-12-31"}


def options(**changes: Any) -> dict[str, Any]:
    given = {**EXEMPTION, **changes}
    return {"exemptions": [{k: v for k, v in given.items() if v is not None}]}


def test_an_exempt_resource_is_not_judged_and_the_reason_is_told(judge: Judge) -> None:
    verdict = judge(RULE, SCRATCH, options=options())
    assert verdict.violations == []
    assert verdict.not_applicable == "exempt until 9999-12-31: thrown away every day"


def test_an_exemption_is_for_what_it_names_only(judge: Judge) -> None:
    other = {**SCRATCH, "name": "landing"}
    assert judge(RULE, other, options=options()).violations
    assert judge("bucket-uniform-access", SCRATCH).violations


def test_an_expired_exemption_no_longer_helps(judge: Judge) -> None:
    verdict = judge(RULE, SCRATCH, options=options(expires="2020-01-31"))
    assert len(verdict.violations) == 1


class TestFaults:
    """What is looked at before any resource is: no rule has to judge anything."""

    TODAY = datetime.date(2026, 11, 22)

    def told(self, **changes: Any) -> list[str]:
        return list(exemption.faults({RULE: options(**changes), "x": {}}, self.TODAY))

    def test_one_holds_through_its_last_day(self) -> None:
        assert self.told(expires="2026-11-22") == []

    def test_one_that_has_ended_is_told_with_its_policy_its_urn_and_its_day(self) -> None:
        [told] = self.told(expires="2026-11-21")
        assert told.startswith(
            "bucket-versioning: the exemption of `*::scratch` ended on 2026-11-21 (thrown away"
        )

    def test_all_are_told(self) -> None:
        ended = options(expires="2020-01-31")
        found = exemption.faults({RULE: ended, "bucket-access-log": ended}, self.TODAY)
        assert [one.partition(":")[0] for one in found] == ["bucket-access-log", RULE]

    def test_a_day_that_no_calendar_has_is_told(self) -> None:
        [told] = self.told(expires="2027-02-31")
        assert "`expires` is '2027-02-31'; allowed: a day" in told


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"reason": None}, "needs `reason`"),
        ({"reason": "  "}, "needs `reason`"),
        ({"expires": None}, "needs `expires`"),
        ({"urn": None}, "needs `urn`"),
        ({"expires": "soon"}, "`expires` is 'soon'; allowed: a day"),
        ({"because": "x"}, "no `because`"),
    ],
)
def test_an_exemption_that_says_too_little_is_refused(
    judge: Judge, changes: dict[str, Any], told: str
) -> None:
    verdict = judge(RULE, SCRATCH, options=options(**changes))
    assert told in verdict.error
    assert verdict.error.startswith("InvalidExemption")


def test_a_stack_rule_has_exemptions_too(judge: Judge) -> None:
    forgotten = {"type": "gcp:pubsub/subscription:Subscription", "name": "scratch", "props": {}}
    assert judge("subscription-dead-letters", forgotten).violations
    assert not judge("subscription-dead-letters", forgotten, options=options()).violations


@pytest.mark.parametrize(
    ("rule", "given", "props"),
    [
        ("allowed-region", {"regions": ["europe-west1"]}, {"location": "EUROPE-WEST1"}),
        ("required-labels", {"labels": ["team"]}, {"labels": {"team": "a"}}),
    ],
)
def test_regions_and_labels_are_configured(
    judge: Judge, rule: str, given: dict[str, Any], props: dict[str, Any]
) -> None:
    bucket = {**SCRATCH, "props": props}
    assert judge(rule, bucket).violations
    assert judge(rule, bucket, options=given).violations == []

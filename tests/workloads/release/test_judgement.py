"""What windows of evidence mean, by tables."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.workloads.release.conftest import window
from workloads.product import InvalidProduct
from workloads.release.judgement import Action, Verdict, enough, judge, rule
from workloads.release.policy import GuardMetric, ReleasePolicy, Worse

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
POLICY = ReleasePolicy(evidence_requests=100, step_time=timedelta(minutes=10))
GUARD = GuardMetric(name="said_yes", sql="AVG(IF(answer, 1, 0))", tolerance=0.1)


@pytest.mark.parametrize(
    ("figures", "said"),
    [
        ({}, None),
        ({"errors": 4}, None),
        ({"errors": 5}, r"error rate 2\.50%, champion 0\.00%; allowed: 2\.00%"),
        ({"errors": 9, "champion": {"errors": 60}}, None),
        ({"p95": 14.9}, None),
        # Half as slow again, but by less than what is noise.
        ({"p95": 4.0, "champion": {"p95": 1.0}}, None),
        ({"p95": 16.0}, r"latency p95 16\.0 ms, champion 10\.0 ms; allowed: 15\.0 ms"),
        ({"p95": 1001.0, "champion": {"p95": 900.0}}, r"allowed: 1000 ms"),
        ({"p95": None}, None),
        ({"drift": 0.1}, None),
        ({"drift": 0.2}, r"differ from the champion's by 0\.200 .* allowed: 0\.1"),
        ({"drift": None}, None),
        ({"guard": 0.5, "champion": {"guard": 0.45}}, None),
        ({"guard": 0.5, "champion": {"guard": 0.3}}, r"said_yes is 0\.5, champion 0\.3"),
        ({"guard": 0.5, "champion": {"guard": None}}, None),
    ],
)
def test_what_breaches(figures: dict[str, Any], said: str | None) -> None:
    policy = ReleasePolicy(evidence_requests=100, guard=GUARD)

    verdict = judge(policy, window(NOW, NOW, **figures))

    if said is None:
        assert verdict.clean
    else:
        (breach,) = verdict.breaches
        assert re.search(said, breach)


@pytest.mark.parametrize(
    ("worse", "found", "clean"),
    [
        (Worse.HIGHER, 0.5, False),
        (Worse.HIGHER, 0.1, True),
        (Worse.LOWER, 0.5, True),
        (Worse.LOWER, 0.1, False),
    ],
)
def test_a_guard_may_move_the_better_way(worse: Worse, found: float, clean: bool) -> None:
    guard = GuardMetric(name="said_yes", sql="AVG(value)", tolerance=0.1, worse=worse)
    policy = ReleasePolicy(guard=guard)

    assert judge(policy, window(NOW, NOW, guard=found, champion={"guard": 0.3})).clean is clean


def test_a_window_without_enough_requests_of_the_challenger_says_nothing() -> None:
    assert not enough(POLICY, window(NOW, NOW, requests=99))
    assert enough(POLICY, window(NOW, NOW, requests=100, champion={"requests": 0}))


def verdicts(pattern: str) -> list[Verdict]:
    """`c` clean, `b` with a breach, `x` with most requests failed."""
    figures: dict[str, dict[str, Any]] = {"c": {}, "b": {"drift": 0.5}, "x": {"errors": 150}}
    return [judge(POLICY, window(NOW, NOW, **figures[one])) for one in pattern]


@pytest.mark.parametrize(
    ("pattern", "action"),
    [
        ("", Action.WAIT),
        ("c", Action.WAIT),
        ("cc", Action.ADVANCE),
        ("bcc", Action.ADVANCE),
        ("b", Action.WAIT),
        ("bb", Action.WAIT),
        ("bbb", Action.ABORT),
        ("bbcb", Action.ABORT),
        # It breached three times of four, but is well now.
        ("bbbc", Action.WAIT),
        # One window is enough where nearly all fails.
        ("x", Action.ABORT),
        ("ccccx", Action.ABORT),
        *((("bc" * n), Action.WAIT) for n in (1, 2, 5, 20)),
        *((("cb" * n), Action.WAIT) for n in (1, 2, 5, 20)),
        *((("bbc" * n)[:-1], Action.WAIT) for n in (1,)),
    ],
)
def test_a_signal_that_flaps_does_not_abort_and_one_that_stays_does(
    pattern: str, action: Action
) -> None:
    ruling = rule(POLICY, verdicts(pattern), NOW - timedelta(minutes=11), NOW)

    assert ruling.action is action, ruling.reason


def test_a_step_lasts_its_least_time_however_clean_it_is() -> None:
    ruling = rule(POLICY, verdicts("cccc"), NOW - timedelta(minutes=9), NOW)

    assert ruling.action is Action.WAIT
    assert ruling.reason == "waits for 61 s more of this step"


@pytest.mark.parametrize("pattern", ["", "c", "bc" * 10])
def test_a_step_that_does_not_convince_in_its_most_time_is_aborted(pattern: str) -> None:
    ruling = rule(POLICY, verdicts(pattern), NOW - timedelta(hours=24), NOW)

    assert ruling.action is Action.ABORT
    assert "not convinced within 24 h" in ruling.reason


def test_it_says_what_it_waits_for() -> None:
    ruling = rule(POLICY, verdicts("c"), NOW - timedelta(hours=1), NOW)

    assert ruling.reason == "waits for 1 more clean window of at least 100 requests each"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"canary_steps": (25, 5)}, r"release.canary_steps is \(25, 5\); allowed: rising"),
        ({"canary_steps": (5, 100)}, "1 to 99"),
        ({"breaches": 2, "breaches_of": 4}, r"more than half of breaches_of \(4\)"),
        ({"breaches": 5}, "release.breaches is 5; allowed: 1 to 4"),
        ({"step_time": timedelta(days=2)}, "below most_step_time"),
        ({"drift": 1.5}, "release.drift is 1.5; allowed: 0 to 1"),
        ({"guard": GuardMetric(name="x", sql="1; DROP TABLE y", tolerance=0)}, "without `;`"),
        ({"guard": GuardMetric(name="X!", sql="AVG(value)", tolerance=0)}, "guard.name"),
    ],
)
def test_a_policy_that_cannot_be_followed_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidProduct, match=said):
        ReleasePolicy(**wrong)

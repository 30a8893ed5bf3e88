"""The filter language of subscriptions."""

from __future__ import annotations

import pytest

from localcloud.services.pubsub.errors import Fault
from localcloud.services.pubsub.filters import compile_filter


@pytest.mark.parametrize(
    ("text", "passes", "stops"),
    [
        ('attributes.x = "y"', {"x": "y"}, {"x": "z"}),
        ('attributes.x="y"', {"x": "y"}, {}),
        ('attributes.x != "y"', {"x": "z"}, {"x": "y"}),
        ('attributes.x != "y"', {}, {"x": "y"}),
        ("attributes:x", {"x": ""}, {"y": "x"}),
        ('attributes:"iana.org/language"', {"iana.org/language": "pt"}, {}),
        ('attributes."two words" = "y"', {"two words": "y"}, {}),
        ('hasPrefix(attributes.x, "pre")', {"x": "prefix"}, {"x": "xpre"}),
        ('hasPrefix(attributes.x, "")', {"x": ""}, {}),
        ("NOT attributes:x", {}, {"x": ""}),
        ("-attributes:x", {}, {"x": ""}),
        ("NOT NOT attributes:x", {"x": ""}, {}),
        ('attributes:x AND attributes.y = "1"', {"x": "", "y": "1"}, {"x": ""}),
        ("attributes:x OR attributes:y", {"y": ""}, {"z": ""}),
        ("attributes:x OR attributes:y OR attributes:z", {"z": ""}, {}),
        ("(attributes:x AND attributes:y) OR attributes:z", {"z": ""}, {"x": ""}),
        ("attributes:x AND NOT (attributes:y OR attributes:z)", {"x": ""}, {"x": "", "z": ""}),
        ('attributes.x = "a \\"quoted\\" \\u00e9"', {"x": 'a "quoted" é'}, {"x": "a"}),
        ('attributes.x = "attributes:y AND ("', {"x": "attributes:y AND ("}, {}),
    ],
)
def test_lets_pass_what_it_says(text: str, passes: dict[str, str], stops: dict[str, str]) -> None:
    predicate = compile_filter(text)
    assert predicate is not None
    assert predicate(passes)
    assert not predicate(stops)


def test_an_empty_filter_lets_all_pass() -> None:
    assert compile_filter("") is None
    assert compile_filter("  ") is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("attributes:x AND attributes:y OR attributes:z", "parentheses"),
        ("not attributes:x", "expected attributes"),
        ("(attributes:x", r"expected \), found the end"),
        ("attributes:x)", "expected AND, OR or the end"),
        ("attributes.x = y", "a string in double quotes"),
        ("attributes.x = 'y'", "a string in double quotes"),
        ('attributes.x > "y"', "character 14"),
        ('attributes.x : "y"', "= or !="),
        ('"attributes":x', "expected attributes"),
        ('hasprefix(attributes.x, "y")', "expected attributes"),
        ('hasPrefix("x", "y")', "expected attributes"),
        ("attributes:x attributes:y", "expected AND, OR or the end"),
        ("attributes:x AND", "found the end"),
        ("AND", "expected attributes"),
        ('data = "x"', "expected attributes"),
        ("attributes:" + "x" * 256, "at most 256"),
    ],
)
def test_says_where_it_stops_making_sense(text: str, expected: str) -> None:
    with pytest.raises(Fault, match=expected):
        compile_filter(text)

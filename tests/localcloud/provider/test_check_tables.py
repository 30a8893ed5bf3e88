"""The tables of rules name properties and enumerations that exist, so that no rule is dead."""

from __future__ import annotations

import re

import pytest

from localcloud.provider.rules import exclusions, listed, names, ranges
from localcloud.provider.rules.documented import Limits, groups_of, limits
from localcloud.provider.rules.forms import cron
from localcloud.provider.schema import properties, resource
from tests.localcloud.provider.test_check_replacements import reach

_PATHS = [
    *((token, path) for token, paths in names.SPELLINGS.items() for path in paths),
    *((token, path) for token, paths in ranges.BOUNDS.items() for path in paths),
    *((token, path) for token, paths in listed.CHOICES.items() for path in paths),
    *((token, path) for token, one in listed.LISTED.items() for path in one.paths),
    *(
        (token, f"{group.within}.{name}".lstrip("."))
        for token, groups in exclusions.GROUPS.items()
        for group in groups
        for name in group.names
    ),
]


def test_every_path_of_the_tables_is_a_property() -> None:
    assert [one for one in _PATHS if not reach(one[0], one[1].replace("[]", ""))] == []


def test_every_enumeration_is_in_googles_document() -> None:
    empty = [
        (token, field)
        for token, one in listed.LISTED.items()
        for field in one.paths.values()
        if not listed.values(one.api, one.schema, field)
    ]
    assert empty == []


def test_every_entry_has_a_source_and_a_pattern_that_compiles() -> None:
    for paths in names.SPELLINGS.values():
        for spelling in paths.values():
            assert re.compile(spelling.pattern)
            assert spelling.words
            assert spelling.source
    assert all(bounds.source for paths in ranges.BOUNDS.values() for bounds in paths.values())
    assert all(group.source for groups in exclusions.GROUPS.values() for group in groups)


@pytest.mark.parametrize(
    ("doc", "expected"),
    [
        ("This is an integer between 0 and 65535, both inclusive.", Limits(0, 65535)),
        ("Minimum value is 0. Maximum value is 240.", Limits(0, 240)),
        ("The value must be between 5 and 100. More.", Limits(5, 100)),
        ("The value must be between -999,999,999 and +999,999,999.", Limits(-999999999, 999999999)),
        ("Must be greater than 0.", Limits(0, above=True)),
        # Octal, and a maximum for another kind of probe: nothing that can be read off.
        ("Must be a value between 0000 and 0777 (octal), defaulting to 0444.", Limits()),
        ("The number of nodes, at least 3 of them in most regions.", Limits()),
        ("(Output) Must be between 1 and 2.", Limits()),
    ],
)
def test_ranges_are_read_from_docstrings(doc: str, expected: Limits) -> None:
    assert limits("integer", doc) == expected


def test_exclusions_are_read_from_docstrings() -> None:
    secret = resource("gcp:secretmanager/secret:Secret")
    assert [group.names for group in groups_of(secret.inputs)] == [("expireTime", "ttl")]
    config = resource("gcp:pubsub/subscription:Subscription").inputs["bigqueryConfig"].shape.cls
    assert config is not None
    assert [one.names for one in groups_of(properties(config))] == [
        ("useTableSchema", "useTopicSchema")
    ]


@pytest.mark.parametrize(
    "schedule",
    ["* * * * *", "*/5 0-6 1,15 JAN-MAR mon-fri", "0 9 * * 7", "every 5 minutes",
     "1st monday of month 09:00", "every 24 hours from 00:00 to 23:59"],
)  # fmt: skip
def test_schedules_of_both_forms_pass(schedule: str) -> None:
    assert cron(schedule) is None


@pytest.mark.parametrize("schedule", ["", "* * * *", "60 * * * *", "* * 0 * *", "a * * * *"])
def test_what_is_no_schedule_is_refused(schedule: str) -> None:
    assert cron(schedule)

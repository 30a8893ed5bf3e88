"""The page that lists the policies."""

from __future__ import annotations

from policies.catalogue import RULES
from policies.page import PAGE, page


def test_the_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run `python -m policies.page`"


def test_every_policy_is_on_it() -> None:
    for rule in RULES:
        row = next(line for line in page().splitlines() if line.startswith(f"| `{rule.name}` |"))
        assert rule.level.value in row
        assert all(one in row for one in rule.references)

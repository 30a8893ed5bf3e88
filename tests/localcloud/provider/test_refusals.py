"""What Google takes passes, and each way to break it is refused with the property's name."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import Any

import pytest

from localcloud.provider.check import Failure
from localcloud.provider.configuration import Configuration
from localcloud.provider.lifecycle import Lifecycle
from localcloud.provider.values import UNKNOWN, Secret
from tests.localcloud.provider.refusals import GONE, Case, Table
from tests.localcloud.provider.refusals.data import DATA
from tests.localcloud.provider.refusals.guards import GUARDS
from tests.localcloud.provider.refusals.network import NETWORK
from tests.localcloud.provider.refusals.operations import OPERATIONS
from tests.localcloud.provider.refusals.serving import SERVING

TABLE: Table = NETWORK | GUARDS | DATA | SERVING | OPERATIONS
CASES = [(token, case) for token, (_, cases) in TABLE.items() for case in cases]
_AT_LEAST = 180


@pytest.fixture(scope="module")
def lifecycle() -> Lifecycle:
    return Lifecycle(None)


def failures(lifecycle: Lifecycle, token: str, inputs: dict[str, Any]) -> list[Failure]:
    package = token.partition(":")[0]
    configuration = Configuration(package, project="p", region="us-central1")
    return lifecycle.check(token, "thing", inputs, configuration, seed=b"seed")[1]


def steps(path: str) -> list[str | int]:
    return [int(part) if part.isdecimal() else part for part in re.findall(r"[^.\[\]]+", path)]


def changed(base: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """The base with one property set, or left out where the value is `GONE`."""
    inputs = copy.deepcopy(base)
    place: Any = inputs
    *above, last = steps(path)
    for part in above:
        place = place.setdefault(part, {}) if isinstance(place, dict) else place[part]
    if value is GONE:
        del place[last]
    else:
        place[last] = value
    return inputs


def test_the_table_is_as_long_as_it_is_meant_to_be() -> None:
    assert len(CASES) >= _AT_LEAST


@pytest.mark.parametrize("token", TABLE)
def test_what_google_takes_is_taken(lifecycle: Lifecycle, token: str) -> None:
    assert failures(lifecycle, token, TABLE[token][0]) == []


@pytest.mark.parametrize(
    ("token", "case"),
    CASES,
    ids=[f"{token.rpartition(':')[2]}-{case[0]}-{case[2]}" for token, case in CASES],
)
def test_what_google_refuses_is_refused_by_name(
    lifecycle: Lifecycle, token: str, case: Case
) -> None:
    path, value, words = case[:3]
    named = case[3] if len(case) > 3 else path
    found = failures(lifecycle, token, changed(TABLE[token][0], path, value))
    by_name = {failure.property: failure.reason for failure in found}
    assert named in by_name, f"refused were {by_name}"
    assert words in by_name[named]


def leaves(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if isinstance(value, dict) and value:
        for name, item in value.items():
            yield from leaves(item, (*path, name))
    elif isinstance(value, list) and value:
        for index, item in enumerate(value):
            yield from leaves(item, (*path, index))
    elif path:
        yield path


@pytest.mark.parametrize("token", TABLE)
def test_what_is_not_known_yet_passes(lifecycle: Lifecycle, token: str) -> None:
    base = TABLE[token][0]
    refused: dict[str, list[Failure]] = {}
    for leaf in leaves(base):
        for end in range(1, len(leaf) + 1):
            inputs = copy.deepcopy(base)
            place: Any = inputs
            for part in leaf[: end - 1]:
                place = place[part]
            place[leaf[end - 1]] = UNKNOWN
            found = failures(lifecycle, token, inputs)
            if found:
                refused[str(leaf[:end])] = found
    assert refused == {}


@pytest.mark.parametrize(
    ("token", "case"),
    [(token, case) for token, case in CASES if isinstance(case[1], str) and len(case[1]) > 5],
    ids=str,
)
def test_a_refused_secret_is_never_shown(lifecycle: Lifecycle, token: str, case: Case) -> None:
    found = failures(lifecycle, token, changed(TABLE[token][0], case[0], Secret(case[1])))
    assert found
    named = case[3] if len(case) > 3 else case[0]
    told = [failure.reason for failure in found if failure.property == case[0] == named]
    assert not [reason for reason in told if repr(case[1]) in reason]

"""Whatever gives access in a stack is seen by a reviewer, with who gets it and on what."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from esteira.review import grants
from esteira.review.plan import Resource
from tests.stacks.conftest import EVERYTHING, Compose, Composed

# Properties that name a principal, and types that have one without giving it access.
NAMES_SOMEBODY = re.compile(
    r"^(member|members|entity|userByEmail|groupByEmail|specialGroup|iamMember|authorizedDataset"
    r"|accesses|databaseRoles|roleEntities)$"
)


@pytest.fixture(scope="module")
def prod(compose: Compose) -> Composed:
    settings = {key: json.dumps(value) for key, value in EVERYTHING.items()}
    return compose({"environment": "prod", "project": "esteira-prod"} | settings)


def as_planned(made: Any) -> Resource:
    return Resource(urn=f"urn:{made.name}", type=made.token, name=made.name, inputs=made.inputs)


def test_whatever_names_a_principal_is_a_grant(prod: Composed) -> None:
    giving = [one for one in prod.mocks.made if any(map(NAMES_SOMEBODY.match, one.inputs))]
    assert {one.token.rpartition(":")[2] for one in giving} >= {"DatasetAccess", "User"}
    unseen = {one.token for one in giving if not list(grants.of(as_planned(one)))}
    assert not unseen


def test_each_grant_says_who_what_and_where(prod: Composed) -> None:
    for one in prod.mocks.made:
        for grant in grants.of(as_planned(one)):
            words = (grant.member, grant.role, grant.where)
            assert all(words), one
            assert "null" not in " ".join(words), one
            assert "nobody" not in grant.member, one


def test_readers_and_views_of_raw_data_are_told_by_name(prod: Composed) -> None:
    told = {
        f"{grant.member} {grant.role} {grant.where}"
        for one in prod.mocks.find("DatasetAccess")
        for grant in grants.of(as_planned(one))
    }
    assert (
        "every view of dataset esteira-prod.arrival_delay_curated read access "
        "dataset flight_delay_raw"
    ) in told
    assert any(line.startswith("group:analysts@example.com roles/bigquery") for line in told)

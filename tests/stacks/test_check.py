"""Every input that our stacks produce is taken: no rule refuses what we would deploy."""

from __future__ import annotations

import re
from typing import Any

import pytest

from localcloud.provider.configuration import Configuration
from localcloud.provider.lifecycle import Lifecycle
from stacks.settings import Environment
from tests.localcloud.provider.test_refusals import TABLE
from tests.stacks.conftest import EVERYTHING, Compose, configuration

_GRANT = re.compile(r"I(?:AM|am)(?:Member|Binding|Policy)$")


@pytest.mark.parametrize(
    ("environment", "groups"),
    [
        *((one, {}) for one in (Environment.LOCAL, Environment.DEV)),
        # All that it declares is declared with everything switched on as well.
        pytest.param(Environment.PROD, {}, marks=pytest.mark.long),
        (Environment.PROD, EVERYTHING),
    ],
    ids=[Environment.LOCAL, Environment.DEV, Environment.PROD, "prod with everything"],
)
def test_what_a_stack_declares_is_taken(
    compose: Compose, environment: Environment, groups: dict[str, Any]
) -> None:
    # Composing checks each resource as it is declared; checking its inputs once more shows that
    # what Check answered (converted, named) is itself taken.
    composed = compose(configuration(environment.value, **groups))
    lifecycle = Lifecycle(None)
    refused: dict[str, Any] = {}
    for made in composed.mocks.made:
        package = made.token.partition(":")[0]
        provider = Configuration(package, project="p", region="us-central1")
        _, found = lifecycle.check(made.token, made.name, made.inputs, provider, seed=b"s")
        if found:
            refused[f"{made.token} {made.name}"] = [str(failure) for failure in found]
    assert len(composed.mocks.made) > 20
    assert refused == {}


def test_each_type_that_prod_can_use_has_refusals(compose: Compose) -> None:
    composed = compose(configuration("prod", **EVERYTHING))
    used = {made.token for made in composed.mocks.made}
    # Grants differ by what they are on alone, which `test_check` shows.
    assert {one for one in used if not _GRANT.search(one)} - set(TABLE) == set()

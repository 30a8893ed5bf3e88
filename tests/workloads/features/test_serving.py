"""An endpoint is asked about an entity by its id alone, and answers as if told its features."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from tests.workloads.conftest import Trained, local
from tests.workloads.server import Ask, serving
from workloads.features import offline, store
from workloads.features.query import FeatureQuery
from workloads.product import Product
from workloads.registry import Registry


@pytest.fixture
def ask(trained: Trained, served: Product) -> Iterator[Ask]:
    """`ask(instances)` of the model server, run as its container runs it; status and document."""
    version = Registry(served).get(trained.registration.version)
    with serving(served, version, ONLINE_FEATURES=str(store.served(served))) as post:
        yield post


def test_an_entity_alone_is_answered_as_its_features_are(served: Product, ask: Ask) -> None:
    entity = served.features.entity
    day = FeatureQuery(served).run(local(13), local(14))
    names = day.column(entity).to_pylist()[::200][:5]
    # Since that day: there is little after it to read, and much before it.
    rows = offline.as_of(served, [(one, datetime.now(UTC)) for one in names], since=local(13))

    status, by_entity = ask([{entity: one} for one in names])
    told = [row.values for row in rows if row is not None]
    _, by_features = ask(told)

    assert status == 200, by_entity
    assert len(told) == len(names)
    assert by_entity["predictions"] == by_features["predictions"]

    # Some by their id, some by their features.
    _, mixed = ask([{entity: names[0]}, told[1]])
    assert mixed["predictions"] == by_features["predictions"][:2]

    status, refused = ask([{entity: names[0]}, {entity: "nobody"}])
    assert status == 422
    assert "nobody" in json.dumps(refused)

"""One definition of the features, three uses: training, the offline store, the online store."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest

from tests.workloads.conftest import Trained
from workloads.features import offline, parity, snapshot, syncing
from workloads.features.online import OnlineFeatures
from workloads.product import Product

BEFORE_ALL = datetime(2012, 12, 1, tzinfo=UTC)


def test_online_and_offline_say_the_same_of_every_feature(served: Product) -> None:
    found = parity.compare(served, count=300)

    assert found.differences == ()
    assert found.entities == 300
    assert found.features == len(served.features.request.__struct_fields__)

"""A model that stands in for a real one."""

from __future__ import annotations

import pytest

from tests.workloads.serving.asking import Halves
from workloads import product as products
from workloads.product import Product


@pytest.fixture(scope="session")
def flights() -> Product:
    return products.load("flight-delay")


@pytest.fixture
def halves(flights: Product) -> Halves:
    return Halves(flights)

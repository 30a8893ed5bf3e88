"""Models that answer: one that stands in for a real one, and a real one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.workloads.serving.asking import GOOD, Halves, manifest
from workloads import contracts
from workloads import product as products
from workloads.product import Product
from workloads.scoring import Scorer
from workloads.serving.model import ServedModel
from workloads.training import fitting


@pytest.fixture(scope="session")
def flights() -> Product:
    return products.load("flight-delay")


@pytest.fixture
def halves(flights: Product) -> Halves:
    return Halves(flights)


@pytest.fixture(scope="session")
def real(flights: Product) -> ServedModel:
    """flight-delay's own training and export on invented rows: a graph as it is served."""
    draw = np.random.default_rng(0)
    count, request = 300, flights.features.request
    rows: dict[str, Any] = {}
    for field in contracts.fields(request):
        if field.kind == "string":
            names = [GOOD[field.name], "AA", "JFK"]
            rows[field.name] = pd.Series(draw.choice(names, count), dtype=object)
        else:
            rows[field.name] = draw.uniform(0, 1500, count).astype(np.float32)
    fitted = fitting.fit(flights, pd.DataFrame(rows), draw.integers(0, 2, count))
    scorer = Scorer(fitting.export(flights, fitted), request, flights.task)
    return ServedModel(manifest(flights), scorer, request, "7")

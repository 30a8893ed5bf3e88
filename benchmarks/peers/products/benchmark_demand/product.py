"""Declares the benchmark's model as a product: thirty numbers, every one of them bounded."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, ClassVar, cast

import msgspec
from msgspec import Meta

from benchmarks.peers.demand import LEAST, MOST, NAMES, WHOLE
from workloads.contracts import Contract
from workloads.product import BatchPrediction, Features, Gate, Label, Product, Task


def _hint(name: str) -> Any:
    if name in WHOLE:
        return Annotated[int, Meta(ge=0, le=9, description="A whole number")]
    return Annotated[float, Meta(ge=LEAST, le=MOST, description="A number")] | None


class _Question(Contract, frozen=True):
    NAME: ClassVar[str] = "demand_question"
    PLURAL: ClassVar[str] = "demand_questions"
    VERSION: ClassVar[int] = 1


DemandQuestion = cast(
    "type[Contract]",
    msgspec.defstruct(
        "DemandQuestion",
        [(name, _hint(name)) for name in NAMES],
        bases=(_Question,),
        frozen=True,
        kw_only=True,
        forbid_unknown_fields=True,
        module=__name__,
    ),
)
"""One row. Not a class statement: thirty fields that differ by a number are better counted."""

PRODUCT = Product(
    name="benchmark-demand",
    owner="benchmarks",
    cost_center="benchmarks",
    title="Is there demand?",
    task=Task.CLASSIFICATION,
    sources=(),
    features=Features(
        sql=Path(__file__).with_name("features.sql"),
        entity="entity",
        event_time="at",
        request=DemandQuestion,
    ),
    label=Label(column="demand", maturity=timedelta(days=1)),
    train="benchmarks.peers.demand:fit",
    gate=Gate(metric="roc_auc", floor=0.5, minimum_gain=0.0),
    batch=BatchPrediction(schedule="0 0 1 1 *"),
)

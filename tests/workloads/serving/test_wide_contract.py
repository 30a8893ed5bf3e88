"""A contract that bounds nothing, and a graph that computes with whatever comes."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from typing import Annotated, Any, ClassVar

import pytest
from msgspec import Meta

from tests.workloads.serving.asking import Reply, ask, manifest, run
from workloads.contracts import Contract
from workloads.product import Product
from workloads.scoring import PROBABILITIES, Scorer
from workloads.serving import app as served
from workloads.serving.model import ServedModel
from workloads.serving.settings import ServingSettings

INFER = "/v2/models/flight-delay/infer"


class Wide(Contract, frozen=True):
    """Says of what kind its fields are, and no more."""

    NAME: ClassVar[str] = "wide"
    PLURAL: ClassVar[str] = "wides"
    VERSION: ClassVar[int] = 1

    count: Annotated[int, Meta(description="Any integer")]
    share: Annotated[float, Meta(description="Any number")] = 0.0
    other: Annotated[float, Meta(description="Any number")] = 0.0
    name: Annotated[str, Meta(description="Any text")] = ""
    sure: Annotated[bool, Meta(description="Yes or no")] = False


def graph() -> bytes:
    """A logistic regression on the difference of two of the fields; it takes the others."""
    from onnx import TensorProto, helper

    def column(name: str, kind: int) -> Any:
        return helper.make_tensor_value_info(name, kind, [None, 1])

    model = helper.make_model(
        helper.make_graph(
            [
                helper.make_node("Sub", ["share", "other"], ["between"]),
                helper.make_node("Sigmoid", ["between"], ["yes"]),
                helper.make_node("Sub", ["one", "yes"], ["no"]),
                helper.make_node("Concat", ["no", "yes"], [PROBABILITIES], axis=1),
            ],
            "wide",
            [
                column("count", TensorProto.FLOAT),
                column("share", TensorProto.FLOAT),
                column("other", TensorProto.FLOAT),
                column("name", TensorProto.STRING),
                column("sure", TensorProto.FLOAT),
            ],
            [helper.make_tensor_value_info(PROBABILITIES, TensorProto.FLOAT, [None, 2])],
            [helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0])],
        ),
        opset_imports=[helper.make_opsetid("", 21)],
        ir_version=10,
    )
    return model.SerializeToString()


@pytest.fixture
def app(flights: Product, monkeypatch: pytest.MonkeyPatch) -> served.App:
    features = dataclasses.replace(flights.features, request=Wide)
    monitoring = dataclasses.replace(flights.monitoring, slices=())
    wide = dataclasses.replace(flights, features=features, monitoring=monitoring)
    monkeypatch.setattr(served.products, "load", lambda name: wide)
    model = ServedModel(manifest(wide), Scorer(graph(), Wide, wide.task), Wide, "7")
    settings = ServingSettings(product="flight-delay", aip_storage_uri="gs://b/m")
    return served.build(settings, lambda: model)


def post(app: served.App, text: str, path: str = "/predict") -> Reply:
    return run(ask(app, text.encode(), path=path))


LONG = "9" * 400


@pytest.mark.parametrize(
    ("row", "status"),
    [
        (f'{{"count": {LONG}}}', 422),
        (f'{{"count": -{LONG}}}', 422),
        (f"[{LONG}]", 422),
        (f'{{"count": {LONG}.0}}', 422),
        ('{"count": 9223372036854775808}', 422),
        ('{"count": 9223372036854775807}', 200),
        ('{"count": 1e18}', 200),
        ('{"count": 1e300}', 422),
        (f'{{"count": 1, "share": {LONG}}}', 422),
        ('{"count": 1, "share": 1e400}', 422),
        ('{"count": 1, "share": -1e308}', 200),
        ('{"count": 1, "share": 5e-324}', 200),
        ('{"count": 1, "name": "\\u0000"}', 200),
        ('{"count": 1, "name": "\\ud800"}', 422),
        (f'{{"count": 1, "name": "{"é✈" * 50_000}"}}', 200),
        (f'{{"count": 1, "name": {"[" * 900}{"]" * 900}}}', 422),
        ('{"count": true}', 422),
        ('{"count": 1, "sure": 1}', 422),
        ('{"count": 1, "sure": true}', 200),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_no_graph_can_take_is_refused_before_it(
    app: served.App, row: str, status: int
) -> None:
    for _ in range(6):
        assert post(app, f'{{"instances": [{row}]}}').status == status
    tensor = {"name": "rows", "shape": [1], "datatype": "BYTES", "data": [row]}
    assert post(app, json.dumps({"inputs": [tensor]}), INFER).status == status
    assert run(ask(app, path="/live")).status == 200


@pytest.mark.parametrize(
    "column",
    [
        f'"name": "count", "shape": [1], "datatype": "INT64", "data": [{LONG}]',
        f'"name": "count", "shape": [{LONG}], "datatype": "INT64", "data": [1]',
        f'"name": "count", "shape": [{LONG}, 0], "datatype": "INT64", "data": []',
        '"name": "count", "shape": [1], "datatype": "FP32", "data": [1e300]',
        f'"name": "rows", "shape": [{LONG}, 4], "datatype": "BYTES", "data": []',
    ],
    ids=lambda value: str(value)[:60],
)
def test_nor_as_a_tensor(app: served.App, column: str) -> None:
    for _ in range(6):
        assert post(app, f'{{"inputs": [{{{column}}}]}}', INFER).status == 422
    assert run(ask(app, path="/live")).status == 200


def test_an_answer_that_is_no_number_is_none_and_harms_nobody_else(app: served.App) -> None:
    """Both numbers overflow 32 bits, and the difference of two infinities is no number."""
    ordinary = b'{"instances": [{"count": 1, "share": 0.5}]}'
    infinite = b'{"instances": [{"count": 1, "share": 1e300, "other": 1e300}]}'

    async def many() -> list[int]:
        bodies = [ordinary, *[infinite] * 9, ordinary]
        found = await asyncio.gather(*(ask(app, body) for body in bodies))
        one_by_one = [await ask(app, infinite) for _ in range(9)]
        last = [await ask(app, path="/live"), await ask(app, ordinary)]
        return [one.status for one in (*found, *one_by_one, *last)]

    assert run(many()) == [200, *[500] * 9, 200, *[500] * 9, 200, 200]

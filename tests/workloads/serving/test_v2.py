"""The Open Inference Protocol."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.workloads.serving.asking import GOOD, Halves, ask, run
from tests.workloads.serving.test_limits import INFER, TENSORS, app


def infer(halves: Halves, document: Any, headers: dict[str, str] | None = None) -> Any:
    return run(ask(app(halves), json.dumps(document).encode(), path=INFER, headers=headers))


def test_columns_become_rows_and_answers_become_columns(halves: Halves) -> None:
    found = infer(halves, {**TENSORS, "id": "mine"})
    assert found.status == 200
    assert found.document == {
        "model_name": "flight-delay",
        "model_version": "7",
        "parameters": {"model": "run-7"},
        "outputs": [
            {"name": "probability", "shape": [1], "datatype": "FP64", "data": [0.5]},
            {"name": "late", "shape": [1], "datatype": "BOOL", "data": [True]},
        ],
        "id": "mine",
    }


def test_only_what_is_asked_for_is_answered(halves: Halves) -> None:
    found = infer(halves, {**TENSORS, "outputs": [{"name": "late"}]}).document
    assert [one["name"] for one in found["outputs"]] == ["late"]


@pytest.mark.parametrize("nested", [False, True])
def test_columns_of_several_rows(halves: Halves, nested: bool) -> None:
    inputs = [
        {**one, "shape": [2, 1], "data": [one["data"] * 2, [one["data"]] * 2][nested]}
        for one in TENSORS["inputs"]
    ]
    inputs.append({"name": "humidity", "shape": [2], "datatype": "FP64", "data": [None, 55.5]})
    found = infer(halves, {"inputs": inputs})
    assert found.document["outputs"][0]["shape"] == [2]


@pytest.mark.parametrize("row", [GOOD, list(GOOD.values())])
def test_whole_rows_come_as_texts(halves: Halves, row: Any) -> None:
    rows = {"name": "rows", "shape": [2], "datatype": "BYTES", "data": [json.dumps(row)] * 2}
    assert infer(halves, {"inputs": [rows]}).document["outputs"][1]["data"] == [True, True]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"datatype": "FP32"}, "field `carrier` is of datatype 'FP32'; allowed: one of BYTES"),
        ({"shape": [2]}, "`carrier` is 1 values; allowed: 2"),
        ({"shape": [1, 2]}, "of shape [1, 2]; allowed: [1] or [1, 1]"),
        ({"name": "airline"}, "field `airline` is an input; allowed: `rows` alone, or the fields"),
        ({"data": ["united"]}, "row 0: field `carrier` is 'united'; allowed: a string matching"),
        ({"data": [None]}, "row 0: field `carrier` is None"),
        ({"parameters": {"binary_data_size": 3}}, "the binary extension is not spoken"),
        ({"shape": [-1]}, "field `$.inputs[0].shape[0]`"),
        ({"other": 1}, "unknown field `other`"),
    ],
)
def test_a_bad_tensor_is_told_what_is_allowed(
    halves: Halves, change: dict[str, Any], said: str
) -> None:
    first, *rest = TENSORS["inputs"]
    found = infer(halves, {"inputs": [{**first, **change}, *rest]})
    assert found.status == 422
    assert said in found.document["error"]


def test_a_matrix_needs_a_contract_of_numbers(halves: Halves) -> None:
    rows = {"name": "rows", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}
    found = infer(halves, {"inputs": [rows]})
    assert "carrier, origin, destination are no numbers" in found.document["error"]


def test_an_output_that_there_is_not(halves: Halves) -> None:
    found = infer(halves, {**TENSORS, "outputs": [{"name": "delay"}]})
    assert found.document["error"].endswith("allowed: of probability, late")


def test_binary_tensors_are_refused(halves: Halves) -> None:
    found = infer(halves, TENSORS, headers={"Inference-Header-Content-Length": "10"})
    assert found.status == 422


def test_it_tells_what_it_is(halves: Halves) -> None:
    one = app(halves)
    said = {
        path: run(ask(one, path=path))
        for path in (
            "/v2",
            "/v2/health/live",
            "/v2/health/ready",
            "/v2/models/flight-delay",
            "/v2/models/flight-delay/ready",
        )
    }
    assert [found.status for found in said.values()] == [200] * 5
    model = said["/v2/models/flight-delay"].document
    assert (model["name"], model["versions"]) == ("flight-delay", ["7"])
    carrier = model["inputs"][0]
    assert (carrier["name"], carrier["datatype"], carrier["shape"]) == ("carrier", "BYTES", [-1])
    assert [one["name"] for one in model["outputs"]] == ["probability", "late"]
    assert said["/v2/health/live"].document == {"live": True}
    assert said["/v2/models/flight-delay/ready"].document["ready"] is True
    assert run(ask(one, path="/v2/models/other")).status == 404

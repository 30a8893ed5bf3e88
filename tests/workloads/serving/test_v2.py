"""The Open Inference Protocol."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from tests.workloads.serving.asking import GOOD, Halves, ask, run
from tests.workloads.serving.test_limits import INFER, TENSORS, app
from workloads.product import Product
from workloads.serving.app import build
from workloads.serving.champion import Champion
from workloads.serving.settings import ServingSettings


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


VERSIONS = "/v2/models/flight-delay/versions"


def test_a_version_may_be_named(halves: Halves) -> None:
    one = app(halves)
    found = run(ask(one, json.dumps(TENSORS).encode(), path=f"{VERSIONS}/7/infer"))
    assert (found.status, found.document["model_version"]) == (200, "7")
    assert run(ask(one, path=f"{VERSIONS}/7")).document["versions"] == ["7"]
    assert run(ask(one, path=f"{VERSIONS}/7/ready")).document["ready"] is True


@pytest.mark.parametrize("path", ["8", "8/ready", "8/infer", "", "/infer", "07/infer", "7/other"])
def test_another_version_is_not_there(halves: Halves, path: str) -> None:
    body = json.dumps(TENSORS).encode() if path.endswith("infer") else None
    found = run(ask(app(halves), body, path=f"{VERSIONS}/{path}"))
    assert found.status == 404
    if path.startswith("8"):
        assert found.document == {"error": "version is '8'; allowed: 7"}


def test_the_challenger_of_an_experiment_answers_who_names_it(flights: Product) -> None:
    arms: Any = SimpleNamespace(
        experiment=SimpleNamespace(challenger="8"), assign=lambda key: "champion"
    )
    chosen = ServingSettings(product="flight-delay", aip_storage_uri="gs://b/m")
    both = Champion(chosen, arms)
    both._model, both._challenger, both._looked = Halves(flights), Halves(flights, "8"), 1e12
    one = build(chosen, both)
    for path, version in ((f"{VERSIONS}/8/infer", "8"), (INFER, "7")):
        found = run(ask(one, json.dumps(TENSORS).encode(), path=path))
        assert found.document["model_version"] == version
    assert run(ask(one, path="/v2/models/flight-delay")).document["versions"] == ["7", "8"]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        (INFER, b"{", 422),
        (INFER, b"x" * 200_000, 413),
        (INFER, None, 405),
        (INFER, json.dumps(TENSORS).encode(), 500),
        (f"{VERSIONS}/8/infer", json.dumps(TENSORS).encode(), 404),
        (f"{VERSIONS}/7/infer", None, 405),
        ("/v2/health/ready", b"", 405),
        ("/v2/none", None, 404),
        ("/v2/", None, 404),
    ],
)
def test_every_error_is_a_text(halves: Halves, path: str, body: Any, status: int) -> None:
    def fail(_: Any) -> None:
        raise ValueError("no")

    halves.fault = fail
    found = run(ask(app(halves, max_body_bytes=100_000), body, path=path))
    assert found.status == status
    assert isinstance(found.document["error"], str)


@pytest.mark.parametrize("path", [INFER, "/v2/health/ready", "/v2/models/flight-delay"])
def test_so_it_is_where_no_model_answers(path: str) -> None:
    chosen = ServingSettings(product="flight-delay", aip_storage_uri="gs://b/m")
    body = json.dumps(TENSORS).encode() if path == INFER else None
    found = run(ask(build(chosen, lambda: None), body, path=path))
    assert found.status == 503
    assert found.document["error"].startswith("no model of flight-delay is released yet")
    assert found.headers["retry-after"] == "10"

"""The document by which API Gateway lets clients in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from workloads import product as products
from workloads.contracts import fields
from workloads.serving import gateway
from workloads.serving.settings import ServingSettings

CLIENTS = ["call@p.iam.gserviceaccount.com", "app@q.iam.gserviceaccount.com"]


@pytest.fixture(scope="module", params=products.names())
def product(request: pytest.FixtureRequest) -> products.Product:
    return products.load(request.param)


@pytest.fixture(scope="module")
def document(product: products.Product) -> dict[str, Any]:
    return gateway.document(
        product,
        backend="https://api.example.com",
        audience="https://api-1.run.app",
        service="demo.p",
        clients=CLIENTS,
    )


def test_every_route_is_for_named_clients_only(document: dict[str, Any]) -> None:
    assert document["security"] == [{"client0": []}, {"client1": []}]
    for number, email in enumerate(CLIENTS):
        known = document["securityDefinitions"][f"client{number}"]
        assert known["x-google-issuer"] == email
        assert known["x-google-jwks_uri"].endswith(f"/x509/{email}")
        assert known["x-google-audiences"] == "demo.p"
    # None of the routes says that it is for everybody.
    assert [
        operation
        for path in document["paths"].values()
        for operation in path.values()
        if "security" in operation
    ] == []


def test_the_gateway_calls_in_its_own_name(document: dict[str, Any]) -> None:
    backend = document["x-google-backend"]
    assert backend["address"] == "https://api.example.com"
    assert backend["jwt_audience"] == "https://api-1.run.app"
    assert "disable_auth" not in backend


def test_its_routes_are_the_servers() -> None:
    defaults = {name: field.default for name, field in ServingSettings.model_fields.items()}
    assert defaults["aip_predict_route"] == gateway.PREDICT
    assert defaults["aip_health_route"] == gateway.HEALTH


def test_a_row_is_described_by_the_contract(
    product: products.Product, document: dict[str, Any]
) -> None:
    row = document["definitions"]["Instance"]
    known = fields(product.features.request)
    assert set(row["properties"]) == {one.name for one in known}
    for one in known:
        assert row["properties"][one.name].get("x-nullable", False) is one.nullable, one.name
    instances = document["definitions"]["Request"]["properties"]["instances"]
    assert instances["maxItems"] == product.serving.max_rows


def _keys(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from _keys(item)
    elif isinstance(value, list):
        for item in value:
            yield from _keys(item)


def test_nothing_is_said_that_swagger_2_does_not_know(document: dict[str, Any]) -> None:
    assert document["swagger"] == "2.0"
    row = document["definitions"]["Instance"]
    assert not {"anyOf", "oneOf", "allOf", "const", "$defs", "examples"} & set(_keys(row))
    json.dumps(document)


def test_a_bound_that_is_left_out_is_said_in_the_older_way() -> None:
    assert gateway._older({"type": "number", "exclusiveMinimum": 0}) == {
        "type": "number",
        "minimum": 0,
        "exclusiveMinimum": True,
    }


def test_a_gateway_for_nobody_is_refused(product: products.Product) -> None:
    with pytest.raises(ValueError, match="clients is empty"):
        gateway.document(product, backend="b", audience="a", service="s", clients=[])

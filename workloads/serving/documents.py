"""The documents of a model server, `/docs` and `/openapi.json`: made by FastAPI, on demand.

FastAPI sees no prediction. It would check each a second time, and say less of what is wrong.
"""

from __future__ import annotations

from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from workloads import contracts
from workloads.contracts import json_schema
from workloads.product import Product, Task
from workloads.serving import v2
from workloads.serving.request import Parameters
from workloads.serving.settings import ServingSettings

_JSON: Final = "application/json"
_ERROR: Final = {"$ref": "#/components/schemas/Error"}
_WORDS: Final = {"$ref": "#/components/schemas/ErrorInWords"}


def build(settings: ServingSettings, product: Product) -> FastAPI:
    """The application that answers what nobody else does."""
    contract = product.features.request
    app = FastAPI(title=product.title, version=f"{contract.NAME} v{contract.VERSION}")
    app.openapi = lambda: document(app, settings, product)
    return app


def document(app: FastAPI, settings: ServingSettings, product: Product) -> dict[str, Any]:
    """OpenAPI, with the contract as the schema of a row."""
    if app.openapi_schema is not None:
        return app.openapi_schema
    contract = product.features.request
    schema = get_openapi(
        title=app.title,
        version=app.version,
        routes=app.routes,
        description=f"Contract {contract.NAME} v{contract.VERSION}.",
    )
    schema.setdefault("components", {}).setdefault("schemas", {}).update(_schemas(product))
    model = f"/v2/models/{product.name}"
    why = "Says why: starting, nothing released, broken, or ending"
    unready, open_unready = {"503": _says(why, _ERROR)}, {"503": _says(why, _WORDS)}
    missing = open_unready | {"404": _says("No model of this version answers", _WORDS)}
    version = [{"name": "version", "in": "path", "required": True, "schema": {"type": "string"}}]
    running = {"200": _says("It does", {"type": "object"})}
    schema["paths"] |= {
        settings.aip_predict_route: {"post": _predict(settings, "Predict", "Predictions")},
        f"{model}/infer": {"post": _predict(settings, "Infer", "Inferred")},
        f"{model}/versions/{{version}}/infer": {
            "post": _predict(settings, "Infer", "Inferred", versioned=True),
            "parameters": version,
        },
        settings.live_route: _get("Whether the server runs, with a model or without", running),
        settings.aip_health_route: _get("Whether the model is ready", running | unready),
        "/v2/health/live": _get("Whether the server runs", running),
        "/v2/health/ready": _get("Whether the model is ready", running | open_unready),
        "/v2": _get("What the server is", running),
        model: _get("What the model takes and gives", running | open_unready),
        f"{model}/ready": _get("Whether the model is ready", running | open_unready),
        f"{model}/versions/{{version}}": {
            **_get("What a version takes and gives", running | missing),
            "parameters": version,
        },
        f"{model}/versions/{{version}}/ready": {
            **_get("Whether a version is ready", running | missing),
            "parameters": version,
        },
        "/metrics": _get(
            "Counters, as Prometheus reads them",
            {"200": {"description": "Text", "content": {"text/plain": {}}}},
        ),
    }
    app.openapi_schema = schema
    return schema


def _predict(
    settings: ServingSettings, request: str, answer: str, *, versioned: bool = False
) -> dict[str, Any]:
    error = _ERROR if request == "Predict" else _WORDS
    body = {"required": True, "content": _content({"$ref": f"#/components/schemas/{request}"})}
    refused = {
        "404": "No model of this version answers",
        "408": f"Did not arrive within {settings.body_seconds:g} s",
        "413": f"Larger than {settings.max_body_bytes} bytes",
        "422": "Says of each bad row the field and what is allowed",
        "429": "Too much at once; `Retry-After` says when to come again",
        "500": "The model failed at these rows",
        "503": "No model answers; says why",
    }
    if not versioned:
        del refused["404"]
    return {
        "summary": "Predict rows",
        "operationId": f"{request.lower()}Version" if versioned else request.lower(),
        "requestBody": body,
        "responses": {
            "200": _says(
                "One answer a row, in their order", {"$ref": f"#/components/schemas/{answer}"}
            ),
            **{code: _says(text, error) for code, text in refused.items()},
        },
    }


def _get(summary: str, responses: dict[str, Any]) -> dict[str, Any]:
    return {"get": {"summary": summary, "responses": responses}}


def _says(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": _content(schema)}


def _content(schema: dict[str, Any]) -> dict[str, Any]:
    return {_JSON: {"schema": schema}}


def _schemas(product: Product) -> dict[str, Any]:
    import msgspec

    contract, max_rows = product.features.request, product.serving.max_rows
    row = json_schema(contract)
    names = contract.__struct_fields__
    required = len(row.get("required", []))
    instance = {"$ref": "#/components/schemas/Instance"}
    array = {
        "type": "array",
        "description": f"In the order {', '.join(names)}",
        "prefixItems": [row["properties"][name] for name in names],
        "minItems": required,
        "maxItems": len(names),
    }
    label = product.label.column
    _, defined = msgspec.json.schema_components([Parameters])
    return {
        "Instance": row,
        "Parameters": defined["Parameters"],
        "Prediction": _prediction(product, label),
        "Predict": {
            "type": "object",
            "required": ["instances"],
            "additionalProperties": False,
            "properties": {
                "instances": {
                    "type": "array",
                    "minItems": 1,
                    "maxItems": max_rows,
                    "items": {"anyOf": [instance, array]},
                },
                "parameters": {
                    "anyOf": [{"$ref": "#/components/schemas/Parameters"}, {"type": "null"}]
                },
            },
        },
        "Predictions": {
            "type": "object",
            "required": ["predictions"],
            "properties": {
                "predictions": {
                    "type": "array",
                    "items": {"$ref": "#/components/schemas/Prediction"},
                }
            },
        },
        "Infer": {
            "type": "object",
            "required": ["inputs"],
            "additionalProperties": False,
            "properties": {
                "id": {"anyOf": [{"type": "string", "maxLength": 1024}, {"type": "null"}]},
                "inputs": _inputs(product, row["properties"]),
                "outputs": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["name"],
                        "additionalProperties": False,
                        "properties": {
                            "name": {"enum": list(v2.output_names(product.task, label))},
                            "parameters": {"type": "object"},
                        },
                    },
                },
                "parameters": {"$ref": "#/components/schemas/Parameters"},
            },
        },
        "Inferred": {
            "type": "object",
            "required": ["model_name", "outputs"],
            "properties": {
                "model_name": {"type": "string"},
                "model_version": {"type": "string"},
                "id": {"type": "string"},
                "outputs": {"type": "array", "items": _tensor()},
            },
        },
        "Error": {
            "type": "object",
            "required": ["error"],
            "properties": {
                "error": {
                    "type": "object",
                    "required": ["code", "status", "message"],
                    "properties": {
                        "code": {"type": "integer"},
                        "status": {"type": "string"},
                        "message": {"type": "string"},
                        "details": {"type": "array"},
                    },
                }
            },
        },
        "ErrorInWords": {
            "type": "object",
            "required": ["error"],
            "properties": {"error": {"type": "string"}, "details": {"type": "array"}},
        },
    }


def _prediction(product: Product, label: str) -> dict[str, Any]:
    run = {"type": "string", "description": "The run that made the model"}
    number = {"type": "number"}
    if product.task is Task.REGRESSION:
        low, high = product.interval
        properties = {
            label: {**number, "description": "The number predicted"},
            "lower": {**number, "description": f"Below it lies the truth with chance {low:g}"},
            "upper": {**number, "description": f"Below it lies the truth with chance {high:g}"},
        }
    else:
        properties = {
            "probability": {"type": "number", "minimum": 0, "maximum": 1},
            label: {"type": "boolean", "description": "Whether the probability says yes"},
        }
    return {
        "type": "object",
        "required": [*properties, "model"],
        "properties": {**properties, "model": run},
    }


def _inputs(product: Product, properties: dict[str, Any]) -> dict[str, Any]:
    """The tensors of one row: all that a schema can say, of which two numbers have to agree.

    Those that have to be there come first, so that the number of all says whether they are.
    """
    known = sorted(contracts.fields(product.features.request), key=lambda one: one.nullable)
    return {
        "type": "array",
        "description": "One tensor a field, in any order; here in one, and with one row. More rows "
        "are told by each shape, `[rows]` or `[rows, 1]`, and by as many values. One tensor "
        f"`{v2.ROWS}` may hold all fields instead: numbers, where there are only numbers, in the "
        "order of the contract; else `BYTES`, each the JSON of a row.",
        "prefixItems": [
            {
                "type": "object",
                "required": ["name", "shape", "datatype", "data"],
                "additionalProperties": False,
                "properties": {
                    "name": {"const": one.name},
                    "shape": {"enum": [[1], [1, 1]]},
                    "datatype": {"enum": sorted(v2.TAKEN[one.kind])},
                    "data": {
                        "type": "array",
                        "items": properties[one.name],
                        "minItems": 1,
                        "maxItems": 1,
                    },
                    "parameters": {
                        "type": "object",
                        # The binary extension is not spoken.
                        "propertyNames": {"not": {"const": v2.BINARY}},
                    },
                },
            }
            for one in known
        ],
        "minItems": sum(not one.nullable for one in known),
        "maxItems": len(known),
    }


def _tensor() -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["name", "shape", "datatype", "data"],
        "properties": {
            "name": {"type": "string", "minLength": 1},
            "shape": {
                "type": "array",
                "items": {"type": "integer", "minimum": 0},
                "minItems": 1,
                "maxItems": 2,
            },
            "datatype": {"type": "string"},
            "data": {"type": "array"},
        },
    }

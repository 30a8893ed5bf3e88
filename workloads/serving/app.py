"""The HTTP side of a model server. The same shape is KServe's V1 protocol."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec
from fastapi import FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi

from workloads import product as products
from workloads.contracts import json_schema
from workloads.serving.model import ServedModel
from workloads.serving.request import BadRequest, parse
from workloads.serving.settings import ServingSettings

_JSON: Final = "application/json"
RETRY_SECONDS: Final = 10
"""When a caller who found no model may ask again."""

type Models = Callable[[], ServedModel | None]
"""The model that answers now; none while nothing is released."""


def build(settings: ServingSettings, models: Models) -> FastAPI:
    """The application: health, predictions, documents under `/docs`."""
    product = products.load(settings.product)
    contract = product.features.request
    app = FastAPI(title=product.title, version=f"{contract.NAME} v{contract.VERSION}")
    max_rows = product.serving.max_rows

    @app.get(settings.live_route, summary="Whether the server runs, with a model or without")
    async def live() -> dict[str, str]:
        return {"status": "alive"}

    @app.get(settings.aip_health_route, summary="Whether the model is ready", response_model=None)
    async def health() -> dict[str, str] | Response:
        model = models()
        if model is None:
            return _nothing_released(product.name)
        return {"status": "ready", "model": model.manifest.run}

    # A plain route: FastAPI would check the body a second time, and say less of what is wrong.
    async def predict(request: Request) -> Response:
        body = await _body(request, settings.max_body_bytes)
        if body is None:
            return _error(
                413,
                "RESOURCE_EXHAUSTED",
                f"the request is larger than {settings.max_body_bytes} bytes; send fewer rows "
                "in each",
            )
        model = models()
        if model is None:
            return _nothing_released(product.name)
        try:
            rows = parse(body, contract, max_rows)
        except BadRequest as bad:
            return Response(msgspec.json.encode(bad.document()), 422, media_type=_JSON)
        # A thousand rows take about 10 ms: not worth a thread.
        return Response(msgspec.json.encode({"predictions": model.predict(rows)}), media_type=_JSON)

    app.add_route(settings.aip_predict_route, predict, methods=["POST"])
    app.openapi = lambda: _documents(app, settings, product)
    return app


def _nothing_released(product: str) -> Response:
    answer = _error(
        503,
        "UNAVAILABLE",
        f"no model of {product} is released yet; train one, then release it with "
        f"`esteira release promote {product}`",
    )
    answer.headers["Retry-After"] = str(RETRY_SECONDS)
    return answer


async def _body(request: Request, limit: int) -> bytes | None:
    """The body, or none if it is larger than the limit: read no further than that."""
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        return None
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            return None
    return bytes(body)


def _error(code: int, status: str, message: str) -> Response:
    document = {"error": {"code": code, "status": status, "message": message, "details": []}}
    return Response(msgspec.json.encode(document), code, media_type=_JSON)


def _documents(
    app: FastAPI, settings: ServingSettings, product: products.Product
) -> dict[str, Any]:
    """OpenAPI, with the contract as the schema of a row."""
    contract, max_rows = product.features.request, product.serving.max_rows
    if app.openapi_schema is None:
        schema = get_openapi(
            title=app.title,
            version=app.version,
            routes=app.routes,
            description=f"Contract {contract.NAME} v{contract.VERSION}.",
        )
        label = product.label.column
        answer = {
            "type": "object",
            "required": ["probability", label, "model"],
            "properties": {
                "probability": {"type": "number", "minimum": 0, "maximum": 1},
                label: {"type": "boolean", "description": "Whether the probability says yes"},
                "model": {"type": "string", "description": "The run that made the model"},
            },
        }
        schema.setdefault("components", {}).setdefault("schemas", {}).update(
            {"Instance": json_schema(contract), "Prediction": answer}
        )
        schema["paths"][settings.aip_predict_route] = {
            "post": {
                "summary": "Predict rows",
                "requestBody": {
                    "required": True,
                    "content": {
                        _JSON: {
                            "schema": {
                                "type": "object",
                                "required": ["instances"],
                                "properties": {
                                    "instances": {
                                        "type": "array",
                                        "minItems": 1,
                                        "maxItems": max_rows,
                                        "items": {"$ref": "#/components/schemas/Instance"},
                                    }
                                },
                            }
                        }
                    },
                },
                "responses": {
                    "200": {
                        "description": "One prediction a row, in their order",
                        "content": {
                            _JSON: {
                                "schema": {
                                    "type": "object",
                                    "properties": {
                                        "predictions": {
                                            "type": "array",
                                            "items": {"$ref": "#/components/schemas/Prediction"},
                                        }
                                    },
                                }
                            }
                        },
                    },
                    "413": {"description": f"Larger than {settings.max_body_bytes} bytes"},
                    "422": {"description": "Says of each bad row the field and what is allowed"},
                    "503": {"description": "No model is released"},
                },
            }
        }
        app.openapi_schema = schema
    return app.openapi_schema

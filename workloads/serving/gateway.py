"""The OpenAPI document by which API Gateway guards a product's prediction API.

API Gateway reads version 2.0 (Swagger), which is older than the JSON Schema of our contracts: what
it cannot say is left out here, and the server behind checks every row against the contract anyway.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from workloads.contracts import json_schema
from workloads.product import Product

PREDICT: Final = "/predict"
HEALTH: Final = "/health"
"""The routes of `ServingSettings`, as they are without a word of Vertex AI's."""
DEADLINE_SECONDS: Final = 60.0
KEYS: Final = "https://www.googleapis.com/robot/v1/metadata/x509/"
"""Where Google publishes the keys with which a service account signs."""


def document(
    product: Product, *, backend: str, audience: str, service: str, clients: Sequence[str]
) -> dict[str, Any]:
    """The document, ready to be written as JSON.

    Args:
        product: Its request contract is the schema of a row.
        backend: `https://...` that requests are passed to.
        audience: What the gateway's own token says it is for: the address of the Cloud Run service.
        service: What a client's token has to say it is for.
        clients: E-mails of the service accounts that are let in. Each signs its own tokens
            (`gcloud iam service-accounts sign-jwt`), which takes no key.

    Raises:
        ValueError: there are no clients, so nobody could use it, or everybody.
    """
    if not clients:
        raise ValueError("clients is empty; allowed: e-mails of service accounts, at least one")
    contract = product.features.request
    row = _older(json_schema(contract))
    names = {f"client{number}": email for number, email in enumerate(clients)}
    return {
        "swagger": "2.0",
        "info": {"title": product.title, "version": f"{contract.NAME} v{contract.VERSION}"},
        "schemes": ["https"],
        "consumes": ["application/json"],
        "produces": ["application/json"],
        "x-google-backend": {
            "address": backend,
            "path_translation": "APPEND_PATH_TO_ADDRESS",
            "jwt_audience": audience,
            "deadline": DEADLINE_SECONDS,
        },
        "securityDefinitions": {
            name: {
                "type": "oauth2",
                "flow": "implicit",
                "authorizationUrl": "",
                "x-google-issuer": email,
                "x-google-jwks_uri": f"{KEYS}{email}",
                "x-google-audiences": service,
            }
            for name, email in names.items()
        },
        # Any one of them is enough.
        "security": [{name: []} for name in names],
        "paths": {
            PREDICT: {
                "post": {
                    "operationId": "predict",
                    "summary": "Predict rows",
                    "parameters": [
                        {
                            "in": "body",
                            "name": "body",
                            "required": True,
                            "schema": {"$ref": "#/definitions/Request"},
                        }
                    ],
                    "responses": {
                        "200": {"description": "One prediction a row, in their order"},
                        "413": {"description": "Larger than the server takes"},
                        "422": {"description": "Says of each bad row what is allowed"},
                        "503": {"description": "No model is released"},
                    },
                }
            },
            HEALTH: {
                "get": {
                    "operationId": "health",
                    "summary": "Whether a model is ready",
                    "responses": {
                        "200": {"description": "It is, and which"},
                        "503": {"description": "No model is released"},
                    },
                }
            },
        },
        "definitions": {
            "Instance": row,
            "Request": {
                "type": "object",
                "required": ["instances"],
                "properties": {
                    "instances": {
                        "type": "array",
                        "minItems": 1,
                        "maxItems": product.serving.max_rows,
                        "items": {"$ref": "#/definitions/Instance"},
                    }
                },
            },
        },
    }


_KEPT: Final = (
    "description",
    "type",
    "format",
    "enum",
    "pattern",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "required",
)


def _older(schema: dict[str, Any]) -> dict[str, Any]:
    """JSON Schema 2020-12, as our contracts make it, in the words of Swagger 2.0."""
    choices = [one for one in schema.get("anyOf", []) if one != {"type": "null"}]
    if len(choices) == 1:
        return {**_older(choices[0]), "x-nullable": True}
    older = {name: schema[name] for name in _KEPT if name in schema}
    for name in ("Minimum", "Maximum"):
        bound = schema.get(f"exclusive{name}")
        if bound is not None:
            older |= {name.lower(): bound, f"exclusive{name}": True}
    if "properties" in schema:
        older["properties"] = {
            name: _older(one) for name, one in sorted(schema["properties"].items())
        }
        older["additionalProperties"] = False
    return older

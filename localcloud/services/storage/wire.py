"""How requests are read against the discovery document, and JSON is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from localcloud.rest.discovery import Api
from localcloud.rest.errors import ApiError
from localcloud.services.storage.bucket_settings import merge_patch
from localcloud.services.storage.errors import from_api_error


class Validator:
    """Checks parameters and bodies against Google's description of the API."""

    def __init__(self) -> None:
        self.api = Api.load("storage", "v1")

    def match(self, http_method: str, path: str) -> tuple[str, dict[str, str]] | None:
        """The method that a request names and its path parameters, or None."""
        return self.api.match(http_method, path)

    def query(self, method: str, pairs: Sequence[tuple[str, str]]) -> dict[str, Any]:
        """The parameters, typed.

        Raises:
            StorageError: 400 for unknown ones and wrong values.
        """
        known = self.api.methods[method].query
        # Python's requests writes True where JSON has true.
        spelt = [
            (key, value.lower() if known.get(key, {}).get("type") == "boolean" else value)
            for key, value in pairs
        ]
        try:
            query = self.api.validate_query(method, spelt)
        except ApiError as error:
            raise from_api_error(error) from None
        # Parameters that all methods have.
        return dict(pairs) | query

    def body(self, schema: str, body: Any) -> dict[str, Any]:
        """The body, normalised, in which nulls stay.

        Raises:
            StorageError: 400 for unknown fields, wrong types and unknown enum values.
        """
        try:
            if not isinstance(body, dict):
                return self.api.validate_body(schema, body)
            checked = self.api.validate_body(schema, merge_patch({}, body))
        except ApiError as error:
            raise from_api_error(error) from None
        return _with_nulls(checked, body)


def _with_nulls(checked: dict[str, Any], body: Mapping[str, Any]) -> dict[str, Any]:
    for key, value in body.items():
        if value is None:
            checked[key] = None
        elif isinstance(value, dict) and isinstance(checked.get(key), dict):
            checked[key] = _with_nulls(checked[key], value)
    return checked

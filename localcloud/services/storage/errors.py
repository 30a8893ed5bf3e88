"""Errors as the Cloud Storage JSON API words and shapes them.

Unlike Google's newer APIs, Cloud Storage answers with a list of `errors`, each with a domain and
a reason. The reasons are those of https://cloud.google.com/storage/docs/json_api/v1/status-codes.
"""

from __future__ import annotations

from typing import Any

from localcloud.rest.errors import ApiError


class StorageError(Exception):
    """An error that a caller sees.

    Args:
        code: the HTTP status.
        reason: Cloud Storage's short reason, such as `notFound`.
        message: what was wrong and how to mend it.
        location: the parameter or header at fault, where there is one.
        location_type: `parameter` or `header`.
    """

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        *,
        location: str | None = None,
        location_type: str = "parameter",
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.location = location
        self.location_type = location_type

    def body(self) -> dict[str, Any]:
        """The JSON body of the response."""
        error: dict[str, Any] = {
            "message": self.message,
            "domain": "global",
            "reason": self.reason,
        }
        if self.location:
            error |= {"locationType": self.location_type, "location": self.location}
        return {"error": {"code": self.code, "message": self.message, "errors": [error]}}


def invalid(message: str, parameter: str | None = None) -> StorageError:
    """A 400: the request is wrong in itself."""
    return StorageError(400, "invalid", message, location=parameter)


def required(parameter: str) -> StorageError:
    """A 400: a parameter is missing."""
    message = f"Required parameter: {parameter}"
    return StorageError(400, "required", message, location=parameter)


def forbidden(reason: str, message: str) -> StorageError:
    """A 403: a hold, a retention policy or the like stands in the way."""
    return StorageError(403, reason, message)


def bucket_not_found(name: str) -> StorageError:
    """A 404 for a bucket, worded with its name, which Google leaves out."""
    return StorageError(404, "notFound", f"The specified bucket does not exist: {name}.")


def object_not_found(bucket: str, name: str) -> StorageError:
    """A 404 for an object."""
    return StorageError(404, "notFound", f"No such object: {bucket}/{name}")


def conflict(message: str) -> StorageError:
    """A 409: the state of the resource forbids it."""
    return StorageError(409, "conflict", message)


def condition_not_met(location: str = "If-Match") -> StorageError:
    """A 412: a precondition does not hold."""
    return StorageError(
        412,
        "conditionNotMet",
        "At least one of the pre-conditions you specified did not hold.",
        location=location,
        location_type="header",
    )


def not_modified() -> StorageError:
    """A 304: the reader already has this version. Its response carries no body."""
    return StorageError(304, "notModified", "Not Modified")


def unsupported(what: str) -> StorageError:
    """A 501: Cloud Storage has it, this one does not; it says so and pretends nothing."""
    return StorageError(501, "notImplemented", f"{what} not supported by the local Cloud Storage.")


def from_api_error(error: ApiError) -> StorageError:
    """A violation of the discovery document, in Cloud Storage's shape."""
    return StorageError(error.code, "invalid", error.message)

"""Errors as Google's REST APIs give them: an HTTP code, a canonical status, a message, details."""

from __future__ import annotations

from typing import Any, Final

# google.rpc.Code of each canonical status; long-running operations carry this number, not HTTP's.
RPC_CODES: Final = {
    "OK": 0,
    "CANCELLED": 1,
    "UNKNOWN": 2,
    "INVALID_ARGUMENT": 3,
    "DEADLINE_EXCEEDED": 4,
    "NOT_FOUND": 5,
    "ALREADY_EXISTS": 6,
    "PERMISSION_DENIED": 7,
    "RESOURCE_EXHAUSTED": 8,
    "FAILED_PRECONDITION": 9,
    "ABORTED": 10,
    "OUT_OF_RANGE": 11,
    "UNIMPLEMENTED": 12,
    "INTERNAL": 13,
    "UNAVAILABLE": 14,
    "UNAUTHENTICATED": 16,
}


class ApiError(Exception):
    """An error that a caller of the API sees.

    Args:
        code: the HTTP status code.
        status: the canonical status of `google.rpc.Code`, such as `NOT_FOUND`.
        message: what was wrong and how to mend it.
        details: `google.rpc` detail messages, each with its `@type`.
    """

    def __init__(
        self, code: int, status: str, message: str, details: list[dict[str, Any]] | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.message = message
        self.details = details or []

    def body(self) -> dict[str, Any]:
        """The JSON body of the HTTP response."""
        error: dict[str, Any] = {"code": self.code, "message": self.message, "status": self.status}
        if self.details:
            error["details"] = self.details
        return {"error": error}

    def rpc_status(self) -> dict[str, Any]:
        """The same error as a `google.rpc.Status`, which operations and jobs carry."""
        status: dict[str, Any] = {"code": RPC_CODES.get(self.status, 2), "message": self.message}
        if self.details:
            status["details"] = self.details
        return status


class _Canonical(ApiError):
    http: int
    canonical: str

    def __init__(self, message: str, details: list[dict[str, Any]] | None = None) -> None:
        super().__init__(self.http, self.canonical, message, details)


class InvalidArgument(_Canonical):
    """The request is wrong in itself, whatever the state of the service."""

    http, canonical = 400, "INVALID_ARGUMENT"


class FailedPrecondition(_Canonical):
    """The request is right, but not in the state that the resource is in."""

    http, canonical = 400, "FAILED_PRECONDITION"


class NotFound(_Canonical):
    """No such resource."""

    http, canonical = 404, "NOT_FOUND"


class AlreadyExists(_Canonical):
    """The name is taken."""

    http, canonical = 409, "ALREADY_EXISTS"


class Aborted(_Canonical):
    """Someone else changed the resource meanwhile: read it again and retry."""

    http, canonical = 409, "ABORTED"


class ResourceExhausted(_Canonical):
    """A quota or a rate limit."""

    http, canonical = 429, "RESOURCE_EXHAUSTED"


class Cancelled(_Canonical):
    """The caller cancelled the operation."""

    http, canonical = 499, "CANCELLED"


class Internal(_Canonical):
    """Our own fault, or that of the program that was run."""

    http, canonical = 500, "INTERNAL"


class Unimplemented(_Canonical):
    """Google has it, the local cloud does not; it says so and pretends nothing."""

    http, canonical = 501, "UNIMPLEMENTED"


class Unavailable(_Canonical):
    """Not now; a retry may succeed."""

    http, canonical = 503, "UNAVAILABLE"


class DeadlineExceeded(_Canonical):
    """It took longer than allowed."""

    http, canonical = 504, "DEADLINE_EXCEEDED"


def bad_request(violations: list[tuple[str, str]]) -> InvalidArgument:
    """A 400 that lists each wrong field, worded and shaped as Google's front ends do.

    Args:
        violations: pairs of field path (snake case, may be empty) and description.
    """
    return InvalidArgument(
        "\n".join(description for _, description in violations),
        [
            {
                "@type": "type.googleapis.com/google.rpc.BadRequest",
                "fieldViolations": [
                    {"field": field, "description": description}
                    if field
                    else {"description": description}
                    for field, description in violations
                ],
            }
        ],
    )

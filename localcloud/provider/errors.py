"""What the provider answers when something cannot be done."""

from __future__ import annotations

import grpc


class ProviderError(Exception):
    """A refusal that names the resource and says why, with the status that Google would give."""

    def __init__(self, message: str, status: grpc.StatusCode = grpc.StatusCode.UNKNOWN) -> None:
        super().__init__(message)
        self.message = message
        self.status = status


class AlreadyExists(ProviderError):
    """Something of that identity exists, and this stack did not make it (409)."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"Error creating {what}: 409 ALREADY_EXISTS: it exists already and is not this "
            "stack's; import it, delete it or choose another name",
            grpc.StatusCode.ALREADY_EXISTS,
        )


class Refused(ProviderError):
    """The local cloud does not do this, and says so (501)."""

    def __init__(self, message: str) -> None:
        super().__init__(message, grpc.StatusCode.UNIMPLEMENTED)


class ServiceError(ProviderError):
    """A service answered with an error.

    Attributes:
        code: its HTTP status, such as 404 or 409.
    """

    def __init__(self, what: str, code: int, reason: str) -> None:
        statuses = {
            400: grpc.StatusCode.INVALID_ARGUMENT,
            403: grpc.StatusCode.PERMISSION_DENIED,
            404: grpc.StatusCode.NOT_FOUND,
            409: grpc.StatusCode.ALREADY_EXISTS,
            412: grpc.StatusCode.FAILED_PRECONDITION,
            429: grpc.StatusCode.RESOURCE_EXHAUSTED,
            501: grpc.StatusCode.UNIMPLEMENTED,
            503: grpc.StatusCode.UNAVAILABLE,
        }
        super().__init__(f"{what}: {reason}", statuses.get(code, grpc.StatusCode.UNKNOWN))
        self.code = code

"""Refusals in Google's shape: a gRPC code, a message, and machine-readable details."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2

STATUS_DETAILS: Final = "grpc-status-details-bin"
DOMAIN: Final = "pubsub.googleapis.com"


class Fault(Exception):
    """An answer other than OK.

    Args:
        code: the gRPC status.
        message: names the field, the value and what is allowed.
        reason: upper-case word for `google.rpc.ErrorInfo`; none is sent when empty.
        metadata: what `ErrorInfo` carries, for instance one entry per failed acknowledgement.
    """

    def __init__(
        self,
        code: grpc.StatusCode,
        message: str,
        *,
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.reason = reason
        self.metadata = dict(metadata or {})

    def trailers(self) -> tuple[tuple[str, bytes], ...]:
        """The trailing metadata in which Google's clients look for details."""
        if not self.reason:
            return ()
        info = error_details_pb2.ErrorInfo(
            reason=self.reason, domain=DOMAIN, metadata=self.metadata
        )
        detail = any_pb2.Any()
        detail.Pack(info)
        status = status_pb2.Status(code=self.code.value[0], message=self.message, details=[detail])
        return ((STATUS_DETAILS, status.SerializeToString()),)


def invalid(message: str) -> Fault:
    """INVALID_ARGUMENT (HTTP 400)."""
    return Fault(grpc.StatusCode.INVALID_ARGUMENT, message)


def not_found(resource: str) -> Fault:
    """NOT_FOUND (HTTP 404), in the words of the service."""
    return Fault(
        grpc.StatusCode.NOT_FOUND, f"Resource not found (resource={resource.rsplit('/', 1)[-1]})."
    )


def already_exists(resource: str) -> Fault:
    """ALREADY_EXISTS (HTTP 409), in the words of the service."""
    short = resource.rsplit("/", 1)[-1]
    return Fault(
        grpc.StatusCode.ALREADY_EXISTS,
        f"Resource already exists in the project (resource={short}).",
    )


def failed_precondition(message: str) -> Fault:
    """FAILED_PRECONDITION (HTTP 400): right in itself, wrong for the present state."""
    return Fault(grpc.StatusCode.FAILED_PRECONDITION, message)


def aborted(message: str) -> Fault:
    """ABORTED (HTTP 409): someone else changed the resource first."""
    return Fault(grpc.StatusCode.ABORTED, message)


def unavailable(message: str) -> Fault:
    """UNAVAILABLE (HTTP 503): the clients try again by themselves."""
    return Fault(grpc.StatusCode.UNAVAILABLE, message)


def unimplemented(message: str) -> Fault:
    """UNIMPLEMENTED (HTTP 501): Google Cloud can, this machine cannot."""
    return Fault(grpc.StatusCode.UNIMPLEMENTED, message)

"""A server's application, asked without a socket."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from workloads.manifest import Manifest
from workloads.product import Product
from workloads.serving.batching import Predicted
from workloads.serving.model import ServedModel

GOOD: dict[str, Any] = {
    "carrier": "UA",
    "origin": "EWR",
    "destination": "IAH",
    "distance": 1400,
    "departure_minute": 315,
    "weekday": 3,
    "scheduled_arrival_minute": 499,
}


class Reply(msgspec.Struct):
    """One answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        return msgspec.json.decode(self.body)


async def ask(
    app: Any,
    body: bytes | Sequence[bytes] | None = None,
    path: str = "/predict",
    headers: dict[str, str] | None = None,
    *,
    ends: bool = True,
) -> Reply:
    """Ask the application: a POST with a body, in one piece or several; a GET without.

    `ends` says whether the last piece is the last: a caller who does not end is silent for ever.
    """
    pieces = [body] if isinstance(body, bytes) else list(body or [b""])
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if not pieces:
            await asyncio.Event().wait()
        piece = pieces.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(pieces) or not ends}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "GET" if body is None else "POST",
        "path": path,
        "headers": [(k.lower().encode(), v.encode()) for k, v in (headers or {}).items()],
    }
    await app(scope, receive, send)
    start, *rest = sent
    return Reply(
        start["status"],
        {name.decode(): value.decode() for name, value in start["headers"]},
        b"".join(one["body"] for one in rest),
    )


def run[T](awaitable: Awaitable[T]) -> T:
    async def main() -> T:
        return await awaitable

    return asyncio.run(main())


def manifest(product: Product, version: str = "7") -> Manifest:
    """What is said of a model, as far as a server asks."""
    request = product.features.request
    return Manifest(
        product=product.name,
        run=f"run-{version}",
        contract=request.NAME,
        contract_version=request.VERSION,
        features=request.__struct_fields__,
        label=product.label.column,
        model_sha256="",
        threshold=0.4,
        training=None,  # type: ignore[arg-type]
        holdout=None,  # type: ignore[arg-type]
        metrics={},
        baseline={},
        code_version="1",
    )


class Halves(ServedModel):
    """Stands in for a model: a half for every row, and remembers how many it saw at once."""

    def __init__(self, product: Product, version: str = "7") -> None:
        super().__init__(
            manifest(product, version),
            None,  # type: ignore[arg-type]
            product.features.request,
            version,
        )
        self.batches: list[int] = []
        self.fault: Callable[[Sequence[Any]], None] | None = None

    def score(self, rows: Sequence[Any]) -> Predicted:
        self.batches.append(len(rows))
        if self.fault is not None:
            self.fault(rows)
        return Predicted([0.5] * len(rows))

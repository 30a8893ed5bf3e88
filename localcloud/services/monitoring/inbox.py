"""The home's inbox: where messages end that would leave this machine.

`POST /inbox/NAME` takes a message as the webhook of a chat would; `GET /inbox` lists them all, the
newest last. A message with an `Idempotency-Key` that is there already is taken and not kept again.
"""

from __future__ import annotations

import hashlib
import time
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from localcloud.rest.store import Documents
from localcloud.services.monitoring.names import written

_KEPT: Final = 1_000
_BODY_LIMIT: Final = 1024 * 1024


class Inbox:
    """Messages in the order in which they came. Safe to call from several threads."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents
        self.routes: list[BaseRoute] = [
            Route("/inbox", self._list, methods=["GET"]),
            Route("/inbox/{name}", self._post, methods=["POST"]),
        ]

    def take(self, *, name: str, kind: str, body: Any, key: str | None = None) -> bool:
        """Keep a message; whether it was new.

        Args:
            name: who it is for: an address, a chat channel.
            kind: how it would have left: `email`, `slack`, `webhook`, ...
            key: tells the same message, sent again, from another.
        """
        mark = hashlib.sha256(f"{name}\n{key}".encode()).hexdigest()
        with self._documents.transaction():
            if key is not None and self._documents.get(f"taken:{mark}") is not None:
                return False
            number = self._documents.next_number()
            message = {"to": name, "kind": kind, "received": written(time.time()), "body": body}
            self._documents.put(f"message:{number:020d}", message)
            if key is not None:
                self._documents.put(f"taken:{mark}", {"message": number})
            if number % 50 == 0:
                for stored in self._documents.list("message:")[:-_KEPT]:
                    self._documents.delete(stored.key)
        return True

    def messages(self) -> list[dict[str, Any]]:
        """All, the newest last."""
        return [stored.value for stored in self._documents.list("message:")]

    async def _list(self, _: Request) -> Response:
        return JSONResponse({"messages": self.messages()})

    async def _post(self, request: Request) -> Response:
        raw = await request.body()
        if len(raw) > _BODY_LIMIT:
            return JSONResponse({"error": f"more than {_BODY_LIMIT} bytes"}, 413)
        try:
            body: Any = msgspec.json.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return JSONResponse({"error": f"the body is no JSON: {error}"}, 400)
        kept = self.take(
            name=request.path_params["name"],
            kind="webhook",
            body=body,
            key=request.headers.get("Idempotency-Key"),
        )
        return JSONResponse({"kept": kept}, 200)

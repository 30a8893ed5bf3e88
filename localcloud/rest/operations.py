"""Long-running operations in Google's shape, kept in the store."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Coroutine
from datetime import UTC, datetime
from typing import Any, Final, final

from localcloud.rest.app import Handler, Request
from localcloud.rest.discovery import Api
from localcloud.rest.errors import Aborted, ApiError, Cancelled, Internal, InvalidArgument, NotFound
from localcloud.rest.store import Documents

log = logging.getLogger(__name__)

# A quick operation is answered as done at once, so that a client does not have to poll; Google's
# clients poll after 1 s at the earliest.
_GRACE_SECONDS: Final = 0.25
# Google keeps finished operations for a while; a local cloud that runs for weeks needs a bound.
_KEPT: Final = 1000


def now() -> str:
    """The time as Google writes it, in UTC with microseconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@final
class Operations:
    """The operations of one service.

    An operation cut by the end of the process is `done` with the error ABORTED after the next
    start: call `recover` then.

    Args:
        documents: where they are kept, under their names.
    """

    def __init__(self, documents: Documents) -> None:
        self._documents = documents
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def recover(self) -> int:
        """Close what an earlier process left open; returns how many there were."""
        error = Aborted("The operation was interrupted by a restart of the service.").rpc_status()
        cut = [one for one in self._documents.list("operation:") if not one.value.get("done")]
        for stored in cut:
            self._documents.put(stored.key, {**stored.value, "done": True, "error": error})
        return len(cut)

    async def start(
        self,
        prefix: str,
        work: Coroutine[Any, Any, dict[str, Any]],
        metadata: dict[str, Any] | None = None,
        *,
        grace: float = _GRACE_SECONDS,
    ) -> dict[str, Any]:
        """Begin an operation and return it, done already if it took less than `grace` seconds.

        Args:
            prefix: the resource below which the operation is named, such as
                `projects/p/locations/l/endpoints/1`.
            work: its result is the operation's `response` and carries an `@type`; an `ApiError`
                becomes its `error`.
            metadata: with an `@type`.
        """
        name = f"{prefix}/operations/{self._documents.next_number() + 10**18}"
        operation: dict[str, Any] = {"name": name}
        if metadata is not None:
            operation["metadata"] = metadata
        self._documents.put(f"operation:{name}", operation)
        task = asyncio.create_task(self._run(name, work), name=name)
        self._tasks[name] = task
        task.add_done_callback(lambda _: self._tasks.pop(name, None))
        await asyncio.wait([task], timeout=grace)
        return self.get(name)

    def finished(
        self, prefix: str, response: dict[str, Any], metadata: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """An operation that needed no time."""
        name = f"{prefix}/operations/{self._documents.next_number() + 10**18}"
        operation: dict[str, Any] = {"name": name, "done": True, "response": response}
        if metadata is not None:
            operation["metadata"] = metadata
        self._documents.put(f"operation:{name}", operation)
        return operation

    def get(self, name: str) -> dict[str, Any]:
        """The operation.

        Raises:
            NotFound: there is none of this name.
        """
        operation = self._documents.get(f"operation:{name}")
        if operation is None:
            raise NotFound(f"Operation '{name}' not found.")
        return operation

    def list(self, parent: str) -> list[dict[str, Any]]:
        """The operations directly below a resource, the oldest first."""
        return [one.value for one in self._documents.list(f"operation:{parent}/operations/")]

    async def wait(self, name: str, limit: float | None = None) -> dict[str, Any]:
        """The operation once it is done, or as it is when the seconds are over."""
        task = self._tasks.get(name)
        if task is not None:
            await asyncio.wait([task], timeout=limit)
        return self.get(name)

    def cancel(self, name: str) -> None:
        """Ask a running operation to stop; it ends with the error CANCELLED."""
        self.get(name)
        task = self._tasks.get(name)
        if task is not None:
            task.cancel()

    async def stop(self) -> None:
        """End what still runs; those operations are ABORTED after the next start."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel("service stops")
        await asyncio.gather(*tasks, return_exceptions=True)

    def handlers(self, api: Api) -> dict[str, Handler]:
        """Handlers of every operations method that the API's document has."""
        actions: dict[str, Handler] = {
            "get": self._get,
            "list": self._list,
            "delete": self._delete,
            "cancel": self._cancel,
            "wait": self._wait,
        }
        return {
            method: actions[action]
            for method in api.methods
            for parent, _, action in [method.rpartition(".")]
            if parent.endswith(".operations") and action in actions
        }

    async def _run(self, name: str, work: Awaitable[dict[str, Any]]) -> None:
        try:
            outcome: dict[str, Any] = {"response": await work}
        except asyncio.CancelledError as cancelled:
            if cancelled.args == ("service stops",):
                raise
            outcome = {"error": Cancelled("The operation was cancelled.").rpc_status()}
        except ApiError as error:
            outcome = {"error": error.rpc_status()}
        except Exception as error:
            log.exception("operation %s failed", name)
            outcome = {"error": Internal(f"{type(error).__name__}: {error}").rpc_status()}
        with self._documents.transaction():
            if self._documents.get(f"operation:{name}") is not None:
                self._documents.change(
                    f"operation:{name}", lambda one: one.update(done=True, **outcome)
                )
            self._trim()

    def _trim(self) -> None:
        stored = self._documents.list("operation:")
        if len(stored) > 2 * _KEPT:
            done = [one for one in stored if one.value.get("done")]
            done.sort(key=lambda one: one.etag)
            for one in done[: len(stored) - _KEPT]:
                self._documents.delete(one.key)

    async def _get(self, request: Request) -> dict[str, Any]:
        return self.get(request.path["name"])

    async def _list(self, request: Request) -> dict[str, Any]:
        return {"operations": self.list(request.path["name"])}

    async def _delete(self, request: Request) -> dict[str, Any]:
        self.get(request.path["name"])
        self._documents.delete(f"operation:{request.path['name']}")
        return {}

    async def _cancel(self, request: Request) -> dict[str, Any]:
        self.cancel(request.path["name"])
        return {}

    async def _wait(self, request: Request) -> dict[str, Any]:
        text = request.query.get("timeout") or (request.body or {}).get("timeout")
        return await self.wait(request.path["name"], seconds(text) if text else None)


def seconds(duration: str) -> float:
    """`"1.5s"` -> 1.5.

    Raises:
        InvalidArgument: it is not a duration.
    """
    try:
        return float(duration.removesuffix("s"))
    except ValueError:
        raise InvalidArgument(f"Invalid duration '{duration}': write seconds, as '30s'.") from None

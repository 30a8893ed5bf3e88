"""The calls that are made to Google, one after the other: seen, counted, refused in words."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from esteira.project.clients import Google
from esteira.project.refusals import Refused, explain

_RETRIES: Final = 4
"""Of a call that met 429 or 5xx, by Google's client, with growing waits."""
_PROPAGATION: Final = (1, 2, 4, 8, 15, 30, 30, 30, 60, 60, 60)
"""Seconds between attempts on an API that was switched on a moment ago: five minutes in all, as
long as Google says that it may take."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call as it goes over the wire, without credentials."""

    method: str
    url: str
    body: Any

    @classmethod
    def of(cls, request: Any) -> Call:
        """What a request of Google's client would send."""
        body = json.loads(request.body) if request.body else None
        return cls(method=request.method, url=request.uri, body=body)

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        called = {"method": self.method, "url": self.url}
        return called if self.body is None else {**called, "body": self.body}


@dataclass
class Calls:
    """Makes calls, and knows what was just switched on."""

    google: Google
    dry_run: bool = False
    """Writes are refused: whoever plans must not call `write`."""
    watch: Callable[[Call], None] = lambda _: None
    """Told of each call before it is made."""
    sleep: Callable[[float], None] = time.sleep
    principal: str = ""
    fresh: set[str] = field(default_factory=set)
    """Hosts of APIs that this run switched on, or would switch on."""

    def read(self, request: Any) -> dict[str, Any] | None:
        """What is there; None where nothing is.

        Raises:
            Refused: anything else.
        """
        try:
            return self._execute(request)
        except Refused as error:
            if error.code == 404:
                return None
            if self.dry_run and error.reason == "SERVICE_DISABLED" and error.api in self.fresh:
                # Nothing can be there yet.
                return None
            raise

    def write(self, request: Any) -> dict[str, Any]:
        """Change something.

        Raises:
            Refused: it was not done.
        """
        if self.dry_run:
            raise AssertionError(f"a dry run must not call {request.methodId}")
        return self._execute(request)

    def _execute(self, request: Any) -> dict[str, Any]:
        waits = iter(_PROPAGATION)
        while True:
            try:
                return self._once(request)
            except Refused as error:
                wait = next(waits, None)
                new = error.reason == "SERVICE_DISABLED" and error.api in self.fresh
                if not new or self.dry_run or wait is None:
                    raise
                self.sleep(wait)

    def _once(self, request: Any) -> dict[str, Any]:
        from googleapiclient.errors import HttpError

        self.watch(Call.of(request))
        try:
            answer = request.execute(http=self.google.http(), num_retries=_RETRIES)
        except HttpError as error:
            raise explain(error, request.methodId, self.google.project, self.principal) from error
        return answer if isinstance(answer, dict) else {}

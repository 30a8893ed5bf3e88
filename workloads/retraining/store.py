"""Requests and runs in PostgreSQL: every change is written together with why.

Two things keep two controllers apart: an advisory lock, held while one acts and gone with its
connection, and an index that lets a product have one run under way.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from workloads import database
from workloads.database import DatabaseSettings
from workloads.release.states import Strategy
from workloads.retraining import schema
from workloads.retraining.requests import Reason, RecordsUnreachable, Request, RequestState, key
from workloads.retraining.runs import UNDER_WAY, Decision, Run, RunState, check

_GRACE: Final = "500ms"
_REQUEST: Final = ", ".join(Request.__struct_fields__)
_RUN: Final = ", ".join(Run.__struct_fields__)
_DECISION: Final = ", ".join(Decision.__struct_fields__)


class Busy(RuntimeError):
    """Another controller is acting on the product's retraining."""


class Overtaken(RuntimeError):
    """Somebody else has changed the run since it was read."""


class Store:
    """The records of all products, over one connection.

    Args:
        connection: psycopg's, with autocommit; it is this store's own.
        actor: who acts, for the records.
    """

    def __init__(self, connection: Any, actor: str) -> None:
        self._connection = connection
        self.actor = actor
        schema.migrate(connection)

    def ask(
        self,
        product: str,
        reason: Reason,
        evidence: dict[str, Any],
        *,
        by: str,
        at: datetime,
        as_of: datetime | None = None,
    ) -> Request:
        """Write a request down; the one that is there, if it was asked already.

        Raises:
            InvalidEvidence: it is no JSON.
        """
        named = key(evidence)
        with self._connection.transaction():
            row = self._connection.execute(
                "INSERT INTO retraining.requests (product, reason, key, evidence, asked_by,"  # noqa: S608
                " asked_at, as_of) VALUES (%s, %s, %s, %s, %s, %s, %s)"
                f" ON CONFLICT (product, reason, key) DO NOTHING RETURNING {_REQUEST}",
                [product, reason.value, named, _json(evidence), by, at, as_of],
            ).fetchone()
            if row is not None:
                request = _struct(Request, row)
                self._decide(product, "asked", f"{reason} asks", evidence, at, request=request.id)
                return request
        row = self._connection.execute(
            f"SELECT {_REQUEST} FROM retraining.requests"  # noqa: S608
            " WHERE product = %s AND reason = %s AND key = %s",
            [product, reason.value, named],
        ).fetchone()
        return _struct(Request, row)

    def waiting(self, product: str) -> list[Request]:
        """Requests on which nothing is decided for good, the oldest first."""
        return self._requests("product = %s AND state = 'asked' ORDER BY asked_at, id", [product])

    def requests(self, product: str, limit: int = 100) -> list[Request]:
        """The newest first."""
        return self._requests("product = %s ORDER BY id DESC LIMIT %s", [product, limit])

    def of_run(self, run: Run) -> list[Request]:
        """The requests that a run serves."""
        return self._requests("run = %s ORDER BY id", [run.id])

    def hold(
        self, requests: Sequence[Request], until: datetime | None, why: str, at: datetime
    ) -> None:
        """Have requests wait; written down once for as long as it is for the same reason."""
        with self._connection.transaction():
            for one in requests:
                if one.why == why and one.waits_until == until:
                    continue
                self._connection.execute(
                    "UPDATE retraining.requests SET waits_until = %s, why = %s"
                    " WHERE id = %s AND state = 'asked'",
                    [until, why, one.id],
                )
                self._decide(one.product, "waits", why, {}, at, request=one.id)

    def refuse(self, requests: Sequence[Request], why: str, at: datetime) -> None:
        """Decide that nothing is started for requests."""
        with self._connection.transaction():
            for one in requests:
                self._settle(one, RequestState.REFUSED, why, None, at)

    def begin(
        self,
        product: str,
        requests: Sequence[Request],
        *,
        name: str,
        as_of: datetime,
        learn_from: datetime,
        hold_out_from: datetime,
        read_until: datetime,
        strategy: Strategy,
        why: str,
        at: datetime,
    ) -> Run:
        """Write a run down that serves all of these requests: the first has it started.

        Raises:
            Busy: a run of the product is under way.
        """
        from psycopg.errors import UniqueViolation

        reasons = list(dict.fromkeys(one.reason.value for one in requests))
        try:
            with self._connection.transaction():
                row = self._connection.execute(
                    "INSERT INTO retraining.runs (product, name, state, reasons, as_of,"  # noqa: S608
                    " learn_from, hold_out_from, read_until, strategy, why, opened_by, started_at,"
                    " entered_at) VALUES (%s, %s, 'started', %s, %s, %s, %s, %s, %s, %s, %s, %s,"
                    f" %s) RETURNING {_RUN}",
                    [
                        product,
                        name,
                        reasons,
                        as_of,
                        learn_from,
                        hold_out_from,
                        read_until,
                        strategy.value,
                        why,
                        self.actor,
                        at,
                        at,
                    ],
                ).fetchone()
                run = _struct(Run, row)
                self._decide(
                    product,
                    RunState.STARTED.value,
                    why,
                    {"requests": [one.id for one in requests], "name": name},
                    at,
                    run=run.id,
                )
                first, *others = requests
                self._settle(first, RequestState.STARTED, f"run {run.name} serves it", run, at)
                for one in others:
                    joined = f"run {run.name}, started for request {first.id}, serves it"
                    self._settle(one, RequestState.COALESCED, joined, run, at)
        except UniqueViolation:
            raise Busy(f"a retraining of {product} has just been started by another") from None
        return run

    def move(
        self,
        run: Run,
        to: RunState,
        why: str,
        at: datetime,
        *,
        evidence: Any = None,
        version: str | None = None,
    ) -> Run:
        """Write down that a run has entered a state.

        Raises:
            WrongTransition: no run does that.
            Overtaken: somebody else wrote meanwhile.
        """
        check(run.state, to)
        with self._connection.transaction():
            changed = self._update(
                run,
                "state = %s, why = %s, version = coalesce(%s, version), entered_at = %s,"
                " attempts = 0",
                [to.value, why, version, at],
            )
            self._decide(run.product, to.value, why, evidence or {}, at, run=run.id)
        return changed

    def take_up(self, run: Run) -> Run:
        """Count that a controller goes on with a run.

        Raises:
            Overtaken: somebody else wrote meanwhile.
        """
        return self._update(run, "attempts = attempts + 1", [])

    def rest(self, run: Run) -> Run:
        """Count that a run waits, which is no failed attempt at it.

        Raises:
            Overtaken: somebody else wrote meanwhile.
        """
        return self._update(run, "attempts = 0", []) if run.attempts else run

    def under_way(self, product: str) -> Run | None:
        """The run that keeps another from starting, or none."""
        found = self._runs(
            "product = %s AND state = ANY(%s)", [product, [one.value for one in UNDER_WAY]]
        )
        return found[0] if found else None

    def run(self, number: int) -> Run:
        """A run by its number."""
        (found,) = self._runs("id = %s", [number])
        return found

    def lease(self, run: Run, holder: str, length: timedelta) -> None:
        """Have the controller leave a run alone for as long, by the clock of the database."""
        self._connection.execute(
            "INSERT INTO retraining.leases (run, holder, until)"
            " VALUES (%s, %s, clock_timestamp() + %s)"
            " ON CONFLICT (run) DO UPDATE SET holder = excluded.holder, until = excluded.until",
            [run.id, holder, length],
        )

    def claimed(self, run: Run) -> bool:
        """Whether somebody else has ever claimed a run to train it."""
        found = self._connection.execute(
            "SELECT 1 FROM retraining.leases WHERE run = %s", [run.id]
        ).fetchone()
        return found is not None

    def holder(self, run: Run) -> str | None:
        """Who trains a run instead of the controller now."""
        found = self._connection.execute(
            "SELECT holder FROM retraining.leases WHERE run = %s AND until > clock_timestamp()",
            [run.id],
        ).fetchone()
        return None if found is None else found[0]

    def runs(self, product: str, limit: int = 100) -> list[Run]:
        """The newest first."""
        return self._runs("product = %s ORDER BY id DESC LIMIT %s", [product, limit])

    def history(self, product: str, limit: int = 100) -> list[Decision]:
        """What was decided, the newest first."""
        rows = self._connection.execute(
            f"SELECT {_DECISION} FROM retraining.decisions WHERE product = %s"  # noqa: S608
            " ORDER BY id DESC LIMIT %s",
            [product, limit],
        ).fetchall()
        return [_struct(Decision, row) for row in rows]

    @contextmanager
    def alone(self, product: str) -> Iterator[None]:
        """Be the only one that acts on a product; another's right to it ends with its connection.

        Raises:
            Busy: somebody acts on it now.
        """
        from psycopg.errors import LockNotAvailable

        named = f"retraining of {product}"
        try:
            with self._connection.transaction():
                # Not at once: PostgreSQL takes a moment to see that a killed one is gone.
                self._connection.execute(f"SET LOCAL lock_timeout = '{_GRACE}'")
                self._connection.execute(
                    "SELECT pg_advisory_lock(hashtextextended(%s, 0))", [named]
                )
        except LockNotAvailable:
            raise Busy(
                f"another controller is acting on the retraining of {product}; look with "
                f"`esteira retraining status {product}`"
            ) from None
        try:
            yield
        finally:
            if not self._connection.closed:
                self._connection.execute(
                    "SELECT pg_advisory_unlock(hashtextextended(%s, 0))", [named]
                )

    def _settle(
        self, request: Request, state: RequestState, why: str, run: Run | None, at: datetime
    ) -> None:
        number = None if run is None else run.id
        self._connection.execute(
            "UPDATE retraining.requests SET state = %s, why = %s, run = %s, waits_until = NULL"
            " WHERE id = %s AND state = 'asked'",
            [state.value, why, number, request.id],
        )
        self._decide(request.product, state.value, why, {}, at, request=request.id, run=number)

    def _requests(self, where: str, values: Sequence[Any]) -> list[Request]:
        rows = self._connection.execute(
            f"SELECT {_REQUEST} FROM retraining.requests WHERE {where}",  # noqa: S608
            values,
        ).fetchall()
        return [_struct(Request, row) for row in rows]

    def _runs(self, where: str, values: Sequence[Any]) -> list[Run]:
        rows = self._connection.execute(
            f"SELECT {_RUN} FROM retraining.runs WHERE {where}",  # noqa: S608
            values,
        ).fetchall()
        return [_struct(Run, row) for row in rows]

    def _update(self, run: Run, what: str, values: Sequence[Any]) -> Run:
        row = self._connection.execute(
            f"UPDATE retraining.runs SET {what}, revision = revision + 1,"  # noqa: S608
            f" updated_at = clock_timestamp() WHERE id = %s AND revision = %s RETURNING {_RUN}",
            [*values, run.id, run.revision],
        ).fetchone()
        if row is None:
            raise Overtaken(
                f"run {run.name} of {run.product} was changed by somebody else since it was read; "
                "run the command again"
            )
        return _struct(Run, row)

    def _decide(
        self,
        product: str,
        decision: str,
        why: str,
        evidence: Any,
        at: datetime,
        *,
        request: int | None = None,
        run: int | None = None,
    ) -> None:
        self._connection.execute(
            "INSERT INTO retraining.decisions (product, request, run, decision, why, evidence,"
            " actor, at) VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
            [product, request, run, decision, why, _json(evidence), self.actor, at],
        )


@contextmanager
def opened(settings: DatabaseSettings, actor: str) -> Iterator[Store]:
    """The store, over a connection of its own.

    Raises:
        RecordsUnreachable: PostgreSQL does not answer, or no token for it is to be had.
    """
    import psycopg
    from google.auth.exceptions import GoogleAuthError

    try:
        connection = database.connect(settings, actor)
    except (psycopg.OperationalError, GoogleAuthError) as error:
        raise RecordsUnreachable(
            "retraining is kept in PostgreSQL, which a stack has where `database.enabled` is true "
            f"and `esteira up STACK` makes; it does not answer: {' '.join(str(error).split())}"
        ) from error
    with connection:
        yield Store(connection, actor)


def _json(document: Any) -> Any:
    from psycopg.types.json import Jsonb

    return Jsonb(msgspec.to_builtins(document))


def _struct[T](kind: type[T], row: Any) -> T:
    names: tuple[str, ...] = kind.__struct_fields__  # pyright: ignore[reportAttributeAccessIssue]
    return msgspec.convert(dict(zip(names, row, strict=True)), kind)

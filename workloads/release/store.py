"""Releases in PostgreSQL: every transition is written before it acts and after.

Two things keep two controllers apart: an advisory lock, held while one acts and gone with its
connection, and an index that lets a product have one release under way.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from workloads import database
from workloads.database import DatabaseSettings
from workloads.release import schema
from workloads.release.judgement import Verdict
from workloads.release.records import Passed, Record
from workloads.release.states import UNDER_WAY, State, Strategy, Transition, check

_POLL_SECONDS: Final = 0.2
_GRACE: Final = "500ms"


class NoRecords(RuntimeError):
    """PostgreSQL, which releases are kept in, is not to be had."""


class Busy(RuntimeError):
    """Another release of the product is under way, or another controller is acting on it."""


class Overtaken(RuntimeError):
    """Somebody else has changed the release since it was read."""


_COLUMNS: Final = ", ".join(Record.__struct_fields__)
_PASSED: Final = ", ".join(f'"{one}"' for one in Passed.__struct_fields__)


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

    def find(self, product: str) -> Record | None:
        """The release under way, or none."""
        return self._one(
            "product = %s AND (state = ANY(%s) OR intent IS NOT NULL)",
            [product, [one.value for one in UNDER_WAY]],
        )

    def last(self, product: str, version: str, *states: State) -> Record | None:
        """The newest release of a version that is in one of the states."""
        return self._one(
            "product = %s AND version = %s AND state = ANY(%s)",
            [product, version, [one.value for one in states]],
        )

    def latest(self, product: str) -> Record | None:
        """The newest release, whatever became of it."""
        return self._one("product = %s", [product])

    def begin(
        self,
        product: str,
        version: str,
        champion: str | None,
        *,
        target: str,
        strategy: Strategy,
        reason: str,
        now: datetime,
        state: State = State.REGISTERED,
    ) -> Record:
        """Write a new release down; the one under way, if it is of this version already.

        Raises:
            Busy: another version is being released.
        """
        from psycopg.errors import UniqueViolation

        try:
            with self._connection.transaction():
                row = self._connection.execute(
                    "INSERT INTO release.releases (product, version, champion, target, strategy,"  # noqa: S608
                    " state, share, reason, opened_by, created_at, entered_at, looked_at)"
                    " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
                    f" RETURNING {_COLUMNS}",
                    [
                        product,
                        version,
                        champion,
                        target,
                        strategy.value,
                        state.value,
                        100 if state is State.FULL else 0,
                        reason,
                        self.actor,
                        *[now] * 3,
                    ],
                ).fetchone()
                record = _record(row)
                opened = Transition(to=state, share=record.share, reason=reason)
                self._log(record, opened, "done", [], now)
        except UniqueViolation:
            there = self.find(product)
            if there is not None and there.version == version:
                return there
            raise Busy(holder(product, there)) from None
        return record

    def intend(
        self,
        record: Record,
        transition: Transition,
        now: datetime,
        evidence: Sequence[Verdict] = (),
    ) -> Record:
        """Write down what is about to be done.

        Raises:
            WrongTransition: no release does that.
            Overtaken: somebody else wrote meanwhile.
        """
        check(record.state, transition)
        with self._connection.transaction():
            changed = self._update(record, "intent = %s", [_json(transition)])
            self._log(record, transition, "intent", evidence, now)
        return changed

    def finish(self, record: Record, now: datetime) -> Record:
        """Write down that the intent was carried out.

        When a release becomes full, the one that was full before is retired with it; when a
        champion is taken back, the one it had replaced is full again.
        """
        intent = record.intent
        if intent is None:
            return record
        with self._connection.transaction():
            changed = self._update(
                record,
                "intent = NULL, state = %s, step = %s, share = %s, reason = %s,"
                " verdicts = '[]', entered_at = %s, looked_at = %s",
                [intent.to.value, intent.step, intent.share, intent.reason, now, now],
            )
            self._log(record, intent, "done", (), now)
            if intent.to is State.FULL:
                self._others(
                    changed,
                    State.FULL,
                    Transition(to=State.RETIRED, reason=f"version {changed.version} replaced it"),
                    now,
                )
            taken_back = intent.to in (State.ABORTED, State.ROLLED_BACK)
            if taken_back and record.state is State.FULL:
                again = f"version {changed.version} was {intent.to.value.replace('_', ' ')}"
                self._others(
                    changed,
                    State.RETIRED,
                    Transition(to=State.FULL, share=100, reason=again),
                    now,
                    version=changed.champion,
                )
        return changed

    def forget(self, record: Record, reason: str, now: datetime) -> Record:
        """Write down that the intent was given up, and that all is as it was before it."""
        intent = record.intent
        if intent is None:
            return record
        with self._connection.transaction():
            changed = self._update(record, "intent = NULL", [])
            given_up = msgspec.structs.replace(intent, reason=reason)
            self._log(changed, given_up, "failed", (), now)
        return changed

    def look(self, record: Record, verdicts: Sequence[Verdict], until: datetime) -> Record:
        """Keep what windows have shown."""
        return self._update(
            record,
            "verdicts = %s, looked_at = %s",
            [_json(tuple(verdicts)), until],
        )

    def yardstick(self, record: Record) -> Verdict | None:
        """The last window in which the version before had traffic beside this one, if any."""
        row = self._connection.execute(
            'SELECT evidence -> -1 FROM release.transitions WHERE release = %s AND "to" = %s'
            " AND phase = 'intent' ORDER BY id DESC LIMIT 1",
            [record.id, State.FULL.value],
        ).fetchone()
        return None if row is None or row[0] is None else msgspec.convert(row[0], Verdict)

    def history(self, product: str, limit: int = 100) -> list[Passed]:
        """What happened, the newest first."""
        rows = self._connection.execute(
            f"SELECT {_PASSED} FROM release.transitions WHERE product = %s"  # noqa: S608
            " ORDER BY id DESC LIMIT %s",
            [product, limit],
        ).fetchall()
        return [_struct(Passed, row) for row in rows]

    @contextmanager
    def alone(self, product: str, wait: bool = False) -> Iterator[None]:
        """Be the only one that acts on a product; another's right to it ends with its connection.

        Raises:
            Busy: somebody acts on it now, and `wait` is not given.
        """
        from psycopg.errors import LockNotAvailable

        key = f"release of {product}"
        try:
            with self._connection.transaction():
                if not wait:
                    # Not at once: PostgreSQL takes a moment to see that a killed one is gone.
                    self._connection.execute(f"SET LOCAL lock_timeout = '{_GRACE}'")
                self._connection.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", [key])
        except LockNotAvailable:
            raise Busy(
                f"{self._acting(key)} is acting on the releases of {product} now; wait for it to "
                "finish (`--wait`), then try again"
            ) from None
        try:
            yield
        finally:
            if not self._connection.closed:
                self._connection.execute(
                    "SELECT pg_advisory_unlock(hashtextextended(%s, 0))", [key]
                )

    def await_end(self, product: str, seconds: float) -> None:
        """Wait until no release of a product is under way.

        Raises:
            Busy: one still is.
        """
        deadline = time.monotonic() + seconds
        while (there := self.find(product)) is not None:
            if time.monotonic() > deadline:
                raise Busy(holder(product, there))
            time.sleep(_POLL_SECONDS)

    def _acting(self, key: str) -> str:
        row = self._connection.execute(
            "SELECT a.application_name, a.backend_start FROM pg_locks l"
            " JOIN pg_stat_activity a USING (pid)"
            " WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1"
            " AND l.classid::bigint << 32 | l.objid::bigint = hashtextextended(%s, 0)",
            [key],
        ).fetchone()
        if row is None:
            return "another controller"
        return f"{row[0] or 'another controller'}, since {row[1]:%Y-%m-%d %H:%M:%S} UTC,"

    def _others(
        self,
        record: Record,
        state: State,
        transition: Transition,
        now: datetime,
        version: str | None = None,
    ) -> None:
        query = (
            f"SELECT {_COLUMNS} FROM release.releases"  # noqa: S608
            " WHERE product = %s AND state = %s AND id <> %s"
        )
        values: list[Any] = [record.product, state.value, record.id]
        if state is State.RETIRED:
            # Of all that were ever retired, the newest one of the version that serves again.
            query += " AND version = %s ORDER BY id DESC LIMIT 1"
            values.append(version)
        for row in self._connection.execute(query, values).fetchall():
            other = _record(row)
            check(other.state, transition)
            self._update(
                other,
                "state = %s, share = %s, reason = %s, entered_at = %s",
                [transition.to.value, transition.share, transition.reason, now],
            )
            self._log(other, transition, "done", (), now)

    def _one(self, where: str, values: Sequence[Any]) -> Record | None:
        row = self._connection.execute(
            f"SELECT {_COLUMNS} FROM release.releases WHERE {where} ORDER BY id DESC LIMIT 1",  # noqa: S608
            values,
        ).fetchone()
        return None if row is None else _record(row)

    def _update(self, record: Record, what: str, values: Sequence[Any]) -> Record:
        row = self._connection.execute(
            f"UPDATE release.releases SET {what}, revision = revision + 1,"  # noqa: S608
            f" updated_at = clock_timestamp() WHERE id = %s AND revision = %s RETURNING {_COLUMNS}",
            [*values, record.id, record.revision],
        ).fetchone()
        if row is None:
            raise Overtaken(
                f"release {record.id} of {record.product} was changed by somebody else since it "
                "was read; run the command again"
            )
        return _record(row)

    def _log(
        self,
        record: Record,
        transition: Transition,
        phase: str,
        evidence: Sequence[Verdict],
        now: datetime,
    ) -> None:
        self._connection.execute(
            'INSERT INTO release.transitions (release, product, version, state, "to", step,'
            " share, phase, reason, evidence, actor, at)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            [
                record.id,
                record.product,
                record.version,
                record.state.value,
                transition.to.value,
                transition.step,
                transition.share,
                phase,
                transition.reason,
                _json(tuple(evidence)),
                self.actor,
                now,
            ],
        )


@contextmanager
def opened(settings: DatabaseSettings, actor: str) -> Iterator[Store]:
    """The store, over a connection of its own.

    Raises:
        NoRecords: PostgreSQL does not answer.
    """
    import psycopg

    try:
        connection = database.connect(settings, actor)
    except psycopg.OperationalError as error:
        raise NoRecords(
            "releases are kept in PostgreSQL, which a stack has where `database.enabled` is true "
            f"and `esteira up STACK` makes; it does not answer: {' '.join(str(error).split())}"
        ) from error
    with connection:
        yield Store(connection, actor)


def holder(product: str, record: Record | None) -> str:
    """Who has a release under way, and what can be done about it."""
    if record is None:
        return f"another release of {product} has just begun; look with `esteira release status`"
    return (
        f"version {record.version} of {product} is being released ({record.state.value}, "
        f"{record.share} % of the traffic, opened by {record.opened_by} at "
        f"{record.created_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC); wait for its end (`--wait`), "
        f"or stop it with `esteira release abort {product}`"
    )


def _json(document: Any) -> Any:
    from psycopg.types.json import Jsonb

    return Jsonb(msgspec.to_builtins(document))


def _record(row: Any) -> Record:
    return _struct(Record, row)


def _struct[T](kind: type[T], row: Any) -> T:
    names: tuple[str, ...] = kind.__struct_fields__  # pyright: ignore[reportAttributeAccessIssue]
    return msgspec.convert(dict(zip(names, row, strict=True)), kind)

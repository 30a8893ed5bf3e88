"""A request for a retraining: who asked, why, on which evidence.

Whoever has a reason asks, as often as it likes: monitors, the schedule, a person, a commit. The
controller decides, and writes down why.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

import msgspec
from pydantic import ValidationError

from workloads.database import DatabaseSettings
from workloads.product import Product

_KEY: Final = "key"


class Reason(StrEnum):
    """Why a model should be trained again."""

    DRIFT = "drift"
    """What the model is asked about no longer looks like what it has learned from."""
    PERFORMANCE = "performance"
    """Its answers have become worse, by labels or by an estimate without them."""
    SCHEDULE = "schedule"
    ROWS = "rows"
    """Enough rows with labels have come that the champion has not learned from."""
    FILE = "file"
    """A file of a source that comes in files has been taken in."""
    PERSON = "person"
    COMMIT = "commit"
    """The code that trains has changed."""


class RequestState(StrEnum):
    """What became of a request."""

    ASKED = "asked"
    """It waits, for more of its kind or for the cool-down to pass."""
    STARTED = "started"
    """A run was started for it."""
    COALESCED = "coalesced"
    """The run that was started for another one serves it too."""
    REFUSED = "refused"


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One request, as it stands."""

    id: int
    product: str
    reason: Reason
    key: str
    """The same product, reason and key are the same request."""
    evidence: dict[str, Any]
    asked_by: str
    asked_at: datetime
    as_of: datetime | None
    """Train as if it were then, for data that are replayed; None: when the run starts."""
    state: RequestState
    waits_until: datetime | None
    """When it is looked at again, where that is known."""
    why: str
    """What was decided on it last, in words."""
    run: int | None


class NoRetraining(RuntimeError):
    """Retraining cannot be asked for; says what to declare or to switch on."""


class RecordsUnreachable(NoRetraining):
    """The records do not answer now; another attempt may find them."""


class InvalidEvidence(ValueError):
    """Evidence that cannot be kept, or told from other evidence."""


def ask(
    product: Product,
    reason: Reason,
    evidence: dict[str, Any],
    *,
    by: str,
    as_of: datetime | None = None,
    now: datetime | None = None,
    database: DatabaseSettings | None = None,
) -> Request:
    """Write a request down; asking again with the same evidence is the same request.

    Args:
        product: the declaration.
        reason: why.
        evidence: what can be written as JSON. Where it has a `"key"`, that tells requests apart
            (a window's end, a commit); else all of it does.
        by: who asks.
        as_of: train as if it were then; for data that are replayed.
        now: when it is asked; `as_of`, or else the clock, when not given.
        database: the environment's when not given.

    Raises:
        NoRetraining: the product declares none, or the stack has no database.
        RecordsUnreachable: the database does not answer now.
        InvalidEvidence: it is no JSON.
    """
    from workloads.retraining.store import opened

    declared(product)
    with opened(database or settings(), by) as store:
        asked_at = now or as_of or datetime.now(UTC)
        return store.ask(product.name, Reason(reason), evidence, by=by, at=asked_at, as_of=as_of)


def declared(product: Product) -> None:
    """
    Raises:
        NoRetraining: the product is trained by hand only.
    """
    if product.retraining is None:
        raise NoRetraining(
            f"{product.name} has no `retraining`; declare when and on which rows in its product.py"
        )


def settings() -> DatabaseSettings:
    """How the environment says that the records are reached.

    Raises:
        NoRetraining: it does not.
    """
    try:
        return DatabaseSettings()  # pyright: ignore[reportCallIssue]  # from the environment
    except ValidationError as error:
        names = ", ".join("_".join(str(part) for part in one["loc"]) for one in error.errors())
        raise NoRetraining(
            "requests for retraining are kept in PostgreSQL, and the environment does not say "
            f"where it is ({names.upper()}); set `database.enabled` to true in the stack's "
            "settings, then `esteira up STACK`"
        ) from None


def key(evidence: dict[str, Any]) -> str:
    """What tells evidence from other evidence: its own `key`, else a hash of all of it.

    Raises:
        InvalidEvidence: it is no JSON.
    """
    given = evidence.get(_KEY)
    if given is not None and (not isinstance(given, str) or not 0 < len(given) <= 200):
        raise InvalidEvidence(f"evidence.key is {given!r}; allowed: a text of 1 to 200 characters")
    try:
        content = msgspec.json.encode(evidence, order="sorted")
    except (TypeError, ValueError) as error:
        raise InvalidEvidence(
            f"evidence is {evidence!r}, which is no JSON ({error}); allowed: objects, lists, "
            "texts, numbers, instants"
        ) from None
    return given or hashlib.sha256(content).hexdigest()

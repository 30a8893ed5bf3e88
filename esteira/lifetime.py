"""How long a stack may lie idle: its setting `lifetime.idleDays` against its last update.

A stack that is destroyed for that has to come back with its next `up`, so what Google would not let
be made again stays. None of it costs while it rests, but for a few cents a month for each key.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from esteira.paths import ROOT

KEPT: Final = {
    "esteira:github_federation:GithubFederation": "GitHub logs in through it to bring the stack "
    "back, and Google keeps the id of a pool for 30 days after it was deleted",
    "esteira:private_network:PrivateNetwork": "Google's services hold on to addresses in it for "
    "days after the last of them is gone, and it cannot be deleted before",
    "esteira:encryption_key:EncryptionKey": "Google keeps the names of rings and keys for ever",
}
"""Types of components that an idle stack keeps, with the reason."""


class NoLifetime(ValueError):
    """A stack that lives for ever; the message says how to give it a lifetime."""


@dataclass(frozen=True, kw_only=True)
class Idleness:
    """How long a stack has been idle, and how long it may be."""

    allowed: timedelta
    last_update: datetime | None
    """When the last `up` ended; none where there never was one, or where it was destroyed since."""
    now: datetime

    @property
    def expired(self) -> bool:
        """Whether there is something to destroy, and nobody has updated it for too long."""
        return self.last_update is not None and self.now - self.last_update > self.allowed

    def as_dict(self) -> dict[str, Any]:
        """For a program."""
        return {
            "allowed_days": self.allowed.days,
            "last_update": self.last_update.isoformat() if self.last_update else None,
            "expired": self.expired,
        }

    def __str__(self) -> str:
        if self.last_update is None:
            return "nothing is deployed"
        idle = (self.now - self.last_update).days
        return (
            f"last updated {self.last_update:%Y-%m-%d %H:%M} UTC, {idle} day(s) ago; "
            f"it may be idle for {self.allowed.days}"
        )


def allowed(stack: str) -> timedelta:
    """How long a stack may be idle, from its settings file.

    Raises:
        UnknownStack: there is no settings file of that name.
        NoLifetime: the stack has no `lifetime.idleDays`: nothing may expire it.
        SettingsError: the file holds a setting that cannot be used.
    """
    from esteira.project import stack_file

    days = stack_file.settings(stack, ROOT).lifetime.idle_days
    if days is None:
        raise NoLifetime(
            f"{stack} has no lifetime: nothing was destroyed. "
            f"Set `esteira:lifetime` to `idleDays: <days>` in Pulumi.{stack}.yaml to give it one"
        )
    return timedelta(days=days)


def measured(stack: str, last_update: datetime | None) -> Idleness:
    """A stack's idleness now."""
    return Idleness(allowed=allowed(stack), last_update=last_update, now=datetime.now(UTC))

"""Where messages are posted: webhooks of Teams and Slack, or the inbox of the local cloud."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import httpx
import msgspec

from workloads import gcp
from workloads.notifications.blocks import slack
from workloads.notifications.card import teams
from workloads.notifications.said import Said
from workloads.notifications.settings import RelaySecrets

_COMPLAINT: Final = "webhook message delivery failed"
"""With 200, and this in the body, the older webhooks of Teams say that they did not deliver."""


TEAMS: Final = "Teams"
SLACK: Final = "Slack"
INBOX: Final = "the inbox"
NAMES: Final = (TEAMS, SLACK, INBOX)


class NoChannel(ValueError):
    """There is nobody to tell."""


@dataclass(frozen=True, kw_only=True)
class Channel:
    """One webhook."""

    name: str
    """As people know it: one of `NAMES`."""
    address: str = field(repr=False)
    """Whoever has it can write to the channel: it is never logged."""
    form: Callable[[Said], dict[str, Any]]

    def post(self, client: httpx.Client, said: Said, key: str) -> str | None:
        """Why it did not take the message; None where it did. Never the address.

        Args:
            client: posts, and follows no redirect.
            said: the message.
            key: of the notice. The inbox takes a message that it has once; Teams and Slack do not
                look at it.
        """
        try:
            answer = client.post(
                self.address,
                content=msgspec.json.encode(self.form(said)),
                headers={"Content-Type": "application/json", "Idempotency-Key": key},
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            # The text of an error may hold the address.
            return f"{self.name} cannot be reached ({type(error).__name__})"
        if not answer.is_success:
            return f"{self.name} answered {answer.status_code}"
        if _COMPLAINT in answer.text[:2000].lower():
            return f"{self.name} answered 200, and that it did not deliver"
        return None


def mark(key: str, name: str) -> str:
    """Under which the ledger remembers that a channel was told of a notice."""
    return f"{key}/{name}"


def channels(secrets: RelaySecrets) -> list[Channel]:
    """The channels that there are.

    Raises:
        NoChannel: there is none.
    """
    # At INFO, httpx logs each address that it asks, and these are secret.
    for name in ("httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.WARNING)
    found: list[Channel] = []
    if secrets.teams_webhook is not None:
        address = secrets.teams_webhook.get_secret_value()
        found.append(Channel(name=TEAMS, address=address, form=teams))
    if secrets.slack_webhook is not None:
        address = secrets.slack_webhook.get_secret_value()
        found.append(Channel(name=SLACK, address=address, form=slack))
    inbox = gcp.alert_inbox()
    if not found and inbox is not None:
        found.append(Channel(name=INBOX, address=f"{inbox}/alerts", form=teams))
    if not found:
        raise NoChannel("set TEAMS_WEBHOOK or SLACK_WEBHOOK: there is no channel to tell")
    return found

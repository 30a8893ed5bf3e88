"""A notice as an adaptive card, the form that Teams shows.

`https://adaptivecards.io/schemas/adaptive-card.json`, version 1.4, wrapped as an attachment, as the
webhooks of Teams workflows take it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from workloads.notifications.incident import IncidentRecord
from workloads.notifications.message import Budget, Incident
from workloads.notifications.said import Said, cut, say

SIZE: Final = 28_000
"""Bytes. Teams refuses a larger message."""
_TEXT: Final = 2_000
"""Characters of the longest text on a card."""
_FACT: Final = 300


def card(
    notice: Incident | Budget, environment: str, found: Sequence[IncidentRecord] = ()
) -> dict[str, Any]:
    """The message for Teams; see `say`."""
    return teams(say(notice, environment, found))


def teams(said: Said) -> dict[str, Any]:
    """A message as Teams takes it."""
    body: list[dict[str, Any]] = [
        {
            "type": "TextBlock",
            "text": said.heading,
            "color": said.colour,
            "isSubtle": True,
            "wrap": True,
        },
        {
            "type": "TextBlock",
            "text": cut(said.title, _FACT),
            "weight": "bolder",
            "size": "large",
            "wrap": True,
        },
        *({"type": "TextBlock", "text": cut(text, _TEXT), "wrap": True} for text in said.texts),
        {
            "type": "FactSet",
            "facts": [{"title": name, "value": cut(value, _FACT)} for name, value in said.facts],
        },
    ]
    content = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": body,
        "actions": [
            {"type": "Action.OpenUrl", "title": cut(name, 40), "url": address}
            for name, address in said.links
        ][:6],
    }
    return {
        "type": "message",
        "attachments": [
            {
                "contentType": "application/vnd.microsoft.card.adaptive",
                "contentUrl": None,
                "content": content,
            }
        ],
    }

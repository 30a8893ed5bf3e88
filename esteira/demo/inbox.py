"""What people have got: the local cloud's inbox, where messages that would leave it arrive."""

from __future__ import annotations

import json
import urllib.request
from typing import Any, Final

_SAYING: Final = ("text", "title", "summary", "subject", "content")
"""Fields of a message, of whatever channel, that are for people to read."""


def messages() -> list[dict[str, Any]]:
    """All that have arrived so far, oldest first."""
    from workloads import gcp

    url = gcp.alert_inbox()
    assert url is not None, "this is the local cloud"
    with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310  # of the local cloud
        return json.load(answer)["messages"]


def lines(body: Any) -> list[str]:
    """What a message says, without what makes it a card."""
    if isinstance(body, str):
        return [one for one in body.splitlines() if one.strip()]
    if isinstance(body, list):
        return [line for one in body for line in lines(one)]
    if isinstance(body, dict):
        if "title" in body and "value" in body:  # a fact of a card
            return [f"{body['title']}: {body['value']}"]
        texts = [one for name, one in body.items() if name in _SAYING and isinstance(one, str)]
        nested = [one for one in body.values() if isinstance(one, dict | list)]
        return [line for one in [*texts, *nested] for line in lines(one)]
    return []

"""Reads messages back from the form that a channel got, for whoever asks what was told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from workloads.notifications.message import Incident
from workloads.notifications.said import CLOSED, RECOVERED


def plain(message: Mapping[str, Any]) -> dict[str, Any]:
    """What a delivered message says.

    Args:
        message: of the ledger or of the local inbox: `to`, `received`, and the `body`, which is a
            card, or the notice itself where Cloud Monitoring sent it (e-mail).

    Returns:
        `to`, `received`, `heading`, `title`, `texts`, `facts` by name, `links` by name.
    """
    body: Mapping[str, Any] = message.get("body") or {}
    said = _of_card(body) if body.get("attachments") else _of_notice(body)
    return {"to": message.get("to", ""), "received": message.get("received", ""), **said}


def _of_card(body: Mapping[str, Any]) -> dict[str, Any]:
    content: Mapping[str, Any] = body["attachments"][0]["content"]
    texts = [str(one["text"]) for one in content["body"] if one["type"] == "TextBlock"]
    facts = [one for block in content["body"] for one in block.get("facts", ())]
    return {
        "heading": texts[0],
        "title": texts[1],
        "texts": texts[2:],
        "facts": {str(one["title"]): str(one["value"]) for one in facts},
        "links": {str(one["title"]): str(one["url"]) for one in content["actions"]},
    }


def _of_notice(body: Mapping[str, Any]) -> dict[str, Any]:
    incident: Mapping[str, Any] = body.get("incident") or {}
    documentation: Mapping[str, Any] = incident.get("documentation") or {}
    closed = incident.get("state") == "closed"
    over = RECOVERED if closed and _read(incident).recovered else CLOSED
    labels: Mapping[str, Any] = incident.get("policy_user_labels") or {}
    return {
        "heading": over if closed else "Alert",
        "title": documentation.get("subject") or incident.get("policy_name") or "",
        "texts": [one for one in (incident.get("summary"), documentation.get("content")) if one],
        "facts": {
            name.capitalize(): str(labels[name]) for name in ("product", "owner") if name in labels
        },
        "links": {one["display_name"]: one["url"] for one in documentation.get("links") or ()},
    }


def _read(incident: Mapping[str, Any]) -> Incident:
    return msgspec.convert({"incident_id": "", **incident}, Incident)

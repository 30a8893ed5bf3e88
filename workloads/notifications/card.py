"""A notice as an adaptive card, the form that Teams shows.

`https://adaptivecards.io/schemas/adaptive-card.json`, version 1.4, wrapped as an attachment, as the
webhooks of Teams workflows take it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from workloads.notifications.message import Budget, Documentation, Incident

SIZE: Final = 28_000
"""Bytes. Teams refuses a larger message."""
_TEXT: Final = 2_000
"""Characters of the longest text on a card."""
_FACT: Final = 300
_RUNBOOK: Final = "Runbook: "


def card(notice: Incident | Budget, environment: str) -> dict[str, Any]:
    """The message for Teams.

    Args:
        environment: Of the stack that is spoken of.
    """
    if isinstance(notice, Budget):
        return _budget(notice, environment)
    return _incident(notice, environment)


def _incident(incident: Incident, environment: str) -> dict[str, Any]:
    closed = incident.state.lower() == "closed"
    labels = incident.policy_user_labels or {}
    documentation = _documentation(incident)
    text, _, runbook = (documentation.content or "").partition(_RUNBOOK)
    links = {link.display_name or "Link": link.url for link in documentation.links or ()}
    if runbook.strip().startswith("https://"):
        links.setdefault("Runbook", runbook.split()[0])
    facts = {
        "Product": labels.get("product", ""),
        "Owner": labels.get("owner", ""),
        "Severity": incident.severity or "",
        "Condition": incident.condition_name or "",
        "Where": incident.resource_display_name or incident.resource_name or _labels(incident),
        "Value": _value(incident),
        "Since": _instant(incident.started_at),
        "Until": _instant(incident.ended_at) if closed else "",
        "Lasted": _lasted(incident) if closed else "",
        # A path in the repository, where no address is known.
        "Runbook": "" if "Runbook" in links else runbook.strip(),
    }
    return _message(
        heading=f"{'Recovered' if closed else 'Alert'} in {environment}",
        title=documentation.subject or incident.policy_name or "Alert",
        colour="good" if closed else _colour(incident.severity),
        texts=[incident.summary or "", "" if closed else text.strip()],
        facts=facts,
        links={"Incident": incident.url or "", **links},
    )


def _budget(budget: Budget, environment: str) -> dict[str, Any]:
    spent = budget.alert_threshold_exceeded
    share = spent if spent is not None else budget.forecast_threshold_exceeded
    verb = "has been spent" if spent is not None else "is forecast to be spent"
    return _message(
        heading=f"Budget of {environment}",
        title=f"{share or 0:.0%} of {budget.budget_display_name} {verb}",
        colour="attention" if spent is not None and spent >= 1 else "warning",
        texts=[],
        facts={
            "Spent": f"{budget.cost_amount:,.2f} {budget.currency_code}",
            "Budget": f"{budget.budget_amount:,.2f} {budget.currency_code}",
            "Since": budget.cost_interval_start,
        },
        links={},
    )


def _message(
    *,
    heading: str,
    title: str,
    colour: str,
    texts: list[str],
    facts: dict[str, str],
    links: dict[str, str],
) -> dict[str, Any]:
    body: list[dict[str, Any]] = [
        {"type": "TextBlock", "text": heading, "color": colour, "isSubtle": True, "wrap": True},
        {
            "type": "TextBlock",
            "text": _cut(title, _FACT),
            "weight": "bolder",
            "size": "large",
            "wrap": True,
        },
        *({"type": "TextBlock", "text": _cut(text, _TEXT), "wrap": True} for text in texts if text),
        {
            "type": "FactSet",
            "facts": [
                {"title": name, "value": _cut(value, _FACT)}
                for name, value in facts.items()
                if value
            ],
        },
    ]
    content = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": body,
        "actions": [
            {"type": "Action.OpenUrl", "title": _cut(name, 40), "url": address}
            for name, address in links.items()
            if address.startswith("https://") and len(address) <= _TEXT
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


def _documentation(incident: Incident) -> Documentation:
    given = incident.documentation
    if isinstance(given, str):
        return Documentation(content=given)
    return given or Documentation()


def _labels(incident: Incident) -> str:
    labels = incident.resource.labels if incident.resource else {}
    return ", ".join(f"{key}={value}" for key, value in sorted(labels.items()))


def _value(incident: Incident) -> str:
    if incident.observed_value in (None, ""):
        return ""
    limit = incident.threshold_value
    return f"{incident.observed_value}" + ("" if limit in (None, "") else f", limit {limit}")


def _colour(severity: str | None) -> str:
    return "warning" if (severity or "").lower() == "warning" else "attention"


def _instant(seconds: float | None) -> str:
    if not seconds:
        return ""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _lasted(incident: Incident) -> str:
    if not incident.started_at or not incident.ended_at:
        return ""
    minutes = int(max(0, incident.ended_at - incident.started_at) // 60)
    days, hours = minutes // 1440, minutes // 60 % 24
    parts = [f"{days} d" if days else "", f"{hours} h" if hours else "", f"{minutes % 60} min"]
    return " ".join(part for part in parts if part)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"

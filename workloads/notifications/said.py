"""What people are told of a notice, before it takes the form of any channel."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote

from workloads.notifications.incident import IncidentFeature, IncidentRecord
from workloads.notifications.message import Budget, Documentation, Incident

_RUNBOOK: Final = "Runbook: "
_CAUSES: Final = 3
"""Features that a message names; the report has them all."""
_BROWSER: Final = "https://storage.cloud.google.com/"
"""Shows an object to whoever is signed in and may read it."""


@dataclass(frozen=True, kw_only=True)
class Said:
    """One message."""

    heading: str
    title: str
    colour: str
    """`good`, `warning` or `attention`."""
    texts: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]
    """Name and value of each; none is empty."""
    links: tuple[tuple[str, str], ...]
    """Name and address of each; `https://` only."""


def say(notice: Incident | Budget, environment: str, record: IncidentRecord | None = None) -> Said:
    """The message of a notice.

    Args:
        environment: Of the stack that is spoken of.
        record: What the monitor knows of the incident, where it is one of a monitor.
    """
    if isinstance(notice, Budget):
        return _budget(notice, environment)
    return _incident(notice, environment, record)


def _incident(incident: Incident, environment: str, record: IncidentRecord | None) -> Said:
    closed = incident.closed
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
    summary = incident.summary or ""
    if record is not None:
        # It knows better than the condition, which sees a verdict of 0 or 1.
        facts |= {"Condition": "", "Where": "", "Value": "", **_known(record, closed=closed)}
        summary = ""
        if record.report:
            links["Report"] = _BROWSER + quote(record.report.removeprefix("gs://"))
    return _made(
        heading=f"{'Recovered' if closed else 'Alert'} in {environment}",
        title=documentation.subject or incident.policy_name or "Alert",
        colour="good" if closed else _colour(incident.severity),
        texts=(summary, "" if closed else text.strip()),
        facts=facts,
        links={"Incident": incident.url or "", **links},
    )


def _known(record: IncidentRecord, *, closed: bool) -> dict[str, str]:
    """What the monitor adds. Of an incident that is over, its cause and its report are left."""
    end = record.window.end
    since = {} if closed else {"Since": f"{record.since.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"}
    return since | {
        "Score": "" if closed else f"{record.score:.4g}, limit {record.threshold:.4g}",
        "Window": ""
        if closed
        else f"{record.window.start.astimezone(UTC):%Y-%m-%d %H:%M} to "
        f"{end.astimezone(UTC):%Y-%m-%d %H:%M} UTC",
        "Likely cause": _causes(record.top),
        "What happens": "" if closed else record.action,
        "Report": record.report,
    }


def _causes(top: tuple[IncidentFeature, ...]) -> str:
    named = [
        f"{one.feature} ({one.statistic} {one.score:.3g}, limit {one.threshold:.3g})"
        for one in top[:_CAUSES]
    ]
    more = len(top) - len(named)
    return ", ".join(named) + (f", and {more} more" if more > 0 else "")


def _budget(budget: Budget, environment: str) -> Said:
    spent = budget.alert_threshold_exceeded
    share = spent if spent is not None else budget.forecast_threshold_exceeded
    verb = "has been spent" if spent is not None else "is forecast to be spent"
    return _made(
        heading=f"Budget of {environment}",
        title=f"{share or 0:.0%} of {budget.budget_display_name} {verb}",
        colour="attention" if spent is not None and spent >= 1 else "warning",
        texts=(),
        facts={
            "Spent": f"{budget.cost_amount:,.2f} {budget.currency_code}",
            "Budget": f"{budget.budget_amount:,.2f} {budget.currency_code}",
            "Since": budget.cost_interval_start,
        },
        links={},
    )


def _made(
    *,
    heading: str,
    title: str,
    colour: str,
    texts: tuple[str, ...],
    facts: dict[str, str],
    links: dict[str, str],
) -> Said:
    return Said(
        heading=heading,
        title=title,
        colour=colour,
        texts=tuple(text for text in texts if text),
        facts=tuple((name, value) for name, value in facts.items() if value),
        links=tuple(
            (name, address)
            for name, address in links.items()
            if address.startswith("https://") and len(address) <= 2_000
        ),
    )


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


def cut(text: str, most: int) -> str:
    """The text, with an ellipsis for what is beyond so many characters."""
    return text if len(text) <= most else f"{text[: most - 1]}…"

"""What people are told of a notice, before it takes the form of any channel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote

from workloads.notifications.grouping import kind_of
from workloads.notifications.incident import IncidentFeature, IncidentRecord
from workloads.notifications.kinds import BY_NAME
from workloads.notifications.links import FOUND, REPORTS
from workloads.notifications.message import Budget, Documentation, Incident

RECOVERED: Final = "Recovered"
CLOSED: Final = "Closed without a recovery"
UNKNOWN: Final = (
    "Cloud Monitoring has closed the incident, having had no data of it for long, or because its "
    "policy was changed. Nobody knows whether it is over: see whether what measures it still runs."
)
"""Under `CLOSED`."""
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


def say(
    notice: Incident | Budget,
    environment: str,
    found: Sequence[IncidentRecord] = (),
    *,
    kinds: Sequence[str] = (),
    recovered: bool | None = None,
) -> Said:
    """The message of a notice.

    Args:
        notice: what has happened.
        environment: Of the stack that is spoken of.
        found: What monitors know of the incident and of what they found with it, the gravest first,
            where it is one of a monitor.
        kinds: Of the monitors that it is told of, the gravest first; that of the incident alone
            when not given.
        recovered: Of what is closed, whether it is well again; as the notice says when not given.
    """
    if isinstance(notice, Budget):
        return _budget(notice, environment)
    named = tuple(kinds) or tuple(filter(None, [kind_of(notice)]))
    well = notice.recovered if recovered is None else recovered
    return _incident(notice, environment, found, named, well=well)


def _incident(
    incident: Incident,
    environment: str,
    found: Sequence[IncidentRecord],
    kinds: Sequence[str],
    *,
    well: bool,
) -> Said:
    closed, own = incident.closed, kind_of(incident)
    labels = incident.policy_user_labels or {}
    documentation = _documentation(incident)
    text, _, after = (documentation.content or "").partition(_RUNBOOK)
    title = documentation.subject or incident.policy_name or "Alert"
    severity, summary = incident.severity or "", incident.summary or ""
    if kinds and kinds[0] != own:
        gravest = BY_NAME[kinds[0]]
        title, text = f"{labels.get('product', '')}: {gravest.title}", gravest.means
        severity = gravest.severity.capitalize()
    links = {link.display_name or "Link": link.url for link in documentation.links or ()}
    runbook = links.pop("Runbook", "") or next(iter(after.split()), "")
    runbooks = [runbook.replace(f"/{own}.md", f"/{one}.md") for one in kinds] or [runbook]
    facts = {
        "Product": labels.get("product", ""),
        "Owner": labels.get("owner", ""),
        "Severity": severity,
        "Also": "; ".join(BY_NAME[one].title for one in kinds[1:]),
        "Condition": incident.condition_name or "",
        "Where": incident.resource_display_name or incident.resource_name or _labels(incident),
        "Value": _value(incident),
        "Since": _instant(incident.started_at),
        "Until": _instant(incident.ended_at) if closed else "",
        "Lasted": _lasted(incident) if closed else "",
        # A path in the repository, where no address is known.
        "Runbook": "" if runbook.startswith("https://") else ", ".join(runbooks),
    }
    records = [one for one in found if one.kind == own] if closed else found
    if records:
        # It knows better than the condition, which sees a verdict of 0 or 1.
        facts |= {"Condition": "", "Where": "", "Value": "", **_known(records[0], closed=closed)}
        summary = ""
        if records[0].report:
            links = {name: at for name, at in links.items() if name not in (FOUND, REPORTS)}
            links["Report"] = _BROWSER + quote(records[0].report.removeprefix("gs://"))
    others = {
        f"Runbook: {BY_NAME[one].title}": at for one, at in zip(kinds, runbooks, strict=False)
    }
    texts = ("" if well else UNKNOWN, summary) if closed else (summary, text.strip())
    over = RECOVERED if well else CLOSED
    return _made(
        heading=f"{over if closed else 'Alert'} in {environment}",
        title=title,
        colour=("good" if well else "warning") if closed else _colour(severity),
        texts=texts,
        facts=facts,
        links={
            "Incident": incident.url or "",
            "Runbook": runbook and runbooks[0],
            **links,
            **dict(list(others.items())[1:]),
        },
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

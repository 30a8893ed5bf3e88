"""What arrives on the topic of alerts: incidents of Cloud Monitoring, and notices of budgets.

Shapes are Google's: version 1.2 of the notification schema of Cloud Monitoring
(cloud.google.com/monitoring/support/notification-options#schema-pubsub) and version 1.0 of the
budget notification (cloud.google.com/billing/docs/how-to/budgets-programmatic-notifications). Both
may gain fields, so unknown ones are passed over, and only what tells one notice from another is
demanded.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any, Final

import msgspec

STATES: Final = ("open", "closed")
_RETURNED: Final = re.compile(r"returned to normal with a value of (\S+)")
"""How Cloud Monitoring sums up the end of an incident, and the value that it saw then."""
_BELOW: Final = "COMPARISON_LT"


class NotANotification(ValueError):
    """A message that neither Cloud Monitoring nor a budget sends. Says what is wrong with it."""


class Link(msgspec.Struct, frozen=True):
    """A link of an alert policy's documentation."""

    display_name: str = ""
    url: str = ""


class Documentation(msgspec.Struct, frozen=True):
    """What the alert policy says about itself."""

    content: str | None = None
    subject: str | None = None
    links: tuple[Link, ...] | None = None


class Resource(msgspec.Struct, frozen=True):
    """What the incident is about; or of which metric."""

    type: str = ""
    labels: dict[str, str] = {}


class Incident(msgspec.Struct, frozen=True):
    """An incident that was opened or closed."""

    incident_id: str
    state: str
    url: str | None = None
    summary: str | None = None
    severity: str | None = None
    policy_name: str | None = None
    policy_user_labels: dict[str, str] | None = None
    condition: Any = None
    """As the policy has it."""
    condition_name: str | None = None
    observed_value: str | float | None = None
    threshold_value: str | float | None = None
    started_at: float | None = None
    ended_at: float | None = None
    resource_display_name: str | None = None
    resource_name: str | None = None
    resource: Resource | None = None
    metric: Resource | None = None
    documentation: Documentation | str | None = None

    @property
    def closed(self) -> bool:
        """Whether it is over."""
        return self.state.lower() == "closed"

    @property
    def recovered(self) -> bool:
        """Whether it is closed because what was measured is well again.

        Cloud Monitoring also closes what it has had no data of for long, or whose policy was
        changed; then the last value still lies beyond the threshold, or there is none. Of a log
        entry or a query, which have no threshold, a close is all that can be known.
        """
        threshold = _number(self.threshold_value)
        if not self.closed or threshold is None:
            return self.closed
        found = _RETURNED.search(self.summary or "")
        value = _number(found[1].rstrip(".") if found else self.observed_value)
        if value is None:
            return False
        below = _comparison(self.condition) == _BELOW
        return value >= threshold if below else value <= threshold

    def key(self) -> str:
        """Tells one notice from another: one when an incident is opened, one when it is closed."""
        return f"incident/{self.incident_id}/{self.state.lower()}"


def _comparison(condition: Any) -> Any:
    """How a condition compares; None where that is not told, or it is no threshold."""
    for name in ("conditionThreshold", "comparison"):
        condition = condition.get(name) if isinstance(condition, dict) else None
    return condition


def _number(given: str | float | None) -> float | None:
    try:
        return None if given is None else float(given)
    except ValueError:
        return None


class Budget(msgspec.Struct, frozen=True, rename="camel"):
    """What a month has cost so far. Sent several times a day, whether or not a line was crossed."""

    budget_display_name: str
    cost_amount: float
    budget_amount: float
    cost_interval_start: str
    currency_code: str = ""
    alert_threshold_exceeded: float | None = None
    """Share of the budget that has been spent, the highest threshold of those set."""
    forecast_threshold_exceeded: float | None = None
    """Share that the month is forecast to cost."""

    @property
    def crossed(self) -> bool:
        """Whether it says more than what was spent."""
        return self.alert_threshold_exceeded is not None or (
            self.forecast_threshold_exceeded is not None
        )

    def key(self) -> str:
        """Each threshold is told of once a month."""
        return (
            f"budget/{self.budget_display_name}/{self.cost_interval_start}"
            f"/{self.alert_threshold_exceeded}/{self.forecast_threshold_exceeded}"
        )


class _Pushed(msgspec.Struct, frozen=True):
    data: str = ""
    attributes: dict[str, str] = {}


class _Push(msgspec.Struct, frozen=True):
    message: _Pushed


class _Notification(msgspec.Struct, frozen=True):
    incident: Incident


def read(body: bytes) -> Incident | Budget:
    """The notice in a push of Pub/Sub.

    Raises:
        NotANotification: it is none.
    """
    try:
        data = base64.b64decode(msgspec.json.decode(body, type=_Push).message.data, validate=True)
    except (msgspec.DecodeError, UnicodeDecodeError, binascii.Error) as error:
        raise NotANotification(f"the body is no push of Pub/Sub: {error}") from None
    try:
        fields: Any = msgspec.json.decode(data)
        if isinstance(fields, dict) and "budgetDisplayName" in fields:
            return msgspec.convert(fields, Budget)
        incident = msgspec.convert(fields, _Notification).incident
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise NotANotification(f"neither an incident nor a budget: {error}") from None
    if not incident.incident_id or incident.state.lower() not in STATES:
        raise NotANotification(
            f"incident {incident.incident_id!r} is {incident.state!r}; known: {', '.join(STATES)}"
        )
    return incident

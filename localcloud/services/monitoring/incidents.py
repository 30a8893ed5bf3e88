"""Incidents: opened and closed, kept, told of by `projects.alerts`, and put into a notification."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Final

from localcloud.rest.app import Handler, Request
from localcloud.rest.errors import NotFound, Unimplemented
from localcloud.rest.store import Documents
from localcloud.services.listing import page, page_answer
from localcloud.services.monitoring.conditions import Condition, Key
from localcloud.services.monitoring.names import project_parent, written

_PREFIX: Final = "monitoring.projects.alerts"
_STATE: Final = re.compile(r'state\s*=\s*"?(OPEN|CLOSED)"?')
VERSION: Final = "1.2"
"""Of the notification's schema."""


class Incidents:
    """The incidents of every project. Each change leaves a delivery for each channel behind."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents
        self.handlers: dict[str, Handler] = {
            f"{_PREFIX}.get": self._get,
            f"{_PREFIX}.list": self._list,
        }

    def open(
        self,
        policy: Mapping[str, Any],
        condition_name: str,
        condition: Condition,
        key: Key,
        value: float | None,
        now: float,
    ) -> str:
        """Open one; its name."""
        project = str(policy["name"]).partition("/alertPolicies/")[0]
        number = f"0.{secrets.token_hex(6)}"
        name = f"{project}/alerts/{number}"
        labels = {name: value for name, _, value in (part.partition("=") for part in key)}
        incident = {
            "name": name,
            "id": number,
            "policy": policy["name"],
            "condition": condition_name,
            "key": list(key),
            "state": "OPEN",
            "started": now,
            "ended": None,
            "value": value,
            "threshold": None if condition.comparison is None else condition.threshold,
            "summary": condition.says(key, value),
            "title": condition.title,
            "metric": {"type": condition.wanted.metric, "labels": _under(labels, "metric")},
            "resource": {"type": "global", "labels": _under(labels, "resource")},
            "snapshot": {
                "displayName": policy.get("displayName", ""),
                "severity": policy.get("severity", ""),
                "userLabels": policy.get("userLabels", {}),
                "documentation": policy.get("documentation", {}),
            },
        }
        self._documents.put(f"incident:{name}", incident)
        self._tell(incident, policy.get("notificationChannels") or ())
        return name

    def close(self, name: str, policy: Mapping[str, Any] | None, why: str, now: float) -> None:
        """Close one that nothing says is over; nobody is told where its policy is gone.

        As Google sums it up: the reason stands where the value would.
        """
        self._end(name, policy, {"summary": why}, now)

    def recover(
        self, name: str, policy: Mapping[str, Any], value: float | None, now: float
    ) -> None:
        """Close one, as what is measured is well again."""
        self._end(name, policy, {"value": value}, now)

    def _end(
        self, name: str, policy: Mapping[str, Any] | None, changed: Mapping[str, Any], now: float
    ) -> None:
        incident = self._documents.get(f"incident:{name}")
        if incident is None or incident["state"] == "CLOSED":
            return
        incident |= {"state": "CLOSED", "ended": now, **changed}
        what = changed.get("summary") or f"{incident['value'] or 0.0:.3f}."
        metric = incident["metric"]["type"]
        incident["summary"] = f"{metric} returned to normal with a value of {what}"
        self._documents.put(f"incident:{name}", incident)
        if policy is not None:
            self._tell(incident, policy.get("notificationChannels") or ())

    def opened_by(self, policy: str) -> list[str]:
        """The open incidents of a policy."""
        project = policy.partition("/alertPolicies/")[0]
        return [
            stored.value["name"]
            for stored in self._documents.list(f"incident:{project}/alerts/")
            if stored.value["policy"] == policy and stored.value["state"] == "OPEN"
        ]

    def _tell(self, incident: Mapping[str, Any], channels: Sequence[str]) -> None:
        for channel in channels:
            number = self._documents.next_number()
            self._documents.put(
                f"delivery:{number:020d}",
                {"channel": channel, "notice": notice(incident), "attempts": 0, "next": 0.0},
            )

    async def _get(self, request: Request) -> dict[str, Any]:
        found = self._documents.get(f"incident:{request.path['name']}")
        if found is None:
            raise NotFound(f"Alert '{request.path['name']}' not found.")
        return _alert(found)

    async def _list(self, request: Request) -> dict[str, Any]:
        project = project_parent(request.path["parent"])
        text = request.query.get("filter", "").strip()
        wanted = _STATE.fullmatch(text)
        if text and wanted is None:
            raise Unimplemented(
                'alerts.list: the local cloud filters by state="OPEN" or CLOSED, not by '
                f"'{text}'."
            )
        if request.query.get("orderBy"):
            raise Unimplemented("alerts.list: the local cloud orders by open_time, oldest first.")
        found = [
            stored.value
            for stored in self._documents.list(f"incident:{project}/alerts/")
            if wanted is None or stored.value["state"] == wanted[1]
        ]
        found.sort(key=lambda one: one["started"])
        pairs = [(f"{one['started']:020.6f}{one['name']}", _alert(one)) for one in found]
        return page_answer("alerts", page(pairs, request.query))


def notice(incident: Mapping[str, Any]) -> dict[str, Any]:
    """The notification of Google's schema 1.2.

    https://cloud.google.com/monitoring/support/notification-options#schema-pubsub
    """
    project = incident["name"].split("/")[1]
    snapshot: Mapping[str, Any] = incident["snapshot"]
    documentation: Mapping[str, Any] = snapshot["documentation"]
    value, threshold = incident["value"], incident["threshold"]
    return {
        "version": VERSION,
        "incident": {
            "incident_id": incident["id"],
            "scoping_project_id": project,
            "url": "",
            "started_at": int(incident["started"]),
            "ended_at": None if incident["ended"] is None else int(incident["ended"]),
            "state": incident["state"].lower(),
            "summary": incident["summary"],
            "observed_value": "" if value is None else f"{value:.3f}",
            "threshold_value": "" if threshold is None else f"{threshold:g}",
            "severity": snapshot["severity"].capitalize() or "No severity",
            "resource": incident["resource"],
            "resource_display_name": "",
            "resource_name": "",
            "metric": incident["metric"],
            "metadata": {"system_labels": {}, "user_labels": {}},
            "policy_name": snapshot["displayName"],
            "policy_user_labels": snapshot["userLabels"],
            "condition": {"name": incident["condition"], "displayName": incident["title"]},
            "condition_name": incident["title"],
            "documentation": {
                "content": documentation.get("content", ""),
                "mime_type": documentation.get("mimeType", "text/markdown"),
                "subject": documentation.get("subject", snapshot["displayName"]),
                "links": [
                    {"display_name": one.get("displayName", ""), "url": one.get("url", "")}
                    for one in documentation.get("links") or ()
                ],
            },
        },
    }


def _under(labels: Mapping[str, str], place: str) -> dict[str, str]:
    start = f"{place}.labels."
    return {
        key.removeprefix(start): value for key, value in labels.items() if key.startswith(start)
    }


def _alert(incident: Mapping[str, Any]) -> dict[str, Any]:
    snapshot: Mapping[str, Any] = incident["snapshot"]
    alert: dict[str, Any] = {
        "name": incident["name"],
        "state": incident["state"],
        "openTime": written(incident["started"]),
        "metric": incident["metric"],
        "resource": incident["resource"],
        "policy": {
            "name": incident["policy"],
            "displayName": snapshot["displayName"],
            "severity": snapshot["severity"],
            "userLabels": snapshot["userLabels"],
        },
    }
    if incident["ended"] is not None:
        alert["closeTime"] = written(incident["ended"])
    return alert

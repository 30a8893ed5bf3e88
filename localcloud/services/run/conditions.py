"""Conditions: how Cloud Run says what state a resource is in."""

from __future__ import annotations

from typing import Any

from localcloud.rest.operations import now


def condition(
    kind: str,
    state: str,
    message: str = "",
    *,
    reason: str = "",
    revision_reason: str = "",
    execution_reason: str = "",
) -> dict[str, Any]:
    """One condition. `state` is `SUCCEEDED`, `RECONCILING`, `FAILED` or `PENDING`."""
    made: dict[str, Any] = {
        "type": kind,
        "state": f"CONDITION_{state}",
        "lastTransitionTime": now(),
    }
    if message:
        made["message"] = message
    if state == "FAILED":
        made["severity"] = "ERROR"
    reasons = {
        "reason": reason,
        "revisionReason": revision_reason,
        "executionReason": execution_reason,
    }
    made.update({field: value for field, value in reasons.items() if value})
    return made


def settle(resource: dict[str, Any], terminal: dict[str, Any], *others: dict[str, Any]) -> None:
    """Set a resource's conditions; it is reconciling while the terminal one is.

    Services and jobs show the terminal condition apart from the others.
    """
    resource["terminalCondition"] = terminal
    resource["conditions"] = list(others)
    reconciling = terminal["state"] in {"CONDITION_RECONCILING", "CONDITION_PENDING"}
    if reconciling:
        resource["reconciling"] = True
    else:
        resource.pop("reconciling", None)
        resource["observedGeneration"] = resource["generation"]

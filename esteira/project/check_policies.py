"""Check: the policies' own configuration lets this stack be made where its settings put it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from esteira.engine import policies
from esteira.project.finding import Context, Finding, Status, ok
from policies import exemption
from policies.catalogue import BY_NAME

_SUBJECT: Final = "Policies"
_REGIONS: Final = BY_NAME["allowed-region"]
_FILE: Final = "policies/config.json"


def configuration(context: Context) -> Iterable[Finding]:
    """The region is an allowed one, and no exemption has ended."""
    options: Mapping[str, Any] = json.loads(policies.CONFIG.read_text())
    allowed: list[str] = options.get(_REGIONS.name, {}).get(
        "regions", _REGIONS.options["regions"]["default"]
    )
    location = context.settings.location
    findings: list[Finding] = []
    if location.lower() not in {one.lower() for one in allowed}:
        findings.append(
            Finding(
                subject=_SUBJECT,
                status=Status.FAILURE,
                found=f"`{_REGIONS.name}` allows {', '.join(allowed)}; the stack is in {location}",
                means="`up` is refused before anything is made",
                mend=(
                    f'add "{location}" to `regions` of `{_REGIONS.name}` in {_FILE}',
                    f"or stay: pulumi config set esteira:location {allowed[0]} -s {context.stack}",
                ),
                who="whoever answers for where data may lie",
            )
        )
    findings += [
        Finding(
            subject=_SUBJECT,
            status=Status.FAILURE,
            found=fault,
            means="every preview and `up` is refused",
            mend=(f"take it out of {_FILE}, or give it another day there",),
        )
        for fault in exemption.faults(options, exemption.today())
    ]
    yield from findings or [ok(_SUBJECT, f"allow {location}; no exemption has ended")]

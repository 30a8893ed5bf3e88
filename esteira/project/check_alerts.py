"""Check: alerts link pages that whoever is woken up can open."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from esteira.project.finding import Context, Finding, Status, ok

_SUBJECT: Final = "Runbooks"
_ALERT: Final = "gcp:monitoring/alertPolicy:AlertPolicy"
_NOBODYS: Final = re.compile(r"^https://([^/]+\.)?(example\.(com|net|org)|[^/]+\.(test|invalid))/")
"""Names that belong to nobody, for ever (RFC 2606)."""


def runbooks(context: Context) -> Iterable[Finding]:
    """Every alert policy of the program links its runbook, at an address of somebody's own."""
    policies = [one for one in context.plan.resources if one.token == _ALERT]
    if not policies:
        return
    urls = [
        str(link["url"])
        for one in policies
        for link in one.inputs.get("documentation", {}).get("links") or ()
        if link["displayName"] == "Runbook"
    ]
    bare = len(policies) - len(urls)
    made_up = [url for url in urls if _NOBODYS.match(url)]
    if not bare and not made_up:
        yield ok(_SUBJECT, f"{len(policies)} alert policies link one each")
        return
    found = (
        f"{bare} alert policies of {len(policies)} link none"
        if bare
        else f"alert policies link {made_up[0]}, which is nobody's"
    )
    yield Finding(
        subject=_SUBJECT,
        status=Status.WARNING,
        found=found,
        means="an alert will not lead to what says how to mend it",
        mend=(f"pulumi config set --path esteira:alerts.runbooks <address> -s {context.stack}",),
    )

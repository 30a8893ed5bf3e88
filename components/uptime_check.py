"""Whether an address answers, asked from several regions of the world."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_gcp as gcp

from components import checks
from components.child_opts import child_opts

REGIONS: Final = ("USA_OREGON", "EUROPE", "ASIA_PACIFIC")
"""Three, the least that Google allows: one region's trouble is then told from the service's."""
PERIODS: Final = (60, 300, 600, 900)


@dataclass(frozen=True, kw_only=True)
class UptimeCheckArgs:
    """What is asked, and what counts as an answer.

    Raises:
        InvalidArgs: at construction, when a value is not one that Google takes.
    """

    project: str
    title: str
    host: pulumi.Input[str]
    """Without scheme and path. Always asked by HTTPS, with its certificate checked."""
    labels: Mapping[str, str]
    """Of the check: the provider's default labels do not reach it."""
    path: str = "/health"
    """A route starting with `/`."""
    statuses: Sequence[int] = (200,)
    """HTTP statuses that count as an answer."""
    period_seconds: int = 60
    """How often it is asked; one of `PERIODS`."""
    timeout_seconds: int = 10
    """No answer after this long is a failure; up to 60."""

    def __post_init__(self) -> None:
        who = "UptimeCheck"
        if isinstance(self.host, str) and ("/" in self.host or not self.host):
            raise checks.InvalidArgs(who, "host", self.host, "a host alone, e.g. `api.example.com`")
        if not self.path.startswith("/"):
            raise checks.InvalidArgs(who, "path", self.path, "a route starting with `/`")
        checks.one_of(
            who, "period_seconds", str(self.period_seconds), [str(one) for one in PERIODS]
        )
        checks.between(who, "timeout_seconds", self.timeout_seconds, 1, 60, "seconds")
        for status in self.statuses:
            checks.between(who, "statuses", status, 100, 599)


class UptimeCheck(pulumi.ComponentResource):
    """Uptime check `<name>`."""

    check: gcp.monitoring.UptimeCheckConfig

    def __init__(
        self, name: str, *, args: UptimeCheckArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("esteira:uptime_check:UptimeCheck", name, {}, opts)
        monitoring = gcp.monitoring
        self.check = monitoring.UptimeCheckConfig(
            name,
            display_name=args.title,
            period=f"{args.period_seconds}s",
            timeout=f"{args.timeout_seconds}s",
            selected_regions=list(REGIONS),
            checker_type="STATIC_IP_CHECKERS",
            monitored_resource=monitoring.UptimeCheckConfigMonitoredResourceArgs(
                type="uptime_url", labels={"project_id": args.project, "host": args.host}
            ),
            http_check=monitoring.UptimeCheckConfigHttpCheckArgs(
                path=args.path,
                port=443,
                request_method="GET",
                use_ssl=True,
                validate_ssl=True,
                accepted_response_status_codes=[
                    monitoring.UptimeCheckConfigHttpCheckAcceptedResponseStatusCodeArgs(
                        status_value=status
                    )
                    for status in args.statuses
                ],
            ),
            user_labels=dict(args.labels),
            opts=child_opts(self),
        )
        self.register_outputs({"check_id": self.check.uptime_check_id})

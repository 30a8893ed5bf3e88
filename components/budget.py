"""What a project may cost in a month. A budget warns; it stops nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_gcp as gcp

from components import checks
from components.child_opts import child_opts

SPENT: Final = (0.5, 0.9, 1.0)
"""Shares of the budget at which a warning is sent, once they are spent."""
FORECAST: Final = 1.0
"""Share at which one is sent when the month is forecast to end there."""
CHANNELS: Final = 5
"""The most notification channels that Google takes."""
ACCOUNT: Final = (
    re.compile(r"[0-9A-F]{6}-[0-9A-F]{6}-[0-9A-F]{6}"),
    "three groups of six digits and letters A to F, e.g. `012345-6789AB-CDEF01`",
)


@dataclass(frozen=True, kw_only=True)
class BudgetArgs:
    """What a budget needs.

    Raises:
        InvalidArgs: at construction, when the account is none, the amount is not above zero, or
            there are more channels than Google takes.
    """

    billing_account: str
    """Its number, `012345-6789AB-CDEF01`."""
    project_number: pulumi.Input[str]
    amount: int
    """For a month, in the billing account's currency."""
    channels: Sequence[pulumi.Input[str]] = ()
    """Notification channels, `projects/.../notificationChannels/...`; at most five. Only e-mail
    ones are told; the others hear of it through the topic."""
    topic: pulumi.Input[str] | None = None
    """`projects/.../topics/...`, which gets each update of the spend. Google's own account for it,
    `billing-budget-alert@system.gserviceaccount.com`, publishes there by itself."""

    def __post_init__(self) -> None:
        who = "Budget"
        checks.matches(who, "billing_account", self.billing_account, ACCOUNT)
        if self.amount < 1:
            raise checks.InvalidArgs(who, "amount", self.amount, "at least 1")
        if len(self.channels) > CHANNELS:
            raise checks.InvalidArgs(
                who, "channels", len(self.channels), f"at most {CHANNELS} notification channels"
            )


class Budget(pulumi.ComponentResource):
    """Monthly budget `<name>` of one project; credits count as money not spent."""

    budget: gcp.billing.Budget

    def __init__(
        self, name: str, *, args: BudgetArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("esteira:budget:Budget", name, {}, opts)
        threshold = gcp.billing.BudgetThresholdRuleArgs
        told = bool(args.channels) or args.topic is not None
        self.budget = gcp.billing.Budget(
            name,
            billing_account=args.billing_account,
            display_name=name,
            amount=gcp.billing.BudgetAmountArgs(
                specified_amount=gcp.billing.BudgetAmountSpecifiedAmountArgs(units=str(args.amount))
            ),
            budget_filter=gcp.billing.BudgetBudgetFilterArgs(
                projects=[pulumi.Output.concat("projects/", args.project_number)],
                calendar_period="MONTH",
                credit_types_treatment="INCLUDE_ALL_CREDITS",
            ),
            threshold_rules=[
                *[
                    threshold(threshold_percent=share, spend_basis="CURRENT_SPEND")
                    for share in SPENT
                ],
                threshold(threshold_percent=FORECAST, spend_basis="FORECASTED_SPEND"),
            ],
            all_updates_rule=gcp.billing.BudgetAllUpdatesRuleArgs(
                monitoring_notification_channels=list(args.channels) or None,
                pubsub_topic=args.topic,
                schema_version="1.0",
                enable_project_level_recipients=True,
            )
            if told
            else None,
            opts=child_opts(self),
        )
        self.register_outputs({"name": self.budget.name})

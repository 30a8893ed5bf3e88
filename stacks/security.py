"""What guards the project as a whole: who deploys, what Google refuses, what is logged."""

from __future__ import annotations

import pulumi

from components.audit_logs import AuditLogs, AuditLogsArgs
from components.budget import Budget, BudgetArgs
from components.github_federation import GithubFederation, GithubFederationArgs
from components.guard_rails import GuardRails, GuardRailsArgs
from components.service_perimeter import ServicePerimeter, ServicePerimeterArgs
from stacks.names import deployer
from stacks.settings import Settings


def lay(settings: Settings, number: pulumi.Output[str], opts: pulumi.ResourceOptions) -> None:
    """Make what the settings ask for.

    Args:
        settings: Of this stack.
        number: Of the project.
        opts: Carry the provider of what products share.
    """
    project, security = settings.project, settings.security
    if security.audit_logs:
        AuditLogs("audit", args=AuditLogsArgs(project=project), opts=opts)
    if security.guard_rails:
        GuardRails(
            "guard",
            args=GuardRailsArgs(
                project=project,
                regions=[settings.location],
                # API Gateway calls from outside, unless through a load balancer.
                public_services=settings.serving.api
                and not security.private_endpoint
                and settings.serving.api_domain is None,
            ),
            opts=opts,
        )
    if settings.github.repository is not None:
        GithubFederation(
            "github",
            args=GithubFederationArgs(
                project=project,
                repository=settings.github.repository,
                branch=settings.github.branch,
                deployer=deployer(project),
            ),
            opts=opts,
        )
    if security.access_policy is not None:
        ServicePerimeter(
            f"esteira_{settings.environment.value}",
            args=ServicePerimeterArgs(
                access_policy=security.access_policy,
                project_number=number,
                # Whoever deploys is outside: without this the next deployment would be refused.
                members=[f"serviceAccount:{deployer(project)}", *security.perimeter_members],
            ),
            opts=opts,
        )


def budget(
    settings: Settings,
    number: pulumi.Input[str],
    opts: pulumi.ResourceOptions,
    *,
    channels: list[pulumi.Input[str]],
    topic: pulumi.Input[str] | None,
) -> Budget | None:
    """Make the budget, where the settings name a billing account.

    Args:
        settings: Of this stack.
        number: Of the project.
        opts: Carry the provider of what products share.
        channels: E-mail channels that are told; the first five count.
        topic: Gets each update.
    """
    if settings.budget.billing_account is None:
        return None
    return Budget(
        f"esteira-{settings.environment.value}",
        args=BudgetArgs(
            billing_account=settings.budget.billing_account,
            project_number=number,
            amount=settings.budget.monthly_amount,
            channels=channels[:5],
            topic=topic,
        ),
        opts=opts,
    )

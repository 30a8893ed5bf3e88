"""Looks a project over before an `up`: all checks, at the same time, none hidden by another."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import yaml

from esteira.project import (
    check_access,
    check_alerts,
    check_policies,
    check_room,
    check_rules,
    check_state,
    plan,
    stack_file,
)
from esteira.project.calls import Calls
from esteira.project.clients import Google, NoCredentials
from esteira.project.finding import Check, Context, Finding, Status, guarded, ok
from esteira.project.names import Names

CHECKS: Final[Mapping[str, Check]] = {
    "Project": check_access.project,
    "Billing": check_access.billing,
    "APIs": check_access.apis,
    "Permissions": check_access.permissions,
    "Region": check_room.locations,
    "Machines": check_room.machines,
    "Quotas": check_room.services,
    "Network": check_room.network,
    "Organisation policy": check_rules.organisation,
    "Policies": check_policies.configuration,
    "State bucket": check_state.bucket,
    "Secrets key": check_state.key,
    "Runbooks": check_alerts.runbooks,
}
"""By subject, in the order in which findings are shown."""
_THREADS: Final = 8


def examine(
    stack: str,
    folder: Path,
    connect: Callable[[str], Google] = Google.connect,
    planned: Callable[[str, Path], plan.Plan] | None = None,
) -> list[Finding]:
    """Make every check.

    Args:
        stack: its name.
        folder: where its settings file lies.
        connect: gives Google's clients for a project.
        planned: gives what the program would make; runs it, if not given.

    Raises:
        UnknownStack: there is no settings file of that name.
        SettingsError: its settings cannot be used.
    """
    settings = stack_file.settings(stack, folder)
    try:
        google = connect(settings.project)
        principal = google.principal()
    except NoCredentials as error:
        return [
            Finding(
                subject="Credentials",
                status=Status.FAILURE,
                found=str(error),
                means="nothing of the project can be looked at",
                mend=("gcloud auth application-default login",),
            )
        ]
    whose = "the local cloud asks for none" if google.local else principal or "of an unknown caller"
    findings = [ok("Credentials", whose)]
    try:
        program = (planned or plan.of_stack)(stack, folder)
    except plan.NoPlan as error:
        program = plan.Plan()
        findings.append(
            Finding(
                subject="Program",
                status=Status.FAILURE,
                found=str(error),
                means="what it needs of the project is not known, so not all is looked at",
                mend=(f"esteira preview {stack} --offline",),
            )
        )
    else:
        findings.append(ok("Program", f"makes {len(program.resources)} resources"))
    file = yaml.safe_load((folder / f"Pulumi.{stack}.yaml").read_text())
    context = Context(
        stack=stack,
        settings=settings,
        names=Names(
            stack=stack,
            project=settings.project,
            location=settings.location,
            state_bucket=_bucket_of_backend(),
        ),
        calls=Calls(google, principal=principal),
        plan=program,
        secrets_provider=str(file.get("secretsprovider", "")),
    )
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="doctor") as threads:
        running = [
            threads.submit(guarded, subject, check, context) for subject, check in CHECKS.items()
        ]
        return findings + [finding for one in running for finding in one.result()]


def _bucket_of_backend() -> str:
    """The bucket that Pulumi is told to use in this shell; empty for the usual one."""
    scheme, _, rest = os.environ.get("PULUMI_BACKEND_URL", "").partition("://")
    return rest.partition("/")[0].partition("?")[0] if scheme == "gs" else ""

"""Checks: the project, its billing and APIs, and what the caller may do there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from esteira.project import deployer
from esteira.project.apis import BILLED, FREE
from esteira.project.finding import Context, Finding, Status, ok
from esteira.project.refusals import Refused, grant, no_billing, refused

_MOST: Final = 15
"""APIs that one request is asked about; Google takes 30, but their names make a long address."""
_TESTED: Final = 100
"""Permissions that one request tests."""


def project(context: Context) -> Iterable[Finding]:
    """It exists and is active."""
    projects = context.api("cloudresourcemanager", "v3").projects()
    found = context.calls.read(projects.get(name=f"projects/{context.project}"))
    state = (found or {}).get("state", "missing")
    if state == "ACTIVE":
        number = (found or {}).get("name", "").rpartition("/")[2]
        yield ok("Project", f"{context.project} ({number}) is active")
        return
    yield Finding(
        subject="Project",
        status=Status.FAILURE,
        found=f"{context.project} is {state}",
        means="nothing can be made in it",
        mend=(
            f"gcloud projects undelete {context.project}"
            if state == "DELETE_REQUESTED"
            else f"gcloud projects create {context.project}",
        ),
        who="an owner of the project",
    )


def billing(context: Context) -> Iterable[Finding]:
    """It has a billing account."""
    projects = context.api("cloudbilling", "v1").projects()
    found = context.calls.read(projects.getBillingInfo(name=f"projects/{context.project}")) or {}
    if found.get("billingEnabled"):
        yield ok("Billing", f"{found.get('billingAccountName', 'an account')} pays")
        return
    refusal = no_billing(context.project)
    yield Finding(
        subject="Billing",
        status=Status.FAILURE,
        found=refusal.problem,
        means="Google switches most APIs on only with billing",
        mend=refusal.mend,
        who=refusal.who,
    )


def apis(context: Context) -> Iterable[Finding]:
    """Those that bootstrap needs are on; `up` switches on the rest."""
    first = [*FREE, *BILLED]
    wanted = sorted({*first, *context.plan.apis})
    services = context.api("serviceusage", "v1").services()
    parent = f"projects/{context.project}"
    on: set[str] = set()
    for at in range(0, len(wanted), _MOST):
        names = [f"{parent}/services/{api}.googleapis.com" for api in wanted[at : at + _MOST]]
        answer = context.calls.read(services.batchGet(parent=parent, names=names))
        if answer is None:
            raise refused(f"Service Usage knows no {parent}")
        on |= {
            one["name"].rpartition("/")[2].removesuffix(".googleapis.com")
            for one in answer.get("services", ())
            if one.get("state") == "ENABLED"
        }
    if off := [api for api in first if api not in on]:
        yield Finding(
            subject="APIs",
            status=Status.FAILURE,
            found=f"off: {', '.join(off)}",
            means="`up` and this command call them before the program could switch them on",
            mend=(context.bootstrap,),
        )
    rest = [api for api in wanted if api not in on and api not in first]
    if rest:
        yield ok("APIs", f"{len(on)} on; `up` switches on {', '.join(rest)}")
    elif not off:
        yield ok("APIs", f"all {len(wanted)} on")


def permissions(context: Context) -> Iterable[Finding]:
    """The caller may make what the program makes."""
    modules = deployer.modules(context.plan.tokens)
    needs = {module: deployer.NEEDS[module] for module in modules if module in deployer.NEEDS}
    asked = sorted({one for need in needs.values() for one in need.permissions})
    held = _held(context, asked)
    lacking = [one for one in asked if one not in held]
    caller = context.calls.principal or "the caller"
    if not lacking:
        yield ok("Permissions", f"{caller} has all {len(asked)} that this stack needs")
    for need in needs.values():
        if missing := [one for one in need.permissions if one in lacking]:
            yield Finding(
                subject="Permissions",
                status=Status.FAILURE,
                found=f"{caller} lacks {', '.join(missing)}",
                means=f"needed for: {need.why}",
                mend=(
                    context.impersonate,
                    f"or: {grant(context.project, need.role, context.calls.principal)}",
                ),
                who="whoever bootstrap was given with --deployer; an owner of the project",
            )
    yield from _outside(modules)


def _outside(modules: set[str]) -> Iterator[Finding]:
    for module in sorted(modules - deployer.NEEDS.keys()):
        elsewhere = deployer.ELSEWHERE.get(module)
        if elsewhere is None:
            yield Finding(
                subject="Permissions",
                status=Status.WARNING,
                found=f"what `gcp:{module}` needs is not known",
                means="`up` may be refused there",
                mend=("add it to NEEDS in esteira/project/deployer.py",),
            )
        else:
            yield Finding(
                subject="Permissions",
                status=Status.WARNING,
                found=f"esteira:{elsewhere.setting} needs {elsewhere.role} on {elsewhere.on}, "
                "which a project cannot be asked about",
                means="`up` is refused there without it",
                mend=(f"grant {elsewhere.role} on {elsewhere.on} to the account that deploys",),
                who=f"an administrator of {elsewhere.on}",
            )


def _held(context: Context, asked: list[str]) -> set[str]:
    projects = context.api("cloudresourcemanager", "v3").projects()

    def test(some: list[str]) -> set[str]:
        request = projects.testIamPermissions(
            resource=f"projects/{context.project}", body={"permissions": some}
        )
        try:
            return set((context.calls.read(request) or {}).get("permissions", ()))
        except Refused as error:
            # Google refuses the whole request for one permission that it does not know on a
            # project. That one is then taken as held: it is not for a project to say.
            if error.code != 400:
                raise
            if len(some) == 1:
                return set(some)
            half = len(some) // 2
            return test(some[:half]) | test(some[half:])

    held: set[str] = set()
    for at in range(0, len(asked), _TESTED):
        held |= test(asked[at : at + _TESTED])
    return held

"""What a check of a project found."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from esteira.project.calls import Calls
from esteira.project.names import Names
from esteira.project.plan import Plan
from esteira.project.refusals import Refused
from stacks.settings import Settings


class Status(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    """`up` may work; someone should look."""
    FAILURE = "failure"
    """`up` would fail, or leave something broken."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing looked at."""

    subject: str
    status: Status
    found: str
    means: str = ""
    mend: Sequence[str] = ()
    """Commands, or settings to change."""
    who: str = ""
    """Who can do that."""

    def as_dict(self) -> dict[str, Any]:
        """For programs; what is empty is left out."""
        every = {
            "subject": self.subject,
            "status": self.status.value,
            "found": self.found,
            "means": self.means,
            "mend": list(self.mend),
            "who": self.who,
        }
        return {key: value for key, value in every.items() if value}


@dataclass(frozen=True, kw_only=True)
class Context:
    """What checks look at."""

    stack: str
    settings: Settings
    names: Names
    calls: Calls
    plan: Plan
    secrets_provider: str
    """What the settings file says; empty when it says nothing."""

    @property
    def project(self) -> str:
        """Its id."""
        return self.settings.project

    def api(self, name: str, version: str) -> Any:
        """Google's client of an API."""
        return self.calls.google.api(name, version)

    @property
    def bootstrap(self) -> str:
        """The command that mends what comes before the first `up`."""
        return f"esteira bootstrap {self.stack}"

    @property
    def impersonate(self) -> str:
        """The command that makes a person's credentials those of the account that deploys."""
        account = self.names.account
        return f"gcloud auth application-default login --impersonate-service-account={account}"

    @property
    def more_quota(self) -> str:
        """Where quotas are asked for: no command does it for all of them."""
        page = "https://console.cloud.google.com/iam-admin/quotas"
        return f"ask for more: {page}?project={self.project}"


class Check(Protocol):
    """Looks at one thing, from a thread of its own."""

    def __call__(self, context: Context) -> Iterable[Finding]: ...


def ok(subject: str, found: str) -> Finding:
    """Nothing to do."""
    return Finding(subject=subject, status=Status.OK, found=found)


def guarded(
    subject: str, check: Callable[[Context], Iterable[Finding]], context: Context
) -> list[Finding]:
    """The findings of a check, or why it could not be made: no check hides another."""
    try:
        return list(check(context))
    except Refused as error:
        refusal = error.refusal
        mend, who = refusal.mend, refusal.who
        if error.reason == "SERVICE_DISABLED" and error.api:
            from esteira.project.apis import BILLED, FREE

            if error.api.partition(".")[0] in (*FREE, *BILLED):
                mend, who = (context.bootstrap,), ""
        lacks = f": it lacks {refusal.permission}" if refusal.permission else ""
        return [
            Finding(
                subject=subject,
                status=Status.WARNING if error.code == 403 else Status.FAILURE,
                found=f"could not be looked at{lacks}. {refusal.problem}",
                means="whether it is in order is not known",
                mend=mend,
                who=who,
            )
        ]
    except Exception as error:  # noqa: BLE001 (a fault in one check must not hide the others)
        return [
            Finding(
                subject=subject,
                status=Status.FAILURE,
                found=f"could not be looked at: {type(error).__name__}: {error}",
            )
        ]

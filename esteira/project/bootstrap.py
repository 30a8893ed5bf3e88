"""Prepares a project before the first `up`: APIs, account, roles, keys, bucket, settings file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from esteira.project import deployer
from esteira.project.account import Account
from esteira.project.apis import BILLED, FREE, Active, Billed, SwitchOn
from esteira.project.calls import Calls
from esteira.project.clients import Google
from esteira.project.grants import Binding, Granted, Policy
from esteira.project.key import Key, Ring
from esteira.project.names import Names
from esteira.project.refusals import Refused
from esteira.project.stack_file import SecretsProvider
from esteira.project.state_bucket import StateBucket
from esteira.project.step import Outcome, Report, Step, converge
from stacks.settings import Settings

IMPERSONATE: Final = "roles/iam.serviceAccountTokenCreator"
STATE: Final = "roles/storage.objectUser"
CIPHER: Final = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
_PUBLIC: Final = ("allUsers", "allAuthenticatedUsers")


@dataclass
class Result:
    """What a bootstrap did, step by step."""

    names: Names
    dry_run: bool
    reports: list[Report] = field(default_factory=list[Report])

    @property
    def refused(self) -> bool:
        """Whether it stopped."""
        return any(one.outcome is Outcome.REFUSED for one in self.reports)

    @property
    def changed(self) -> bool:
        """Whether anything was changed, or would be."""
        return any(one.outcome in (Outcome.CHANGED, Outcome.PLANNED) for one in self.reports)

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        return {
            "stack": self.names.stack,
            "project": self.names.project,
            "dry_run": self.dry_run,
            "done": not self.refused and not self.dry_run,
            "backend": self.names.backend,
            "secrets_provider": self.names.secrets_provider,
            "deployer": self.names.account,
            "steps": [report.as_dict() for report in self.reports],
        }


@dataclass(kw_only=True)
class Bootstrap:
    """One bootstrap.

    Args:
        settings: of the stack.
        stack: its name.
        calls: made with the credentials of who prepares the project.
        file: the stack's settings file.
        deployers: who may act as the account that deploys, as IAM writes them.
        state_bucket: name of the state bucket, where the usual one is taken.
    """

    settings: Settings
    stack: str
    calls: Calls
    file: Path
    deployers: Sequence[str] = ()
    state_bucket: str = ""

    def __post_init__(self) -> None:
        self.names = Names(
            stack=self.stack,
            project=self.settings.project,
            location=self.settings.location,
            state_bucket=self.state_bucket,
        )
        self._google: Google = self.calls.google
        self._active = Active(google=self._google)
        self._storage_agent = ""

    def run(
        self,
        started: Callable[[str], None] = lambda _: None,
        ended: Callable[[Report], None] = lambda _: None,
    ) -> Result:
        """Take every step; stops at the first that is refused.

        Args:
            started: told the subject of each step.
            ended: told how it went.
        """
        result = Result(self.names, self.calls.dry_run)
        for step in self.steps():
            started(step.subject)
            try:
                report = converge(step, self.calls)
            except Refused as error:
                report = Report(
                    subject=step.subject,
                    outcome=Outcome.REFUSED,
                    refusal=error.refusal.as_dict(),
                )
            result.reports.append(report)
            ended(report)
            if report.outcome is Outcome.REFUSED:
                break
        return result

    def steps(self) -> Iterator[Step]:
        """In the order in which each finds what it needs."""
        google, names = self._google, self.names
        yield SwitchOn(
            google=google, subject="APIs without billing", apis=[*FREE], calls=self.calls
        )
        yield self._active
        yield Billed(google=google)
        yield SwitchOn(google=google, subject="APIs with billing", apis=[*BILLED], calls=self.calls)
        yield Account(google=google, names=names)
        yield self._project_roles()
        if self.deployers:
            yield self._impersonation()
        yield Ring(google=google, name=names.ring)
        yield Key(google=google, name=names.secrets_key, subject="Key of Pulumi's secrets")
        yield self._key_access(
            "Who uses that key",
            names.secrets_key,
            lambda: [Binding(role=CIPHER, member=names.member)],
        )
        encrypted = self.settings.security.customer_managed_keys
        if encrypted:
            yield Key(google=google, name=names.state_key, subject="Key of the state bucket")
            yield self._key_access(
                "Cloud Storage uses that key",
                names.state_key,
                lambda: [Binding(role=CIPHER, member=self._storage_agent)],
                before=self._find_storage_agent,
            )
        yield StateBucket(
            google=google,
            name=names.bucket,
            location=names.location,
            environment=self.settings.environment.value,
            active=self._active,
            kms_key=names.state_key if encrypted else "",
        )
        yield self._bucket_access()
        yield SecretsProvider(file=self.file, provider=names.secrets_provider)

    def _project_roles(self) -> Granted:
        projects = self._google.api("cloudresourcemanager", "v3").projects()
        resource = f"projects/{self.names.project}"
        return Granted(
            subject="Roles of the deploying account",
            wanted=lambda: deployer.bindings(self.names.member),
            get=lambda: projects.getIamPolicy(
                resource=resource, body={"options": {"requestedPolicyVersion": 3}}
            ),
            set_=lambda policy: projects.setIamPolicy(resource=resource, body={"policy": policy}),
            warn=lambda policy: [
                one.replace("PROJECT", self.names.project)
                for one in deployer.excessive(policy, self.names.member)
            ],
        )

    def _impersonation(self) -> Granted:
        """People only: GitHub is let in by the program, which also limits it to one branch."""
        accounts = self._google.api("iam", "v1").projects().serviceAccounts()
        resource = self.names.account_name
        return Granted(
            subject="Who may act as that account",
            wanted=lambda: [Binding(role=IMPERSONATE, member=one) for one in self.deployers],
            get=lambda: accounts.getIamPolicy(resource=resource, options_requestedPolicyVersion=3),
            set_=lambda policy: accounts.setIamPolicy(resource=resource, body={"policy": policy}),
        )

    def _key_access(
        self,
        subject: str,
        key: str,
        wanted: Callable[[], Sequence[Binding]],
        before: Callable[[Calls], None] = lambda _: None,
    ) -> Granted:
        keys = self._google.api("cloudkms", "v1").projects().locations().keyRings().cryptoKeys()
        return Granted(
            subject=subject,
            wanted=wanted,
            get=lambda: keys.getIamPolicy(resource=key, options_requestedPolicyVersion=3),
            set_=lambda policy: keys.setIamPolicy(resource=key, body={"policy": policy}),
            before=before,
            warn=_public,
        )

    def _find_storage_agent(self, calls: Calls) -> None:
        """Asking for Cloud Storage's own account also makes it."""
        accounts = self._google.api("storage", "v1").projects().serviceAccount()
        found = calls.read(accounts.get(projectId=self.names.project)) or {}
        agent = found.get("email_address", "known after Cloud Storage is on")
        self._storage_agent = f"serviceAccount:{agent}"

    def _bucket_access(self) -> Granted:
        buckets = self._google.api("storage", "v1").buckets()
        bucket = self.names.bucket
        return Granted(
            subject="Who uses that bucket",
            wanted=lambda: [Binding(role=STATE, member=self.names.member)],
            get=lambda: buckets.getIamPolicy(bucket=bucket, optionsRequestedPolicyVersion=3),
            set_=lambda policy: buckets.setIamPolicy(bucket=bucket, body=policy),
            warn=_public,
        )


def _public(policy: Policy) -> list[str]:
    return [
        f"{member} has {binding.get('role')}: take it away, whatever it is for"
        for binding in policy.get("bindings", ())
        for member in binding.get("members", ())
        if member in _PUBLIC
    ]

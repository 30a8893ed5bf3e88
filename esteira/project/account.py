"""The account that deploys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

from esteira.project.calls import Calls
from esteira.project.clients import Google
from esteira.project.names import ACCOUNT, Names
from esteira.project.refusals import refused
from esteira.project.step import Change


@final
@dataclass(kw_only=True)
class Account:
    """The service account exists and is not disabled. It has no key, and is given none."""

    google: Google
    names: Names
    subject: str = "Deploying account"

    def look(self, calls: Calls) -> dict[str, Any] | None:
        return calls.read(self._accounts.get(name=self.names.account_name))

    def changes(self, found: dict[str, Any] | None) -> Sequence[Change]:
        if found is None:
            request = self._accounts.create(
                name=f"projects/{self.google.project}",
                body={
                    "accountId": ACCOUNT,
                    "serviceAccount": {
                        "displayName": "Esteira deploys",
                        "description": "Runs pulumi up. Impersonated; has no key.",
                    },
                },
            )
            return [Change(what=f"create {self.names.account}", request=request)]
        if found.get("disabled"):
            # Whoever disabled it stopped deployments; not ours to undo.
            raise refused(
                f"{self.names.account} is disabled",
                f"gcloud iam service-accounts enable {self.names.account} "
                f"--project={self.google.project}",
                who="whoever has roles/iam.serviceAccountAdmin on the project",
            )
        return ()

    def notes(self, found: Any) -> Sequence[str]:
        del found
        return ()

    @property
    def _accounts(self) -> Any:
        return self.google.api("iam", "v1").projects().serviceAccounts()

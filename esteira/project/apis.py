"""The project itself before anything is made in it: APIs, state, billing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, final

from esteira.project.calls import Calls
from esteira.project.clients import Google
from esteira.project.refusals import Refused, no_billing, refused
from esteira.project.step import Change

FREE: Final[Mapping[str, str]] = {
    "serviceusage": "switches the others on",
    "cloudresourcemanager": "tells whether the project is active, and holds its IAM policy",
    "cloudbilling": "tells whether there is billing",
    "iam": "holds the account that deploys",
    "iamcredentials": "lets people and GitHub act as that account, without a key",
    "sts": "exchanges GitHub's tokens",
    "orgpolicy": "tells `esteira doctor` which organisation policies hold",
}
"""APIs that need no billing, and what each is for."""
BILLED: Final[Mapping[str, str]] = {
    "cloudkms": "holds the key of Pulumi's secrets",
    "storage": "holds Pulumi's state",
    "compute": "tells `esteira doctor` quotas and networks of the region",
}
"""APIs that Google switches on only with billing. The program itself switches on all others."""
_POLLS: Final = (1, 1, 2, 2, 4, 4, 8, 8, 15, 15, 30, 30, 60, 60)


@final
@dataclass(kw_only=True)
class SwitchOn:
    """APIs are on."""

    google: Google
    subject: str
    apis: Sequence[str]
    calls: Calls

    def look(self, calls: Calls) -> list[str]:
        """Those that are off."""
        services = self.google.api("serviceusage", "v1").services()
        parent = f"projects/{self.google.project}"
        names = [f"{parent}/services/{api}.googleapis.com" for api in self.apis]
        answer = calls.read(services.batchGet(parent=parent, names=names))
        if answer is None:
            raise refused(f"Service Usage knows no {parent}")
        states = {
            one["name"].rpartition("/")[2]: one.get("state") for one in answer.get("services", ())
        }
        off = [f"{api}.googleapis.com" for api in self.apis]
        return [host for host in off if states.get(host) != "ENABLED"]

    def changes(self, found: list[str]) -> Sequence[Change]:
        if not found:
            return ()
        self.calls.fresh.update(found)
        services = self.google.api("serviceusage", "v1").services()
        request = services.batchEnable(
            parent=f"projects/{self.google.project}", body={"serviceIds": found}
        )
        return [Change(what=f"switch on {', '.join(found)}", request=request, after=self._wait)]

    def notes(self, found: Any) -> Sequence[str]:
        del found
        return ()

    def _wait(self, operation: dict[str, Any]) -> None:
        operations = self.google.api("serviceusage", "v1").operations()
        for pause in _POLLS:
            if operation.get("done") or not operation.get("name"):
                break
            self.calls.sleep(pause)
            operation = self.calls.read(operations.get(name=operation["name"])) or operation
        if error := operation.get("error"):
            raise refused(f"switching on APIs failed: {error.get('message', error)}")


@final
@dataclass(kw_only=True)
class Active:
    """The project exists and is not on its way out."""

    google: Google
    subject: str = "Project"
    number: str = ""
    """Known after the look."""

    def look(self, calls: Calls) -> dict[str, Any] | None:
        request = self.google.api("cloudresourcemanager", "v3").projects()
        found = calls.read(request.get(name=f"projects/{self.google.project}"))
        self.number = (found or {}).get("name", "").rpartition("/")[2]
        return found

    def changes(self, found: dict[str, Any] | None) -> Sequence[Change]:
        project = self.google.project
        if found is None:
            # A dry run on a project whose Resource Manager API is off, or no project at all.
            return ()
        if found.get("state") != "ACTIVE":
            raise refused(
                f"{project} is {found.get('state')}, not ACTIVE",
                f"gcloud projects undelete {project}",
                who="an owner of the project, within 30 days of its deletion",
            )
        return ()

    def notes(self, found: dict[str, Any] | None) -> Sequence[str]:
        return () if found else ("not looked at: the Cloud Resource Manager API is off",)


@final
@dataclass(kw_only=True)
class Billed:
    """The project has billing."""

    google: Google
    subject: str = "Billing"

    def look(self, calls: Calls) -> dict[str, Any] | None:
        projects = self.google.api("cloudbilling", "v1").projects()
        return calls.read(projects.getBillingInfo(name=f"projects/{self.google.project}"))

    def changes(self, found: dict[str, Any] | None) -> Sequence[Change]:
        if found is not None and not found.get("billingEnabled"):
            raise Refused(no_billing(self.google.project))
        return ()

    def notes(self, found: dict[str, Any] | None) -> Sequence[str]:
        return () if found else ("not looked at: the Cloud Billing API is off",)

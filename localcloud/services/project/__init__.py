"""A Google Cloud project as those see it who prepare it: APIs, IAM, keys, billing, quotas.

Service Usage, Resource Manager, IAM, Cloud KMS, Cloud Billing, Organization Policy and a little of
Compute Engine, with the methods that `esteira bootstrap` and `esteira doctor STACK` call; all
others answer 501. State is kept by project; any project exists. Compute Engine and the lists of
locations, which have one path in several APIs, are answered below `/<API>.googleapis.com/` only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, final

from localcloud.home import DEFAULT_PROJECT, Home, NotStarted
from localcloud.rest.app import Handler, Service
from localcloud.rest.discovery import Api
from localcloud.rest.store import Documents
from localcloud.services.project.accounts import Accounts
from localcloud.services.project.guard import Guard
from localcloud.services.project.iam import Policies
from localcloud.services.project.keys import Keys
from localcloud.services.project.manager import Manager
from localcloud.services.project.places import LOCATED, LateApi, Places
from localcloud.services.project.rules import Rules
from localcloud.services.project.usage import Usage

_APIS: Final = (
    ("cloudbilling", "v1"),
    ("cloudresourcemanager", "v3"),
    ("iam", "v1"),
    ("iam", "v2"),
    ("orgpolicy", "v2"),
    ("serviceusage", "v1"),
    ("serviceusage", "v1beta1"),
)


@final
class Project:
    """The service; one instance owns the folder `project` of a home."""

    def __init__(self, home: Home) -> None:
        try:
            own = home.endpoints().project
        except NotStarted:
            own = DEFAULT_PROJECT
        self._documents = Documents(home.folder("project") / "project.sqlite")
        guard = Guard(self._documents, own)
        policies = Policies(self._documents, guard)
        keys = _load("cloudkms", "v1")
        located = [
            LateApi(name, version, f"/{name}.googleapis.com/", alias=True)
            for name, version in LOCATED.items()
        ]
        self.apis: Sequence[Api] = (
            keys,
            *(_load(name, version) for name, version in _APIS),
            LateApi("compute", "v1", "/compute.googleapis.com/", alias=True),
            *located,
        )
        self.handlers: Mapping[str, Handler] = {
            **Usage(self._documents, guard).handlers(),
            **Manager(self._documents, guard, policies).handlers(),
            **Accounts(self._documents, guard, policies).handlers(),
            **Keys(keys, self._documents, guard, policies).handlers(),
            **Rules(self._documents, guard).handlers(),
            **Places(self._documents, guard).handlers(),
        }

    async def start(self) -> None:
        """Nothing runs."""

    async def stop(self) -> None:
        """Close the store."""
        self._documents.close()


def service(home: Home) -> Service:
    """The project APIs of a home."""
    return Project(home)


def _load(name: str, version: str) -> Api:
    return Api.load(name, version, aliases={f"/{name}.googleapis.com/": "/"})

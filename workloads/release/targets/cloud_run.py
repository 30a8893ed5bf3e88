"""Releases on Cloud Run: versions are revisions, each with a tag by which it can be asked.

The stack makes the service, with a revision that follows the champion's alias; a release pins the
traffic to revisions of its own. Changes go by etag: who was overtaken reads again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from workloads import gcp
from workloads.product import Product
from workloads.registry import Version
from workloads.release.policy import ServingTarget
from workloads.release.targets import (
    Asked,
    DeployFailed,
    DeployTimedOut,
    Served,
    Unreachable,
    check_split,
)
from workloads.release.targets.container import ModelServer, ask

LABEL: Final = "model-version"
PREDICT_ROUTE: Final = "/predict"
"""Of our model server; see workloads/serving/settings.py."""
_PINNED: Final = "TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION"
_POLL_SECONDS: Final = 0.2
_TRIES: Final = 5
_SPLIT_SECONDS: Final = 300.0


class NoService(LookupError):
    """The product has no Cloud Run service."""


class CloudRunTarget:
    """The service `<product>-api`."""

    kind = ServingTarget.CLOUD_RUN
    beside = True

    def __init__(self, product: Product) -> None:
        self._product = product
        self._run = gcp.run().projects().locations()
        self._name = (
            f"projects/{gcp.project()}/locations/{gcp.location()}/services/{product.name}-api"
        )

    @property
    def name(self) -> str:
        return self._name

    def served(self) -> list[Served]:
        service = self._service()
        revisions = self._revisions()
        shares: dict[str, int] = {}
        for one in service.get("trafficStatuses", []):
            revision = _short(one.get("revision", ""))
            shares[revision] = shares.get(revision, 0) + one.get("percent", 0)
        found = [
            Served(version=number, share=shares.get(name, 0), id=name)
            for name, number in revisions.items()
        ]
        # A version may have two revisions; the one that serves stands for it.
        best: dict[str, Served] = {}
        for one in found:
            if one.version not in best or one.share > best[one.version].share:
                best[one.version] = one
        return list(best.values())

    def deploy(self, version: Version, within: timedelta) -> None:
        if any(one.version == version.number for one in self.served()):
            return
        server = ModelServer.of(version)
        tag = _tag(version.number)

        def change(service: dict[str, Any]) -> dict[str, Any]:
            revision = f"{_short(self._name)}-v{version.number}-{service['generation']}"
            template = dict(service["template"])
            container = dict(template["containers"][0])
            container["image"] = server.image
            container["env"] = server.replace(container.get("env", []))
            container["startupProbe"] = {
                "httpGet": {"path": server.health},
                "periodSeconds": 1,
                "timeoutSeconds": 1,
                "failureThreshold": max(1, min(240, int(within.total_seconds()))),
            }
            template["containers"] = [container]
            template["revision"] = revision
            template["labels"] = {**template.get("labels", {}), LABEL: version.number}
            traffic = [one for one in _pinned(service) if one.get("tag") != tag]
            tagged = {"type": _PINNED, "revision": revision, "tag": tag, "percent": 0}
            return {**service, "template": template, "traffic": [*traffic, tagged]}

        self._change(change, within.total_seconds(), f"version {version.number}")

    def split(self, shares: Mapping[str, int]) -> None:
        served = {one.version: one for one in self.served()}
        kept = check_split(shares, sorted(served))
        wanted = {served[version].id: share for version, share in kept.items()}
        if {one.id: one.share for one in served.values() if one.share} == wanted:
            return

        def change(service: dict[str, Any]) -> dict[str, Any]:
            tags = {
                _short(one["revision"]): one["tag"] for one in _pinned(service) if one.get("tag")
            }
            traffic = [
                {
                    "type": _PINNED,
                    "revision": revision,
                    "percent": wanted.get(revision, 0),
                    **({"tag": tags[revision]} if revision in tags else {}),
                }
                for revision in sorted({*wanted, *tags})
            ]
            return {**service, "traffic": traffic}

        try:
            self._change(change, _SPLIT_SECONDS, "the split")
        except DeployFailed:
            # A newest revision that cannot start fails the operation, not the traffic of others.
            now = {one.id: one.share for one in self.served() if one.share}
            if now != wanted:
                raise

    def ask(self, version: str, instances: Sequence[dict[str, Any]]) -> Asked:
        service = self._service()
        tag = _tag(version)
        urls = [one["uri"] for one in service.get("trafficStatuses", []) if one.get("tag") == tag]
        if not urls:
            raise Unreachable(f"{self.name} has no revision with the tag {tag!r}")
        # The token is for the service, whatever the tag.
        return ask(gcp.service_session(service["uri"]), f"{urls[0]}{PREDICT_ROUTE}", instances)

    def tidy(self, keep: Collection[str]) -> None:
        """Take away revisions of other versions, those that a killed deployment has made twice, and
        a template that could not start. The newest stays in any case: Cloud Run keeps it."""
        service = self._service()
        revisions = self._revisions(ready=False)
        newest = _short(service.get("latestCreatedRevision", ""))
        best = {one.version: one.id for one in self.served()}
        gone = [
            name
            for name, number in revisions.items()
            if number not in keep or name not in (best.get(number, name), newest)
        ]
        shares = {
            _short(one.get("revision", "")): one.get("percent", 0)
            for one in service.get("trafficStatuses", [])
        }
        gone = [name for name in gone if not shares.get(name)]
        if not gone:
            return
        if newest in gone:
            self._restore(shares, gone)
        else:
            self._untag(gone)
        for name in gone:
            self._delete(name)

    def _restore(self, shares: Mapping[str, int], gone: Collection[str]) -> None:
        """Make the newest revision one like that which serves: Cloud Run keeps the newest."""
        serving = max(shares, key=lambda one: shares[one], default="")
        source = self._revision(serving)

        def change(service: dict[str, Any]) -> dict[str, Any]:
            template = {
                key: value for key, value in service["template"].items() if key != "revision"
            }
            template["containers"] = source["containers"]
            template["labels"] = source.get("labels", {})
            # Or the same template as before would be no change, and make no revision.
            template["annotations"] = {
                **template.get("annotations", {}),
                "restored-from": serving,
            }
            return {**service, "template": template, "traffic": _without(service, gone)}

        self._change(change, _SPLIT_SECONDS, f"a revision like {serving}")

    def _untag(self, gone: Collection[str]) -> None:
        def change(service: dict[str, Any]) -> dict[str, Any]:
            return {**service, "traffic": _without(service, gone)}

        self._change(change, _SPLIT_SECONDS, "the traffic")

    def _delete(self, revision: str) -> None:
        from googleapiclient.errors import HttpError

        try:
            operation = (
                self._run.services()
                .revisions()
                .delete(name=f"{self._name}/revisions/{revision}")
                .execute()
            )
        except HttpError as error:
            if error.status_code != 404:
                raise
            return
        self._await(operation, time.monotonic() + _SPLIT_SECONDS, f"deletion of {revision}")

    def _change(
        self, change: Callable[[dict[str, Any]], dict[str, Any]], seconds: float, what: str
    ) -> None:
        from googleapiclient.errors import HttpError

        deadline = time.monotonic() + seconds
        for left in reversed(range(_TRIES)):
            service = self._service()
            wanted = {
                key: value
                for key, value in change(service).items()
                if key in ("template", "traffic", "etag")
            }
            try:
                operation = (
                    self._run.services()
                    .patch(name=self._name, body=wanted, updateMask="template,traffic")
                    .execute()
                )
            except HttpError as error:
                if error.status_code == 409 and left:
                    continue
                raise DeployFailed(f"{what} on {self._name}: {error.reason}") from error
            self._await(operation, deadline, what)
            return

    def _await(self, operation: dict[str, Any], deadline: float, what: str) -> None:
        while not operation.get("done"):
            if time.monotonic() > deadline:
                raise DeployTimedOut(f"{what} was not ready on {self._name} in time")
            time.sleep(_POLL_SECONDS)
            operation = self._run.operations().get(name=operation["name"]).execute()
        if error := operation.get("error"):
            raise DeployFailed(f"{what} on {self._name}: {error['message']}")

    def _service(self) -> dict[str, Any]:
        from googleapiclient.errors import HttpError

        try:
            return self._run.services().get(name=self._name).execute()
        except HttpError as error:
            if error.status_code == 404:
                raise NoService(
                    f"there is no Cloud Run service {self._name}; `esteira up STACK` makes it "
                    "where `serving.api` is true"
                ) from error
            raise

    def _revision(self, name: str) -> dict[str, Any]:
        return self._run.services().revisions().get(name=f"{self._name}/revisions/{name}").execute()

    def _revisions(self, *, ready: bool = True) -> dict[str, str]:
        """Revisions that are of a version, the newest first: name to number."""
        return {
            _short(one["name"]): one["labels"][LABEL]
            for one in self._list()
            if LABEL in one.get("labels", {}) and (not ready or _ready(one))
        }

    def _list(self) -> Iterator[dict[str, Any]]:
        token = None
        while True:
            page = (
                self._run.services().revisions().list(parent=self._name, pageToken=token).execute()
            )
            yield from page.get("revisions", [])
            token = page.get("nextPageToken")
            if not token:
                return


def _ready(revision: Mapping[str, Any]) -> bool:
    return any(
        one.get("type") == "Ready" and one.get("state") == "CONDITION_SUCCEEDED"
        for one in revision.get("conditions", [])
    )


def _pinned(service: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The traffic as it is, with "the latest" replaced by the revision that it means now."""
    latest = _short(service.get("latestReadyRevision", ""))
    shares: dict[tuple[str, str], int] = {}
    for one in service.get("traffic", []):
        revision = _short(one.get("revision") or latest)
        key = (revision, one.get("tag", ""))
        shares[key] = shares.get(key, 0) + one.get("percent", 0)
    return [
        {
            "type": _PINNED,
            "revision": revision,
            "percent": share,
            **({"tag": tag} if tag else {}),
        }
        for (revision, tag), share in shares.items()
        if revision
    ]


def _without(service: Mapping[str, Any], gone: Collection[str]) -> list[dict[str, Any]]:
    return [one for one in _pinned(service) if _short(one["revision"]) not in gone]


def _short(name: str) -> str:
    return name.rpartition("/")[2]


def _tag(version: str) -> str:
    return f"v{version}"

"""Releases on KServe: versions are revisions of an InferenceService's predictor.

KServe routes between two: the newest revision, which gets `canaryTrafficPercent`, and the one that
was last rolled out in full. Changes carry the `resourceVersion` they were made from; whoever was
overtaken (409) reads again.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence
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
    InvalidSplit,
    Served,
    Unreachable,
    check_split,
)
from workloads.release.targets.container import ModelServer, ask

GROUP: Final = "serving.kserve.io/v1beta1"
LABEL: Final = "model-version"
VERSIONS: Final = "esteira.dev/versions"
"""Annotation: which version each revision is, as JSON; KServe itself knows revisions only."""
TAG_ROUTING: Final = "serving.kserve.io/enable-tag-routing"
CONTAINER: Final = "kserve-container"
_CANARY: Final = "canaryTrafficPercent"
_POLL_SECONDS: Final = 0.2
_TRIES: Final = 5
_ROLL_OUT: Final = timedelta(minutes=10)

type Document = dict[str, Any]


class KServeTarget:
    """The InferenceService `<product>`, made with the first version.

    Args:
        product: The declaration.
        namespace: Where it lives; KSERVE_NAMESPACE when not given, else `default`.
    """

    kind = ServingTarget.KSERVE
    beside = True

    def __init__(self, product: Product, namespace: str | None = None) -> None:
        self._product = product
        self._namespace = namespace or os.environ.get("KSERVE_NAMESPACE", "default")
        self._address, self._session = gcp.kubernetes_session()
        self._url = f"{self._address}/apis/{GROUP}/namespaces/{self._namespace}/inferenceservices"

    @property
    def name(self) -> str:
        return f"{self._namespace}/inferenceservices/{self._product.name}"

    def served(self) -> list[Served]:
        service = self._get()
        if service is None:
            return []
        versions = _versions(service)
        status = _predictor_status(service)
        found: dict[str, Served] = {}
        for one in status.get("traffic", []):
            revision = one["revisionName"]
            version = versions.get(revision)
            if version is not None:
                share = one.get("percent", 0) + (found[version].share if version in found else 0)
                found[version] = Served(version=version, share=share, id=revision)
        return list(found.values())

    def deploy(self, version: Version, within: timedelta) -> None:
        deadline = time.monotonic() + within.total_seconds()
        if any(one.version == version.number for one in self.served()):
            return
        service = self._get()
        if service is None:
            self._create(version)
        elif _wanted_version(service) != version.number:
            self._settle(service, deadline)
            self._change(lambda one: self._with(one, version, canary=0))
        self._await_ready(version.number, deadline, within)

    def split(self, shares: Mapping[str, int]) -> None:
        served = {one.version: one for one in self.served()}
        kept = check_split(shares, sorted(served))
        if {one.version: one.share for one in served.values() if one.share} == kept:
            return

        def change(service: Document) -> Document:
            newest = _wanted_version(service)
            if len(served) < 2:
                # Nothing but the newest: all of it.
                return _with_canary(service, None)
            if set(kept) - {newest} and set(kept) - {newest} != set(served) - {newest}:
                raise InvalidSplit(
                    f"the shares are {dict(shares)}; KServe divides between version {newest}, the "
                    f"newest, and the one that was rolled out before: {sorted(served)}"
                )
            share = kept.get(str(newest), 0)
            return _with_canary(service, None if share == 100 else share)

        self._change(change)
        self._await(
            lambda: {one.version: one.share for one in self.served() if one.share} == kept,
            time.monotonic() + _ROLL_OUT.total_seconds(),
            f"the split {kept}",
        )

    def ask(self, version: str, instances: Sequence[dict[str, Any]]) -> Asked:
        service = self._get()
        found = [
            one
            for one in ([] if service is None else _predictor_status(service).get("traffic", []))
            if _versions(service or {}).get(one["revisionName"]) == version and one.get("url")
        ]
        if not found:
            raise Unreachable(
                f"version {version} has no address of its own on {self.name}; the annotation "
                f"{TAG_ROUTING} gives it one"
            )
        return ask(self._session, f"{found[0]['url']}/predict", instances)

    def tidy(self, keep: Collection[str]) -> None:
        service = self._get()
        if service is None:
            return
        serving = [one for one in self.served() if one.share]
        newest = _wanted_version(service)
        if newest in keep:
            return
        if not [one for one in serving if one.version in keep]:
            if not any(one.share for one in serving) or newest == serving[0].version:
                self._delete()
            return
        self._settle(service, time.monotonic() + _ROLL_OUT.total_seconds())

    def _settle(self, service: Document, deadline: float) -> None:
        """Make the version that serves the one that KServe rolled out last.

        After a roll-back or an abort the newest revision is one without traffic; KServe would take
        it for the stable side of the next split.
        """
        serving = next((one for one in self.served() if one.share == 100), None)
        if serving is None or serving.version == _wanted_version(service):
            return
        kept = _templates(service).get(serving.version)
        if kept is None:
            raise DeployFailed(
                f"{self.name} does not say how version {serving.version} was made, which serves; "
                "release that version again"
            )

        def change(one: Document) -> Document:
            changed = _recorded(one)
            changed["spec"]["predictor"] = kept
            return _with_canary(changed, None)

        self._change(change)
        self._await(
            lambda: self._all_of_newest(serving.version),
            deadline,
            f"a revision of version {serving.version}",
        )

    def _all_of_newest(self, version: str) -> bool:
        service = self._get() or {}
        status = _predictor_status(service)
        newest = status.get("latestReadyRevision")
        return (
            _observed(service)
            and newest == status.get("latestRolledoutRevision")
            and _versions(service).get(str(newest)) == version
        )

    def _await_ready(self, version: str, deadline: float, within: timedelta) -> None:
        def ready() -> bool:
            service = self._get() or {}
            if not _observed(service):
                return False
            status = _predictor_status(service)
            created = status.get("latestCreatedRevision")
            for one in service.get("status", {}).get("conditions", []):
                if one["type"] == "PredictorReady" and one["status"] == "False":
                    raise DeployFailed(
                        f"version {version} on {self.name}: {one.get('message', one.get('reason'))}"
                    )
            return created is not None and created == status.get("latestReadyRevision")

        try:
            self._await(ready, deadline, f"version {version}")
        except DeployTimedOut as error:
            raise DeployTimedOut(
                f"version {version} was not ready on {self.name} within "
                f"{within.total_seconds():g} s"
            ) from error

    def _await(self, condition: Callable[[], bool], deadline: float, what: str) -> None:
        while not condition():
            if time.monotonic() > deadline:
                raise DeployTimedOut(f"{what} did not come about on {self.name} in time")
            time.sleep(_POLL_SECONDS)

    def _with(self, service: Document, version: Version, canary: int | None) -> Document:
        changed = _recorded(service)
        changed["spec"]["predictor"] = self._predictor(version)
        return _with_canary(changed, canary)

    def _predictor(self, version: Version) -> Document:
        server = ModelServer.of(version)
        serving = self._product.serving
        return {
            "labels": {LABEL: version.number},
            "minReplicas": serving.min_replicas,
            "maxReplicas": serving.max_replicas,
            "containers": [
                {
                    "name": CONTAINER,
                    "image": server.image,
                    "env": server.replace([]),
                    "ports": [{"containerPort": 8080, "protocol": "TCP"}],
                    "readinessProbe": {"httpGet": {"path": server.health, "port": 8080}},
                }
            ],
        }

    def _create(self, version: Version) -> None:
        document = {
            "apiVersion": GROUP,
            "kind": "InferenceService",
            "metadata": {
                "name": self._product.name,
                "namespace": self._namespace,
                "annotations": {TAG_ROUTING: "true"},
                "labels": {"product": self._product.name},
            },
            "spec": {"predictor": self._predictor(version)},
        }
        answer = self._session.post(self._url, json=document, timeout=30)
        if answer.status_code != 409:
            _check(answer)

    def _change(self, change: Callable[[Document], Document]) -> None:
        for left in reversed(range(_TRIES)):
            service = self._get()
            if service is None:
                raise DeployFailed(f"{self.name} is gone")
            changed = change(service)
            if changed["spec"] == service["spec"]:
                return
            answer = self._session.put(
                f"{self._url}/{self._product.name}", json=changed, timeout=30
            )
            if answer.status_code == 409 and left:
                continue
            _check(answer)
            return

    def _get(self) -> Document | None:
        answer = self._session.get(f"{self._url}/{self._product.name}", timeout=30)
        if answer.status_code == 404:
            return None
        _check(answer)
        return answer.json()

    def _delete(self) -> None:
        answer = self._session.delete(f"{self._url}/{self._product.name}", timeout=30)
        if answer.status_code != 404:
            _check(answer)


def _check(answer: Any) -> None:
    if not answer.ok:
        try:
            said = answer.json().get("message", answer.text)
        except ValueError:
            said = answer.text
        raise DeployFailed(f"the Kubernetes API answers {answer.status_code}: {said}")


def _predictor_status(service: Mapping[str, Any]) -> Document:
    return service.get("status", {}).get("components", {}).get("predictor", {})


def _observed(service: Mapping[str, Any]) -> bool:
    """Whether KServe has seen the newest change."""
    observed = service.get("status", {}).get("observedGeneration", 0)
    return observed >= service.get("metadata", {}).get("generation", 1)


def _wanted_version(service: Mapping[str, Any]) -> str | None:
    return service["spec"]["predictor"].get("labels", {}).get(LABEL)


def _annotated(service: Mapping[str, Any]) -> dict[str, Any]:
    text = service.get("metadata", {}).get("annotations", {}).get(VERSIONS, "{}")
    return json.loads(text)


def _versions(service: Mapping[str, Any]) -> dict[str, str]:
    """Revision to version: those written down, and the newest by the spec that made it."""
    if not service:
        return {}
    found: dict[str, str] = dict(_annotated(service).get("revisions", {}))
    newest = _predictor_status(service).get("latestCreatedRevision")
    wanted = _wanted_version(service)
    if newest and wanted and _observed(service):
        found[newest] = wanted
    return found


def _templates(service: Mapping[str, Any]) -> dict[str, Document]:
    """Version to the predictor that serves it."""
    found: dict[str, Document] = dict(_annotated(service).get("predictors", {}))
    wanted = _wanted_version(service)
    if wanted:
        found[wanted] = {
            key: value for key, value in service["spec"]["predictor"].items() if key != _CANARY
        }
    return found


def _recorded(service: Document) -> Document:
    """A copy that writes down what its newest revision is, before another replaces it."""
    changed = json.loads(json.dumps(service))
    served = {one["revisionName"] for one in _predictor_status(service).get("traffic", [])}
    kept = {
        revision: version for revision, version in _versions(service).items() if revision in served
    }
    templates = {
        version: template
        for version, template in _templates(service).items()
        if version in kept.values()
    }
    changed["metadata"].setdefault("annotations", {})[VERSIONS] = json.dumps(
        {"revisions": kept, "predictors": templates}, sort_keys=True
    )
    return changed


def _with_canary(service: Document, share: int | None) -> Document:
    changed = json.loads(json.dumps(service))
    predictor = changed["spec"]["predictor"]
    predictor.pop(_CANARY, None)
    if share is not None:
        predictor[_CANARY] = share
    return changed

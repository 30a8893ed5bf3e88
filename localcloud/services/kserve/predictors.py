"""What KServe's controller makes of an InferenceService.

The rules of the split and of what counts as rolled out are those of KServe's own reconciler
(pkg/controller/v1beta1/inferenceservice, `createKnativeService` and `PropagateStatus`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, Final

from localcloud.home import LOOPBACK
from localcloud.rest.operations import now
from localcloud.rest.store import Documents
from localcloud.services.kserve.revisions import NotReady, Revisions
from localcloud.services.run.front import Front

log = logging.getLogger(__name__)

CANARY: Final = "canaryTrafficPercent"
TAG_ROUTING: Final = "serving.kserve.io/enable-tag-routing"
_PASSES: Final = 3
"""A roll-back takes two: the first finds that nothing else is left, the second routes."""
_PORTS: Final = "_ports"
REVISIONS: Final = "_revisions"

type Document = dict[str, Any]


class Predictors:
    """Brings processes and addresses in line with the stored objects."""

    def __init__(self, documents: Documents, revisions: Revisions) -> None:
        self._documents = documents
        self._revisions = revisions
        self._fronts: dict[str, dict[str, Front]] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._gone: dict[str, tuple[str, ...]] = {}

    def recover(self) -> None:
        """Bring back every InferenceService of the store, in the background."""
        for stored in self._documents.list():
            self.reconcile(stored.key)

    def reconcile(self, key: str) -> None:
        """Act on an object that was changed; in the background."""
        task = asyncio.create_task(self._reconcile(key))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Close the addresses; the state stays."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        fronts = [front for of in self._fronts.values() for front in of.values()]
        await asyncio.gather(*(front.close() for front in fronts))

    async def _reconcile(self, key: str) -> None:
        try:
            async with self._locks.setdefault(key, asyncio.Lock()):
                for _ in range(_PASSES):
                    before = self._documents.get(key)
                    if before is None:
                        await self._remove(key)
                        return
                    if not await self._pass(key, before):
                        return
        except Exception:
            log.exception("InferenceService %s could not be reconciled", key)

    async def _pass(self, key: str, service: Document) -> bool:
        """One look at the object; whether another is due."""
        generation = service["metadata"]["generation"]
        revisions: dict[str, Document] = service.setdefault(REVISIONS, {})
        status = _predictor(service)
        created = self._created(service, revisions)
        failure = ""
        try:
            await self._revisions.bring_up(f"{key}/{created}", revisions[created])
        except NotReady as error:
            failure = str(error)
        else:
            status["latestReadyRevision"] = created
        status["latestCreatedRevision"] = created
        targets = _targets(service["spec"]["predictor"].get(CANARY), status)
        for target in targets:
            name = target["revisionName"]
            if name != created:
                await self._revisions.bring_up(f"{key}/{name}", revisions[name])
        await self._route(key, service, targets)
        rolled_back = _propagate(status, targets)
        kept = {target["revisionName"] for target in targets} | {
            status.get(one)
            for one in (
                "latestRolledoutRevision",
                "previousRolledoutRevision",
                "latestReadyRevision",
            )
        }
        idle = set(revisions) - {target["revisionName"] for target in targets}
        await asyncio.gather(*(self._revisions.take_down(f"{key}/{one}") for one in idle))

        def edit(stored: Document) -> None:
            stored[REVISIONS] = {
                name: one for name, one in revisions.items() if name in kept or name == created
            }
            stored[_PORTS] = service[_PORTS]
            stored["_number"] = service["_number"]
            stored["status"] = {
                "observedGeneration": generation,
                "url": service["_url"],
                "components": {"predictor": {**status, "url": service["_url"]}},
                "conditions": _conditions(failure),
            }

        changed = self._documents.get(key)
        if changed is None:
            return True
        self._documents.change(key, edit)
        return rolled_back or changed["metadata"]["generation"] != generation

    def _created(self, service: Document, revisions: dict[str, Document]) -> str:
        """The newest revision, made now if the predictor is not what it was made from."""
        template = {k: v for k, v in service["spec"]["predictor"].items() if k != CANARY}
        newest = service.get("_number", 0)
        name = f"{service['metadata']['name']}-predictor-{newest:05d}"
        if revisions.get(name) != template:
            newest += 1
            name = f"{service['metadata']['name']}-predictor-{newest:05d}"
            revisions[name] = template
        service["_number"] = newest
        return name

    async def _route(self, key: str, service: Document, targets: list[Document]) -> None:
        tagged = service["metadata"].get("annotations", {}).get(TAG_ROUTING) == "true"
        percents: dict[str, int] = {}
        tags = {""}
        for target in targets:
            name = target["revisionName"]
            percents[name] = percents.get(name, 0) + target["percent"]
            if tagged:
                tags.add(target["tag"])
                front = await self._front(key, target["tag"], service)
                target["url"] = f"http://{LOOPBACK}:{front.port}"
                route = self._revisions.route(f"{key}/{name}", 100)
                front.route([route] if route else [])
            else:
                target.pop("tag")
        main = await self._front(key, "", service)
        service["_url"] = f"http://{LOOPBACK}:{main.port}"
        routes = (self._revisions.route(f"{key}/{name}", of) for name, of in percents.items())
        main.route([route for route in routes if route is not None])
        for tag in set(self._fronts[key]) - tags:
            await self._fronts[key].pop(tag).close()

    async def _front(self, key: str, tag: str, service: Document) -> Front:
        fronts = self._fronts.setdefault(key, {})
        ports: dict[str, int] = service.setdefault(_PORTS, {})
        if tag not in fronts:
            front = Front(f"{key}" + (f" ({tag})" if tag else ""))
            ports[tag] = await front.open(ports.get(tag, 0))
            fronts[tag] = front
        return fronts[tag]

    async def _remove(self, key: str) -> None:
        for front in self._fronts.pop(key, {}).values():
            await front.close()
        names = self._gone.pop(key, ())
        await asyncio.gather(*(self._revisions.take_down(f"{key}/{one}") for one in names))

    def forget(self, key: str, service: Mapping[str, Any]) -> None:
        """Take down what an object that is gone now had."""
        self._gone[key] = tuple(service.get(REVISIONS, {}))
        self.reconcile(key)


def _predictor(service: Document) -> Document:
    status = service.get("status", {}).get("components", {}).get("predictor", {})
    return {key: value for key, value in status.items() if key not in ("traffic", "url")}


def _targets(canary: int | None, status: Document) -> list[Document]:
    """How the traffic is divided, by the newest revision that is ready."""
    ready = status.get("latestReadyRevision")
    if ready is None:
        return []
    rolled_out = status.get("latestRolledoutRevision")
    if canary is None or rolled_out is None:
        return [_target(ready, 100, "latest", latest=True)]
    targets = [_target(ready, canary, "latest", latest=True)]
    if canary < 100:
        targets.append(_target(rolled_out, 100 - canary, "prev", latest=False))
    return targets


def _target(revision: str, percent: int, tag: str, *, latest: bool) -> Document:
    return {"revisionName": revision, "percent": percent, "tag": tag, "latestRevision": latest}


def _propagate(status: Document, targets: list[Document]) -> bool:
    """Note what was rolled out in full; whether that is to be routed anew."""
    status["traffic"] = targets
    ready, rolled_out = status.get("latestReadyRevision"), status.get("latestRolledoutRevision")
    of_ready = sum(one["percent"] for one in targets if one["revisionName"] == ready)
    newest = next((one for one in targets if one["latestRevision"]), None)
    if newest is None:
        return False
    if rolled_out != ready:
        if newest["percent"] == 100:
            if rolled_out is not None:
                status["previousRolledoutRevision"] = rolled_out
            status["latestRolledoutRevision"] = ready
        return False
    previous = status.get("previousRolledoutRevision")
    # It was rolled out and is taken back: both sides of the split are the same revision now.
    if (
        ready == status.get("latestCreatedRevision")
        and newest["percent"] < 100
        and of_ready == 100
        and previous
    ):
        status["latestRolledoutRevision"] = previous
        return True
    return False


def _conditions(failure: str) -> list[Document]:
    state = "False" if failure else "True"
    told = {"reason": "RevisionFailed", "message": failure} if failure else {}
    return [
        {"type": kind, "status": state, "lastTransitionTime": now(), **told}
        for kind in ("PredictorReady", "Ready")
    ]

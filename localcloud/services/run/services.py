"""Cloud Run services: a stable address, and revisions behind it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import Mapping
from typing import Any, Final

from localcloud.home import LOOPBACK
from localcloud.images import ImageNotFound, Images
from localcloud.rest.app import Handler, Request
from localcloud.rest.discovery import Api
from localcloud.rest.errors import (
    AlreadyExists,
    ApiError,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
)
from localcloud.rest.operations import Operations, now
from localcloud.rest.store import Documents
from localcloud.services.listing import (
    apply_mask,
    children,
    mask_paths,
    page,
    page_answer,
)
from localcloud.services.run.conditions import condition, settle
from localcloud.services.run.front import Front, Route
from localcloud.services.run.iam import Policies
from localcloud.services.run.names import (
    KIND,
    check_etag,
    check_id,
    location_parent,
    public,
    short,
    suffix,
)
from localcloud.services.run.revisions import Revisions
from localcloud.services.run.service_body import check_service
from localcloud.services.run.traffic import resolve_traffic

log = logging.getLogger(__name__)

SCHEMA: Final = "GoogleCloudRunV2Service"
_PREFIX: Final = "run.projects.locations.services"
# What a revision takes over from the template.
_OF_TEMPLATE: Final = (
    "annotations", "client", "clientVersion", "containers", "encryptionKey",
    "executionEnvironment", "labels", "maxInstanceRequestConcurrency", "scaling",
    "serviceAccount", "sessionAffinity", "timeout", "volumes", "vpcAccess",
)  # fmt: skip


class Services:
    """The services of every project in one local cloud."""

    def __init__(
        self,
        api: Api,
        documents: Documents,
        operations: Operations,
        revisions: Revisions,
        images: Images,
    ) -> None:
        self._api = api
        self._documents = documents
        self._operations = operations
        self._revisions = revisions
        self._images = images
        self._fronts: dict[str, dict[str, Front]] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._recovering: list[asyncio.Task[None]] = []
        self._policies = Policies(documents, self._existing)

    def handlers(self) -> dict[str, Handler]:
        """By method id."""
        return {
            f"{_PREFIX}.create": self._create,
            f"{_PREFIX}.get": self._get,
            f"{_PREFIX}.list": self._list,
            f"{_PREFIX}.patch": self._patch,
            f"{_PREFIX}.delete": self._delete,
            f"{_PREFIX}.getIamPolicy": self._policies.get,
            f"{_PREFIX}.setIamPolicy": self._policies.set,
            f"{_PREFIX}.testIamPermissions": self._policies.test,
            f"{_PREFIX}.revisions.get": self._get_revision,
            f"{_PREFIX}.revisions.list": self._list_revisions,
            f"{_PREFIX}.revisions.delete": self._delete_revision,
        }

    def recover(self) -> None:
        """Bring back every service of the store, in the background."""
        for stored in self._documents.list("service:"):
            name = stored.key.removeprefix("service:")
            self._recovering.append(asyncio.create_task(self._recover(name)))

    async def close(self) -> None:
        """Close the fronts; the state stays."""
        for task in self._recovering:
            task.cancel()
        await asyncio.gather(*self._recovering, return_exceptions=True)
        fronts = [front for of in self._fronts.values() for front in of.values()]
        await asyncio.gather(*(front.close() for front in fronts))
        self._fronts.clear()
        await self._revisions.close()

    async def _create(self, request: Request) -> dict[str, Any]:
        parent = request.path["parent"]
        name = f"{parent}/services/{check_id('service_id', request.query.get('serviceId'))}"
        return await self._insert(name, request.body, bool(request.query.get("validateOnly")))

    async def _insert(
        self, name: str, body: Mapping[str, Any], validate_only: bool
    ) -> dict[str, Any]:
        parent = location_parent(name)
        if body.get("name") not in (None, "", name):
            raise InvalidArgument(f"service.name: '{body['name']}' must be empty or '{name}'.")
        if self._documents.get(f"service:{name}") is not None:
            raise AlreadyExists(f"Resource '{short(name)}' already exists.")
        service = {
            **self._checked(name, body),
            "uid": str(uuid.uuid4()),
            "generation": "1",
            "createTime": now(),
        }
        revision = self._new_revision(service, 1)
        self._finish(service, revision)
        if validate_only:
            return self._operations.finished(parent, _typed(service), _typed(service))
        async with self._lock(name):
            front = await self._front(name, "", service)
            service["uri"] = f"http://{LOOPBACK}:{front.port}"
            service["urls"] = [service["uri"]]
            with self._documents.transaction():
                self._documents.create(f"service:{name}", service)
                self._documents.put(f"revision:{revision['name']}", revision)
        return await self._operations.start(parent, self._deploy(name), _typed(service))

    async def _patch(self, request: Request) -> dict[str, Any]:
        name = request.path["name"]
        validate_only = bool(request.query.get("validateOnly"))
        old = self._documents.get(f"service:{name}")
        if old is None:
            if request.query.get("allowMissing"):
                check_id("service_id", short(name))
                return await self._insert(name, request.body, validate_only)
            raise self._missing(name)
        check_etag(old, request.body.get("etag"))
        given = self._api.validate_body(SCHEMA, public(old))
        mask = request.query.get("updateMask")
        paths = mask_paths(self._api, SCHEMA, mask) if mask else [["*"]]
        wanted = apply_mask(given, request.body, paths)
        service = {**old, **dict.fromkeys(given), **self._checked(name, wanted)}
        service = {key: value for key, value in service.items() if value is not None}
        service["generation"] = str(int(old["generation"]) + 1)
        revision = None
        if request.query.get("forceNewRevision") or service["template"] != old["template"]:
            revision = self._new_revision(service, int(old.get("_revisions", 0)) + 1)
        self._finish(service, revision)
        if validate_only:
            return self._operations.finished(location_parent(name), _typed(service))
        with self._documents.transaction():
            self._documents.put(f"service:{name}", service)
            if revision is not None:
                self._documents.put(f"revision:{revision['name']}", revision)
        return await self._operations.start(
            location_parent(name), self._deploy(name), _typed(service)
        )

    def _checked(self, name: str, body: Mapping[str, Any]) -> dict[str, Any]:
        found = children(self._documents, "revision", name, "revisions")
        return check_service(name, body, {short(revision) for revision, _ in found})

    def _new_revision(self, service: Mapping[str, Any], number: int) -> dict[str, Any]:
        template = service["template"]
        service_id = short(service["name"])
        revision_id = template.get("revision") or f"{service_id}-{number:05d}-{suffix(3)}"
        name = f"{service['name']}/revisions/{revision_id}"
        if self._documents.get(f"revision:{name}") is not None:
            raise AlreadyExists(
                f"Revision named '{revision_id}' with different configuration already exists."
            )
        revision: dict[str, Any] = {
            **{key: template[key] for key in _OF_TEMPLATE if key in template},
            "name": name,
            "uid": str(uuid.uuid4()),
            "generation": "1",
            "createTime": now(),
            "updateTime": now(),
            "service": service["name"],
            "launchStage": service.get("launchStage", "GA"),
            "reconciling": True,
            "conditions": [condition("Ready", "RECONCILING")],
            "etag": f'"{uuid.uuid4().hex}"',
            "_number": number,
            # With no instance to keep, and none to try at deployment, there is none before the
            # first request.
            "_sleeps": bool(template.get("healthCheckDisabled"))
            and not (template.get("scaling") or {}).get("minInstanceCount"),
        }
        reference = template["containers"][0]["image"]
        # A tag is resolved once, when the revision is made. An unknown image fails its start.
        with contextlib.suppress(ImageNotFound):
            image = self._images.resolve(reference)
            revision["_image"] = image.name
            revision["containerStatuses"] = [
                {"name": template["containers"][0].get("name", ""), "imageDigest": image.name}
            ]
        return revision

    def _finish(self, service: dict[str, Any], revision: Mapping[str, Any] | None) -> None:
        service["etag"] = f'"{uuid.uuid4().hex}"'
        service["updateTime"] = now()
        if revision is not None:
            service["latestCreatedRevision"] = revision["name"]
            service["_revisions"] = revision["_number"]
        settle(
            service,
            condition("Ready", "RECONCILING"),
            condition("RoutesReady", "RECONCILING"),
            condition("ConfigurationsReady", "RECONCILING"),
        )

    async def _recover(self, name: str) -> None:
        try:
            await self._deploy(name)
        except ApiError as error:
            log.warning("service %s is not ready: %s", name, error.message)
        except Exception:
            log.exception("service %s could not be brought back", name)

    async def _deploy(self, name: str) -> dict[str, Any]:
        """Make reality match the stored service; its outcome is the operation's."""
        async with self._lock(name):
            service = self._existing(name)
            failure = await self._bring_up_latest(service)
            latest = None if failure else short(service["latestCreatedRevision"])
            latest = latest or short(service.get("latestReadyRevision", "")) or None
            targets = resolve_traffic(service["traffic"], latest)
            for revision in sorted({revision for _, revision in targets}):
                try:
                    await self._revisions.bring_up(f"{name}/revisions/{revision}")
                except ApiError as error:
                    failure = failure or error
            service = self._existing(name)
            statuses = await self._route(name, service, targets)
            stored = self._documents.change(
                f"service:{name}",
                lambda one: self._settled(one, service, statuses, latest, failure),
            )
            await self._retire(name, {revision for _, revision in targets})
            if failure is not None:
                raise failure
            return _typed(stored.value)

    async def _bring_up_latest(self, service: Mapping[str, Any]) -> ApiError | None:
        name = service["latestCreatedRevision"]
        revision = self._documents.get(f"revision:{name}") or {}
        if revision.get("_state") == "failed":
            # It will not become better by itself: a new revision has to replace it.
            status, message = revision["_error"]
            kind = NotFound if status == "NOT_FOUND" else FailedPrecondition
            return kind(message)
        if revision.get("_state") == "ready":
            # It comes up again only if it gets traffic.
            return None
        try:
            await self._revisions.bring_up(name)
        except ApiError as error:
            return error
        return None

    async def _route(
        self, name: str, service: dict[str, Any], targets: list[tuple[Mapping[str, Any], str]]
    ) -> list[dict[str, Any]]:
        """Point the fronts at the revisions; the traffic statuses."""
        percents: dict[str, int] = {}
        tagged: dict[str, str] = {}
        statuses: list[dict[str, Any]] = []
        for target, revision in targets:
            percents[revision] = percents.get(revision, 0) + target.get("percent", 0)
            status: dict[str, Any] = {**target, "revision": revision}
            if tag := target.get("tag"):
                tagged[tag] = revision
                front = await self._front(name, tag, service)
                status["uri"] = f"http://{LOOPBACK}:{front.port}"
                front.route(self._routes(name, {revision: 100}))
            statuses.append(status)
        main = await self._front(name, "", service)
        service["uri"] = f"http://{LOOPBACK}:{main.port}"
        main.route(self._routes(name, percents))
        for tag in [tag for tag in self._fronts[name] if tag and tag not in tagged]:
            await self._fronts[name].pop(tag).close()
            service["_ports"].pop(tag, None)
        return statuses

    def _routes(self, name: str, percents: Mapping[str, int]) -> list[Route]:
        found = (
            self._revisions.route(f"{name}/revisions/{revision}", percent)
            for revision, percent in percents.items()
        )
        return [route for route in found if route is not None]

    def _settled(
        self,
        stored: dict[str, Any],
        routed: Mapping[str, Any],
        statuses: list[dict[str, Any]],
        latest: str | None,
        failure: ApiError | None,
    ) -> None:
        stored["_ports"] = routed["_ports"]
        stored["uri"] = routed["uri"]
        stored["urls"] = [routed["uri"]]
        stored["trafficStatuses"] = statuses
        if latest:
            stored["latestReadyRevision"] = f"{stored['name']}/revisions/{latest}"
        stored["updateTime"] = now()
        if failure is None:
            settle(
                stored,
                condition("Ready", "SUCCEEDED"),
                condition("RoutesReady", "SUCCEEDED"),
                condition("ConfigurationsReady", "SUCCEEDED"),
            )
            return
        reason = "CONTAINER_MISSING" if isinstance(failure, NotFound) else "REVISION_FAILED"
        settle(
            stored,
            condition("Ready", "FAILED", failure.message, reason=reason),
            condition("RoutesReady", "SUCCEEDED" if statuses else "FAILED", failure.message),
            condition("ConfigurationsReady", "FAILED", failure.message, reason=reason),
        )

    async def _retire(self, name: str, needed: set[str]) -> None:
        """Stop the revisions that get no traffic: they scale to zero."""
        idle = [
            revision
            for revision, _ in children(self._documents, "revision", name, "revisions")
            if short(revision) not in needed
        ]
        await asyncio.gather(*(self._revisions.take_down(revision) for revision in idle))

    async def _front(self, name: str, tag: str, service: dict[str, Any]) -> Front:
        fronts = self._fronts.setdefault(name, {})
        ports: dict[str, int] = service.setdefault("_ports", {})
        if tag not in fronts:
            front = Front(f"{short(name)}" + (f" ({tag})" if tag else ""))
            ports[tag] = await front.open(ports.get(tag, 0))
            fronts[tag] = front
        return fronts[tag]

    async def _get(self, request: Request) -> dict[str, Any]:
        return public(self._existing(request.path["name"]))

    async def _list(self, request: Request) -> dict[str, Any]:
        found = children(self._documents, "service", request.path["parent"], "services")
        items = [(name, public(one)) for name, one in found]
        return page_answer("services", page(items, request.query))

    async def _delete(self, request: Request) -> dict[str, Any]:
        name = request.path["name"]
        service = self._existing(name)
        check_etag(service, request.query.get("etag"))
        parent = location_parent(name)
        service = {**service, "deleteTime": now()}
        if request.query.get("validateOnly"):
            return self._operations.finished(parent, _typed(service))
        revisions = [key for key, _ in children(self._documents, "revision", name, "revisions")]
        with self._documents.transaction():
            self._documents.delete(f"service:{name}")
            self._policies.forget(name)
            for revision in revisions:
                self._documents.delete(f"revision:{revision}")

        async def remove() -> dict[str, Any]:
            # Before the lock: a deployment that waits for one of them then gives up.
            await asyncio.gather(*(self._revisions.take_down(one) for one in revisions))
            async with self._lock(name):
                await asyncio.gather(*(self._revisions.take_down(one) for one in revisions))
                if self._documents.get(f"service:{name}") is None:
                    for front in self._fronts.pop(name, {}).values():
                        await front.close()
            return _typed(service)

        return await self._operations.start(parent, remove(), _typed(service))

    async def _get_revision(self, request: Request) -> dict[str, Any]:
        return public(self._existing_revision(request.path["name"]))

    async def _list_revisions(self, request: Request) -> dict[str, Any]:
        found = children(self._documents, "revision", request.path["parent"], "revisions")
        # The newest first, as the console and gcloud show them.
        found.sort(key=lambda pair: pair[1]["createTime"], reverse=True)
        items = [(f"{index:09d}", public(one)) for index, (_, one) in enumerate(found)]
        return page_answer("revisions", page(items, request.query))

    async def _delete_revision(self, request: Request) -> dict[str, Any]:
        name = request.path["name"]
        revision = self._existing_revision(name)
        check_etag(revision, request.query.get("etag"))
        service = self._existing(revision["service"])
        serving = {one["revision"] for one in service.get("trafficStatuses", [])}
        pinned = {one.get("revision") for one in service["traffic"]}
        if name == service["latestCreatedRevision"] or short(name) in serving | pinned:
            raise FailedPrecondition(
                f"Revision '{short(name)}' cannot be deleted: it is the latest one, or gets "
                "traffic or has a tag. Move the traffic first."
            )
        parent = location_parent(name)
        kind = f"{KIND}Revision"
        answer = {"@type": kind, **public(revision), "deleteTime": now()}
        if not request.query.get("validateOnly"):
            self._documents.delete(f"revision:{name}")
            await self._revisions.take_down(name)
        return self._operations.finished(parent, answer, answer)

    def _existing(self, name: str) -> dict[str, Any]:
        service = self._documents.get(f"service:{name}")
        if service is None:
            raise self._missing(name)
        return service

    def _existing_revision(self, name: str) -> dict[str, Any]:
        revision = self._documents.get(f"revision:{name}")
        if revision is None:
            raise NotFound(f"Resource '{short(name)}' of kind 'REVISION' does not exist.")
        return revision

    def _missing(self, name: str) -> NotFound:
        parts = name.split("/")
        return NotFound(
            f"Resource '{short(name)}' of kind 'SERVICE' in region '{parts[3]}' in project "
            f"'{parts[1]}' does not exist."
        )

    def _lock(self, name: str) -> asyncio.Lock:
        return self._locks.setdefault(name, asyncio.Lock())


def _typed(service: Mapping[str, Any]) -> dict[str, Any]:
    return {"@type": f"{KIND}Service", **public(service)}

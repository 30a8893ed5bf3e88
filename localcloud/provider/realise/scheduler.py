"""`gcp:cloudscheduler:Job` in the local Cloud Scheduler."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from localcloud.provider.clients import Clients
from localcloud.provider.errors import ServiceError
from localcloud.provider.realise.shapes import project_of, short, taken

_FIELDS: Final = (
    "appEngineHttpTarget",
    "attemptDeadline",
    "description",
    "httpTarget",
    "pubsubTarget",
    "retryConfig",
    "schedule",
    "timeZone",
)


class Job:
    """A schedule; its id is its full name."""

    usual: Final[dict[str, Any]] = {"timeZone": "Etc/UTC", "attemptDeadline": "180s"}

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    def locate(self, properties: Mapping[str, Any]) -> str | None:
        name = _name(properties)
        return name if self._clients.rest.find(f"/v1/{name}") is not None else None

    def create(self, properties: Mapping[str, Any]) -> str:
        name = _name(properties)
        parent = name.partition("/jobs/")[0]
        self._clients.rest.call("POST", f"/v1/{parent}/jobs", None, _body(properties))
        self._rest(name, paused=bool(properties.get("paused")))
        return name

    def read(self, id: str, state: Mapping[str, Any]) -> dict[str, Any] | None:  # noqa: A002
        job = self._clients.rest.find(f"/v1/{id}")
        if job is None:
            return None
        paused = job.get("state") == "PAUSED"
        return {
            "name": short(id),
            "project": project_of(id),
            "region": id.split("/")[3],
            "state": job.get("state"),
            "paused": paused if paused or "paused" in state else None,
            **{name: job.get(name) for name in _FIELDS},
        }

    def update(self, id: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> str:  # noqa: A002
        body = _body(new)
        mask = ",".join(name for name in _FIELDS if name in body or old.get(name) is not None)
        self._clients.rest.call("PATCH", f"/v1/{id}", {"updateMask": mask}, body)
        self._rest(id, paused=bool(new.get("paused")))
        return id

    def _rest(self, name: str, *, paused: bool) -> None:
        """Pause or resume a job, if it is not so already: the API refuses to do either twice."""
        job = self._clients.rest.find(f"/v1/{name}") or {}
        if (job.get("state") == "PAUSED") != paused:
            self._clients.rest.call(
                "POST", f"/v1/{name}:{'pause' if paused else 'resume'}", None, {}
            )

    def delete(self, id: str, state: Mapping[str, Any]) -> None:  # noqa: A002
        try:
            self._clients.rest.call("DELETE", f"/v1/{id}")
        except ServiceError as error:
            if error.code != 404:
                raise


def _name(properties: Mapping[str, Any]) -> str:
    place = f"projects/{properties['project']}/locations/{properties['region']}"
    return f"{place}/jobs/{short(properties['name'])}"


def _body(properties: Mapping[str, Any]) -> dict[str, Any]:
    body = taken(properties, *_FIELDS)
    # The documented default, which the API needs to be told.
    body.setdefault("timeZone", "Etc/UTC")
    return {**body, "name": _name(properties)}

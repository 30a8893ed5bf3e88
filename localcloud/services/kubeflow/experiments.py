"""Experiments: names under which runs are kept together."""

from __future__ import annotations

import uuid
from typing import Any, Final, final

from starlette.requests import Request
from starlette.routing import BaseRoute

from localcloud.rest.errors import AlreadyExists, InvalidArgument, NotFound
from localcloud.rest.operations import now
from localcloud.rest.store import Documents
from localcloud.services.kubeflow.answers import Document, body, route, text
from localcloud.services.kubeflow.listing import page

DEFAULT: Final = "Default"
"""The experiment of runs that name none; the API server makes it when it first starts."""
_KEY: Final = "experiment:"


@final
class Experiments:
    """Experiments by id."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    def routes(self) -> list[BaseRoute]:
        """For the application of all services."""
        one = "/experiments/{id}"
        return [
            route("/experiments", "GET", self._list),
            route("/experiments", "POST", self._create),
            route(f"{one}:archive", "POST", self._archive),
            route(f"{one}:unarchive", "POST", self._unarchive),
            route(one, "GET", self._get),
            route(one, "DELETE", self._delete),
        ]

    def default(self) -> str:
        """The id of the default experiment, made when it is missing."""
        found = self._named(DEFAULT)
        made = found or self._make(DEFAULT, "All runs created without specifying an experiment.")
        return made["experiment_id"]

    def find(self, number: str) -> dict[str, Any]:
        """
        Raises:
            NotFound: there is no such experiment.
        """
        found = self._documents.get(f"{_KEY}{number}")
        if found is None:
            raise NotFound(f"Experiment {number} not found")
        return found

    def used(self, number: str) -> None:
        """Note that a run began."""

        def edit(one: dict[str, Any]) -> None:
            one["last_run_created_at"] = now()

        self._documents.change(f"{_KEY}{number}", edit)

    async def _list(self, request: Request) -> Document:
        every = [stored.value for stored in self._documents.list(_KEY)]
        return page(every, request.query_params, "experiments")

    async def _create(self, request: Request) -> Document:
        given = await body(request, "V2beta1Experiment")
        name = text(given, "display_name")
        if not name.strip():
            raise InvalidArgument("display_name of an experiment must not be empty")
        if self._named(name) is not None:
            raise AlreadyExists(f"Experiment {name} already exists; please use another name")
        return self._make(name, text(given, "description"))

    async def _get(self, request: Request) -> Document:
        return self.find(request.path_params["id"])

    async def _archive(self, request: Request) -> Document:
        return self._store(request, "ARCHIVED")

    async def _unarchive(self, request: Request) -> Document:
        return self._store(request, "AVAILABLE")

    async def _delete(self, request: Request) -> Document:
        found = self.find(request.path_params["id"])
        self._documents.delete(f"{_KEY}{found['experiment_id']}")
        return {}

    def _store(self, request: Request, state: str) -> Document:
        found = self.find(request.path_params["id"])

        def edit(one: dict[str, Any]) -> None:
            one["storage_state"] = state

        self._documents.change(f"{_KEY}{found['experiment_id']}", edit)
        return {}

    def _named(self, name: str) -> dict[str, Any] | None:
        every = (stored.value for stored in self._documents.list(_KEY))
        return next((one for one in every if one["display_name"] == name), None)

    def _make(self, name: str, description: str) -> dict[str, Any]:
        made = {
            "experiment_id": str(uuid.uuid4()),
            "display_name": name,
            "description": description,
            "created_at": now(),
            "storage_state": "AVAILABLE",
        }
        self._documents.put(f"{_KEY}{made['experiment_id']}", made)
        return made

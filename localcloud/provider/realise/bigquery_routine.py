"""`gcp:bigquery:Routine` in the local BigQuery."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from localcloud.provider.clients import Clients
from localcloud.provider.errors import ServiceError
from localcloud.provider.realise.shapes import project_of, short, taken

_FIELDS: Final = (
    "definitionBody",
    "description",
    "determinismLevel",
    "importedLibraries",
    "language",
    "routineType",
)
_TYPES: Final = ("returnType", "returnTableType")


class Routine:
    """A function or procedure; its id is its full name."""

    changing: Final = ("lastModifiedTime",)

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    def locate(self, properties: Mapping[str, Any]) -> str | None:
        name = _name(properties)
        return name if self._clients.bigquery.find(f"/{name}") is not None else None

    def create(self, properties: Mapping[str, Any]) -> str:
        name = _name(properties)
        parent = name.partition("/routines/")[0]
        body = _body(properties)
        self._clients.bigquery.call("POST", f"/{parent}/routines", None, body)
        return name

    def read(self, id: str, state: Mapping[str, Any]) -> dict[str, Any] | None:  # noqa: A002
        routine = self._clients.bigquery.find(f"/{id}")
        if routine is None:
            return None
        return {
            "routineId": short(id),
            "datasetId": id.split("/")[3],
            "project": project_of(id),
            **taken(routine, *_FIELDS),
            **{
                name: int(routine[name])
                for name in ("creationTime", "lastModifiedTime")
                if name in routine
            },
        }

    def update(self, id: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> str:  # noqa: A002
        self._clients.bigquery.call("PUT", f"/{id}", None, _body(new))
        return id

    def delete(self, id: str, state: Mapping[str, Any]) -> None:  # noqa: A002
        try:
            self._clients.bigquery.call("DELETE", f"/{id}")
        except ServiceError as error:
            if error.code != 404:
                raise


def _name(properties: Mapping[str, Any]) -> str:
    dataset = short(properties["datasetId"])
    return f"projects/{properties['project']}/datasets/{dataset}/routines/{properties['routineId']}"


def _body(properties: Mapping[str, Any]) -> dict[str, Any]:
    project, dataset, routine = _name(properties).split("/")[1::2]
    body = taken(properties, *_FIELDS)
    body |= {name: json.loads(properties[name]) for name in _TYPES if properties.get(name)}
    if properties.get("arguments"):
        body["arguments"] = [
            {**one, **({"dataType": json.loads(one["dataType"])} if one.get("dataType") else {})}
            for one in properties["arguments"]
        ]
    reference = {"projectId": project, "datasetId": dataset, "routineId": routine}
    return {**body, "routineReference": reference}

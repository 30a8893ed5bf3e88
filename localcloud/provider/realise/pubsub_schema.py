"""`gcp:pubsub:Schema` in the local Pub/Sub; a changed definition is committed as a revision."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.api_core.exceptions import NotFound
from google.pubsub_v1.types import Schema as Message
from google.pubsub_v1.types import SchemaView

from localcloud.provider.clients import TIMEOUT, Clients
from localcloud.provider.diff import same
from localcloud.provider.realise.shapes import full, project_of, short


class Schema:
    """A schema; its id is its full name."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    def locate(self, properties: Mapping[str, Any]) -> str | None:
        name = full("schemas", properties["name"], properties["project"])
        return name if self._get(name) is not None else None

    def create(self, properties: Mapping[str, Any]) -> str:
        made = self._clients.schemas.create_schema(
            parent=f"projects/{properties['project']}",
            schema=_message(properties),
            schema_id=short(properties["name"]),
            retry=None,
            timeout=TIMEOUT,
        )
        return made.name

    def read(self, id: str, state: Mapping[str, Any]) -> dict[str, Any] | None:  # noqa: A002
        schema = self._get(id)
        if schema is None:
            return None
        return {
            "name": short(schema.name),
            "project": project_of(schema.name),
            "type": Message.Type(schema.type_).name,
            "definition": schema.definition,
        }

    def update(self, id: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> str:  # noqa: A002
        present = self._get(id)
        if present is None or not same(present.definition, new.get("definition")):
            self._clients.schemas.commit_schema(
                name=id, schema=_message(new), retry=None, timeout=TIMEOUT
            )
        return id

    def delete(self, id: str, state: Mapping[str, Any]) -> None:  # noqa: A002
        try:
            self._clients.schemas.delete_schema(name=id, retry=None, timeout=TIMEOUT)
        except NotFound:
            return

    def _get(self, name: str) -> Message | None:
        try:
            return self._clients.schemas.get_schema(
                request={"name": name, "view": SchemaView.FULL}, retry=None, timeout=TIMEOUT
            )
        except NotFound:
            return None


def _message(properties: Mapping[str, Any]) -> Message:
    return Message(
        name=full("schemas", properties["name"], properties["project"]),
        type_=Message.Type[properties.get("type") or "TYPE_UNSPECIFIED"],
        definition=properties.get("definition", ""),
    )

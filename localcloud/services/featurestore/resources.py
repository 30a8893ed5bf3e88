"""What the resources of the feature store have in common: named children that are made, read,
listed, changed and deleted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from localcloud.rest.app import Handler, Request
from localcloud.rest.errors import AlreadyExists, InvalidArgument, NotFound
from localcloud.rest.listing import mask_fields, page, property_fields
from localcloud.rest.operations import Operations, now
from localcloud.rest.store import Documents
from localcloud.services.vertex import names

TYPE: Final = "type.googleapis.com/google.cloud.aiplatform.v1."
PREFIX: Final = "aiplatform.projects.locations."
# https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.featureOnlineStores
_ID: Final = re.compile(r"[a-z_][a-z0-9_]{0,59}")
_FIELDS: Final = property_fields("name", "create_time", "update_time", "labels.")


class Resources:
    """One collection. Subclasses set the class variables and check what they are given."""

    KIND: ClassVar[str]
    """As the API spells the type: `FeatureView`."""
    COLLECTION: ClassVar[str]
    """As it stands in names: `featureViews`."""
    METHODS: ClassVar[str]
    """Of the collection's methods, after `aiplatform.projects.locations.`."""
    MUTABLE: ClassVar[Sequence[str]]
    PARENT: ClassVar[str | None] = None
    """The kind that it lies below; None below a location."""

    def __init__(self, documents: Documents, operations: Operations) -> None:
        self._documents = documents
        self._operations = operations

    def handlers(self) -> dict[str, Handler]:
        """By method id."""
        prefix = f"{PREFIX}{self.METHODS}."
        return {
            f"{prefix}create": self.create,
            f"{prefix}get": self.get,
            f"{prefix}list": self.list,
            f"{prefix}patch": self.patch,
            f"{prefix}delete": self.delete,
        }

    def check(self, parent: str, body: Mapping[str, Any]) -> None:
        """Refuse what Google would refuse.

        Raises:
            ApiError: with the field.
        """
        raise NotImplementedError

    def output(self) -> dict[str, Any]:
        """What the server adds to a new one."""
        return {}

    def made(self, resource: Mapping[str, Any], query: Mapping[str, Any]) -> None:
        """Called once it is stored, and after each change with an empty query."""

    async def gone(self, name: str, query: Mapping[str, Any]) -> None:
        """Called before it is forgotten; may refuse."""

    def find(self, name: str) -> dict[str, Any]:
        """A stored one.

        Raises:
            NotFound: there is none of this name.
        """
        resource = self._documents.get(key(self.KIND, name))
        if resource is None:
            raise NotFound(f"The {self.KIND} '{name}' does not exist.")
        return resource

    async def create(self, request: Request) -> dict[str, Any]:
        """A new one, under the id that the query gives."""
        parent = request.path["parent"]
        if self.PARENT is not None and self._documents.get(key(self.PARENT, parent)) is None:
            raise NotFound(f"The {self.PARENT} '{parent}' does not exist.")
        parameter = f"{self.KIND[0].lower()}{self.KIND[1:]}Id"
        given = request.query.get(parameter, "")
        if not _ID.fullmatch(given):
            raise InvalidArgument(
                f"Invalid {parameter} '{given}': 1 to 60 lower-case letters, digits and "
                "underscores, not beginning with a digit."
            )
        names.check_labels(request.body.get("labels"))
        self.check(parent, request.body)
        time = now()
        resource = {
            **request.body,
            "name": f"{parent}/{self.COLLECTION}/{given}",
            "createTime": time,
            "updateTime": time,
            **self.output(),
        }
        with self._documents.transaction():
            place = key(self.KIND, resource["name"])
            if self._documents.get(place) is not None:
                raise AlreadyExists(f"The {self.KIND} '{resource['name']}' already exists.")
            self._documents.put(place, resource)
        self.made(resource, request.query)
        return self._done("Create", resource)

    async def get(self, request: Request) -> dict[str, Any]:
        """One of them."""
        return self.find(request.path["name"])

    async def list(self, request: Request) -> dict[str, Any]:
        """All below a parent."""
        below = key(self.KIND, f"{request.path['parent']}/{self.COLLECTION}/")
        found = [
            one.value for one in self._documents.list(below) if "/" not in one.key[len(below) :]
        ]
        return page(found, request.query, _FIELDS, key=self.COLLECTION)

    async def patch(self, request: Request) -> dict[str, Any]:
        """Change the fields of the mask."""
        name = request.path["name"]
        resource = self.find(name)
        for field in mask_fields(request.query.get("updateMask", ""), self.MUTABLE, what=self.KIND):
            if field in request.body:
                resource[field] = request.body[field]
            else:
                resource.pop(field, None)
        names.check_labels(resource.get("labels"))
        self.check(name.rpartition(f"/{self.COLLECTION}/")[0], resource)
        resource["updateTime"] = now()
        self._documents.put(key(self.KIND, name), resource)
        self.made(resource, {})
        return self._done("Update", resource)

    async def delete(self, request: Request) -> dict[str, Any]:
        """Forget one of them, with what is below it if `force` says so."""
        name = self.find(request.path["name"])["name"]
        await self.gone(name, request.query)
        self._documents.delete(key(self.KIND, name))
        time = now()
        return self._operations.finished(
            name,
            {"@type": "type.googleapis.com/google.protobuf.Empty"},
            {
                "@type": f"{TYPE}DeleteOperationMetadata",
                "genericMetadata": {"createTime": time, "updateTime": time},
            },
        )

    def _done(self, verb: str, resource: Mapping[str, Any]) -> dict[str, Any]:
        time = resource["updateTime"]
        return self._operations.finished(
            resource["name"],
            {"@type": f"{TYPE}{self.KIND}", **resource},
            {
                "@type": f"{TYPE}{verb}{self.KIND}OperationMetadata",
                "genericMetadata": {"createTime": time, "updateTime": time},
            },
        )


def key(kind: str, name: str) -> str:
    """Where a resource is in the store."""
    return f"{kind}:{name}"

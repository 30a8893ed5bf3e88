"""`gcp:vertex:AiFeature...` in the local Vertex AI: the registry of features, and what is served of
them. What is in a store belongs to its syncs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from localcloud.provider.clients import Clients
from localcloud.provider.diff import same
from localcloud.provider.errors import ServiceError
from localcloud.provider.realise.shapes import labels_seen, project_of, short, taken


class _Named:
    """A resource whose id is its full name. Subclasses say where it lies and what it has."""

    changing: Final = ("updateTime", "etag")
    COLLECTION: ClassVar[str]
    PARAMETER: ClassVar[str]
    FIELDS: ClassVar[tuple[str, ...]]
    """As the API and pulumi-gcp both spell them."""
    MUTABLE: ClassVar[tuple[str, ...]]
    COMPUTED: ClassVar[tuple[str, ...]] = ("createTime", "updateTime")
    FORCED: ClassVar[bool] = False
    """Whether the API can delete it with what is below it."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    def parent(self, properties: Mapping[str, Any]) -> str:
        """Full name of what it lies below."""
        return f"projects/{properties['project']}/locations/{properties['region']}"

    def place(self, id: str) -> dict[str, Any]:  # noqa: A002
        """The inputs that its name tells."""
        return {"name": short(id), "project": project_of(id), "region": id.split("/")[3]}

    def locate(self, properties: Mapping[str, Any]) -> str | None:
        name = self._name(properties)
        return name if self._clients.rest.find(f"/v1/{name}") is not None else None

    def create(self, properties: Mapping[str, Any]) -> str:
        parent, _, own = self._name(properties).rpartition(f"/{self.COLLECTION}/")
        path = f"/v1/{parent}/{self.COLLECTION}"
        self._call("POST", path, {self.PARAMETER: own}, self._body(properties))
        return self._name(properties)

    def read(self, id: str, state: Mapping[str, Any]) -> dict[str, Any] | None:  # noqa: A002
        found = self._clients.rest.find(f"/v1/{id}")
        if found is None:
            return None
        return {
            **self.place(id),
            **{name: found.get(name) for name in self.FIELDS},
            **taken(found, *self.COMPUTED),
            **labels_seen(found.get("labels", {}), state),
        }

    def update(self, id: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> str:  # noqa: A002
        changed = [one for one in self.MUTABLE if not same(old.get(one), new.get(one))]
        mask = ",".join(dict.fromkeys([*changed, "labels"]))
        self._call("PATCH", f"/v1/{id}", {"updateMask": mask}, self._body(new))
        return id

    def delete(self, id: str, state: Mapping[str, Any]) -> None:  # noqa: A002
        forced = self.FORCED and state.get("forceDestroy")
        try:
            self._call("DELETE", f"/v1/{id}", {"force": "true"} if forced else None)
        except ServiceError as error:
            if error.code != 404:
                raise

    def _name(self, properties: Mapping[str, Any]) -> str:
        return f"{self.parent(properties)}/{self.COLLECTION}/{short(properties['name'])}"

    def _body(self, properties: Mapping[str, Any]) -> dict[str, Any]:
        return {**taken(properties, *self.FIELDS), "labels": properties.get("effectiveLabels", {})}

    def _call(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> None:
        operation = self._clients.rest.call(method, path, query, body)
        self._clients.rest.finished(operation, "v1")


class AiFeatureGroup(_Named):
    """Where in BigQuery features are."""

    COLLECTION = "featureGroups"
    PARAMETER = "featureGroupId"
    FIELDS = ("bigQuery", "description")
    MUTABLE = FIELDS


class AiFeatureGroupFeature(_Named):
    """One of them."""

    COLLECTION = "features"
    PARAMETER = "featureId"
    FIELDS = ("description", "versionColumnName")
    MUTABLE = FIELDS

    def parent(self, properties: Mapping[str, Any]) -> str:
        place = super().parent(properties)
        return f"{place}/featureGroups/{short(properties['featureGroup'])}"

    def place(self, id: str) -> dict[str, Any]:  # noqa: A002
        return {**super().place(id), "featureGroup": id.split("/")[5]}


class AiFeatureOnlineStore(_Named):
    """What serves them."""

    COLLECTION = "featureOnlineStores"
    PARAMETER = "featureOnlineStoreId"
    FIELDS = ("bigtable", "encryptionSpec", "optimized")
    MUTABLE = ("bigtable",)
    COMPUTED = ("createTime", "updateTime", "state")
    FORCED = True


class AiFeatureOnlineStoreFeatureview(_Named):
    """What is served of them, from which source and how often it is copied."""

    COLLECTION = "featureViews"
    PARAMETER = "featureViewId"
    FIELDS = ("bigQuerySource", "featureRegistrySource", "syncConfig")
    MUTABLE = FIELDS

    def parent(self, properties: Mapping[str, Any]) -> str:
        place = super().parent(properties)
        return f"{place}/featureOnlineStores/{short(properties['featureOnlineStore'])}"

    def place(self, id: str) -> dict[str, Any]:  # noqa: A002
        return {**super().place(id), "featureOnlineStore": id.split("/")[5]}

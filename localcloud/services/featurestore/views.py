"""Feature views: which columns of BigQuery a store serves, and when they are copied there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, final

from localcloud.rest.errors import InvalidArgument, NotFound, Unimplemented
from localcloud.rest.operations import Operations
from localcloud.rest.store import Documents
from localcloud.services.featurestore.clock import parse
from localcloud.services.featurestore.groups import Features, Groups, check_columns, check_table
from localcloud.services.featurestore.resources import Resources, key
from localcloud.services.featurestore.syncs import Syncs
from localcloud.services.featurestore.values import Values


@final
class Views(Resources):
    """Feature views of the online stores.

    Args:
        changed: called after each creation and change.
    """

    KIND = "FeatureView"
    COLLECTION = "featureViews"
    METHODS = "featureOnlineStores.featureViews"
    MUTABLE = ("labels", "syncConfig", "bigQuerySource", "featureRegistrySource")
    PARENT = "FeatureOnlineStore"

    def __init__(
        self,
        documents: Documents,
        operations: Operations,
        values: Values,
        syncs: Syncs,
        changed: Callable[[], None],
    ) -> None:
        super().__init__(documents, operations)
        self._values = values
        self._syncs = syncs
        self._changed = changed

    def check(self, parent: str, body: Mapping[str, Any]) -> None:
        """One source, that is there; a schedule that has a next time."""
        for field in ("vertexRagSource", "indexConfig", "optimizedConfig"):
            if field in body:
                raise Unimplemented(
                    f"The local cloud's feature views have no {field}: they answer by entity only."
                )
        config = body.get("syncConfig", {})
        if config.get("continuous"):
            raise Unimplemented(
                "The local cloud syncs on demand and by cron: leave out continuous."
            )
        if config.get("cron"):
            parse(config["cron"])
        table, registry = body.get("bigQuerySource"), body.get("featureRegistrySource")
        if (table is None) == (registry is None):
            raise InvalidArgument(
                "Exactly one of big_query_source and feature_registry_source is required."
            )
        if table is not None:
            check_table(table.get("uri", ""), "big_query_source.uri")
            check_columns(table.get("entityIdColumns", []))
        if registry is not None:
            self._registered(parent.partition("/featureOnlineStores/")[0], registry)

    def made(self, resource: Mapping[str, Any], query: Mapping[str, Any]) -> None:
        """Begin the sync that was asked for with it."""
        if query.get("runSyncImmediately"):
            self._syncs.begin(resource["name"])
        self._changed()

    async def gone(self, name: str, query: Mapping[str, Any]) -> None:
        """With its syncs and its values."""
        del query
        await self._syncs.forget(name)
        await self._values.drop(name)

    def _registered(self, place: str, source: Mapping[str, Any]) -> None:
        groups = source.get("featureGroups", [])
        if len(groups) != 1:
            raise Unimplemented(
                f"The local cloud serves features of one group in a view, got {len(groups)}."
            )
        (group,) = groups
        name = f"{place}/featureGroups/{group.get('featureGroupId')}"
        for kind, wanted in (
            (Groups.KIND, name),
            *((Features.KIND, f"{name}/features/{one}") for one in group.get("featureIds", [])),
        ):
            if self._documents.get(key(kind, wanted)) is None:
                raise NotFound(f"The {kind} '{wanted}' does not exist.")
        if not group.get("featureIds"):
            raise InvalidArgument("feature_ids is required: name at least one feature.")

"""`fetchFeatureValues`: what a feature view knows of one entity."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Mapping
from typing import Any, final

from localcloud.rest.app import Handler, Request
from localcloud.rest.errors import InvalidArgument, NotFound
from localcloud.rest.store import Documents
from localcloud.services.featurestore.resources import PREFIX, key
from localcloud.services.featurestore.values import Values, key_values, struct


@final
class Fetching:
    """Answers for entities.

    Args:
        documents: has the views.
        values: has what was synced.
    """

    def __init__(self, documents: Documents, values: Values) -> None:
        self._documents = documents
        self._values = values

    def handlers(self) -> dict[str, Handler]:
        """By method id."""
        views = f"{PREFIX}featureOnlineStores.featureViews."
        return {f"{views}fetchFeatureValues": self.fetch}

    async def fetch(self, request: Request) -> dict[str, Any]:
        """The values of one entity.

        Raises:
            NotFound: there is no such view, or no such entity in it.
            FailedPrecondition: it was never synced.
        """
        name = request.path["featureView"]
        view = self._documents.get(key("FeatureView", name))
        if view is None:
            raise NotFound(f"The FeatureView '{name}' does not exist.")
        # The first time it is imported, the others on this port need not wait.
        await asyncio.to_thread(importlib.import_module, "psycopg")
        parts = _parts(request.body)
        columns = self._entity(view)
        if len(parts) != len(columns):
            raise InvalidArgument(
                f"data_key has {len(parts)} parts; entities of '{name}' have {len(columns)}: "
                + ", ".join(columns)
            )
        row = await self._values.row(name, dict(zip(columns, parts, strict=True)))
        if row is None:
            raise NotFound(f"The entity {'/'.join(parts)!r} is not in the FeatureView '{name}'.")
        if request.body.get("dataFormat") == "PROTO_STRUCT":
            return {"protoStruct": struct(row)}
        return {"keyValues": {"features": key_values(row)}}

    def _entity(self, view: Mapping[str, Any]) -> list[str]:
        table = view.get("bigQuerySource")
        if table is not None:
            return table["entityIdColumns"]
        (chosen,) = view["featureRegistrySource"]["featureGroups"]
        place = view["name"].partition("/featureOnlineStores/")[0]
        name = f"{place}/featureGroups/{chosen['featureGroupId']}"
        group = self._documents.get(key("FeatureGroup", name))
        if group is None:
            raise NotFound(f"The FeatureGroup '{name}' does not exist.")
        return group["bigQuery"].get("entityIdColumns", ["entity_id"])


def _parts(body: Mapping[str, Any]) -> list[str]:
    asked = body.get("dataKey", {})
    if ("key" in asked) == ("compositeKey" in asked):
        raise InvalidArgument("data_key is required, with exactly one of key and composite_key.")
    return [asked["key"]] if "key" in asked else list(asked["compositeKey"].get("parts", []))

"""Feature online stores: what holds feature views. Here they all live in one PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

from localcloud.rest.errors import FailedPrecondition, InvalidArgument, Unimplemented
from localcloud.rest.operations import Operations
from localcloud.rest.store import Documents
from localcloud.services.featurestore.resources import Resources, key
from localcloud.services.featurestore.views import Views


@final
class Stores(Resources):
    """Online stores."""

    KIND = "FeatureOnlineStore"
    COLLECTION = "featureOnlineStores"
    METHODS = "featureOnlineStores"
    MUTABLE = ("labels", "bigtable")

    def __init__(self, documents: Documents, operations: Operations, views: Views) -> None:
        super().__init__(documents, operations)
        self._views = views

    def check(self, parent: str, body: Mapping[str, Any]) -> None:
        """Of Bigtable's kind, with sizes that fit."""
        del parent
        if "optimized" in body:
            raise Unimplemented(
                "The local cloud has no optimized online stores, which answer at an address of "
                "their own: set bigtable."
            )
        if "bigtable" not in body:
            raise InvalidArgument("One of bigtable and optimized is required.")
        scaling = body["bigtable"].get("autoScaling", {})
        low, high = scaling.get("minNodeCount", 0), scaling.get("maxNodeCount", 0)
        if not 1 <= low <= high <= 10 * low:
            raise InvalidArgument(
                f"auto_scaling: min_node_count {low} must be at least 1, and max_node_count {high} "
                "at least that and at most ten times as much."
            )

    def output(self) -> dict[str, Any]:
        """It is ready at once."""
        return {"state": "STABLE"}

    async def gone(self, name: str, query: Mapping[str, Any]) -> None:
        """With its views, if the caller says so."""
        below = self._documents.list(key(Views.KIND, f"{name}/"))
        if below and not query.get("force"):
            raise FailedPrecondition(
                f"The FeatureOnlineStore '{name}' has {len(below)} feature views; set force to "
                "delete them with it."
            )
        for one in below:
            await self._views.gone(one.value["name"], {})
            self._documents.delete(one.key)

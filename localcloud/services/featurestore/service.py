"""The parts of the feature store, put together."""

from __future__ import annotations

from typing import final

from localcloud.home import Home
from localcloud.processes import Supervisor
from localcloud.rest.app import Handler
from localcloud.rest.operations import Operations
from localcloud.rest.store import Documents
from localcloud.services.featurestore.clock import Clock
from localcloud.services.featurestore.fetching import Fetching
from localcloud.services.featurestore.groups import Features, Groups
from localcloud.services.featurestore.stores import Stores
from localcloud.services.featurestore.syncs import Syncs
from localcloud.services.featurestore.values import Values
from localcloud.services.featurestore.views import Views


@final
class FeatureStore:
    """The part of Vertex AI that keeps features; lives in its service and shares its store.

    Args:
        home: has the PostgreSQL and says where BigQuery is.
        documents: of the service.
        operations: of the service.
        supervisor: runs the syncs.
    """

    def __init__(
        self, home: Home, documents: Documents, operations: Operations, supervisor: Supervisor
    ) -> None:
        self._values = Values(home)
        self._syncs = Syncs(home, documents, supervisor, self._values)
        self._clock = Clock(documents, self._syncs)
        groups = Groups(documents, operations)
        views = Views(documents, operations, self._values, self._syncs, self._clock.wake)
        self._parts = (
            groups,
            Features(documents, operations),
            Stores(documents, operations, views),
            views,
            self._syncs,
            Fetching(documents, self._values),
        )

    def handlers(self) -> dict[str, Handler]:
        """By method id."""
        return {method: one for part in self._parts for method, one in part.handlers().items()}

    def start(self) -> None:
        """Close what an earlier process left open, and wait for the views' times."""
        self._syncs.recover()
        self._clock.start()

    async def stop(self) -> None:
        """Sync no more."""
        await self._clock.stop()
        await self._syncs.stop()
        await self._values.close()

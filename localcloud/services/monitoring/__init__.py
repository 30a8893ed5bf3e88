"""Cloud Monitoring v3: metrics of our own, alert policies that are evaluated, incidents, channels.

Gauges of numbers are kept; thresholds and absence are evaluated; notifications of schema 1.2 go to
Pub/Sub, and what would leave this machine to the home's inbox. The rest is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from starlette.routing import BaseRoute

from localcloud.home import Home
from localcloud.rest.app import Handler, Service
from localcloud.rest.discovery import Api
from localcloud.rest.store import Documents
from localcloud.services.monitoring.delivery import Sender
from localcloud.services.monitoring.descriptors import Descriptors
from localcloud.services.monitoring.evaluator import Evaluator, Watch
from localcloud.services.monitoring.inbox import Inbox
from localcloud.services.monitoring.incidents import Incidents
from localcloud.services.monitoring.policies import Policies
from localcloud.services.monitoring.series import SeriesStore
from localcloud.services.monitoring.time_series import TimeSeries


class CloudMonitoring:
    """The service that answers for `monitoring.googleapis.com`, v3."""

    def __init__(self, home: Home) -> None:
        folder = home.folder("monitoring")
        self._api = Api.load("monitoring", "v3")
        self._documents = Documents(folder / "state.sqlite")
        self._series = SeriesStore(folder / "series.sqlite")
        self._inbox = Inbox(self._documents)
        self._sender = Sender(home, self._documents, self._inbox)
        descriptors = Descriptors(self._documents, self._series)
        incidents = Incidents(self._documents)
        policies = Policies(self._api, self._documents, descriptors, incidents, self._changed)
        evaluator = Evaluator(self._documents, self._series, policies, incidents)
        self._watch = Watch(evaluator, self._sender.tell)
        self._handlers: dict[str, Handler] = {
            **descriptors.handlers,
            **incidents.handlers,
            **policies.handlers,
            **TimeSeries(descriptors, self._series, self._changed).handlers,
        }

    @property
    def apis(self) -> Sequence[Api]:
        """Cloud Monitoring's document."""
        return [self._api]

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """By method id."""
        return self._handlers

    @property
    def routes(self) -> list[BaseRoute]:
        """The inbox."""
        return self._inbox.routes

    async def start(self) -> None:
        """Take up what an earlier process left."""
        self._watch.start()
        self._sender.start()

    async def stop(self) -> None:
        """Watch no more; the state stays."""
        await self._watch.stop()
        await self._sender.stop()
        self._documents.close()
        self._series.close()

    def _changed(self) -> None:
        self._watch.tell()


def service(home: Home) -> Service:
    """Cloud Monitoring for one home."""
    return CloudMonitoring(home)

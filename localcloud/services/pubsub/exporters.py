"""Which subscriptions deliver by themselves, and how."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localcloud.services.pubsub.delivery import Subscription
from localcloud.services.pubsub.push import Pusher
from localcloud.services.pubsub.subscriptions import Exporter
from localcloud.services.pubsub.wire import Pb

if TYPE_CHECKING:
    from localcloud.services.pubsub.broker import Broker


class LocalExporters:
    """Pushers and BigQuery writers of one server."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def check(self, config: Pb) -> None:
        """Judge a destination before a subscription is pointed at it.

        Raises:
            Fault: NOT_FOUND, INVALID_ARGUMENT, or UNAVAILABLE when BigQuery does not answer.
        """
        if config.HasField("bigquery_config"):
            # Google's BigQuery client takes half a second to import; most servers never need it.
            from localcloud.services.pubsub.bigquery import check_destination

            await check_destination(self._broker, config)

    def start(self, subscription: Subscription) -> Exporter | None:
        """Begin to deliver; none for a subscription that is pulled."""
        config = subscription.config
        if config.detached:
            return None
        if config.HasField("push_config"):
            return Pusher(self._broker, subscription)
        if config.HasField("bigquery_config"):
            from localcloud.services.pubsub.bigquery import Writer

            return Writer(self._broker, subscription)
        return None

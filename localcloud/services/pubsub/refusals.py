"""What Pub/Sub on Google Cloud can do and this one cannot: refused by name, never pretended."""

from __future__ import annotations

from localcloud.services.pubsub.errors import unimplemented
from localcloud.services.pubsub.wire import Pb


def refuse_topic(topic: Pb) -> None:
    """Refuse a topic that takes its messages from elsewhere or changes them.

    Raises:
        Fault: UNIMPLEMENTED.
    """
    if topic.HasField("ingestion_data_source_settings"):
        raise unimplemented(
            "ingestion_data_source_settings (import topics) is not supported by the local "
            "Pub/Sub; publish the messages instead."
        )
    _refuse_transforms(topic)


def refuse_subscription(subscription: Pb) -> None:
    """Refuse a subscription that writes where nothing local can take it.

    Raises:
        Fault: UNIMPLEMENTED.
    """
    if subscription.HasField("cloud_storage_config"):
        raise unimplemented(
            "cloud_storage_config (Cloud Storage subscriptions) is not supported by the local "
            "Pub/Sub; use a pull, push or BigQuery subscription."
        )
    if subscription.HasField("bigtable_config"):
        raise unimplemented(
            "bigtable_config (Bigtable subscriptions) is not supported by the local Pub/Sub; use "
            "a pull, push or BigQuery subscription."
        )
    _refuse_transforms(subscription)


def _refuse_transforms(resource: Pb) -> None:
    if resource.message_transforms:
        raise unimplemented(
            "message_transforms (JavaScript functions, compression, inference) is not supported "
            "by the local Pub/Sub; transform in the subscriber."
        )

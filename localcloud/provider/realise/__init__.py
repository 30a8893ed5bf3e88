"""Make resources real in the services of the local cloud, one module a service.

A type that is not listed here is recorded only.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, Final, Protocol

from localcloud.provider.clients import Clients


class Realiser(Protocol):
    """Makes resources of one type real. `properties` are plain and have the provider's defaults.

    What `read` returns is the service's truth in Pulumi's names: a key with None is unset there, a
    key left out is not the service's to know. Errors are the client's own; the caller words them.
    """

    def __init__(self, clients: Clients) -> None: ...

    def locate(self, properties: Mapping[str, Any]) -> str | None:
        """The id of what exists already under this identity."""
        ...

    def create(self, properties: Mapping[str, Any]) -> str:
        """Make it; returns the id."""
        ...

    def read(self, id: str, state: Mapping[str, Any]) -> dict[str, Any] | None:  # noqa: A002
        """Its present properties, None where it does not exist.

        `state` is what was last known: empty when importing.
        """
        ...

    def update(
        self,
        id: str,  # noqa: A002
        old: Mapping[str, Any],
        new: Mapping[str, Any],
    ) -> str:
        """Change it in place; returns the id to read it by, another one for a relaunched job."""
        ...

    def delete(self, id: str, state: Mapping[str, Any]) -> None:  # noqa: A002
        """Remove it; one that is gone already is fine."""
        ...


_REALISERS: Final = {
    "gcp:pubsub/topic:Topic": "pubsub_topic:Topic",
    "gcp:pubsub/subscription:Subscription": "pubsub_subscription:Subscription",
    "gcp:pubsub/schema:Schema": "pubsub_schema:Schema",
    "gcp:pubsub/topicIAMMember:TopicIAMMember": "iam:TopicMember",
    "gcp:pubsub/subscriptionIAMMember:SubscriptionIAMMember": "iam:SubscriptionMember",
    "gcp:storage/bucket:Bucket": "storage_bucket:Bucket",
    "gcp:storage/bucketObject:BucketObject": "storage_object:BucketObject",
    "gcp:storage/notification:Notification": "storage_notification:Notification",
    "gcp:storage/bucketIAMMember:BucketIAMMember": "iam:BucketMember",
    "gcp:bigquery/dataset:Dataset": "bigquery_dataset:Dataset",
    "gcp:bigquery/table:Table": "bigquery_table:Table",
    "gcp:bigquery/datasetAccess:DatasetAccess": "bigquery_access:DatasetAccess",
    "gcp:bigquery/routine:Routine": "bigquery_routine:Routine",
    "gcp:bigquery/datasetIamMember:DatasetIamMember": "iam:DatasetMember",
    "gcp:vertex/aiEndpoint:AiEndpoint": "vertex_endpoint:AiEndpoint",
    "gcp:vertex/aiFeatureGroup:AiFeatureGroup": "vertex_features:AiFeatureGroup",
    "gcp:vertex/aiFeatureGroupFeature:AiFeatureGroupFeature": (
        "vertex_features:AiFeatureGroupFeature"
    ),
    "gcp:vertex/aiFeatureOnlineStore:AiFeatureOnlineStore": "vertex_features:AiFeatureOnlineStore",
    "gcp:vertex/aiFeatureOnlineStoreFeatureview:AiFeatureOnlineStoreFeatureview": (
        "vertex_features:AiFeatureOnlineStoreFeatureview"
    ),
    "gcp:cloudrunv2/service:Service": "run:Service",
    "gcp:cloudrunv2/job:Job": "run:Job",
    "gcp:cloudrunv2/serviceIamMember:ServiceIamMember": "iam:RunServiceMember",
    "gcp:cloudrunv2/jobIamMember:JobIamMember": "iam:RunJobMember",
    "gcp:monitoring/alertPolicy:AlertPolicy": "monitoring:AlertPolicy",
    "gcp:monitoring/notificationChannel:NotificationChannel": "monitoring:NotificationChannel",
    "gcp:monitoring/metricDescriptor:MetricDescriptor": "monitoring:MetricDescriptor",
    "gcp:cloudscheduler/job:Job": "scheduler:Job",
    "gcp:dataflow/flexTemplateJob:FlexTemplateJob": "dataflow:FlexTemplateJob",
    "gcp:sql/databaseInstance:DatabaseInstance": "sql_instance:DatabaseInstance",
    "gcp:sql/database:Database": "sql_database:Database",
    "gcp:sql/user:User": "sql_user:User",
    "docker:index/image:Image": "docker_image:Image",
}


class Realisers:
    """The realisers, each imported when a resource of its type is first made."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._made: dict[str, Realiser] = {}

    def of(self, token: str) -> Realiser | None:
        """What makes this type real; None where it is recorded only."""
        place = _REALISERS.get(token)
        if place is None:
            return None
        if token not in self._made:
            module, _, name = place.partition(":")
            cls = getattr(importlib.import_module(f"{__name__}.{module}"), name)
            self._made[token] = cls(self._clients)
        return self._made[token]

"""What products share of data and machine learning, beyond the foundation.

The log of access to buckets, the store that serves features, what Vertex AI keeps of runs. Each is
made once for a stack because Google has one of it in a project, or because it costs by the hour.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from components.access_log import AccessLog, AccessLogArgs
from components.experiment_tracking import ExperimentTracking, ExperimentTrackingArgs
from components.feature_online_store import FeatureOnlineStore, FeatureOnlineStoreArgs
from stacks.foundation import Foundation
from workloads.features.store import STORE

NAME: Final = "esteira"


@dataclass(frozen=True, kw_only=True)
class Commons:
    """Each is None where the stack's settings leave it out."""

    access_log: AccessLog | None
    experiments: ExperimentTracking | None
    online_store: FeatureOnlineStore | None


def lay(foundation: Foundation) -> Commons:
    """Make what products share.

    Args:
        foundation: Of this stack.
    """
    return Commons(
        access_log=_access_log(foundation),
        experiments=_experiments(foundation),
        online_store=_online_store(foundation),
    )


def outputs(commons: Commons) -> dict[str, Any]:
    """The part of the stack's outputs that tells of what products share."""
    experiments = commons.experiments
    store = None if experiments is None else experiments.metadata_store
    board = None if experiments is None else experiments.tensorboard
    return {
        "metadata_store": None if store is None else store.id,
        "tensorboard": None if board is None else board.name,
        "feature_online_store": None
        if commons.online_store is None
        else commons.online_store.store.id,
        "access_log": None if commons.access_log is None else commons.access_log.bucket.url,
    }


def _access_log(foundation: Foundation) -> AccessLog | None:
    settings = foundation.settings
    if not settings.security.audit_logs:
        return None
    return AccessLog(
        f"{NAME}-access-log",
        args=AccessLogArgs(
            bucket=f"{settings.project}-{NAME}-access-log",
            location=settings.location,
            retention_days=settings.retention.logs,
            kms_key=foundation.key("storage"),
            force_destroy=settings.security.force_destroy,
            protect=settings.security.protect,
        ),
        opts=foundation.opts,
    )


def _experiments(foundation: Foundation) -> ExperimentTracking | None:
    settings = foundation.settings
    if not (settings.experiments.metadata_store or settings.experiments.tensorboard):
        return None
    return ExperimentTracking(
        NAME,
        args=ExperimentTrackingArgs(
            location=settings.location,
            metadata_store=settings.experiments.metadata_store,
            tensorboard=settings.experiments.tensorboard,
            kms_key=foundation.key("aiplatform"),
            protect=settings.security.protect,
        ),
        opts=foundation.opts,
    )


def _online_store(foundation: Foundation) -> FeatureOnlineStore | None:
    settings = foundation.settings
    if not settings.features.online:
        return None
    return FeatureOnlineStore(
        STORE,
        args=FeatureOnlineStoreArgs(
            location=settings.location,
            min_nodes=settings.features.min_nodes,
            max_nodes=settings.features.max_nodes,
            kms_key=foundation.key("aiplatform"),
            force_destroy=settings.security.force_destroy,
            protect=settings.security.protect,
        ),
        opts=foundation.opts,
    )

"""The defaults of each environment, and of each profile on top of it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

type Groups = Mapping[str, Mapping[str, Any]]


class Environment(StrEnum):
    """What a stack is for, from which its defaults follow."""

    LOCAL = "local"
    DEV = "dev"
    PROD = "prod"


class Profile(StrEnum):
    """How much a project may use."""

    STANDARD = "standard"
    FREE_TRIAL = "free-trial"


# Nothing refuses to be deleted, and nothing is paid for that only prod needs.
_DESTROYABLE: Final[Mapping[str, Any]] = {
    "protect": False,
    "deletionProtection": False,
    "forceDestroy": True,
    "customerManagedKeys": False,
    "privateEndpoint": False,
    "auditLogs": False,
}

DEFAULTS: Final[Mapping[str, Groups]] = {
    # Small, quick to recover, and gone without a trace after `destroy`.
    Environment.LOCAL: {
        "security": _DESTROYABLE,
        "network": {"private": False},
        "apis": {"propagationSeconds": 0},
        "retention": {"messages": 7, "noncurrentObjects": 1},
        "streaming": {
            "maxWorkers": 1,
            "drain": False,
            "ackDeadlineSeconds": 10,
            "minimumBackoffSeconds": 1,
        },
        # What is replayed here happened years ago: a run over the last weeks would find no rows.
        "batch": {"maxConcurrentJobs": 2, "pauseRetraining": True},
        # A name of its own is needed only where Google keeps that of a deleted instance.
        "database": {
            "enabled": True,
            "name": "esteira",
            "highlyAvailable": False,
            "backups": False,
        },
        "tracking": {"enabled": True},
        "experiments": {"metadataStore": False, "tensorboard": False},
        "serving": {"api": False},
        "features": {"registry": False, "online": True},
        "alerts": {
            "enabled": True,
            "scope": "models",
            "settleSeconds": 5,
            "dashboards": False,
            "logSink": False,
        },
    },
    # As prod where behaviour is concerned, but cheap, and free to be destroyed.
    Environment.DEV: {
        "security": _DESTROYABLE,
        "network": {"private": True},
        "apis": {"propagationSeconds": 60},
        "retention": {
            "messages": 7,
            "noncurrentObjects": 7,
            "predictionRows": 90,
            "snapshots": 90,
        },
        "lifetime": {"idleDays": 14},
        "streaming": {
            "maxWorkers": 2,
            "drain": False,
            "ackDeadlineSeconds": 60,
            "minimumBackoffSeconds": 10,
        },
        "batch": {"maxConcurrentJobs": 2},
        "database": {"enabled": True, "highlyAvailable": False, "backups": True},
        "tracking": {"enabled": True},
        "experiments": {"metadataStore": True, "tensorboard": False},
        "serving": {"api": True},
        "features": {"registry": True, "online": False},
        "alerts": {"enabled": True, "dashboards": True, "logSink": True},
    },
    Environment.PROD: {
        "security": {
            "protect": True,
            "deletionProtection": True,
            "forceDestroy": False,
            "customerManagedKeys": True,
            "privateEndpoint": True,
            "auditLogs": True,
            "scanImages": True,
        },
        "network": {"private": True, "privateConnect": True},
        "apis": {"propagationSeconds": 60},
        "retention": {"messages": 31, "noncurrentObjects": 90, "logs": 400},
        "streaming": {
            "maxWorkers": 10,
            "drain": True,
            "ackDeadlineSeconds": 60,
            "minimumBackoffSeconds": 10,
        },
        "batch": {"maxConcurrentJobs": 5},
        "database": {
            "enabled": True,
            "tier": "db-custom-2-7680",
            "highlyAvailable": True,
            "diskGb": 50,
            "backups": True,
        },
        "tracking": {"enabled": True, "minInstances": 1, "maxInstances": 4},
        "experiments": {"metadataStore": True, "tensorboard": True},
        "serving": {"api": True, "apiMinInstances": 1, "apiMaxInstances": 20},
        "features": {"registry": True, "online": True, "maxNodes": 3},
        "alerts": {"enabled": True, "dashboards": True, "logSink": True, "uptimeChecks": True},
    },
}

PROFILES: Final[Mapping[str, Groups]] = {
    Profile.STANDARD: {},
    # A trial project runs few processors at once and has no say in its quotas; what costs while it
    # rests is left out. docs/google-cloud.md has the figures and where they are from, and a test
    # holds the profile to them.
    Profile.FREE_TRIAL: {
        "streaming": {"machineType": "n1-standard-1", "maxWorkers": 1},
        "batch": {"maxConcurrentJobs": 1},
        "database": {"tier": "db-f1-micro", "highlyAvailable": False, "diskGb": 10},
        "tracking": {"minInstances": 0, "maxInstances": 1},
        "experiments": {"tensorboard": False},
        "serving": {"maxReplicas": 1, "apiMinInstances": 0, "apiMaxInstances": 2},
        "features": {"online": False},
        "workbench": {"enabled": False, "machineType": "e2-standard-2"},
        "alerts": {"uptimeChecks": False},
    },
}

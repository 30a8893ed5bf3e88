"""What the examples take as given: what a program has from its settings, or made before."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pulumi

from components.metric_types import BACKLOG
from components.series import Series

CHECKOUT: Final = Path(__file__).resolve().parents[2]

AGENT: Final = "serviceAccount:service-123456789012@gcp-sa-pubsub.iam.gserviceaccount.com"
KEY: Final = "projects/acme-ml/locations/us-central1/keyRings/esteira/cryptoKeys/storage"
IMAGE: Final = "us-central1-docker.pkg.dev/acme-ml/esteira/demo@sha256:" + "0" * 64
COLUMNS: Final = [
    {"name": "id", "type": "STRING", "mode": "REQUIRED", "description": "Id"},
    {"name": "at", "type": "TIMESTAMP", "mode": "REQUIRED", "description": "When"},
]
METADATA: Final[dict[str, Any]] = {
    "name": "demo",
    "streaming": True,
    "parameters": [
        {"name": "product", "label": "Product", "helpText": "Which", "regexes": ["^[a-z]+$"]}
    ],
}
WAITING: Final = Series(
    metric=BACKLOG, aligner="ALIGN_MEAN", where={"resource.labels.subscription_id": "demo"}
)


def alone(opts: pulumi.ResourceOptions) -> pulumi.ResourceOptions:
    """Options with the same provider, for a resource that belongs to no component."""
    assert isinstance(opts.providers, list)
    return pulumi.ResourceOptions(provider=opts.providers[0])

"""The model server of a version outside of Vertex AI, by the container of its registration."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from workloads.registry import Version
from workloads.release.targets import Asked

BATCH: Final = 50
"""Rows in one request to a version beside the traffic."""
TIMEOUT_SECONDS: Final = 30.0
_FOLDER: Final = "AIP_STORAGE_URI"
_VERSION: Final = "AIP_VERSION_NAME"


@dataclass(frozen=True)
class ModelServer:
    """What to run for one version."""

    image: str
    environment: tuple[tuple[str, str], ...]
    """With the variables that Vertex AI would set: the folder, and the version's number."""
    health: str
    predict: str

    @classmethod
    def of(cls, version: Version) -> ModelServer:
        """By the version's registration."""
        spec = version.model.container_spec
        given = {one.name: one.value for one in spec.env}
        given |= {_FOLDER: version.folder.uri, _VERSION: version.number}
        return cls(
            image=spec.image_uri,
            environment=tuple(sorted(given.items())),
            health=spec.health_route,
            predict=spec.predict_route,
        )

    def replace(self, environment: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Variables of a container, with this version's; an alias to follow is taken out."""
        own = dict(self.environment)
        kept = [one for one in environment if one["name"] not in {*own, "MODEL_ALIAS"}]
        return [*kept, *({"name": name, "value": value} for name, value in own.items())]


def ask(session: Any, url: str, instances: Sequence[dict[str, Any]], headers: Any = None) -> Asked:
    """Send rows in batches, one request after the other.

    Args:
        session: `requests.Session`, or one that shows a token.
        url: takes `{"instances": [...]}`.
        instances: rows of the request contract.
        headers: added to each request.
    """
    import requests

    predictions: list[dict[str, Any] | None] = []
    latencies: list[float] = []
    errors: list[str] = []
    for first in range(0, len(instances), BATCH):
        batch = list(instances[first : first + BATCH])
        begun = time.perf_counter()
        try:
            answer = session.post(
                url, json={"instances": batch}, timeout=TIMEOUT_SECONDS, headers=headers
            )
            answer.raise_for_status()
            found = answer.json()["predictions"]
            if len(found) != len(batch):
                raise ValueError(f"{len(found)} predictions for {len(batch)} rows")
        except (requests.RequestException, ValueError, KeyError, TypeError) as error:
            errors.append(f"{type(error).__name__}: {error}")
            predictions += [None] * len(batch)
            continue
        latencies.append((time.perf_counter() - begun) * 1000)
        predictions += found
    return Asked(predictions=tuple(predictions), latencies=tuple(latencies), errors=tuple(errors))

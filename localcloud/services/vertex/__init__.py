"""Vertex AI: Model Registry, endpoints with real model servers, pipeline jobs and schedules. The
feature store is `localcloud/services/featurestore`, and a part of this service.

What it has is listed in the modules; every other method of the API answers 501 UNIMPLEMENTED:
batch prediction, custom and tuning jobs, explanations, streaming predictions, the metadata store
and experiments, everything generative.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from localcloud.home import Home
    from localcloud.rest.app import Service


def service(home: Home) -> Service:
    """The Vertex AI of a home."""
    # Each step of a pipeline starts with this package, and has no need of the whole service.
    from localcloud.services.vertex.assembly import Vertex

    return Vertex(home)

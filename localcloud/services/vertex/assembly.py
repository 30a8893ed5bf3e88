"""Vertex AI's parts together, as one service of the REST port."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final, final

from localcloud.home import Home
from localcloud.images import Images
from localcloud.processes import Supervisor
from localcloud.rest.app import Handler
from localcloud.rest.discovery import Api
from localcloud.rest.operations import Operations
from localcloud.rest.store import Documents
from localcloud.services.featurestore.service import FeatureStore
from localcloud.services.vertex import projects
from localcloud.services.vertex.containers import Containers
from localcloud.services.vertex.endpoints import Endpoints
from localcloud.services.vertex.evaluations import Evaluations
from localcloud.services.vertex.models import Models
from localcloud.services.vertex.pipeline_jobs import PipelineJobs
from localcloud.services.vertex.prediction import Predictions
from localcloud.services.vertex.request_log import RequestLog
from localcloud.services.vertex.schedules import Schedules

_PREFIX: Final = "aiplatform.projects.locations.endpoints."


@final
class Vertex:
    """The service; one instance owns the folder `vertex` of a home."""

    # Callers of rawPredict send whatever the model understands.
    raw_methods: Final = frozenset({f"{_PREFIX}rawPredict"})

    def __init__(self, home: Home) -> None:
        self._supervisor = Supervisor(home)
        self._documents = Documents(home.folder("vertex") / "vertex.sqlite")
        self._operations = Operations(self._documents)
        images = Images(home)
        self._containers = Containers(home, self._supervisor, images)
        self._endpoints = Endpoints(self._documents, self._operations, self._containers)
        models = Models(self._documents, self._operations, images, self._endpoints.deployed_to)
        self._endpoints.use_models(models)
        self._request_log = RequestLog(home)
        self._jobs = PipelineJobs(home, self._documents, self._operations, self._supervisor)
        self._schedules = Schedules(self._documents, self._operations, self._jobs)
        self._features = FeatureStore(home, self._documents, self._operations, self._supervisor)
        # Google's generated REST clients send enums as numbers, and poll operations below /ui/.
        api = Api.load(
            "aiplatform", "v1", types="google.cloud.aiplatform_v1", aliases={"/ui/": "/v1/"}
        )
        self.apis: Sequence[Api] = (api, Api.load("cloudresourcemanager", "v3"))
        self.handlers: Mapping[str, Handler] = {
            **self._operations.handlers(api),
            **models.handlers(),
            **Evaluations(self._documents, models).handlers(),
            **self._endpoints.handlers(),
            **Predictions(self._endpoints, self._containers, self._request_log).handlers(),
            **self._jobs.handlers(),
            **self._schedules.handlers(),
            **self._features.handlers(),
            **projects.handlers(),
        }

    async def start(self) -> None:
        """Bring back what was running when the last process ended, however it ended."""
        self._supervisor.end_stale()
        self._operations.recover()
        self._request_log.start()
        await self._endpoints.recover()
        self._jobs.recover()
        self._schedules.start()
        self._features.start()

    async def stop(self) -> None:
        """End the processes; the store keeps what is to run."""
        await self._schedules.stop()
        await self._features.stop()
        await self._jobs.stop()
        await asyncio.gather(
            self._operations.stop(), self._request_log.stop(), self._supervisor.close(grace=1.5)
        )
        await self._containers.close()
        self._documents.close()

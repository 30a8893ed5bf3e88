"""Kubeflow Pipelines: the API v2beta1 that `kfp.Client` speaks.

Pipelines with their versions, experiments, and runs. A run is executed as a pipeline job of the
local Vertex AI is: `kfp.local` in a process of its own, each step in its image's environment, its
artifacts in Cloud Storage. So a pipeline root is a `gs://` folder, as it is where Kubeflow runs on
GKE.

Not here, and refused: recurring runs, retries of a run, platform configuration of
`kfp-kubernetes` (a step is a process, and has no pod), container components, several namespaces.
Requests are held to the models of `kfp_server_api`: an unknown field is a 400.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import final

from starlette.routing import BaseRoute

from localcloud.home import Home
from localcloud.processes import Supervisor
from localcloud.rest.app import Handler, Service
from localcloud.rest.discovery import Api
from localcloud.rest.operations import Operations
from localcloud.rest.store import Documents
from localcloud.services.kubeflow.answers import health_routes, refused_routes
from localcloud.services.kubeflow.experiments import Experiments
from localcloud.services.kubeflow.pipelines import Pipelines
from localcloud.services.kubeflow.runs import Runs
from localcloud.services.vertex.pipeline_jobs import PipelineJobs

FOLDER = "kubeflow"


@final
class Kubeflow:
    """The service; one instance owns the folder `kubeflow` of a home."""

    apis: Sequence[Api] = ()
    """It has no discovery document: Google does not describe it."""
    handlers: Mapping[str, Handler] = {}

    def __init__(self, home: Home) -> None:
        self._supervisor = Supervisor(home)
        self._documents = Documents(home.folder(FOLDER) / "kubeflow.sqlite")
        self._jobs = PipelineJobs(
            home, self._documents, Operations(self._documents), self._supervisor, FOLDER
        )
        pipelines = Pipelines(self._documents)
        self._experiments = Experiments(self._documents)
        runs = Runs(home, self._documents, self._jobs, pipelines, self._experiments)
        self.routes: list[BaseRoute] = [
            *health_routes(),
            *pipelines.routes(),
            *self._experiments.routes(),
            *runs.routes(),
            *refused_routes(),
        ]

    async def start(self) -> None:
        """Start again the runs that were cut."""
        self._supervisor.end_stale()
        self._experiments.default()
        self._jobs.recover()

    async def stop(self) -> None:
        """End the processes; the store keeps what is to run."""
        await self._jobs.stop()
        await self._supervisor.close(grace=1.5)
        self._documents.close()


def service(home: Home) -> Service:
    """Kubeflow Pipelines for one home."""
    return Kubeflow(home)

"""KServe: InferenceServices whose predictors are processes of this machine.

The Kubernetes API of one resource, `serving.kserve.io/v1beta1 inferenceservices`, with optimistic
concurrency by `resourceVersion`; and what KServe's controller makes of it with Knative: a revision
for each change of the predictor, and the split by `canaryTrafficPercent` between the newest and the
one that was last rolled out in full.

Not here, and refused: transformers, explainers, model formats of KServe's own (`model`, `sklearn`
and so on; give `containers`), init containers, volumes, watches, other resources of Kubernetes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import final

from starlette.routing import BaseRoute

from localcloud.home import Home
from localcloud.images import Images
from localcloud.processes import Supervisor
from localcloud.rest.app import Handler, Service
from localcloud.rest.discovery import Api
from localcloud.rest.store import Documents
from localcloud.services.kserve.objects import Objects
from localcloud.services.kserve.predictors import Predictors
from localcloud.services.kserve.revisions import Revisions


@final
class KServe:
    """The service; one instance owns the folder `kserve` of a home."""

    apis: Sequence[Api] = ()
    """It has no discovery document: Kubernetes describes itself otherwise."""
    handlers: Mapping[str, Handler] = {}

    def __init__(self, home: Home) -> None:
        self._supervisor = Supervisor(home)
        self._documents = Documents(home.folder("kserve") / "kserve.sqlite")
        self._predictors = Predictors(
            self._documents, Revisions(self._supervisor, Images(home), home.endpoints())
        )
        self.routes: list[BaseRoute] = Objects(self._documents, self._predictors).routes()

    async def start(self) -> None:
        """End what an earlier process left, then bring back what is to serve."""
        self._supervisor.end_stale()
        self._predictors.recover()

    async def stop(self) -> None:
        """Stop every process; the state stays."""
        await self._predictors.close()
        await self._supervisor.close(grace=1.0)
        self._documents.close()


def service(home: Home) -> Service:
    """KServe for one home."""
    return KServe(home)

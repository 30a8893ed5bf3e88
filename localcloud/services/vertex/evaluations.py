"""Evaluations of model versions: metrics that a pipeline imports next to the model."""

from __future__ import annotations

from typing import Any, Final, final

from localcloud.rest.app import Handler, Request
from localcloud.rest.errors import InvalidArgument, NotFound
from localcloud.rest.listing import page, property_fields
from localcloud.rest.operations import now
from localcloud.rest.store import Documents
from localcloud.services.vertex import names
from localcloud.services.vertex.models import Models

_FIELDS: Final = property_fields("display_name", "create_time", "metrics_schema_uri")


@final
class Evaluations:
    """Evaluations, kept per model version.

    Args:
        documents: the store.
        models: the registry whose versions are evaluated.
    """

    def __init__(self, documents: Documents, models: Models) -> None:
        self._documents = documents
        self._models = models

    def handlers(self) -> dict[str, Handler]:
        """Handlers by method id."""
        prefix = "aiplatform.projects.locations.models.evaluations."
        return {
            f"{prefix}import": self.import_,
            f"{prefix}get": self.get,
            f"{prefix}list": self.list,
        }

    async def import_(self, request: Request) -> dict[str, Any]:
        """Attach an evaluation to a version (the default one unless `@` names another)."""
        version = self._models.resolve(request.path["parent"])
        evaluation: dict[str, Any] | None = request.body.get("modelEvaluation")
        if evaluation is None:
            raise InvalidArgument("model_evaluation is required.")
        number = names.new_id()
        evaluation = {
            **evaluation,
            "name": f"{version['name']}@{version['versionId']}/evaluations/{number}",
            "createTime": now(),
        }
        self._documents.create(f"evaluation:{evaluation['name']}", evaluation)
        return evaluation

    async def get(self, request: Request) -> dict[str, Any]:
        """One evaluation, found with or without the version in its name."""
        model, _, number = request.path["name"].partition("/evaluations/")
        for evaluation in self._of(model, any_version=True):
            if evaluation["name"].endswith(f"/{number}"):
                return evaluation
        raise NotFound(f"The ModelEvaluation '{request.path['name']}' does not exist.")

    async def list(self, request: Request) -> dict[str, Any]:
        """The evaluations of a version, the newest first."""
        found = self._of(request.path["parent"])
        found.sort(key=lambda one: one["createTime"], reverse=True)
        return page(found, request.query, _FIELDS, key="modelEvaluations")

    def _of(self, model: str, *, any_version: bool = False) -> list[dict[str, Any]]:
        resource = names.parse(model, "models")
        if any_version and not resource.version:
            prefix = f"evaluation:{resource.name}@"
        else:
            version = self._models.resolve(model)
            prefix = f"evaluation:{version['name']}@{version['versionId']}/"
        return [stored.value for stored in self._documents.list(prefix)]

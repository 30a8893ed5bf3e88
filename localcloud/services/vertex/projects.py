"""The one method of Resource Manager that the Vertex AI SDK calls: what number a project has.

Before it submits a pipeline job the SDK compares that number with the owner of the bucket.
"""

from __future__ import annotations

from typing import Any

from localcloud.rest.app import Handler, Request
from localcloud.services.vertex import names


def handlers() -> dict[str, Handler]:
    """Handlers by method id."""
    return {"cloudresourcemanager.projects.get": get}


async def get(request: Request) -> dict[str, Any]:
    """Any project exists here."""
    project = request.path["name"].partition("/")[2]
    return {
        "name": f"projects/{names.project_number(project)}",
        "projectId": project,
        "displayName": project,
        "state": "ACTIVE",
    }

"""Every route that MLflow's server has is let through knowingly, or not at all."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import Final

import pytest

from tests.workloads.tracking.test_guard import ask

_ROUTES: Final = """
import json, sys
from mlflow.server import app as flask
from mlflow.server.fastapi_app import app
found = [rule.rule for rule in flask.url_map.iter_rules()]
for route in app.routes:
    if hasattr(route, "effective_route_contexts"):
        found += [one.path for one in route.effective_route_contexts()]
    else:
        found.append(route.path)
json.dump(sorted(set(found)), sys.stdout)
"""

OPEN: Final = {
    "": "/ /graphql /health /version /get-artifact /model-versions/get-artifact /static-files/x",
    "/api/2.0/mlflow-artifacts/artifacts": "- x",
    "/api/2.0/mlflow/artifacts": "list",
    "/api/2.0/mlflow/experiments": "create delete delete-experiment-tag get get-by-name restore "
    "search search-datasets set-experiment-tag update",
    "/api/2.0/mlflow/logged-models": "- x x/artifacts/directories x/artifacts/files x/params "
    "x/tags x/tags/x search",
    "/api/2.0/mlflow/metrics": "get-history get-history-bulk get-history-bulk-interval",
    "/api/2.0/mlflow/model-versions": "create delete delete-tag get get-download-uri search "
    "set-tag transition-stage update",
    "/api/2.0/mlflow/registered-models": "alias create delete delete-tag get get-latest-versions "
    "rename search set-tag update",
    "/api/2.0/mlflow/runs": "create delete delete-tag get log-batch log-inputs log-metric "
    "log-model log-parameter outputs restore search set-tag update",
    "/api/2.0/mlflow/traces": "- x x/info x/tags delete-traces link-prompts link-to-run",
    "/api/2.0/mlflow": "upload-artifact",
    "/api/3.0/mlflow/datasets": "x x/add-experiments x/experiment-ids x/records "
    "x/remove-experiments x/tags x/tags/x create search",
    "/api/3.0/mlflow": "server-info",
    "/api/3.0/mlflow/traces": "- x x/assessments x/assessments/x x/tags batchGet batchGetInfos "
    "calculate-filter-correlation delete-traces get metrics search",
}
"""What is let through: by place, what follows it; `-` is the place itself, `x` any word. Each of
these reads and writes the server's own records and files; none runs what it is given, or asks
another server."""

RUNS_OR_CALLS: Final = re.findall(
    r"\S+",
    "assistant budgets demo evaluate gateway guardrails invoke issues jobs mcp-servers mpu "
    "presigned prompt-optimization promptlab scorer secrets webhooks workspaces",
)
"""Words in the routes of what runs code, calls others, or lets files past the server."""


@pytest.fixture(scope="module")
def routes() -> list[str]:
    """The paths that the server answers, with a word in the place of what varies."""
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
    found = subprocess.run(
        [sys.executable, "-c", _ROUTES],
        env=os.environ | quiet,
        capture_output=True,
        check=True,
        timeout=120,
    )
    return [re.sub(r"<[^>]*>|\{[^}]*\}", "x", one) for one in json.loads(found.stdout) if one]


def test_of_all_routes_those_are_let_through_that_were_looked_at(routes: list[str]) -> None:
    assert len(routes) > 400
    looked_at = {
        place if one == "-" else f"{place}/{one}" if place else one
        for place, names in OPEN.items()
        for one in names.split()
    }
    let_through = {one for one in routes if ask(one)[0] != 404}
    assert {one.replace("/ajax-api/", "/api/") for one in let_through} == looked_at


def test_none_of_them_runs_code_or_calls_others(routes: list[str]) -> None:
    for word in RUNS_OR_CALLS:
        named = [one for one in routes if word in one]
        # A word that no route has any more would hold nothing to anything.
        assert named, word
        for method in ("GET", "POST"):
            assert [one for one in named if ask(one, method=method)[0] != 404] == [], word

"""The server keeps what its OpenAPI document promises, whatever it is asked.

schemathesis makes requests from the document, those that fit it and those that do not, and holds
each answer to it: status, content type, schema; no 5xx; what fits is taken, the rest refused.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema

from tests.workloads.serving.asking import Halves
from workloads import product as products
from workloads.serving.answers import Answer
from workloads.serving.app import App, build
from workloads.serving.settings import ServingSettings

INFER = "/v2/models/flight-delay/infer"
VERSION = "/v2/models/flight-delay/versions/{version}"
CONFIG: dict[str, Any] = {
    "seed": 20130101,
    "generation": {"max-examples": 10, "deterministic": True, "database": "none"},
    # The document has no examples, and nothing that one request makes and another one asks for.
    "phases": {"stateful": {"enabled": False}, "examples": {"enabled": False}},
}
FEW: dict[str, Any] = {**CONFIG["generation"], "max-examples": 5}
"""Beside the examples that go through every part of the document one by one."""


def server(ready: bool = True) -> App:
    """A server whose model answers every row; or one that has none."""
    given = {"product": "flight-delay", "aip_storage_uri": "gs://models/run", "_env_file": None}
    halves = Halves(products.load("flight-delay")) if ready else None
    return build(ServingSettings.model_validate(given), lambda: halves)


def found(app: App, **config: Any) -> tuple[Counter[str], list[str]]:
    """How many requests each operation was sent, and what was wrong with the answers."""
    loaded = SchemathesisConfig.from_dict(CONFIG | config)
    schema = schemathesis.openapi.from_asgi("/openapi.json", app, config=loaded)
    sent, wrong = Counter[str](), list[str]()
    for event in from_schema(schema).execute():
        if isinstance(event, events.NonFatalError | events.FatalError):
            wrong.append(str(event.info if isinstance(event, events.NonFatalError) else event))
        elif isinstance(event, events.ScenarioFinished):
            recorder = event.recorder
            sent[recorder.label] += len(recorder.interactions)
            wrong += [
                f"{one.failure_info.failure.title}: {one.failure_info.code_sample}"
                for checks in recorder.checks.values()
                for one in checks
                if one.failure_info is not None
            ]
    return sent, wrong


@pytest.mark.parametrize("examples", [10, pytest.param(50, marks=pytest.mark.long)])
def test_each_answer_is_one_that_the_document_knows(examples: int) -> None:
    generation = {**CONFIG["generation"], "max-examples": examples}
    # Of what is asked in two places, the quick one asks in one.
    both = [{"include-path": f"{VERSION}/infer", "enabled": examples > 10}]
    sent, wrong = found(server(), generation=generation, operations=both)
    assert wrong == []
    assert set(sent) == {
        "POST /predict",
        f"POST {INFER}",
        *([f"POST {VERSION}/infer"] if examples > 10 else []),
        *(
            f"GET {path}"
            for path in (
                "/health",
                "/live",
                "/metrics",
                "/v2",
                "/v2/health/live",
                "/v2/health/ready",
                "/v2/models/flight-delay",
                "/v2/models/flight-delay/ready",
                VERSION,
                f"{VERSION}/ready",
            )
        ),
    }
    assert min(sent.values()) > 1
    assert sent["POST /predict"] > 200
    assert sent[f"POST {INFER}"] > 100


def test_without_a_model_too() -> None:
    # It says 503 and why, whatever it is asked, and the document knows.
    unasked = {"enabled": False}
    checks = {"not_a_server_error": unasked, "negative_data_rejection": unasked}
    _, wrong = found(server(ready=False), checks=checks, generation=FEW)
    assert wrong == []


def test_what_the_document_does_not_know_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    teapot = Answer(418, b'{"error": "short and stout"}')
    monkeypatch.setattr(App, "_refusal", lambda *_: teapot)
    _, wrong = found(server(), generation=FEW)
    assert any(one.startswith("Undocumented status code: ") for one in wrong)

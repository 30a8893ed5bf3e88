"""The outputs that data teams build upon."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from stacks import outputs


def test_the_committed_schema_is_the_models_own() -> None:
    committed = json.loads(outputs.SCHEMA.read_text())
    assert outputs.incompatibilities(committed, outputs.json_schema()) == []
    assert committed == outputs.json_schema(), (
        "outputs changed compatibly: write the schema anew with `python -m stacks.outputs`"
    )


def _without(part: str, field: str) -> Callable[[Any], None]:
    def change(schema: Any) -> None:
        del schema["$defs"][part]["properties"][field]

    return change


def _typed(part: str, field: str) -> Callable[[Any], None]:
    def change(schema: Any) -> None:
        schema["$defs"][part]["properties"][field]["type"] = "integer"

    return change


def _optional(part: str, field: str) -> Callable[[Any], None]:
    def change(schema: Any) -> None:
        schema["$defs"][part]["required"].remove(field)

    return change


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (_without("Stream", "topic"), "Stream.topic was removed"),
        (_typed("Endpoint", "name"), "Endpoint.name was"),
        (_optional("Batch", "job"), "Batch.job was always there, now may be missing"),
    ],
)
def test_a_change_that_breaks_readers_is_found(
    change: Callable[[Any], None], expected: str
) -> None:
    old, new = outputs.json_schema(), copy.deepcopy(outputs.json_schema())
    change(new)
    [found] = outputs.incompatibilities(old, new)
    assert found.startswith(expected)


def test_a_removed_part_is_found() -> None:
    new = copy.deepcopy(outputs.json_schema())
    del new["$defs"]["Batch"]
    assert "Batch.job was removed" in outputs.incompatibilities(outputs.json_schema(), new)


def test_a_new_field_breaks_no_reader() -> None:
    new = copy.deepcopy(outputs.json_schema())
    new["$defs"]["Endpoint"]["properties"]["dashboard"] = {"type": "string"}
    assert outputs.incompatibilities(outputs.json_schema(), new) == []


def test_a_new_version_may_differ() -> None:
    new = copy.deepcopy(outputs.json_schema())
    new["properties"]["version"]["const"] = 2
    del new["$defs"]["Endpoint"]["properties"]["name"]
    assert outputs.incompatibilities(outputs.json_schema(), new) == []

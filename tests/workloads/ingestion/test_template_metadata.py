"""A flex template says what its pipeline takes, and the pipeline takes what it says."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import googleapiclient
import pytest

from workloads.ingestion import batch, beam_options, streaming
from workloads.ingestion.beam_options import IngestionOptions
from workloads.ingestion.options import BATCH, STREAMING, InvalidOption, Option, template_metadata

PIPELINES = pytest.mark.parametrize(
    ("module", "told"), [(streaming, STREAMING), (batch, BATCH)], ids=["streaming", "batch"]
)
VALUES = {
    "product": ("flight-delay", "Flight Delay"),
    "data_project": ("some-project", "p"),
    "dataset": ("flight_delay_raw", "flight-delay"),
    "window_minutes": ("60", "sixty"),
    "dedup_shards": ("16", "0"),
    "objects": ("gs://b/f/a.json#1|gs://b/f/b.json#2", "gs://b/f/a.json"),
    "chunk_lines": ("50000", "-1"),
}
"""For each option a value that is allowed, and one that is not."""


def _metadata(told: tuple[Option, ...]) -> dict[str, Any]:
    return template_metadata("demo", "Demo", told, streaming=told is STREAMING)


def _flags() -> dict[str, argparse.Action]:
    """The flags that Beam's parser has from us."""
    parser = argparse.ArgumentParser(add_help=False)
    IngestionOptions._add_argparse_args(parser)
    return {action.dest: action for action in parser._actions}


@cache
def _documented(schema: str) -> dict[str, Any]:
    folder = Path(googleapiclient.__file__).parent / "discovery_cache" / "documents"
    return json.loads((folder / "dataflow.v1b3.json").read_text())["schemas"][schema]["properties"]


@PIPELINES
def test_every_parameter_is_a_flag_of_the_pipeline(module: Any, told: tuple[Option, ...]) -> None:
    flags = _flags()
    for parameter in _metadata(told)["parameters"]:
        flag = flags[parameter["name"]]
        assert parameter["isOptional"] == (flag.default is not None), parameter["name"]
        assert parameter.get("defaultValue", "") == (flag.default or ""), parameter["name"]
        assert all(regex in str(flag.help) for regex in parameter["regexes"]), parameter["name"]


def test_every_flag_is_a_parameter_of_a_template() -> None:
    parameters = {
        one["name"] for told in (STREAMING, BATCH) for one in _metadata(told)["parameters"]
    }
    assert set(_flags()) == parameters


@PIPELINES
def test_the_pipeline_reads_every_option_that_it_is_told(
    module: Any, told: tuple[Option, ...]
) -> None:
    text = Path(module.__file__).read_text()
    for one in told:
        assert re.search(rf"""["']{one.name}["']|options\.{one.name.upper()}\b""", text), one.name


@PIPELINES
def test_template_and_pipeline_allow_the_same(module: Any, told: tuple[Option, ...]) -> None:
    """Dataflow matches the whole value against the template's expressions."""
    good = {one.name: VALUES[one.name][0] for one in told}
    assert beam_options.read(_words(good), told, "FnApiRunner").values == good
    for parameter in _metadata(told)["parameters"]:
        name = parameter["name"]
        allowed, refused = VALUES[name]
        for regex in parameter["regexes"]:
            assert re.fullmatch(regex, allowed), name
            assert not re.fullmatch(regex, refused), name
        if parameter["paramType"] == "NUMBER":
            assert allowed.isdecimal(), name
        with pytest.raises(InvalidOption, match=f"--{name} is"):
            beam_options.read(_words({**good, name: refused}), told, "FnApiRunner")


@PIPELINES
def test_a_parameter_that_is_required_is_missed(module: Any, told: tuple[Option, ...]) -> None:
    good = {one.name: VALUES[one.name][0] for one in told}
    for parameter in _metadata(told)["parameters"]:
        rest = {name: value for name, value in good.items() if name != parameter["name"]}
        if parameter["isOptional"]:
            beam_options.read(_words(rest), told, "FnApiRunner")
        else:
            with pytest.raises(InvalidOption, match=f"--{parameter['name']} is missing"):
                beam_options.read(_words(rest), told, "FnApiRunner")


@PIPELINES
def test_the_metadata_is_what_dataflows_api_reads(module: Any, told: tuple[Option, ...]) -> None:
    metadata = _metadata(told)
    assert set(metadata) <= set(_documented("TemplateMetadata"))
    known = _documented("ParameterMetadata")
    for parameter in metadata["parameters"]:
        assert set(parameter) <= set(known)
        assert parameter["paramType"] in known["paramType"]["enum"]
        assert parameter["label"]
        assert parameter["helpText"]


def _words(values: Mapping[str, str]) -> list[str]:
    return [f"--{name}={value}" for name, value in values.items()]

"""What the pipelines and the starter are told: one list, and errors that say how to mend it."""

from __future__ import annotations

import re

import pytest
from pydantic import ValidationError

from workloads.ingestion import beam_options, options
from workloads.ingestion.options import BATCH, STREAMING, InvalidOption, template_metadata
from workloads.ingestion.settings import StarterSettings

GOOD = ["--product=flight-delay", "--data_project=some-project"]


@pytest.mark.parametrize("told", [STREAMING, BATCH])
def test_defaults_fit_their_own_rule(told: tuple[options.Option, ...]) -> None:
    for one in told:
        assert one.default is None or re.fullmatch(one.regex, one.default)


def test_the_template_says_the_same_as_the_flags() -> None:
    metadata = template_metadata("stream", "Streams", STREAMING, streaming=True)
    assert [one["name"] for one in metadata["parameters"]] == [one.name for one in STREAMING]
    optional = {one["name"] for one in metadata["parameters"] if one["isOptional"]}
    assert optional == {"dataset", "window_minutes", "dedup_shards"}
    assert metadata["streaming"] is True
    assert "streaming" not in template_metadata("batch", "Loads", BATCH, streaming=False)


def test_flags_become_values() -> None:
    told = beam_options.read([*GOOD, "--dedup_shards=4"], STREAMING, "BundleBasedDirectRunner")
    assert told.values["dedup_shards"] == "4"
    assert told.values["window_minutes"] == "60"
    assert not told.on_dataflow


def test_a_job_on_dataflow_is_left_to_dataflow() -> None:
    told = beam_options.read([*GOOD, "--runner=DataflowRunner"], STREAMING, "FnApiRunner")
    assert told.on_dataflow


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--data_project=some-project"], "--product is missing; it must match"),
        (["--product=Flight", "--data_project=some-project"], "--product is 'Flight'; it must"),
        (["--product=flight-delay", "--data_project=p"], "--data_project is 'p'"),
        ([*GOOD, "--dedup_shards=0"], "--dedup_shards is '0'; it must match"),
    ],
)
def test_a_wrong_option_is_named(flags: list[str], message: str) -> None:
    with pytest.raises(InvalidOption, match=re.escape(message)):
        beam_options.read(flags, STREAMING, "FnApiRunner")


def test_the_starter_names_the_setting_that_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {
        "GOOGLE_CLOUD_PROJECT": "some-project",
        "GOOGLE_CLOUD_LOCATION": "us-central1",
        "PRODUCT": "flight-delay",
        "TEMPLATE": "batch.json",
        "TEMP_LOCATION": "gs://work/temp",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError, match="template"):
        StarterSettings()  # pyright: ignore[reportCallIssue]
    monkeypatch.setenv("TEMPLATE", "gs://work/templates/batch.json")
    assert StarterSettings().max_concurrent_jobs == 2  # pyright: ignore[reportCallIssue]

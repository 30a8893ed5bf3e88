"""The options of both pipelines for Beam's parser, in a class that exists once.

Beam collects every subclass of PipelineOptions that a process has loaded into one parser, so that
two classes with one flag, or one class loaded under two names, would stop it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from apache_beam.options.pipeline_options import (
    GoogleCloudOptions,
    PipelineOptions,
    SetupOptions,
    StandardOptions,
)

from workloads.ingestion import options
from workloads.ingestion.options import Option


class IngestionOptions(PipelineOptions):
    """What `workloads.ingestion.options` lists."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        every = {one.name: one for one in (*options.STREAMING, *options.BATCH)}
        options.add_arguments(parser, tuple(every.values()))


def read(argv: Sequence[str], wanted: tuple[Option, ...], local_runner: str) -> Invocation:
    """Parse a command line.

    Args:
        local_runner: what runs the pipeline unless Dataflow does. Beam's unnamed local runner may
            first be fetched from the web, and not each of the others streams.

    Raises:
        InvalidOption: an option is missing or not allowed.
    """
    beam_options = PipelineOptions(list(argv))
    values = beam_options.view_as(IngestionOptions).get_all_options(drop_default=False)
    options.check(wanted, values)
    # Everything that workers need is in their image.
    beam_options.view_as(SetupOptions).save_main_session = False
    cloud = beam_options.view_as(GoogleCloudOptions)
    cloud.project = cloud.project or values["data_project"]
    standard = beam_options.view_as(StandardOptions)
    on_dataflow = "dataflow" in (standard.runner or "").lower()
    if not on_dataflow:
        standard.runner = local_runner
    return Invocation(
        {one.name: str(values[one.name]) for one in wanted}, beam_options, on_dataflow
    )


class Invocation:
    """A command line that was understood."""

    def __init__(
        self, values: dict[str, str], beam_options: PipelineOptions, on_dataflow: bool
    ) -> None:
        self.values = values
        self.beam_options = beam_options
        self.on_dataflow = on_dataflow
        """Then the launcher must not wait for the job's end."""

    def view_as(self, kind: type[Any]) -> Any:
        """Beam's own options."""
        return self.beam_options.view_as(kind)

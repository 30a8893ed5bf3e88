"""What the two pipelines are told: plain data, from which flags and template metadata both follow.

Cheap to import: the Pulumi program writes the flex templates from it without installing Beam.
"""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass
from typing import Any, Final, Literal

ParameterType = Literal["TEXT", "NUMBER"]
"""Of the types that Dataflow's API knows, those that the options here need."""


@dataclass(frozen=True, kw_only=True)
class Option:
    """One `--name=value` of a pipeline, and one parameter of its flex template."""

    name: str
    label: str
    help: str
    regex: str
    default: str | None = None
    """What it is when not given; none: it must be given."""
    kind: ParameterType = "TEXT"
    """What Google's console offers to fill it in with."""

    @property
    def required(self) -> bool:
        return self.default is None


PRODUCT: Final = Option(
    name="product",
    label="Product",
    help="Name of the ML product whose rows are taken in, as its folder under workloads/products.",
    regex="^[a-z]([a-z0-9-]{0,28}[a-z0-9])?$",
)
DATA_PROJECT: Final = Option(
    name="data_project",
    label="Project of the data",
    help="Project that holds the product's subscriptions and datasets.",
    regex="^[a-z][a-z0-9:.-]{4,61}[a-z0-9]$",
)
DATASET: Final = Option(
    name="dataset",
    label="Dataset",
    help="BigQuery dataset of the raw tables. Left empty: the product's own, `<product>_raw`.",
    regex="^[A-Za-z0-9_]*$",
    default="",
)
STREAMING: Final = (
    PRODUCT,
    DATA_PROJECT,
    DATASET,
    Option(
        name="window_minutes",
        label="Window",
        help="Length of the event-time windows within which an event is recognised as a duplicate.",
        regex="^[1-9][0-9]{0,4}$",
        default="60",
        kind="NUMBER",
    ),
    Option(
        name="dedup_shards",
        label="Shards of deduplication",
        help="Into how many keys the identities of one contract are spread. More shards mean more "
        "workers in parallel; fewer mean less overhead for each.",
        regex="^[1-9][0-9]{0,4}$",
        default="16",
        kind="NUMBER",
    ),
)
BATCH: Final = (
    PRODUCT,
    DATA_PROJECT,
    DATASET,
    Option(
        name="objects",
        label="Objects",
        help="Objects to take in, `gs://bucket/folder/name#generation`, several joined by `|`.",
        regex=r"^gs://[^|]+#[0-9]+(\|gs://[^|]+#[0-9]+)*$",
    ),
    Option(
        name="chunk_lines",
        label="Lines in a chunk",
        help="How many lines are validated and loaded as one. The load job of a chunk has a name "
        "that follows from it, so an object must not be taken in twice with different lengths.",
        regex="^[1-9][0-9]{0,5}$",
        default="50000",
        kind="NUMBER",
    ),
)


def add_arguments(parser: argparse.ArgumentParser, options: tuple[Option, ...]) -> None:
    """Add the options as flags. Beam's own parser and plain argparse both take them."""
    for one in options:
        parser.add_argument(
            f"--{one.name}", default=one.default, help=f"{one.help} Allowed: {one.regex}"
        )


def template_metadata(
    name: str, description: str, options: tuple[Option, ...], *, streaming: bool
) -> dict[str, Any]:
    """The `metadata` of a flex template, as Dataflow's specification file writes it."""
    document: dict[str, Any] = {
        "name": name,
        "description": description,
        "parameters": [
            {
                "name": one.name,
                "label": one.label,
                "helpText": one.help,
                "isOptional": not one.required,
                "regexes": [one.regex],
                "paramType": one.kind,
                **({"defaultValue": one.default} if one.default else {}),
            }
            for one in options
        ],
    }
    if streaming:
        document |= {
            "streaming": True,
            "supportsAtLeastOnce": True,
            "supportsExactlyOnce": True,
            "defaultStreamingMode": "EXACTLY_ONCE",
        }
    return document


class InvalidOption(ValueError):
    """A pipeline was told something it does not take. Names the option, the value, the allowed."""


def check(options: tuple[Option, ...], values: dict[str, Any]) -> None:
    """Hold values to the options' own rules.

    Raises:
        InvalidOption: one is missing, or does not match.
    """
    for one in options:
        value = values.get(one.name)
        if value is None:
            raise InvalidOption(f"--{one.name} is missing; it must match {one.regex} ({one.help})")
        if not re.fullmatch(one.regex.removeprefix("^").removesuffix("$"), str(value)):
            raise InvalidOption(f"--{one.name} is {value!r}; it must match {one.regex}")

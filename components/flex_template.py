"""A Dataflow flex template: an image, and the description of its options, in one JSON object."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_gcp as gcp

from components import checks
from components.child_opts import child_opts


@dataclass(frozen=True, kw_only=True)
class TemplateOption:
    """One option of a pipeline, as the template's metadata describes it."""

    name: str
    label: str
    help_text: str
    optional: bool = False
    regexes: Sequence[str] = ()
    """Each must match all of a value."""
    kind: str = "TEXT"
    """Google's `paramType`: TEXT, GCS_READ_FOLDER, PUBSUB_SUBSCRIPTION, BIGQUERY_TABLE, ..."""

    def metadata(self) -> dict[str, Any]:
        """The option as the template's JSON has it."""
        document: dict[str, Any] = {
            "name": self.name,
            "label": self.label,
            "helpText": self.help_text,
            "isOptional": self.optional,
            "paramType": self.kind,
        }
        if self.regexes:
            document["regexes"] = list(self.regexes)
        return document


@dataclass(frozen=True, kw_only=True)
class FlexTemplateArgs:
    """What a template needs.

    Raises:
        InvalidArgs: at construction, when the object's path or an option's name does not fit.
    """

    bucket: pulumi.Input[str]
    """The bucket that holds the specification."""
    path: str
    """The specification's object, e.g. `templates/stream.json`."""
    image: pulumi.Input[str]
    """By digest; the same image launches the pipeline and runs its workers."""
    title: str
    description: str
    streaming: bool
    options: Sequence[TemplateOption]
    """The pipeline's own options; what launches the template is held to them."""

    def __post_init__(self) -> None:
        who = f"FlexTemplate {self.path!r}"
        if not re.fullmatch(r"[^/].*\.json", self.path):
            raise checks.InvalidArgs(who, "path", self.path, "an object's name ending in `.json`")
        names = [option.name for option in self.options]
        if len(set(names)) != len(names):
            raise checks.InvalidArgs(who, "options", names, "each name once")


class FlexTemplate(pulumi.ComponentResource):
    """The specification `gs://<bucket>/<path>`, from which jobs are launched."""

    specification: gcp.storage.BucketObject
    location: pulumi.Output[str]
    """`gs://...` of the specification."""
    image: pulumi.Output[str]
    streaming: bool

    def __init__(
        self, name: str, *, args: FlexTemplateArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("esteira:flex_template:FlexTemplate", name, {}, opts)
        self._options = {option.name: option for option in args.options}
        self.streaming = args.streaming
        self.image = pulumi.Output.from_input(args.image)
        metadata: dict[str, Any] = {
            "name": args.title,
            "description": args.description,
            "streaming": args.streaming,
            "parameters": [option.metadata() for option in args.options],
        }
        if args.streaming:
            # Exactly once is what the accounting of every event rests on.
            metadata |= {
                "supportsExactlyOnce": True,
                "supportsAtLeastOnce": False,
                "defaultStreamingMode": "STREAMING_MODE_EXACTLY_ONCE",
            }
        content = pulumi.Output.json_dumps(
            {"image": args.image, "sdkInfo": {"language": "PYTHON"}, "metadata": metadata},
            indent=2,
        )
        self.specification = gcp.storage.BucketObject(
            name,
            bucket=args.bucket,
            name=args.path,
            content=content,
            content_type="application/json",
            opts=child_opts(self),
        )
        self.location = pulumi.Output.concat(
            "gs://", self.specification.bucket, "/", self.specification.output_name
        )
        self.register_outputs({"location": self.location, "image": self.image})

    def check(self, parameters: Mapping[str, object]) -> None:
        """Hold parameters to the template's options, before a job is launched with them.

        Raises:
            InvalidArgs: one is unknown, a required one is missing, or a known value breaks the
                option's expression.
        """
        who = f"FlexTemplate {self._name!r}"
        known = ", ".join(f"`{one}`" for one in self._options)
        for name, value in parameters.items():
            if name not in self._options:
                raise checks.InvalidArgs(who, "parameters", name, f"one of {known}")
            for regex in self._options[name].regexes:
                if isinstance(value, str) and not re.fullmatch(regex, value):
                    raise checks.InvalidArgs(who, name, value, f"matching `{regex}`")
        for name, option in self._options.items():
            if not option.optional and name not in parameters:
                raise checks.InvalidArgs(who, name, None, f"{option.help_text} (required)")

"""A Dataflow flex template: an image, and the description of its options, in one JSON object."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_gcp as gcp

from components import checks
from components.child_opts import child_opts


@dataclass(frozen=True, kw_only=True)
class FlexTemplateArgs:
    """What a template needs.

    Raises:
        InvalidArgs: at construction, when the object's path or the metadata does not fit.
    """

    bucket: pulumi.Input[str]
    """The bucket that holds the specification."""
    path: str
    """The specification's object, e.g. `templates/stream.json`."""
    image: pulumi.Input[str]
    """By digest; the same image launches the pipeline and runs its workers."""
    metadata: Mapping[str, Any]
    """`name`, `description`, `parameters`, ... as Dataflow's specification has them; made from the
    pipeline's own options, so that what launches the template is held to what it takes."""

    def __post_init__(self) -> None:
        who = f"FlexTemplate {self.path!r}"
        if not re.fullmatch(r"[^/].*\.json", self.path):
            raise checks.InvalidArgs(who, "path", self.path, "an object's name ending in `.json`")
        if not self.metadata.get("name") or not isinstance(self.metadata.get("parameters"), list):
            raise checks.InvalidArgs(
                who, "metadata", dict(self.metadata), "a `name` and a list of `parameters`"
            )
        names = [option["name"] for option in self.metadata["parameters"]]
        if len(set(names)) != len(names):
            raise checks.InvalidArgs(who, "metadata.parameters", names, "each name once")

    @property
    def streaming(self) -> bool:
        """Whether the pipeline never ends."""
        return bool(self.metadata.get("streaming"))


class FlexTemplate(pulumi.ComponentResource):
    """The specification `gs://<bucket>/<path>`, from which jobs are launched."""

    specification: gcp.storage.BucketObject
    location: pulumi.Output[str]
    """`gs://...` of the specification."""
    image: pulumi.Output[str]
    metadata: Mapping[str, Any]
    streaming: bool

    def __init__(
        self, name: str, *, args: FlexTemplateArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("esteira:flex_template:FlexTemplate", name, {}, opts)
        self._path = args.path
        self._options: dict[str, Mapping[str, Any]] = {
            option["name"]: option for option in args.metadata["parameters"]
        }
        self.metadata = args.metadata
        self.streaming = args.streaming
        self.image = pulumi.Output.from_input(args.image)
        content = pulumi.Output.json_dumps(
            {
                "image": args.image,
                "sdkInfo": {"language": "PYTHON"},
                "metadata": dict(args.metadata),
            },
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
        who = f"FlexTemplate {self._path!r}"
        known = ", ".join(f"`{one}`" for one in self._options)
        for name, value in parameters.items():
            if name not in self._options:
                raise checks.InvalidArgs(who, "parameters", name, f"one of {known}")
            for regex in self._options[name].get("regexes", ()):
                if isinstance(value, str) and not re.search(regex, value):
                    raise checks.InvalidArgs(who, name, value, f"matching `{regex}`")
        for name, option in self._options.items():
            if not option.get("isOptional") and name not in parameters:
                raise checks.InvalidArgs(who, name, None, f"{option.get('helpText')} (required)")

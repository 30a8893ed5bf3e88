"""A container image, built from this checkout and known by its digest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pulumi
import pulumi_docker as docker

from components import checks
from components.child_opts import child_opts


@dataclass(frozen=True, kw_only=True)
class ImageArgs:
    """What a build needs.

    Raises:
        InvalidArgs: at construction, when the Dockerfile or its context is not there.
    """

    repository: pulumi.Input[str]
    """`<host>/<project>/<repository>`, to which the image is pushed."""
    dockerfile: Path
    """A file that is there."""
    context: Path
    """The folder whose files the Dockerfile may copy."""
    target: str | None = None
    """The stage of the Dockerfile; its last one when not given."""
    tag: str = "latest"
    """The tag that moves to the newest build. Nothing refers to it."""
    platform: str = "linux/amd64"
    """What Cloud Run, Dataflow and Vertex AI run."""

    def __post_init__(self) -> None:
        if not self.dockerfile.is_file():
            raise checks.InvalidArgs("Image", "dockerfile", str(self.dockerfile), "a file")
        if not self.context.is_dir():
            raise checks.InvalidArgs("Image", "context", str(self.context), "a folder")


class Image(pulumi.ComponentResource):
    """Image `<repository>/<name>`.

    The build uses the Docker daemon and the credentials of `gcloud auth configure-docker`, so that
    no token enters the state.
    """

    image: docker.Image
    ref: pulumi.Output[str]
    """`<repository>/<name>@sha256:...`: what runs is what was built."""

    def __init__(
        self, name: str, *, args: ImageArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        checks.matches("Image", "name", name, checks.SERVICE)
        super().__init__("esteira:image:Image", name, {}, opts)
        self.image = docker.Image(
            name,
            image_name=pulumi.Output.concat(args.repository, "/", name, ":", args.tag),
            build=docker.DockerBuildArgs(
                context=str(args.context),
                dockerfile=str(args.dockerfile),
                platform=args.platform,
                target=args.target,
            ),
            opts=child_opts(self),
        )
        self.ref = self.image.repo_digest
        self.register_outputs({"ref": self.ref})

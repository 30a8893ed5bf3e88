"""Which images a change builds anew: their inputs name a folder, and the folder has changed."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from esteira.review.plan import Resource
from localcloud.dockerfile import DockerfileError
from localcloud.home import Home
from localcloud.images import Images

_IMAGE: Final = "docker:index/image:Image"


def digests(resources: Iterable[Resource], root: Path) -> dict[str, str]:
    """By URN of an image, a digest of its Dockerfile's meaning and of every file that it copies.

    Args:
        resources: Of a plan, with paths relative to `root`.
        root: The checkout. An image whose Dockerfile cannot be read there is left out.
    """
    found: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="esteira-images-") as folder:
        images = Images(Home(Path(folder)))
        for one in sorted(resources, key=lambda resource: resource.urn):
            build = one.inputs.get("build")
            if one.type != _IMAGE or not isinstance(build, Mapping):
                continue
            target, arguments = build.get("target"), build.get("args")
            try:
                found[one.urn] = images.build(
                    f"{one.name}:review",
                    root / str(build.get("dockerfile", "Dockerfile")),
                    root / str(build.get("context", ".")),
                    target if isinstance(target, str) else None,
                    {key: str(value) for key, value in arguments.items()}
                    if isinstance(arguments, Mapping)
                    else None,
                )
            except (DockerfileError, OSError):
                continue
    return found


def rebuilt(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[str, ...]:
    """Names of the images that both sides have and whose files differ."""
    return tuple(
        sorted(
            urn.rpartition("::")[2]
            for urn in before.keys() & after.keys()
            if before[urn] != after[urn]
        )
    )

"""`docker:index:Image`: what the image would start, recorded; nothing is packed or pushed.

A change in a file that the Dockerfile copies changes the digest, and with it the resource.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from localcloud.dockerfile import DockerfileError, Stage
from localcloud.home import Home
from localcloud.images import ImageNotFound, Images, split_reference
from localcloud.provider.assets import locate
from localcloud.provider.clients import Clients
from localcloud.provider.errors import ProviderError, ServiceError

_REFUSED: Final = ("cacheFrom", "addHosts", "network")


class Image:
    """An image; its id is its name."""

    changing: Final = ("repoDigest",)

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._images = Images(clients.home)

    def locate(self, properties: Mapping[str, Any]) -> str | None:
        # Building over a tag is no conflict.
        return None

    def create(self, properties: Mapping[str, Any]) -> str:
        self._build(self._images, properties)
        return str(properties["imageName"])

    def read(self, id: str, state: Mapping[str, Any]) -> dict[str, Any] | None:  # noqa: A002
        repository = split_reference(id)[0]
        try:
            image = self._images.resolve(id)
        except ImageNotFound:
            return None
        build = state.get("build") or {}
        return {
            "baseImageName": id,
            "imageName": id,
            "repoDigest": f"{repository}@{image.digest}",
            "context": image.context,
            "dockerfile": str(_dockerfile(build, Path(image.context))),
            "platform": build.get("platform", "linux/amd64"),
            "registryServer": (state.get("registry") or {}).get("server")
            or repository.partition("/")[0],
        }

    def update(self, id: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> str:  # noqa: A002
        self._build(self._images, new)
        return id

    def delete(self, id: str, state: Mapping[str, Any]) -> None:  # noqa: A002
        # pulumi-docker: "This resource does not delete tags, locally or remotely, when destroyed."
        # Here nothing else would ever free the name.
        self._images.remove(str(state["imageName"]))

    def stale(self, state: Mapping[str, Any], properties: Mapping[str, Any]) -> list[str]:
        """`["repoDigest"]` when the files that would be copied are not those recorded."""
        digest = self._digest(properties)
        known = str(state.get("repoDigest", "")).rpartition("@")[2]
        return ["repoDigest"] if digest != known else []

    def _digest(self, properties: Mapping[str, Any]) -> str:
        with tempfile.TemporaryDirectory(prefix="esteira-image-") as folder:
            return self._build(_Scratch(Path(folder), self._images), properties)

    def _build(self, images: Images, properties: Mapping[str, Any]) -> str:
        build = properties.get("build") or {}
        refused = [name for name in _REFUSED if build.get(name)]
        if refused:
            raise ProviderError(f"build.{refused[0]} means nothing without Docker; leave it out")
        context = locate(str(build.get("context") or "."), self._clients.roots)
        dockerfile = _dockerfile(build, context)
        if not dockerfile.is_absolute():
            dockerfile = locate(str(dockerfile), self._clients.roots)
        try:
            return images.build(
                str(properties["imageName"]),
                dockerfile,
                context,
                build.get("target"),
                build.get("args"),
            )
        except (DockerfileError, FileNotFoundError) as error:
            raise ServiceError(str(properties["imageName"]), 400, str(error)) from error


class _Scratch(Images):
    """A place to build in without recording, on the grounds that the real images are."""

    def __init__(self, folder: Path, real: Images) -> None:
        super().__init__(Home(folder))
        self._real = real

    def _base(self, reference: str) -> Stage | None:
        return self._real._base(reference)


def _dockerfile(build: Mapping[str, Any], context: Path) -> Path:
    given = build.get("dockerfile")
    return Path(given) if given else context / "Dockerfile"

"""The Model Registry as a product sees it: one model, its versions, and the aliases that move.

Aliases: `challenger`, the newest registered; `champion`, the one that serves; `previous`, the
champion before it; `default`, always the champion's twin for callers that name no version; and one
`run-<pipeline run>` a version, by which a step that runs again finds what it made before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from workloads import gcp
from workloads.artifacts import Folder
from workloads.manifest import MANIFEST, MODEL, Manifest
from workloads.product import Product
from workloads.scoring import Scorer, verify

CHALLENGER: Final = "challenger"
CHAMPION: Final = "champion"
PREVIOUS: Final = "previous"
DEFAULT: Final = "default"


class NoSuchVersion(LookupError):
    """No version of the product's model has that alias or number."""


@dataclass(frozen=True)
class Version:
    """One version of a product's model."""

    model: Any
    """Google's `aiplatform.Model`."""

    @property
    def number(self) -> str:
        return self.model.version_id

    @property
    def aliases(self) -> tuple[str, ...]:
        return tuple(self.model.version_aliases)

    @property
    def folder(self) -> Folder:
        """Where its artefacts lie."""
        return Folder(self.model.uri.rstrip("/"))

    def manifest(self) -> Manifest:
        return self.folder.read_json(MANIFEST, Manifest)

    def scorer(self, product: Product) -> Scorer:
        """The model itself, verified against its manifest.

        Raises:
            ModelRefused: it was altered, or does not take the product's requests.
        """
        content = self.folder.read(MODEL)
        verify(content, self.manifest().model_sha256, f"{self.folder.uri}/{MODEL}")
        return Scorer(content, product.features.request, product.task)


class Registry:
    """The versions of one product's model."""

    def __init__(self, product: Product) -> None:
        self._sdk = gcp.vertex()
        self.product = product
        self.name = f"projects/{gcp.project()}/locations/{gcp.location()}/models/{product.name}"

    def find(self, version: str) -> Version | None:
        """The version of an alias or number, or none."""
        from google.api_core.exceptions import NotFound

        try:
            return Version(self._sdk.Model(model_name=f"{self.name}@{version}"))
        except NotFound:
            return None

    def get(self, version: str) -> Version:
        """The version of an alias or number.

        Raises:
            NoSuchVersion: there is none.
        """
        found = self.find(version)
        if found is None:
            raise NoSuchVersion(
                f"model {self.product.name} has no version {version!r} in {gcp.project()}; "
                "train one first"
            )
        return found

    def numbers(self) -> list[str]:
        """The numbers of all versions, oldest first; empty when there is no model yet."""
        from google.api_core.exceptions import NotFound

        try:
            infos = self._sdk.models.ModelRegistry(model=self.name).list_versions()
            return sorted((one.version_id for one in infos), key=int)
        except NotFound:
            return []

    def move(self, alias: str, version: Version) -> None:
        """Give an alias to one version. Repeatable; Vertex AI takes it from its holder at once."""
        if alias not in version.aliases:
            version.model.versioning_registry.add_version_aliases([alias], version.number)

    def drop(self, alias: str) -> None:
        """Take an alias from whichever version has it. Repeatable."""
        holder = self.find(alias)
        if holder is not None:
            holder.model.versioning_registry.remove_version_aliases([alias], holder.number)

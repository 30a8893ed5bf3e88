"""The Model Registry as a product sees it: one model, its versions, and the aliases that move.

Vertex AI's registry is the truth, MLflow's its mirror, and `Registry` the only one that writes
either: Vertex AI first, then what is different in MLflow. An intent lies in the product's bucket
meanwhile, so that a write which was killed, or found no MLflow, is known and finished by the next
one or by `esteira models reconcile`.

Aliases: `challenger`, the newest registered; `champion`, the one that serves; `previous`, the
champion before it; `default`, always the champion's twin for callers that name no version; and one
`run-<pipeline run>` a version, by which a step that runs again finds what it made before.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from workloads import gcp
from workloads.artifacts import ArtifactNotFound, Folder
from workloads.manifest import MANIFEST, MODEL, Manifest
from workloads.product import Product
from workloads.scoring import Scorer, verify

if TYPE_CHECKING:
    from workloads.tracking.mirror import Mirror

log = logging.getLogger(__name__)

CHALLENGER: Final = "challenger"
CHAMPION: Final = "champion"
PREVIOUS: Final = "previous"
DEFAULT: Final = "default"

STATE: Final = "release"
"""The label of a version that says how far its release has come."""
REGISTERED: Final = "registered"
"""The state of a version that no release has taken up."""
SHA256: Final = "MODEL_SHA256"
"""The variable of a version's container that says which bytes were registered."""
_STATE_FORM: Final = re.compile(r"[a-z][a-z0-9_-]{0,62}")


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


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """What the registry has written down of a version, without its artefacts."""

    number: str
    run: str
    """The pipeline run that made it."""
    sha256: str
    """Of the ONNX graph."""
    aliases: tuple[str, ...]
    state: str
    """Of its release: `registered`, `shadow`, `canary-25`, `full`, `retired`, ..."""
    folder: Folder
    image: str
    """The container that serves it."""
    created: datetime
    description: str


class Registry:
    """The versions of one product's model.

    Args:
        product: The declaration.
        tracking: Address of MLflow's server; empty: only Vertex AI is written. By default what the
            environment says.

    Raises:
        InvalidAddress: `tracking` is no address.
    """

    def __init__(self, product: Product, tracking: str | None = None) -> None:
        from workloads.tracking.client import checked

        self.tracking = checked(gcp.tracking_address() if tracking is None else tracking)
        self._writing = False
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
            raise self._missing(version)
        return found

    def _missing(self, version: str) -> NoSuchVersion:
        return NoSuchVersion(
            f"model {self.product.name} has no version {version!r} in {gcp.project()}; "
            "train one first"
        )

    def numbers(self) -> list[str]:
        """The numbers of all versions, oldest first; empty when there is no model yet."""
        from google.api_core.exceptions import NotFound

        try:
            infos = self._sdk.models.ModelRegistry(model=self.name).list_versions()
            return sorted((one.version_id for one in infos), key=int)
        except NotFound:
            return []

    def record(self, version: str) -> Recorded:
        """What is written down of the version of an alias or number.

        Raises:
            NoSuchVersion: there is none.
        """
        from google.api_core.exceptions import NotFound

        try:
            return _recorded(self._client.get_model(name=f"{self.name}@{version}"))
        except NotFound:
            raise self._missing(version) from None

    def recorded(self) -> list[Recorded]:
        """All versions, oldest first, in one question; empty when there is no model yet."""
        from google.api_core.exceptions import NotFound

        try:
            found: list[Any] = list(self._client.list_model_versions(name=self.name))
        except NotFound:
            return []
        return sorted((_recorded(one) for one in found), key=lambda one: int(one.number))

    @cached_property
    def _client(self) -> Any:
        """Google's generated client, for what the SDK's classes do not show of a version."""
        from google.cloud.aiplatform import initializer
        from google.cloud.aiplatform.utils import ModelClientWithOverride

        client: Any = initializer.global_config.create_client(client_class=ModelClientWithOverride)
        return client.select_version("v1")

    @contextmanager
    def writing(self, what: str) -> Iterator[None]:
        """Several writes as one: MLflow follows once, at the end.

        What is written to Vertex AI stays written whether MLflow answers or not.

        Args:
            what: for people, e.g. `release version 3`.
        """
        mirror = None if self._writing else self.mirror()
        if mirror is None:
            yield
            return
        self._writing = True
        try:
            mirror.intend(what)
            try:
                yield
            except Exception:
                self._follow(mirror)
                raise
            self._follow(mirror)
        finally:
            self._writing = False

    def _follow(self, mirror: Mirror) -> None:
        from workloads.tracking.client import TrackingFailed

        try:
            mirror.mend()
        except TrackingFailed as error:
            log.warning(
                "MLflow is behind the registry of %s: %s. The next write catches up, or `esteira "
                "models reconcile %s`",
                self.product.name,
                error,
                self.product.name,
            )

    def mirror(self) -> Mirror | None:
        """MLflow's registry beside this one; none where nothing is tracked."""
        from workloads.tracking.client import Mlflow
        from workloads.tracking.mirror import Mirror

        return Mirror(self, Mlflow(self.tracking)) if self.tracking else None

    def add(self, run: str, **upload: Any) -> Version:
        """Make a version with the alias of its run, the first of a model as its default.

        Args:
            run: the pipeline run; one that has a version makes no second one.
            upload: what `aiplatform.Model.upload` takes beyond names and aliases.
        """
        with self.writing(f"add the version of {run}"):
            return self.find(run_alias(run)) or self._add(run, upload)

    def _add(self, run: str, upload: dict[str, Any]) -> Version:
        first = not self.numbers()
        model = self._sdk.Model.upload(
            display_name=self.product.name,
            # A fixed id, so that the model of a product needs no search.
            **({"model_id": self.product.name} if first else {"parent_model": self.name}),
            is_default_version=first,
            version_aliases=[run_alias(run)],
            sync=True,
            **upload,
        )
        return Version(model)

    def move(self, alias: str, version: Version) -> None:
        """Give an alias to one version. Repeatable; Vertex AI takes it from its holder at once."""
        with self.writing(f"move {alias} to version {version.number}"):
            if alias not in version.aliases:
                version.model.versioning_registry.add_version_aliases([alias], version.number)

    def drop(self, alias: str) -> None:
        """Take an alias from whichever version has it. Repeatable."""
        with self.writing(f"drop {alias}"):
            holder = self.find(alias)
            if holder is not None:
                holder.model.versioning_registry.remove_version_aliases([alias], holder.number)

    def mark(self, version: Version, state: str) -> None:
        """Write down how far a version's release has come. Repeatable.

        Args:
            version: Of this product.
            state: as a label: `shadow`, `canary-25`, `full`, `retired`, `aborted`, ...

        Raises:
            ValueError: it is no value of a label.
        """
        if not _STATE_FORM.fullmatch(state):
            raise ValueError(
                f"state is {state!r}; allowed: a lower-case letter, then up to 62 lower-case "
                "letters, digits, `-` and `_`, e.g. `canary-25`"
            )
        with self.writing(f"mark version {version.number} as {state}"):
            self.label(version, {STATE: state})

    def label(self, version: Version, labels: dict[str, str]) -> None:
        """Write down what was found of a version, such as the gate's verdict. Repeatable.

        Args:
            version: Of this product.
            labels: those to set; others stay.
        """
        from google.cloud import aiplatform_v1
        from google.protobuf import field_mask_pb2

        with self.writing(f"label version {version.number} with {labels}"):
            # Not the SDK's `update`, which writes to the default version whichever it was given.
            name = f"{self.name}@{version.number}"
            before = dict(self._client.get_model(name=name).labels)
            if (after := before | labels) != before:
                self._client.update_model(
                    model=aiplatform_v1.Model(name=name, labels=after),
                    update_mask=field_mask_pb2.FieldMask(paths=["labels"]),
                )
            self._renew_card(version.number)

    def _renew_card(self, number: str) -> None:
        """A release follows a decision of the gate, which the card did not know."""
        from workloads import model_card

        try:
            model_card.write(self.product, self.record(number))
        except ArtifactNotFound as error:
            log.warning("version %s of %s has no card: %s", number, self.product.name, error)


def run_alias(run: str) -> str:
    """The alias by which a run finds its version."""
    return f"run-{run}"


def _recorded(model: Any) -> Recorded:
    container = model.container_spec
    return Recorded(
        number=model.version_id,
        run=model.labels.get("run", ""),
        sha256=next((one.value for one in container.env if one.name == SHA256), ""),
        aliases=tuple(model.version_aliases),
        state=model.labels.get(STATE, REGISTERED),
        folder=Folder(model.artifact_uri.rstrip("/")),
        image=container.image_uri,
        created=model.version_create_time,
        description=model.version_description,
    )

"""MLflow's registry as the mirror of Vertex AI's: compared with it, and mended towards it.

One model version of MLflow for each of Vertex AI's, tagged with its number, since MLflow counts
for itself; the aliases `challenger`, `champion` and `previous` where Vertex AI has them; a tag that
says how far the release has come. What MLflow has beyond that in the product's model is taken away:
the version, never its run or its files.

Comparing and mending repeat until nothing differs, and every round reads Vertex AI anew. So of two
writers at once the last to touch MLflow has seen what both wrote.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import msgspec

from workloads.manifest import MODEL
from workloads.registry import CHALLENGER, CHAMPION, PREVIOUS, Recorded, Registry
from workloads.tracking.client import Document, Mlflow, TrackingFailed, TrackingRefused
from workloads.tracking.intents import Intent, Intents
from workloads.tracking.run_log import RunLog, Unpublishable

ALIASES: Final = (CHALLENGER, CHAMPION, PREVIOUS)
"""Those that MLflow has too; the others serve Vertex AI's own callers."""
VERSION: Final = "vertex.version"
MODEL_NAME: Final = "vertex.model"
_RUN: Final = "run"
_SHA256: Final = "sha256"
_STATE: Final = "release"
_FILES: Final = "files"
_ROUNDS: Final = 4


class Unmendable(TrackingFailed):
    """MLflow differs again after every mending, or mirrors another registry."""


class Kind(StrEnum):
    """How MLflow differs."""

    MISSING = "missing"
    """A version of Vertex AI that MLflow does not have."""
    SURPLUS = "surplus"
    """A version of MLflow that Vertex AI does not have, or not twice."""
    ALIAS = "alias"
    """An alias that another version has, or none, or one too many."""
    TAG = "tag"
    HASH = "hash"
    """Another model: by its tag, or by its file."""
    RUN = "run"
    """The run of a version is gone, or is another one."""


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that MLflow has otherwise than Vertex AI."""

    kind: Kind
    version: str
    """Vertex AI's number; empty for what it does not know."""
    mirrored: str
    """MLflow's number; empty where it has none."""
    name: str
    """Of the alias or the tag."""
    expected: str
    """As Vertex AI has it; empty: nothing."""
    found: str
    """As MLflow has it; empty: nothing."""

    def __str__(self) -> str:
        where = f"version {self.version}" if self.version else f"MLflow's version {self.mirrored}"
        name = f" `{self.name}`" if self.name else ""
        expected, found = self.expected or "nothing", self.found or "nothing"
        return f"{where}: {self.kind.value}{name}: MLflow has {found}, Vertex AI {expected}"


@dataclass(frozen=True)
class _State:
    """Both registries at one moment."""

    wanted: dict[str, Recorded]
    mirrored: dict[str, Document]
    """MLflow's versions by Vertex AI's number."""
    surplus: list[Document]
    aliases: dict[str, str]
    """MLflow's number by alias."""


class Mirror:
    """The model of one product in MLflow.

    Every method raises `TrackingFailed` where MLflow does not do as asked.
    """

    def __init__(self, registry: Registry, server: Mlflow) -> None:
        self._registry = registry
        self._server = server
        self._product = registry.product
        self._runs = RunLog(server, registry.product)
        self._intents = Intents(registry.product)

    def intend(self, what: str) -> None:
        """Keep down that something is being written, until `mend` has ended."""
        self._intents.keep(what)

    def pending(self) -> list[Intent]:
        """Writes that MLflow may not have yet."""
        return self._intents.all()

    def url(self, version: str = "") -> str:
        """A page of MLflow's: of the model, or of one of MLflow's versions."""
        page = f"{self._server.address}/#/models/{self._product.name}"
        return f"{page}/versions/{version}" if version else page

    def numbers(self) -> dict[str, str]:
        """MLflow's number of each of Vertex AI's versions that it has."""
        return {
            number: str(found["version"])
            for number, found in self._read(registered=False).mirrored.items()
        }

    def differences(self, *, thoroughly: bool = True) -> list[Difference]:
        """What MLflow has otherwise than Vertex AI, without touching either.

        Args:
            thoroughly: look at runs, and at the bytes of models that have an alias, too.

        Raises:
            Unmendable: MLflow's model mirrors another registry.
        """
        return self._compare(self._read(), thoroughly=thoroughly)

    def mend(self, *, thoroughly: bool = False) -> list[Difference]:
        """Bring MLflow to where Vertex AI is; returns what differed. Repeatable after a kill.

        Raises:
            Unmendable: it differs again and again.
            Unpublishable: all that still differs is of versions whose files are gone or altered.
        """
        # Before Vertex AI is read: what is intended later is not settled here.
        settled = self._intents.all()
        mended: list[Difference] = []
        for _ in range(_ROUNDS):
            state = self._read()
            differences = self._compare(state, thoroughly=thoroughly)
            if not differences:
                self._intents.clear(settled)
                return mended
            mended += [one for one in differences if one not in mended]
            stuck: list[Unpublishable] = []
            moved = False
            for one in differences:
                try:
                    moved |= self._mend(one, state)
                except Unpublishable as error:
                    # One version whose files are gone keeps no other from being mirrored.
                    stuck.append(error)
            if stuck and not moved:
                raise stuck[0]
        raise Unmendable(
            f"MLflow's model {self._product.name} differs after {_ROUNDS} rounds: {mended[-1]}; "
            "somebody else writes to it"
        )

    def _read(self, *, registered: bool = True) -> _State:
        # MLflow first: a version that another writer adds in between is then missing, and mended,
        # and never taken for one that Vertex AI has lost.
        name = self._product.name
        model = self._server.find("registered-models/get", {"name": name})
        found: list[Document] = []
        aliases: dict[str, str] = {}
        if model is not None:
            held = model["registered_model"]
            self._check_owner(_tags(held))
            aliases = {one["alias"]: str(one["version"]) for one in held.get("aliases", [])}
            quoted = {"filter": f"name='{name}'"}
            found = list(
                self._server.pages("GET", "model-versions/search", quoted, "model_versions")
            )
        wanted = {one.number: one for one in self._registry.recorded()} if registered else {}
        mirrored: dict[str, Document] = {}
        surplus: list[Document] = []
        for one in sorted(found, key=lambda one: int(one["version"])):
            number = _tags(one).get(VERSION, "")
            known = number in wanted or not registered
            if number and known and number not in mirrored:
                mirrored[number] = one
            else:
                surplus.append(one)
        return _State(wanted, mirrored, surplus, aliases)

    def _check_owner(self, tags: dict[str, str]) -> None:
        owner = tags.get(MODEL_NAME)
        if owner not in (None, self._registry.name):
            raise Unmendable(
                f"MLflow's model {self._product.name} mirrors {owner}, this registry is "
                f"{self._registry.name}; allowed: the same. One tracking server serves one project"
            )

    def _compare(self, state: _State, *, thoroughly: bool) -> list[Difference]:
        found: list[Difference] = []
        for number, one in state.wanted.items():
            mirrored = state.mirrored.get(number)
            if mirrored is None:
                found.append(_difference(Kind.MISSING, number, "", "", one.run, ""))
                continue
            found += self._compare_tags(one, mirrored)
            if thoroughly:
                found += self._compare_run(one, mirrored)
        for surplus in state.surplus:
            number = _tags(surplus).get(VERSION, "")
            said = f"version {surplus['version']}"
            found.append(_difference(Kind.SURPLUS, number, str(surplus["version"]), "", "", said))
        return [*found, *_compare_aliases(state)]

    def _compare_tags(self, one: Recorded, mirrored: Document) -> list[Difference]:
        tags, number = _tags(mirrored), str(mirrored["version"])
        return [
            _difference(
                Kind.HASH if name == _SHA256 else Kind.TAG,
                one.number,
                number,
                name,
                value,
                tags.get(name, ""),
            )
            for name, value in self._tags_of(one).items()
            if tags.get(name, "") != value
        ]

    def _compare_run(self, one: Recorded, mirrored: Document) -> list[Difference]:
        number, run = str(mirrored["version"]), str(mirrored.get("run_id", ""))
        found = self._runs.active(one.run)
        if found is None or found["info"]["run_id"] != run:
            now = "" if found is None else found["info"]["run_id"]
            return [_difference(Kind.RUN, one.number, number, "", now or one.run, run)]
        if not set(one.aliases).intersection(ALIASES):
            return []
        content = self._server.download(found["info"]["artifact_uri"], MODEL)
        sha256 = "" if content is None else hashlib.sha256(content).hexdigest()
        if sha256 == one.sha256:
            return []
        return [_difference(Kind.HASH, one.number, number, MODEL, one.sha256, sha256)]

    def _tags_of(self, one: Recorded) -> dict[str, str]:
        tags = {_RUN: one.run, _SHA256: one.sha256, _STATE: one.state}
        if set(one.aliases).intersection(ALIASES):
            # What is written beside a version later, as a decision on it, comes along.
            tags[_FILES] = self._runs.digest(one)
        return tags

    def _mend(self, one: Difference, state: _State) -> bool:
        """Whether anything could be done about it yet."""
        recorded = state.wanted.get(one.version)
        if one.kind is Kind.SURPLUS:
            self._forget(one.mirrored)
        elif one.kind is Kind.ALIAS:
            return self._point(one, recorded)
        elif recorded is None:
            raise AssertionError(f"{one} is of no version of Vertex AI")
        elif one.kind is Kind.MISSING:
            self._create(recorded)
        elif one.kind is Kind.RUN:
            # A version cannot be given another run.
            self._runs.publish(recorded)
            self._forget(one.mirrored)
        else:
            if one.name in (_FILES, MODEL):
                self._runs.publish(recorded)
            if one.name != MODEL:
                self._change(
                    "POST",
                    "model-versions/set-tag",
                    version=one.mirrored,
                    key=one.name,
                    value=one.expected,
                )
        return True

    def _point(self, one: Difference, holder: Recorded | None) -> bool:
        if holder is None:
            self._change("DELETE", "registered-models/alias", alias=one.name)
        elif one.mirrored:
            self._change("POST", "registered-models/alias", alias=one.name, version=one.mirrored)
        else:
            # Its version is missing, and has a number in the next round.
            return False
        return True

    def _create(self, one: Recorded) -> None:
        run = self._runs.publish(one)
        self._register_model()
        tags = {VERSION: one.number, **self._tags_of(one)}
        self._change(
            "POST",
            "model-versions/create",
            source=run["artifact_uri"],
            run_id=run["run_id"],
            description=one.description,
            tags=[{"key": key, "value": value} for key, value in tags.items()],
        )

    def _register_model(self) -> None:
        named = {"name": self._product.name}
        if self._server.find("registered-models/get", named) is None:
            self._change(
                "POST",
                "registered-models/create",
                description=self._product.title,
                tags=[{"key": MODEL_NAME, "value": self._registry.name}],
            )

    def _forget(self, version: str) -> None:
        self._change("DELETE", "model-versions/delete", version=version)

    def _change(self, method: str, path: str, **body: Any) -> None:
        try:
            self._server.call(method, path, {"name": self._product.name, **body})
        except TrackingRefused as refused:
            # Another writer was quicker.
            done = {"DELETE": "RESOURCE_DOES_NOT_EXIST", "POST": "RESOURCE_ALREADY_EXISTS"}
            if refused.code != done[method]:
                raise


def _compare_aliases(state: _State) -> list[Difference]:
    found: list[Difference] = []
    wanted = {alias: one for one in state.wanted.values() for alias in one.aliases}
    numbers = {str(one["version"]): number for number, one in state.mirrored.items()}
    # Nobody else hands out aliases, so none but these should be there.
    for alias in sorted({*ALIASES, *state.aliases}):
        holder = wanted.get(alias) if alias in ALIASES else None
        has = state.aliases.get(alias, "")
        said = f"version {numbers[has]}" if has in numbers else has and f"its own version {has}"
        if holder is None:
            if has:
                found.append(_difference(Kind.ALIAS, "", has, alias, "", said))
        elif numbers.get(has) != holder.number:
            mirrored = state.mirrored.get(holder.number, {})
            number, wants = str(mirrored.get("version", "")), f"version {holder.number}"
            found.append(_difference(Kind.ALIAS, holder.number, number, alias, wants, said))
    return found


def _difference(
    kind: Kind, version: str, mirrored: str, name: str, expected: str, found: str
) -> Difference:
    return Difference(
        kind=kind, version=version, mirrored=mirrored, name=name, expected=expected, found=found
    )


def _tags(document: Document) -> dict[str, str]:
    return {one["key"]: one.get("value", "") for one in document.get("tags", [])}

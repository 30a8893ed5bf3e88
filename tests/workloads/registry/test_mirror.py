"""MLflow follows Vertex AI's registry, whatever breaks on the way."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from tests.workloads.registry.conftest import Add, register
from workloads.manifest import MODEL
from workloads.product import Product
from workloads.registry import CHALLENGER, CHAMPION, DEFAULT, PREVIOUS, Registry
from workloads.tracking.client import Mlflow, TrackingFailed
from workloads.tracking.intents import Intents
from workloads.tracking.mirror import Kind, Mirror, Unmendable
from workloads.tracking.run_log import Unpublishable


def mirror(registry: Registry) -> Mirror:
    found = registry.mirror()
    assert found is not None
    return found


class MlflowSeen:
    """MLflow's model of a product, as anybody who calls its API sees it."""

    def __init__(self, registry: Registry) -> None:
        self.server = Mlflow(registry.tracking)
        self.name = registry.product.name

    def call(self, method: str, path: str, **body: Any) -> Any:
        return self.server.call(method, path, {"name": self.name, **body})

    def versions(self) -> dict[str, dict[str, Any]]:
        """By the number that Vertex AI has for it."""
        found = self.server.call(
            "GET", "model-versions/search", {"filter": f"name='{self.name}'"}
        ).get("model_versions", [])
        return {self.tags(one).get("vertex.version", "foreign"): one for one in found}

    @staticmethod
    def tags(document: dict[str, Any]) -> dict[str, str]:
        return {one["key"]: one["value"] for one in document.get("tags", [])}

    def aliases(self) -> dict[str, str]:
        """Vertex AI's number by alias."""
        mine = {one["version"]: number for number, one in self.versions().items()}
        held = self.call("GET", "registered-models/get")["registered_model"].get("aliases", [])
        return {one["alias"]: mine.get(one["version"], "none") for one in held}

    def run(self, version: str) -> dict[str, Any]:
        run_id = self.versions()[version]["run_id"]
        return self.server.call("GET", "runs/get", {"run_id": run_id})["run"]


@pytest.fixture
def seen(registry: Registry) -> MlflowSeen:
    return MlflowSeen(registry)


class TestFollowing:
    def test_a_version_is_one_version_with_its_run(self, add: Add, seen: MlflowSeen) -> None:
        add("first-run", 1)

        mirrored = seen.versions()["1"]
        tags = seen.tags(mirrored)
        assert (tags["run"], tags["release"]) == ("first-run", "registered")
        run = seen.run("1")
        assert run["info"]["status"] == "FINISHED"
        data = run["data"]
        metrics = {one["key"]: one["value"] for one in data["metrics"]}
        parameters = {one["key"]: one["value"] for one in data["params"]}
        assert (metrics["roc_auc_low"], metrics["roc_auc_high"]) == (0.68, 0.75)
        assert metrics["slice/origin/JFK/roc_auc"] == 0.71
        assert parameters["model.max_iter"] == "200"
        logged = seen.tags(data)
        assert logged["mlflow.source.git.commit"] == "abc123"
        assert logged["esteira.pipeline_job"].endswith("/pipelineJobs/first-run")
        digests = {one["dataset"]["digest"] for one in run["inputs"]["dataset_inputs"]}
        assert digests == {parameters["training.sha256"][:36]}

    def test_its_files_are_those_of_the_bucket(self, add: Add, seen: MlflowSeen) -> None:
        version = add("first-run", 1)

        place = seen.run("1")["info"]["artifact_uri"]
        assert "plots/roc.svg" in version.folder.listed()
        for name in version.folder.listed():
            assert seen.server.download(place, name) == version.folder.read(name), name

    def test_aliases_and_states_follow(
        self, registry: Registry, add: Add, seen: MlflowSeen
    ) -> None:
        one, two = add("one", 1), add("two", 2)

        with registry.writing("release version 2"):
            registry.move(CHALLENGER, two)
            registry.move(PREVIOUS, one)
            registry.move(CHAMPION, two)
            registry.move(DEFAULT, two)
            registry.drop(CHALLENGER)
            registry.mark(two, "canary-25")
            registry.mark(one, "retired")

        assert seen.aliases() == {CHAMPION: "2", PREVIOUS: "1"}
        states = {key: seen.tags(one)["release"] for key, one in seen.versions().items()}
        assert states == {"1": "retired", "2": "canary-25"}
        assert {one.number: one.state for one in registry.recorded()} == states

    def test_a_file_that_comes_later_comes_along(
        self, registry: Registry, add: Add, seen: MlflowSeen
    ) -> None:
        version = add("one", 1)
        registry.move(CHALLENGER, version)

        version.folder.write("decision.md", "# approved", "text/markdown")
        registry.mark(version, "shadow")

        place = seen.run("1")["info"]["artifact_uri"]
        assert seen.server.download(place, "decision.md") == b"# approved"

    def test_registering_twice_is_one_version(
        self, registry: Registry, add: Add, seen: MlflowSeen
    ) -> None:
        assert add("one", 1).number == add("one", 1).number == "1"
        assert len(seen.versions()) == 1
        assert mirror(registry).differences() == []

    def test_where_nothing_is_tracked_no_intent_is_kept(self, mirrored: Product) -> None:
        registry = Registry(mirrored, "")

        register(registry, "untracked")

        assert registry.mirror() is None
        assert Intents(mirrored).all() == []

    @pytest.mark.parametrize("state", ["Canary 25 %", "", "9", "x" * 64])
    def test_a_state_that_is_no_label_is_refused(self, registry: Registry, state: str) -> None:
        with pytest.raises(ValueError, match=r"state is .*; allowed: a lower-case letter"):
            registry.mark(None, state)  # pyright: ignore[reportArgumentType]  # never looked at


class Killed(BaseException):
    """As SIGKILL would, it lets no handler run that catches exceptions."""


@contextmanager
def killed_at(step: int, patch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Dies before the change of that number: of an intent, of Vertex AI, of MLflow."""
    done: list[str] = []

    def counting(where: type, name: str, told: Any = None) -> None:
        real = getattr(where, name)

        def maybe(self: Any, *words: Any, **named: Any) -> Any:
            if told is None or told(words):
                if len(done) == step:
                    raise Killed
                done.append(name)
            return real(self, *words, **named)

        patch.setattr(where, name, maybe)

    counting(Mlflow, "_send", lambda words: words[0] != "GET" and "search" not in words[1])
    counting(Intents, "keep")
    counting(Intents, "clear")
    counting(Registry, "_add")
    with suppress(Killed):
        yield done


def everything(registry: Registry, number: int) -> None:
    """What a registration and a release write, on a model that has a champion."""
    before = registry.get(CHAMPION)
    with registry.writing("everything"):
        version = register(registry, f"run-{number}", number)
        registry.move(CHALLENGER, version)
        registry.mark(version, "shadow")
        registry.move(PREVIOUS, before)
        registry.move(CHAMPION, version)


@pytest.mark.parametrize("every", [pytest.param(1, marks=pytest.mark.long), 6])
def test_a_kill_at_any_step_is_mended_by_reconciling(
    registry: Registry, add: Add, seen: MlflowSeen, monkeypatch: pytest.MonkeyPatch, every: int
) -> None:
    registry.move(CHAMPION, add("first", 99))
    whole: list[str] = []
    for step in itertools.count(step=every):
        with monkeypatch.context() as patch, killed_at(step, patch) as done:
            everything(registry, 0)
            whole = done
            break
        # Another process finds what the dead one left.
        successor = Registry(registry.product, registry.tracking)
        mirror(successor).mend()
        assert mirror(successor).differences(thoroughly=False) == [], step
        assert mirror(successor).pending() == []
        numbers = set(successor.numbers())
        assert set(seen.versions()) == numbers
        if len(numbers) > 1:
            # The next kill needs something to do: MLflow loses all of it.
            seen.call("DELETE", "registered-models/delete")
    assert len(whole) >= 12, whole
    assert mirror(registry).differences() == []


def test_a_write_that_was_killed_is_finished_by_the_next(
    registry: Registry, add: Add, seen: MlflowSeen, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = add("one", 1), add("two", 2)
    with monkeypatch.context() as patch, killed_at(1, patch):
        registry.move(CHAMPION, one)
    assert [each.what for each in mirror(registry).pending()] == ["move champion to version 1"]
    assert CHAMPION not in seen.aliases()

    registry.move(CHALLENGER, two)

    assert seen.aliases() == {CHAMPION: "1", CHALLENGER: "2"}
    assert mirror(registry).pending() == []


class TestWithMlflowDown:
    NOWHERE = "http://127.0.0.1:9"

    def test_the_write_counts_and_the_intent_stays(
        self, registry: Registry, seen: MlflowSeen, caplog: pytest.LogCaptureFixture
    ) -> None:
        alone = Registry(registry.product, self.NOWHERE)

        version = register(alone, "alone", 1)
        alone.move(CHAMPION, version)

        assert registry.get(CHAMPION).number == "1"
        assert "esteira models reconcile" in caplog.text
        assert "Connection refused" in caplog.text
        assert len(mirror(registry).pending()) == 2
        assert [one.kind for one in mirror(registry).differences()] == [Kind.MISSING, Kind.ALIAS]
        mirror(registry).mend()
        assert seen.aliases() == {CHAMPION: "1"}
        assert mirror(registry).pending() == []

    def test_comparing_says_so(self, registry: Registry) -> None:
        with pytest.raises(TrackingFailed, match=r"127\.0\.0\.1:9 does not answer"):
            mirror(Registry(registry.product, self.NOWHERE)).differences()


Listed = Callable[[], list[str]]


class TestDifferences:
    """Each is listed, and mended towards Vertex AI."""

    @pytest.fixture(scope="class")
    def whole(self) -> list[Product]:
        """The product that the last test left as it was made, if it did."""
        return []

    @pytest.fixture
    def mirrored(self, whole: list[Product], mirrored: Product) -> Product:
        return whole.pop() if whole else mirrored

    @pytest.fixture(autouse=True)
    def released(self, registry: Registry, add: Add) -> None:
        if registry.numbers():
            return
        with registry.writing("two versions"):
            one, two = add("one", 1), add("two", 2)
            registry.move(CHAMPION, one)
            registry.move(CHALLENGER, two)

    @pytest.fixture
    def listed(self, registry: Registry, seen: MlflowSeen, whole: list[Product]) -> Listed:
        """What differs; afterwards nothing does."""

        def mended() -> list[str]:
            said = self.mended(registry)
            numbers = {number: one["version"] for number, one in seen.versions().items()}
            if numbers == {"1": "1", "2": "2"}:
                whole.append(registry.product)
            return said

        return mended

    def mended(self, registry: Registry) -> list[str]:
        differences = mirror(registry).differences()
        mended = mirror(registry).mend(thoroughly=True)
        assert all(one in mended for one in differences)
        assert mirror(registry).differences() == []
        return [str(one) for one in differences]

    def test_a_version_deleted_in_mlflow(
        self, registry: Registry, seen: MlflowSeen, listed: Listed
    ) -> None:
        seen.call("DELETE", "model-versions/delete", version=seen.versions()["1"]["version"])

        assert listed() == [
            "version 1: missing: MLflow has nothing, Vertex AI one",
            "version 1: alias `champion`: MLflow has nothing, Vertex AI version 1",
        ]
        assert seen.aliases() == {CHAMPION: "1", CHALLENGER: "2"}

    def test_a_version_deleted_in_vertex(
        self, registry: Registry, seen: MlflowSeen, listed: Listed
    ) -> None:
        registry.drop(CHALLENGER)
        registry.get("2").model.versioning_registry.delete_version("2")

        assert listed() == ["version 2: surplus: MLflow has version 2, Vertex AI nothing"]
        assert list(seen.versions()) == ["1"]

    def test_a_version_that_somebody_made(
        self, registry: Registry, seen: MlflowSeen, listed: Listed
    ) -> None:
        run = seen.run("1")["info"]
        seen.call("POST", "model-versions/create", source=run["artifact_uri"], run_id=run["run_id"])
        seen.call("POST", "registered-models/alias", alias="mine", version="3")

        assert listed() == [
            "MLflow's version 3: surplus: MLflow has version 3, Vertex AI nothing",
            "MLflow's version 3: alias `mine`: MLflow has its own version 3, Vertex AI nothing",
        ]
        assert seen.run("1")["info"]["lifecycle_stage"] == "active"

    def test_an_alias_elsewhere(self, registry: Registry, seen: MlflowSeen, listed: Listed) -> None:
        two = seen.versions()["2"]["version"]
        seen.call("POST", "registered-models/alias", alias=CHAMPION, version=two)

        assert listed() == [
            "version 1: alias `champion`: MLflow has version 2, Vertex AI version 1"
        ]
        assert seen.aliases() == {CHAMPION: "1", CHALLENGER: "2"}

    def test_an_alias_too_many(self, registry: Registry, seen: MlflowSeen, listed: Listed) -> None:
        seen.call("POST", "registered-models/alias", alias=PREVIOUS, version="1")

        assert listed() == [
            "MLflow's version 1: alias `previous`: MLflow has version 1, Vertex AI nothing"
        ]

    def test_a_wrong_tag_and_a_wrong_hash(
        self, registry: Registry, seen: MlflowSeen, listed: Listed
    ) -> None:
        for key, value in (("release", "full"), ("sha256", "0" * 64)):
            seen.call("POST", "model-versions/set-tag", version="1", key=key, value=value)

        sha256 = registry.recorded()[0].sha256
        assert listed() == [
            f"version 1: hash `sha256`: MLflow has {'0' * 64}, Vertex AI {sha256}",
            "version 1: tag `release`: MLflow has full, Vertex AI registered",
        ]

    def test_another_model_in_its_run(
        self, registry: Registry, seen: MlflowSeen, listed: Listed
    ) -> None:
        place = seen.run("1")["info"]["artifact_uri"]
        seen.server.upload(place, MODEL, b"\x08another")

        (said,) = listed()

        assert said.startswith("version 1: hash `model.onnx`: MLflow has ")
        content = seen.server.download(place, MODEL)
        assert content == registry.get("1").folder.read(MODEL)

    def test_a_run_that_was_deleted(
        self, registry: Registry, seen: MlflowSeen, listed: Listed
    ) -> None:
        run_id = seen.versions()["1"]["run_id"]
        seen.call("POST", "runs/delete", run_id=run_id)

        (said,) = listed()[:1]

        assert said == f"version 1: run: MLflow has {run_id}, Vertex AI one"
        assert seen.run("1")["info"]["lifecycle_stage"] == "active"

    def test_a_version_whose_files_are_gone_keeps_no_other(
        self, registry: Registry, seen: MlflowSeen
    ) -> None:
        registry.get("1").folder.remove(MODEL)
        seen.call("DELETE", "registered-models/delete")

        with pytest.raises(Unpublishable, match=r"version 1 .* cannot be shown in MLflow"):
            mirror(registry).mend()

        assert list(seen.versions()) == ["2"]
        assert seen.aliases() == {CHALLENGER: "2"}

    def test_the_mirror_of_another_project_is_left_alone(
        self, registry: Registry, seen: MlflowSeen
    ) -> None:
        seen.call("POST", "registered-models/set-tag", key="vertex.model", value="projects/other")

        with pytest.raises(Unmendable, match="mirrors projects/other, this registry is"):
            mirror(registry).mend()
        assert len(seen.versions()) == 2

"""The pipeline: compiled on demand, run by Vertex AI, ending in a registered version."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
import yaml

from workloads import gcp
from workloads.features.snapshot import thaw
from workloads.manifest import EVALUATION, EXAMPLES, METRICS, MODEL, PLOTS, PROFILE, Example
from workloads.product import Product
from workloads.registry import CHALLENGER, Registry
from workloads.scoring import Scorer, verify
from workloads.training.evaluation import Evaluation
from workloads.training.pipeline import compile_pipeline
from workloads.training.run import InvalidRun, TrainingRun
from workloads.training.submit import TrainingFailed, submit

STEPS = ["extract", "validate", "train", "evaluate", "register"]


class TestCompiled:
    def test_every_step_runs_in_the_image_and_installs_nothing(
        self, product: Product, tmp_path: Path
    ) -> None:
        path = compile_pipeline(product, "registry/training@sha256:1", tmp_path / "p.yaml")

        spec = yaml.safe_load(path.read_text())
        executors = spec["deploymentSpec"]["executors"]
        assert sorted(name.removeprefix("exec-") for name in executors) == sorted(STEPS)
        for executor in executors.values():
            assert executor["container"]["image"] == "registry/training@sha256:1"
            assert "pip install" not in " ".join(executor["container"]["command"])

    def test_twice_is_the_same_file(self, product: Product, tmp_path: Path) -> None:
        first, second = (
            compile_pipeline(product, "image", tmp_path / name).read_text()
            for name in ("one.yaml", "two.yaml")
        )

        assert first == second

    def test_by_a_command(self, tmp_path: Path) -> None:
        path = tmp_path / "made" / "pipeline.yaml"
        words = ["workloads.training.pipeline", "flight-delay", "image", str(path)]

        subprocess.run([sys.executable, "-m", *words], check=True)

        assert yaml.safe_load(path.read_text())["pipelineInfo"]["name"] == "flight-delay-training"


class TestRun:
    def test_goes_through_every_step_in_order(self, trained) -> None:
        done = [one.step for one in trained.progress if one.state == "SUCCEEDED"]

        assert done == STEPS

    def test_registers_the_challenger_with_its_evidence(self, january: Product, trained) -> None:
        version = Registry(january).get(trained.registration.version)
        manifest = version.manifest()

        assert version.model.labels["run"] == trained.run.name
        assert version.model.labels["training-data"] == manifest.training.sha256[:63]
        assert version.model.labels["code-version"] == trained.run.code_version
        assert f"run-{trained.run.name}" in version.aliases
        assert trained.registration.metrics == manifest.metrics
        evaluations = list(version.model.list_model_evaluations())
        assert len(evaluations) == 1
        assert evaluations[0].metrics["auRoc"] == pytest.approx(manifest.metrics["roc_auc"].value)

    def test_leaves_the_artefacts_that_the_manifest_vouches_for(
        self, january: Product, trained
    ) -> None:
        version = Registry(january).get(trained.registration.version)
        manifest, folder = version.manifest(), version.folder
        content = verify(folder.read(MODEL), manifest.model_sha256, MODEL)
        examples = folder.read_json(EXAMPLES, list[Example])
        request = january.features.request

        found = Scorer(content, request, january.task).rows(
            [request(**one.instance) for one in examples]
        )

        assert found.value.tolist() == pytest.approx([one.value for one in examples])
        evaluation = folder.read_json(METRICS, Evaluation)
        assert evaluation.metrics["roc_auc"].value > 0.6 > evaluation.baseline["roc_auc"].value
        assert evaluation.metrics["log_loss"].value < evaluation.baseline["log_loss"].value
        assert {one.column for one in evaluation.slices} == set(january.gate.slices)
        assert "| roc_auc |" in folder.read(EVALUATION).decode()
        assert set(folder.read_json(PROFILE, dict)) == set(request.__struct_fields__)
        drawn = {name for name in folder.listed() if name.startswith(f"{PLOTS}/")}
        kinds = ("roc", "precision-recall", "calibration")
        assert drawn == {f"{PLOTS}/{kind}.svg" for kind in kinds}
        assert all(folder.read(one).startswith(b"<svg") for one in drawn)

    def test_splits_by_time_and_freezes_both_parts(self, january: Product, trained) -> None:
        manifest = Registry(january).get(trained.registration.version).manifest()

        training, holdout = (
            thaw(part.uri, part.sha256) for part in (manifest.training, manifest.holdout)
        )

        def times(rows) -> list[datetime]:
            return rows.column("asked_at").to_pylist()

        assert max(times(training)) < trained.run.split <= min(times(holdout))
        assert max(times(holdout)) < trained.run.end
        assert training.column("late").null_count == holdout.column("late").null_count == 0

    def test_that_is_registered_twice_is_one_version(
        self, january: Product, challenge: Callable
    ) -> None:
        first, second = challenge("twice"), challenge("twice")

        assert first.version == second.version
        assert Registry(january).get(CHALLENGER).number == first.version

    def test_that_is_submitted_again_is_followed_where_it_is(self, trained) -> None:
        """Whoever submitted it was killed; another process goes on."""
        assert submit(trained.run) == trained.registration

    def test_that_fails_says_which_step_and_why(self, trained) -> None:
        empty = dataclasses.replace(
            trained.run,
            name="no-rows",
            start=datetime.fromisoformat("2012-01-01T00:00+00:00"),
            split=datetime.fromisoformat("2012-02-01T00:00+00:00"),
            end=datetime.fromisoformat("2012-03-01T00:00+00:00"),
        )

        with pytest.raises(TrainingFailed, match=r"validate[\s\S]*0 rows with a label"):
            submit(empty)


class TestARunIsRefused:
    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"name": "Capital"}, "name is 'Capital'; allowed: 2 to 62 lower-case"),
            ({"split": datetime(2013, 1, 2)}, "allowed: an instant with a time zone"),  # noqa: DTZ001
            (
                {"split": datetime.fromisoformat("2014-01-01T00:00+00:00")},
                "allowed: start before split before end",
            ),
        ],
    )
    def test_before_anything_is_submitted(
        self, product: Product, changes: dict[str, object], said: str
    ) -> None:
        given = {
            "product": product,
            "start": datetime.fromisoformat("2013-01-01T00:00+00:00"),
            "split": datetime.fromisoformat("2013-01-11T00:00+00:00"),
            "end": datetime.fromisoformat("2013-01-14T00:00+00:00"),
            "training_image": "image",
            "serving_image": "image",
            "name": "run",
            "code_version": "1",
        }

        with pytest.raises(InvalidRun, match=said):
            TrainingRun(**{**given, **changes})


def test_importing_the_pipeline_compiles_and_asks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    script = (
        "import socket; socket.socket.connect = None\n"
        "import workloads.training.pipeline, workloads.training.submit, sys\n"
        "assert 'google.cloud.aiplatform' not in sys.modules\n"
        "assert 'sklearn' not in sys.modules\n"
    )
    monkeypatch.delenv("GOOGLE_CLOUD_PROJECT", raising=False)

    subprocess.run([sys.executable, "-c", script], check=True)
    assert gcp.location()

"""What the workflow that trains decides by itself: which products, and what its summary says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.workflows.conftest import CHECKOUT, GitHub
from tests.workflows.test_preview_run import git

TOOLS = CHECKOUT / "tools" / "github"
CHECK = "models of dev / trained"
TREE = {
    "workloads/training/pipeline.py": "from kfp import dsl\n",
    "workloads/training/steps.py": (
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    import workloads.typed\n"
        "def train():\n    from workloads.training import fitting\n"
    ),
    "workloads/training/fitting.py": "from .. import metrics\n",
    "workloads/metrics.py": "",
    "workloads/typed.py": "",
    "workloads/serving/server.py": "",
    "workloads/images/training/Dockerfile": "FROM python\n",
    "workloads/products/flight_delay/product.py": "from .contracts import Flight\n",
    "workloads/products/flight_delay/contracts.py": "",
    "workloads/products/flight_delay/features.sql": "SELECT 1\n",
    "workloads/products/arrival_delay/product.py": (
        "from workloads.products.flight_delay.contracts import Flight\n"
    ),
    "requirements/training.txt": "numpy==2\n",
    "docs/cd4ml.md": "how\n",
}
BOTH = ["arrival-delay", "flight-delay"]


@pytest.fixture
def main(tmp_path: Path) -> Path:
    """A checkout of main with one commit."""
    folder = tmp_path / "main"
    for name, text in TREE.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    git(folder, "init", "--quiet")
    commit(folder)
    return folder


def commit(folder: Path, *changed: str) -> str:
    """Change files and commit; the id."""
    for name in changed:
        with (folder / name).open("a") as file:
            file.write("# changed\n")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", "change")
    return git(folder, "rev-parse", "HEAD")


class Chooser:
    """Runs the step as the workflow does: the runner's own Python, nothing installed."""

    def __init__(self, main: Path, environment: dict[str, str]) -> None:
        self._main = main
        self._environment = environment

    def run(self, product: str = "") -> subprocess.CompletedProcess[str]:
        outputs = self._main.parent / "outputs"
        outputs.write_text("")
        git_environment = {"PATH": "/usr/bin:/bin", "HOME": str(self._main.parent)}
        return subprocess.run(
            [sys.executable, "-S", TOOLS / "changed_products.py"],
            cwd=self._main,
            env={
                **git_environment,
                **self._environment,
                "STACK": "dev",
                "PRODUCT": product,
                "GITHUB_OUTPUT": str(outputs),
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def __call__(self, product: str = "") -> list[str]:
        ended = self.run(product)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        name, _, value = (self._main.parent / "outputs").read_text().strip().partition("=")
        assert name == "products"
        return json.loads(value)


@pytest.fixture
def choose(main: Path, runner_environment: dict[str, str]) -> Chooser:
    return Chooser(main, runner_environment)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ("workloads/products/arrival_delay/product.py", ["arrival-delay"]),
        ("workloads/products/flight_delay/features.sql", ["flight-delay"]),
        # The other product reads its contracts.
        ("workloads/products/flight_delay/contracts.py", BOTH),
        # Two imports away from the steps.
        ("workloads/metrics.py", BOTH),
        ("requirements/training.txt", BOTH),
        ("workloads/images/training/Dockerfile", BOTH),
        ("workloads/typed.py", []),
        ("workloads/serving/server.py", []),
        ("docs/cd4ml.md", []),
    ],
)
def test_a_product_is_trained_when_what_its_training_imports_has_changed(
    main: Path, github: GitHub, choose: Chooser, changed: str, expected: list[str]
) -> None:
    github.check(git(main, "rev-parse", "HEAD"), CHECK, "success")
    commit(main, changed)

    assert choose() == expected


def test_a_commit_that_was_overtaken_or_failed_is_made_up_for(
    main: Path, github: GitHub, choose: Chooser
) -> None:
    github.check(git(main, "rev-parse", "HEAD"), CHECK, "success")
    overtaken = commit(main, "workloads/products/flight_delay/features.sql")
    github.check(overtaken, "models of prod / trained", "success")
    github.check(overtaken, CHECK, "success", app="someone-elses")
    failed = commit(main, "workloads/products/arrival_delay/product.py")
    github.check(failed, CHECK, "failure")
    last = commit(main, "docs/cd4ml.md")

    assert choose() == BOTH

    github.check(last, CHECK, "success")
    # A second attempt of the same commit asks about those before it.
    assert choose() == BOTH
    commit(main, "docs/cd4ml.md")
    assert choose() == []


def test_where_nothing_was_trained_yet_everything_is(choose: Chooser) -> None:
    assert choose() == BOTH


def test_a_person_names_a_product_or_all(choose: Chooser, github: GitHub) -> None:
    assert choose("arrival-delay") == ["arrival-delay"]
    assert choose("all") == BOTH
    refused = choose.run("parcel-loss")
    assert refused.returncode == 1
    assert "allowed: all, arrival-delay, flight-delay" in refused.stderr
    assert github.requests == []


def test_of_this_checkout_the_code_that_trains_is_found_and_the_code_that_serves_is_not() -> None:
    script = (
        "import sys, json; sys.path.insert(0, sys.argv[1]); import changed_products as c;"
        "from pathlib import Path; root = Path(sys.argv[2]);"
        "print(json.dumps({one: sorted(c.sources(root, one)) for one in c.products(root)}))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script, TOOLS, CHECKOUT], capture_output=True, text=True, check=True
    )
    found: dict[str, list[str]] = json.loads(ended.stdout)
    from workloads import product

    assert sorted(found) == product.names()
    for name, modules in found.items():
        folder = f"workloads/products/{name.replace('-', '_')}"
        module = product.load(name).train.partition(":")[0].replace(".", "/")
        for one in (
            f"{module}.py",
            f"{folder}/product.py",
            "workloads/training/fitting.py",
            "workloads/features/query.py",
            "workloads/metrics.py",
        ):
            assert one in modules, f"{name}: {one}"
        assert not [one for one in modules if one.startswith("workloads/serving/")]
        assert not [one for one in modules if one.startswith("workloads/gate/")]


REGISTRATION = {
    "model": "m",
    "version": "7",
    "run": "flight-delay-20130401-0600",
    "uri": "gs://m/7",
}
DECISION = {
    "decision": "approved",
    "champion": {"version": "6"},
    "reasons": ["passes: roc_auc is 0.75", "passes: gains 0.01 | 95 %"],
    "record": "gs://models/versions/run/decisions/against-6.json",
}
RELEASE = {"ok": True, "champion": "6", "message": "shadow: waits for evidence"}
VERSION = {
    "links": {
        "vertex": "https://console.example/7",
        "artefacts": "gs://models/versions/run",
        "pipeline_job": "projects/p/jobs/7",
    }
}


def summarised(folder: Path, **documents: Any) -> str:
    for name, content in documents.items():
        if isinstance(content, str):
            (folder / f"{name}.md").write_text(content)
        else:
            (folder / f"{name}.json").write_text(json.dumps(content))
    ended = subprocess.run(
        [sys.executable, "-I", "-S", TOOLS / "model_summary.py", folder],
        env={"PRODUCT": "flight-delay", "STACK": "dev", "RUNNER": "kubeflow"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return ended.stdout


class TestSummary:
    def test_of_a_release_has_the_decision_the_card_and_links(self, tmp_path: Path) -> None:
        (tmp_path / "decision.md").write_text("# Version 7 is approved\n\n![gain](gain.svg)\n")
        text = summarised(
            tmp_path,
            registration=REGISTRATION,
            decision=DECISION,
            release=RELEASE,
            version=VERSION,
            card="# flight-delay, version 7\n\nPredicts.\n",
        )

        assert text.startswith(
            "## flight-delay on dev: version 7 is approved, and its release has begun\n"
        )
        assert "| training | run `flight-delay-20130401-0600` by kubeflow |" in text
        assert "| release | shadow: waits for evidence |" in text
        assert "[https://console.example/7](https://console.example/7)" in text
        storage = "https://console.cloud.google.com/storage/browser"
        assert f"({storage}/_details/models/versions/run/decisions/against-6.json)" in text
        assert f"({storage}/models/versions/run)" in text
        assert "### Version 7 is approved" in text
        assert "### flight-delay, version 7" in text
        # Plots lie beside the record; GitHub could not show them.
        assert "gain.svg" not in text

    @pytest.mark.parametrize(
        ("documents", "said"),
        [
            ({}, "training failed"),
            ({"registration": REGISTRATION}, "version 7 could not be compared"),
            (
                {"registration": {"version": "", "run": "", "waits": "run r is under way"}},
                "not trained now: run r is under way",
            ),
            (
                {
                    "registration": REGISTRATION,
                    "decision": {
                        **DECISION,
                        "decision": "rejected",
                        "reasons": ["fails: loses 0.02 | sure", "passes: floor"],
                    },
                },
                "version 7 is rejected; version 6 goes on serving",
            ),
            (
                {
                    "registration": REGISTRATION,
                    "decision": DECISION,
                    "release": {"ok": False, "message": "version 6 is under way"},
                },
                "version 7 is approved, and could not be released",
            ),
            (
                {
                    "registration": REGISTRATION,
                    "decision": DECISION,
                    "release": {"ok": True, "message": "100 %", "champion": "7"},
                },
                "version 7 is approved, and serves",
            ),
        ],
    )
    def test_says_how_far_it_came(
        self, tmp_path: Path, documents: dict[str, Any], said: str
    ) -> None:
        text = summarised(tmp_path, **documents)

        assert text.splitlines()[0] == f"## flight-delay on dev: {said}"
        if "rejected" in said:
            assert "| decision | **rejected**; fails: loses 0.02 \\| sure |" in text

    def test_fits_into_what_github_takes(self, tmp_path: Path) -> None:
        text = summarised(tmp_path, registration=REGISTRATION, card="é" * 1_000_000)

        assert len(text.encode()) < 1024 * 1024
        assert text.rstrip().endswith("all of it lies beside the model.")


@pytest.mark.parametrize("by_hand", ["", "flight-delay"])
def test_a_commit_asks_for_its_training_and_a_person_in_their_own_name(
    tmp_path: Path, by_hand: str
) -> None:
    """What the step says to the command line; that keeps to single flight and budget."""
    workflow = yaml.safe_load((CHECKOUT / ".github" / "workflows" / "train.yml").read_text())
    steps = {one.get("id"): one for one in workflow["jobs"]["train"]["steps"]}
    command = tmp_path / ".venv" / "bin" / "esteira"
    command.parent.mkdir(parents=True)
    command.write_text('#!/bin/sh\nprintf "%s\\n" "$@" >words\necho \'{"version": ""}\'\n')
    command.chmod(0o755)
    (tmp_path / "tools").symlink_to(CHECKOUT / "tools")
    given = dict.fromkeys(steps["train"]["env"], "") | {"COMMIT": "3f2a9c1d", "ACTOR": "ana"}
    given |= {"BY_HAND": by_hand, "PRODUCT": "flight-delay", "STACK": "dev", "RUNNER": "vertex"}
    outputs = tmp_path / "outputs"
    subprocess.run(
        ["bash", "-e", "-c", steps["train"]["run"]],
        cwd=tmp_path,
        env={
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "RUNNER_TEMP": str(tmp_path),
            "GITHUB_OUTPUT": str(outputs),
            **given,
        },
        check=True,
        timeout=60,
    )

    words = (tmp_path / "words").read_text().splitlines()
    assert words[:2] == ["train", "flight-delay"]
    asked = words[words.index("--why") + 1]
    if by_hand:
        assert "ana" in asked
        assert "--commit" not in words
    else:
        assert words[words.index("--commit") + 1] == "3f2a9c1d"
    # Nothing was trained, so there is nothing to compare.
    assert outputs.read_text() == "version=\n"
    assert steps["judge"]["if"] == "steps.train.outputs.version != ''"


def test_a_field_of_several_lines_becomes_no_output(tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    for value, status in (("7", 0), ("7\nproducts=[]", 1)):
        (tmp_path / "file.json").write_text(json.dumps({"version": value}))
        ended = subprocess.run(
            [TOOLS / "output", tmp_path / "file.json", "version"],
            env={"PATH": "/usr/local/bin:/usr/bin:/bin", "GITHUB_OUTPUT": str(outputs)},
            capture_output=True,
            check=False,
        )
        assert ended.returncode == status
    assert outputs.read_text() == "version=7\n"


def test_each_stack_is_trained_after_it_was_deployed_and_tells_so_by_its_check() -> None:
    workflows = CHECKOUT / ".github" / "workflows"
    deploy = yaml.safe_load((workflows / "deploy.yml").read_text())["jobs"]
    train = yaml.safe_load((workflows / "train.yml").read_text())["jobs"]
    for stack in ("dev", "prod"):
        job = deploy[f"{stack}-models"]
        assert job["needs"] == stack
        assert job["uses"] == "./.github/workflows/train.yml"
        assert job["with"] == {"stack": stack}
        # The name by which changed_products.py asks for it.
        assert f"{job['name']} / {train['trained']['name']}" == f"models of {stack} / trained"
    assert train["train"]["concurrency"] == {
        "group": "train-${{ inputs.stack }}-${{ matrix.product }}",
        "cancel-in-progress": False,
    }
    # It may train and release; the environment that deploys is another.
    assert train["train"]["environment"] == "train-${{ inputs.stack }}"

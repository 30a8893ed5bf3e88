"""The workflow that trains, from a push to a release: every step as a runner runs it, on a local
cloud with the flights of January to March 2013 in it."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from esteira.engine import policies
from esteira.engine.install import find
from localcloud.home import Home
from tests.workflows.conftest import CHECKOUT, GitHub, serving
from tests.workflows.test_preview_run import Origin, Runner, git, linked
from tests.workloads.conftest import history, load_rows
from workloads import gcp, product

pytestmark = [pytest.mark.engine, pytest.mark.long, pytest.mark.timeout(1800)]

NAME = "flight-delay"
CHECK = "models of local / trained"


def prepared(workspace: Path) -> None:
    """The environments, the engine, and what the local cloud's services run in."""
    linked(workspace)
    (workspace / ".esteira" / "venvs").symlink_to(CHECKOUT / ".esteira" / "venvs")


@dataclasses.dataclass
class Job(Runner):
    """A job of a workflow with inputs, whose steps read what the steps before have put out."""

    inputs: dict[str, str] = dataclasses.field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        super().__post_init__()
        self.outputs = self.root / "outputs"
        self.contexts |= {"github.actor": "ana"}
        self.contexts |= {f"inputs.{key}": value for key, value in self.inputs.items()}

    def run(self, workflow: str, job: str) -> int:
        """Every step of a job; the first status that is not 0, or 0."""
        described = self.described(workflow, job)
        given = {key: self.filled(value) for key, value in described.get("env", {}).items()}
        failed = 0
        for step in described["steps"]:
            if not self.wanted(step.get("if"), failed):
                continue
            if "uses" in step:
                self.use(step["uses"], step.get("with", {}))
                continue
            self.outputs.write_text("")
            env = given | {key: self.filled(value) for key, value in step.get("env", {}).items()}
            status = self.script(step["run"], {**env, "GITHUB_OUTPUT": str(self.outputs)})
            failed = failed or status
            for line in self.outputs.read_text().splitlines():
                key, _, value = line.partition("=")
                self.contexts[f"steps.{step['id']}.outputs.{key}"] = value
        return failed

    def result(self, workflow: str, job: str, name: str) -> str:
        """An output of a job that has run."""
        return self.filled(self.described(workflow, job)["outputs"][name])

    @staticmethod
    def described(workflow: str, job: str) -> dict[str, Any]:
        file = CHECKOUT / ".github" / "workflows" / workflow
        return yaml.safe_load(file.read_text())["jobs"][job]

    def wanted(self, condition: str | None, failed: int) -> bool:
        if condition is None:
            return not failed
        if condition == "${{ !cancelled() }}":
            return True
        compared = re.fullmatch(r"([\w.]+) (==|!=) '(\w*)'", condition)
        assert compared, f"nobody here knows what `{condition}` means"
        equal = self.value(compared[1]) == compared[3]
        return not failed and equal == (compared[2] == "==")

    def filled(self, text: object) -> str:
        return re.sub(r"\$\{\{\s*(.+?)\s*\}\}", lambda one: self.value(one[1]), str(text))

    def value(self, expression: str) -> str:
        """Of names and texts with `||` between them."""
        for part in expression.split(" || "):
            if part.startswith("'"):
                return part.strip("'")
            # What was never put out is empty, as on GitHub; a misspelt context is not.
            assert part in self.contexts or part.startswith(("steps.", "vars.")), part
            if value := self.contexts.get(part, ""):
                return value
        return ""

    def use(self, action: str, given: Mapping[str, Any]) -> None:
        match action.partition("@")[0]:
            case "./.github/actions/connect":
                assert given["service-account"] == "${{ vars.GCP_SERVICE_ACCOUNT }}"
                self.used.append("connect")
            case "actions/checkout":
                git(self.workspace, "init", "--quiet")
                git(self.workspace, "fetch", "--quiet", str(self.origin.folder), "main")
                git(self.workspace, "checkout", "--quiet", "--detach", self.commit)
            case _:
                super().use(action, given)


@dataclasses.dataclass
class Main:
    """The main branch, the stack it is deployed to, and GitHub."""

    origin: Origin
    github: GitHub
    root: Path

    @property
    def state(self) -> Path:
        return self.root / "state"

    def esteira(self, *words: str) -> Any:
        """What a person reads of the stack."""
        ended = subprocess.run(
            [CHECKOUT / ".venv" / "bin" / "esteira", *words, "--json"],
            cwd=self.origin.folder,
            env={
                **os.environ,
                "ESTEIRA_STATE": str(self.state),
                "PYTHONPATH": str(self.origin.folder),
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert ended.returncode == 0, ended.stderr[-4000:]
        return json.loads(ended.stdout) if ended.stdout.strip() else None

    def turn(self) -> str:
        """What the controller makes of the run that the workflow has left to it."""
        return self.esteira("retraining", "run", NAME)["ended"]

    def push(self, **inputs: str) -> tuple[int, str]:
        """A commit that changes how the product is trained; the job's status and summary."""
        file = self.origin.folder / "workloads/products/flight_delay/training.py"
        with file.open("a") as text:
            text.write("# another thought\n")
        git(self.origin.folder, "commit", "--quiet", "--all", "--message", "train")
        commit = git(self.origin.folder, "rev-parse", "HEAD")
        given = {"stack": "local", "product": "", "runner": "", "split": "2013-03-21"} | inputs
        given = {"start": "2013-01-01", "end": "2013-04-01"} | given
        variables = {"ESTEIRA_STATE": str(self.state)}
        job = Job(
            self.origin, self.github, self.root / commit[:12] / "changed", commit, inputs=given
        )
        job.variables = variables
        assert job.run("train.yml", "changed") == 0
        chosen = json.loads(job.result("train.yml", "changed", "products"))
        assert chosen == [NAME]
        train = Job(
            self.origin,
            self.github,
            self.root / commit[:12] / "train",
            commit,
            variables=variables,
            matrix={"product": NAME},
            prepared=prepared,
            inputs=given,
        )
        status = train.run("train.yml", "train")
        assert train.used[-1] == "connect"
        if status == 0:
            self.github.check(commit, CHECK, "success")
        return status, train.summary.read_text()


def ingested(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Without what ingestion sets aside: the wind of 12 February 2013, at 1,048 miles an hour."""
    weather = tables["weather"]
    return {**tables, "weather": weather[~(weather["wind_speed"] > 250)]}


@pytest.fixture(scope="module")
def main(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Main]:
    if find() is None:
        pytest.skip("no Pulumi engine here; `esteira doctor` says how to get one")
    if not policies.ready():
        pytest.skip("the policies have no environment here; `make setup` makes it")
    root = tmp_path_factory.mktemp("main")
    (root / "origin").mkdir()
    origin = Origin.of_this_checkout(root / "origin")
    prepared(origin.folder)
    (origin.folder / ".git" / "info" / "exclude").write_text(".venv\n.esteira\npolicies/.venv\n")
    with serving() as github, pytest.MonkeyPatch.context() as patch:
        one = Main(origin, github, root)
        github.check(git(origin.folder, "rev-parse", "HEAD"), CHECK, "success")
        try:
            one.esteira("up", "local")
            for name, value in Home(one.state / "local").endpoints().environment().items():
                patch.setenv(name, value)
            gcp.bigquery_client.cache_clear()
            declared = product.load(NAME)
            load_rows(declared, ingested(history(declared, days=91)))
            yield one
        finally:
            gcp.bigquery_client.cache_clear()
            one.esteira("local", "stop")


def test_main_trains_compares_and_releases_the_better_model(main: Main) -> None:
    # The first model, of three weeks: there is nothing to be compared with but the floor.
    status, summary = main.push(start="2013-02-28")
    assert status == 0, summary
    assert "## flight-delay on local: version 1 is approved, and serves" in summary
    assert main.esteira("release", "status", NAME)["ok"]
    (first,) = main.esteira("models", "list", NAME)["versions"]
    assert "champion" in first["aliases"]

    assert main.turn() == "released"

    # A worse one: green, and said.
    status, summary = main.push(start="2013-03-14")
    assert status == 0, summary
    assert "version 2 is rejected; version 1 goes on serving" in summary
    second = main.esteira("models", "list", NAME)["versions"][0]
    assert second["gate"]["decision"] == "rejected"
    assert main.turn() == "rejected"

    # All rows since January, by the other runner: better, so the canary begins.
    status, summary = main.push(runner="kubeflow")
    assert status == 0, summary
    assert "## flight-delay on local: version 3 is approved, and its release has begun" in summary
    assert "by kubeflow" in summary
    assert "### Version 3 of flight-delay is approved" in summary
    assert "### flight-delay, version 3" in summary
    third, _, first = main.esteira("models", "list", NAME)["versions"]
    assert third["code_version"] != first["code_version"]
    assert "champion" in first["aliases"], "a canary earns its traffic"
    assert third["release"] != "registered"

    # While it is under way no other run is; what asks for one waits, and is not lost.
    status, summary = main.push()
    assert status == 0, summary
    assert "## flight-delay on local: not trained now: run " in summary
    assert len(main.esteira("models", "list", NAME)["versions"]) == 3
    (waiting,) = main.esteira("retraining", "status", NAME)["requests"]
    assert waiting["reason"] == "commit"

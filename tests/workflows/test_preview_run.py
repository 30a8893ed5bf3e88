"""The preview of a pull request from beginning to end.

Every step of both workflows is run as a runner runs it, in a checkout of the pull request's merge
commit, against a GitHub on loopback.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from esteira.engine import policies
from esteira.engine.install import find
from tests.workflows.conftest import BOT, CHECKOUT, REPOSITORY, TOKEN, GitHub, serving

pytestmark = [pytest.mark.engine, pytest.mark.long]

RUN, NUMBER = 500, 9
MARKER = "<!-- esteira-preview:dev -->"
# In GitHub's own environment, and in no step's on a runner.
HIDDEN = re.compile(r"^(GITHUB_|RUNNER_|GH_|ESTEIRA_|PULUMI_|GIT_)")


def git(folder: Path, *words: str) -> str:
    author = {
        f"GIT_{who}_{what}": value
        for who in ("AUTHOR", "COMMITTER")
        for what, value in (("NAME", "a contributor"), ("EMAIL", "contributor@example.com"))
    }
    return subprocess.run(
        ["git", "-c", "init.defaultBranch=main", "-c", "advice.detachedHead=false", *words],
        cwd=folder,
        env={**os.environ, **author, "GIT_CONFIG_GLOBAL": os.devnull},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()


@dataclass
class Origin:
    """The repository on GitHub: main as this checkout is, and a branch that changes it."""

    folder: Path

    @classmethod
    def of_this_checkout(cls, folder: Path) -> Origin:
        """Everything that would be committed here, uncommitted changes included."""
        names = git(CHECKOUT, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
        for name in names.split("\0"):
            source, target = CHECKOUT / name, folder / name
            if name and source.is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target)
        git(folder, "init", "--quiet")
        git(folder, "add", "--all", "--force")
        git(folder, "commit", "--quiet", "--message", "main")
        git(folder, "branch", "change")
        return cls(folder)

    def push(self, settings: Mapping[str, Any]) -> str:
        """A commit on the branch that overrides settings of dev; its id."""
        git(self.folder, "checkout", "--quiet", "change")
        file = self.folder / "Pulumi.dev.yaml"
        document = yaml.safe_load(git(self.folder, "show", "main:Pulumi.dev.yaml"))
        document["config"] |= {f"esteira:{key}": value for key, value in settings.items()}
        file.write_text(yaml.safe_dump(document, sort_keys=False))
        git(self.folder, "commit", "--quiet", "--all", "--allow-empty", "--message", "change")
        commit = git(self.folder, "rev-parse", "HEAD")
        git(self.folder, "checkout", "--quiet", "--detach", "main")
        git(self.folder, "merge", "--quiet", "--no-ff", "--message", "merge", "change")
        git(self.folder, "update-ref", f"refs/pull/{NUMBER}/merge", "HEAD")
        git(self.folder, "checkout", "--quiet", "main")
        return commit


def linked(workspace: Path) -> None:
    """The environments and the engine that tools/bootstrap would fill anew from the same locks."""
    (workspace / ".esteira").mkdir()
    for made in (".venv", "policies/.venv", ".esteira/bin"):
        (workspace / made).symlink_to(CHECKOUT / made)


@dataclass
class Runner:
    """Runs the steps of a job. `uses` are stood in for; each `run` is run as it is written."""

    origin: Origin
    github: GitHub
    root: Path
    commit: str
    """What `github.sha` is."""
    variables: dict[str, str] = field(default_factory=dict[str, str])
    matrix: dict[str, str] = field(default_factory=dict[str, str])
    prepared: Callable[[Path], None] = linked
    """Does what the action `prepare` does in a workspace."""
    used: list[str] = field(default_factory=list[str])

    def __post_init__(self) -> None:
        self.workspace = self.root / "workspace"
        self.temp = self.root / "temp"
        self.summary = self.root / "summary.md"
        for folder in (self.workspace, self.temp):
            folder.mkdir(parents=True)
        self.summary.touch()
        self.contexts = {
            "github.sha": self.commit,
            "github.token": TOKEN,
            "runner.temp": str(self.temp),
            **{f"matrix.{key}": value for key, value in self.matrix.items()},
        }

    def run(self, workflow: str, job: str) -> int:
        """Every step of a job; the first status that is not 0, or 0."""
        document = yaml.safe_load((CHECKOUT / ".github" / "workflows" / workflow).read_text())
        described = document["jobs"][job]
        given = {key: self.filled(value) for key, value in described.get("env", {}).items()}
        failed = 0
        for step in described["steps"]:
            if failed and step.get("if") != "${{ !cancelled() }}":
                continue
            if "uses" in step:
                self.use(step["uses"], step.get("with", {}))
                continue
            env = given | {key: self.filled(value) for key, value in step.get("env", {}).items()}
            status = self.script(step["run"], env)
            failed = failed or status
        return failed

    def filled(self, text: object) -> str:
        """With every expression's value; one that is not known here is an error."""
        return re.sub(r"\$\{\{\s*([\w.]+)\s*\}\}", lambda one: self.contexts[one[1]], str(text))

    def script(self, text: str, env: Mapping[str, str]) -> int:
        """A `run`, in the shell that a runner uses where a step names none."""
        script = self.temp / "step.sh"
        script.write_text(text)
        inherited = {key: value for key, value in os.environ.items() if not HIDDEN.match(key)}
        ended = subprocess.run(
            ["bash", "-e", script],
            cwd=self.workspace,
            env={
                **inherited,
                "CI": "true",
                "GITHUB_ACTIONS": "true",
                "GITHUB_API_URL": self.github.url,
                "GITHUB_REPOSITORY": REPOSITORY,
                "GITHUB_STEP_SUMMARY": str(self.summary),
                "GITHUB_WORKSPACE": str(self.workspace),
                "RUNNER_TEMP": str(self.temp),
                # The environment is this checkout's, and is told to import that one's code.
                "PYTHONPATH": str(self.workspace),
                **self.variables,
                **env,
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )
        print(ended.stdout, ended.stderr)  # noqa: T201
        return ended.returncode

    def use(self, action: str, given: Mapping[str, Any]) -> None:
        """Do what an action would do."""
        name = action.partition("@")[0]
        self.used.append(name)
        match name:
            case "actions/checkout":
                git(self.workspace, "init", "--quiet")
                git(self.workspace, "remote", "add", "origin", str(self.origin.folder))
                wanted = self.filled(given.get("ref", f"refs/pull/{NUMBER}/merge"))
                # Only with `fetch-depth: 0` are there branches to compare with.
                everything = ["+refs/heads/*:refs/remotes/origin/*"]
                branches = everything if given.get("fetch-depth") == 0 else []
                git(self.workspace, "fetch", "--quiet", "origin", wanted, *branches)
                git(self.workspace, "checkout", "--quiet", "--detach", "FETCH_HEAD")
            case "./.github/actions/prepare":
                self.prepared(self.workspace)
            case "actions/upload-artifact":
                file = Path(self.filled(given["path"]))
                assert given["if-no-files-found"] == "error"
                self.github.upload(RUN, self.filled(given["name"]), {file.name: file.read_bytes()})
            case _:
                pytest.fail(f"nothing stands in for {action}")


@dataclass
class Story:
    """What a pull request has been through."""

    github: GitHub
    push: Callable[[Mapping[str, Any]], tuple[int, str]]

    @property
    def ours(self) -> list[dict[str, Any]]:
        """The comments of the workflow."""
        said = self.github.comments.get(NUMBER, [])
        return [one for one in said if one["user"]["login"] == BOT]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    if find() is None:
        pytest.skip("no Pulumi engine here; `esteira doctor` says how to get one")
    if not policies.ready():
        pytest.skip("the policies have no environment here; `make setup` makes it")
    root = tmp_path_factory.mktemp("pull-request")
    (root / "origin").mkdir()
    origin = Origin.of_this_checkout(root / "origin")
    fork = {"id": 31, "owner": {"login": "contributor"}, "full_name": "contributor/esteira"}
    with serving() as github:
        github.comment(NUMBER, "looking forward to it", login="a-person")

        def push(settings: Mapping[str, Any]) -> tuple[int, str]:
            commit = origin.push(settings)
            head = {"sha": commit, "ref": "change", "repo": fork, "user": fork["owner"]}
            base = {"ref": "main"}
            github.pulls = [{"number": NUMBER, "state": "open", "base": base, "head": head}]
            github.artifacts.clear()
            place = root / commit[:8]
            preview = Runner(
                origin,
                github,
                place / "preview",
                commit,
                variables={"GITHUB_BASE_REF": "main"},
                matrix={"stack": "dev"},
            )
            status = preview.run("preview.yml", "preview")
            event = {
                "repository": {"default_branch": "main"},
                "workflow_run": {
                    "id": RUN,
                    "event": "pull_request",
                    "head_sha": commit,
                    "head_branch": "change",
                    "head_repository": fork,
                },
            }
            (place / "event.json").write_text(json.dumps(event))
            main = git(origin.folder, "rev-parse", "main")
            comment = Runner(
                origin,
                github,
                place / "comment",
                main,
                variables={"GITHUB_EVENT_PATH": str(place / "event.json")},
            )
            assert comment.run("preview-comment.yml", "comment") == 0
            assert comment.used == ["actions/checkout"]
            assert git(comment.workspace, "rev-parse", "HEAD") == main
            return status, preview.summary.read_text()

        yield Story(github, push)


def test_a_pull_request_that_changes_no_resource_gets_no_comment(story: Story) -> None:
    status, summary = story.push({})
    assert (status, summary) == (0, "")
    assert story.ours == []
    assert story.github.writes == []


def test_a_pull_request_gets_one_comment_that_follows_it(story: Story) -> None:
    status, summary = story.push({"retention": {"temporaryFiles": 21}})
    assert status == 0
    (comment,) = story.ours
    first = comment["body"]
    assert first == summary
    assert first.startswith(MARKER)
    assert "compared with" in first.lower()
    # Days that Dataflow's temporary files are kept: one bucket, and nothing else.
    assert "1 to update" in first
    assert re.search(r"\b14\b", first)
    assert re.search(r"\b21\b", first)

    # A program that does not run is red, and its comment says why.
    status, summary = story.push({"retention": {"temporaryFile": 21}})
    assert status != 0
    (again,) = story.ours
    assert again["id"] == comment["id"]
    assert again["body"] == summary
    assert "did you mean `temporaryFiles`" in again["body"]
    assert [method for method, _ in story.github.writes] == ["POST", "PATCH"]


def test_a_preview_that_never_began_replaces_the_one_of_an_earlier_commit(
    github: GitHub, tmp_path: Path
) -> None:
    def crashing(workspace: Path) -> None:
        command = workspace / ".venv" / "bin" / "esteira"
        command.parent.mkdir(parents=True)
        command.write_text("#!/bin/sh\nexit 70\n")
        command.chmod(0o755)

    (tmp_path / "origin").mkdir()
    origin = Origin.of_this_checkout(tmp_path / "origin")
    runner = Runner(
        origin,
        github,
        tmp_path / "run",
        origin.push({}),
        variables={"GITHUB_BASE_REF": "main"},
        matrix={"stack": "dev"},
        prepared=crashing,
    )
    assert runner.run("preview.yml", "preview") == 70, "the job is red"
    assert runner.summary.read_text().startswith(f"{MARKER}\n### dev cannot be previewed\n")
    assert [one["name"] for one in github.artifacts[RUN]] == ["preview-dev"]

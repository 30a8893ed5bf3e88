"""Which commit a change is compared with, and what is said where nothing changes. No engine."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from esteira import cli, operations
from esteira.review import base, markdown, run
from esteira.review.base import NoBase
from esteira.review.report import document
from esteira.review.result import Basis, Comparison, Review
from tests.esteira.reviews import BUCKET, finding, resource, reviewed


class Repository:
    """A repository of small commits."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.git("init", "--quiet", "--initial-branch=main")
        self.commits = 0

    def git(self, *words: str) -> str:
        author = [*("-c", "user.name=a"), *("-c", "user.email=a@example.com")]
        return subprocess.run(
            ["git", *author, *words],
            cwd=self.folder,
            env={**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()

    def commit(self) -> str:
        # By its message alone one differs from another of the same second.
        self.commits += 1
        self.git("commit", "--quiet", "--allow-empty", "--message", f"number {self.commits}")
        return self.git("rev-parse", "HEAD")

    def branch(self, name: str, commit: str) -> None:
        self.git("update-ref", f"refs/{name}", commit)


@pytest.fixture(autouse=True)
def outside_of_a_workflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_BASE_REF", raising=False)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """A branch of two commits off main, which has gone on."""
    made = Repository(tmp_path / "checkout")
    made.commit()
    parted = made.commit()
    made.branch("tags/parted", parted)
    made.commit()
    made.git("checkout", "--quiet", "-b", "change", parted)
    made.commit()
    made.commit()
    return made


class TestDefault:
    def test_it_is_where_the_branch_left_main(self, repository: Repository) -> None:
        found = base.default(repository.folder)
        assert (found.ref, found.commit) == ("main", repository.git("rev-parse", "parted"))

    def test_the_default_branch_of_the_remote_comes_before_a_main_of_ours(
        self, repository: Repository
    ) -> None:
        newer = repository.git("rev-parse", "change~1")
        repository.branch("remotes/origin/trunk", newer)
        repository.git(
            "symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/trunk"
        )  # fmt: skip
        found = base.default(repository.folder)
        assert (found.ref, found.commit) == ("origin/trunk", newer)

    def test_the_branch_that_a_pull_request_goes_into_comes_first(
        self, repository: Repository, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        newer = repository.git("rev-parse", "change~1")
        repository.branch("remotes/origin/release", newer)
        monkeypatch.setenv("GITHUB_BASE_REF", "release")
        found = base.default(repository.folder)
        assert (found.ref, found.commit) == ("origin/release", newer)
        monkeypatch.setenv("GITHUB_BASE_REF", "gone")
        assert base.default(repository.folder).ref == "main"

    def test_on_main_it_is_the_last_commit(self, repository: Repository) -> None:
        repository.git("checkout", "--quiet", "main")
        assert base.default(repository.folder).commit == repository.git("rev-parse", "HEAD")

    def test_the_first_commit_has_none(self, tmp_path: Path) -> None:
        made = Repository(tmp_path / "new")
        made.commit()
        with pytest.raises(NoBase, match="first commit"):
            base.default(made.folder)

    def test_a_checkout_without_history_is_not_the_first_commit(
        self, repository: Repository, tmp_path: Path
    ) -> None:
        url = repository.folder.as_uri()
        repository.git("clone", "--quiet", "--depth=1", "--branch=main", url, str(tmp_path / "c"))
        found = base.default(tmp_path / "c")
        assert found.commit == repository.git("rev-parse", "main")

    def test_outside_of_git_there_is_none(self, tmp_path: Path) -> None:
        with pytest.raises(NoBase, match="no Git checkout"):
            base.default(tmp_path)

    def test_without_git_there_is_none(
        self, repository: Repository, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PATH", "")
        with pytest.raises(NoBase, match="no Git checkout"):
            base.default(repository.folder)

    def test_branches_that_are_not_there_are_named(self, repository: Repository) -> None:
        repository.git("branch", "--quiet", "-D", "main")
        with pytest.raises(NoBase, match="none of origin/HEAD, main"):
            base.default(repository.folder)


class TestContradictions:
    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({"offline": False, "base": "main"}, "add --offline"),
            ({"offline": False, "base": None, "whole": True}, "add --offline"),
            ({"offline": True, "base": "main", "whole": True}, "leave one out"),
        ],
    )
    def test_they_are_refused(self, given: dict[str, Any], message: str) -> None:
        with pytest.raises(run.NotComparable, match=message):
            run.review("prod", judged=False, progress=lambda _: None, **given)


def test_why_nothing_is_compared_with_is_said() -> None:
    none = Comparison(basis=Basis.NOTHING, note="HEAD is the first commit")
    text = markdown.render(document(reviewed([], [resource(BUCKET)], comparison=none)))
    assert "Compared with nothing (HEAD is the first commit): there is no state" in text
    assert "WARNING" not in text


class TestNothingChanges:
    """A pull request that changes nothing hears nothing."""

    @pytest.fixture
    def printed(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> Any:
        def of(review: Review, *words: str) -> tuple[str, str, str]:
            """What a preview prints, on both streams and into its file."""
            monkeypatch.setattr(operations, "review", lambda *_, **__: review)
            cli.app(["preview", "prod", "--offline", *words], standalone_mode=False)
            file = tmp_path / "preview.md"
            cli.app(
                ["preview", "prod", "--offline", *words, "--output", str(file)],
                standalone_mode=False,
            )
            said = capsys.readouterr()
            return said.out, said.err, file.read_text()

        return of

    def test_its_comment_is_empty_and_why_is_said_beside(self, printed: Any) -> None:
        out, err, written = printed(reviewed([], []), "--format", "markdown")
        assert (out, written) == ("", "")
        assert "prod: no changes, compared with the program at origin/main (0123456789)" in err

    def test_a_person_and_a_program_are_told(self, printed: Any) -> None:
        out, _, written = printed(reviewed([], []), "--format", "text")
        assert "No changes." in out
        assert written == out
        assert '"changes": []' in printed(reviewed([], []), "--format", "json")[0]

    def test_a_change_has_a_comment(self, printed: Any) -> None:
        out, _, written = printed(reviewed([], [resource(BUCKET)]), "--format", "markdown")
        assert out.startswith(markdown.marker("prod"))
        assert written == out

    def test_what_is_forbidden_is_told_without_a_change(self) -> None:
        assert reviewed([], []).quiet
        assert not reviewed([], [], findings=(finding("bucket-versioning"),)).quiet
        assert not reviewed([], [], failure="it broke").quiet

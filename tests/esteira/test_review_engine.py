"""The review of a change that is not merged yet, on the real engine, without credentials."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from esteira.engine import install, policies
from esteira.paths import ROOT, TOOLS
from esteira.review.base import (
    BaseFailed,
    NewStack,
    NoSuchRevision,
    Revision,
    planning,
    resolve,
)

type Ended = subprocess.CompletedProcess[str]


pytestmark = pytest.mark.long


def needs_engine[T](test: T) -> T:
    """Marks what runs the real engine."""
    missing = pytest.mark.skipif(install.find() is None, reason="no engine; `make setup` gets one")
    return pytest.mark.engine(missing(test))


# Git's own settings must not decide what a test sees.
GIT = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}


def _runner_free() -> dict[str, str]:
    """The environment without a pull request of our own that these tests may run for."""
    return {name: value for name, value in os.environ.items() if name != "GITHUB_BASE_REF"}


@dataclass
class Checkout:
    """A checkout of its own, with one commit: this one as it is."""

    folder: Path
    state: Path

    def git(self, *words: str) -> str:
        author = [*("-c", "user.name=a developer"), *("-c", "user.email=developer@example.com")]
        return subprocess.run(
            ["git", *author, *words],
            cwd=self.folder,
            env={**os.environ, **GIT},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()

    def change(self, file: str, pattern: str, replacement: str) -> None:
        path = self.folder / file
        changed, count = re.subn(pattern, replacement, path.read_text(), count=1)
        assert count == 1, f"{file} has no {pattern}: what is this test to change instead?"
        path.write_text(changed)

    def esteira(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "esteira.cli", *words],
            cwd=self.folder,
            env={**_runner_free(), **GIT, "ESTEIRA_STATE": str(self.state)},
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    place = tmp_path_factory.mktemp("review")
    made = Checkout(place / "checkout", place / "state")
    made.folder.mkdir()
    files = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\0")
    for name in filter(None, files):
        source = ROOT / name
        if source.is_file():
            target = made.folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
            target.chmod(source.stat().st_mode)
    made.git("init", "--quiet", "--initial-branch=main")
    made.git("add", "--all")
    made.git("commit", "--quiet", "--message", "as it is")
    # What this one comes from is told of no comparison, for there is none with the first commit.
    made.git("commit", "--quiet", "--allow-empty", "--message", "and so it stays")
    (made.folder / ".esteira").symlink_to(TOOLS)
    if policies.ready():
        (made.folder / "policies/.venv").symlink_to(policies.PYTHON.parents[1])
    return made


@pytest.fixture(scope="module")
def changed(checkout: Checkout) -> subprocess.CompletedProcess[str]:
    """Prod, where an output was renamed, versioning switched off and topics renamed."""
    checkout.change("stacks/outputs.py", r'f"\{prefix\}_landing"', 'f"{prefix}_landing_bucket"')
    checkout.change("stacks/outputs.schema.json", '"pipeline_root": {', '"pipeline_folder": {')
    checkout.change(
        "components/landing_zone.py",
        r"BucketVersioningArgs\(enabled=True\)",
        "BucketVersioningArgs(enabled=False)",
    )
    checkout.change(
        "components/event_stream.py",
        r"(gcp\.pubsub\.Topic\(\s+name,\s+name=)name,",
        r'\1f"{name}-events",',
    )
    try:
        comment = checkout.state.with_name("comment.md")
        # Compared with main without being told so.
        words = ("--offline", "--format", "markdown", "--output", str(comment))
        ended = checkout.esteira("preview", "prod", *words)
        assert comment.exists(), ended.stderr
        ended.stdout = comment.read_text()
        return ended
    finally:
        checkout.git("checkout", "--quiet", ".")


@needs_engine
class TestChange:
    def test_what_loses_data_comes_first_and_says_why(self, changed: Ended) -> None:
        text = changed.stdout
        assert text.startswith("<!-- esteira-preview:prod -->\n\n### Preview of `prod`\n")
        assert "Compared with the program at `main`" in text
        losses = text[text.index("> [!CAUTION]") :].split("\n\n")[0]
        assert "Resources that hold data or state" in losses
        assert "**replaced** `pubsub.Topic flight-delay-flights`, because `name` cannot" in losses
        # Nothing is known of its topic before it is made; it goes with it all the same.
        assert "**replaced** `pubsub.Subscription flight-delay-flights-ingestion`" in losses

    def test_outputs_that_data_teams_read_are_called_out(self, changed: Ended) -> None:
        assert (
            "- `flight_delay_landing` is renamed; read `flight_delay_landing_bucket` instead"
        ) in changed.stdout
        assert "- `esteira: Training.pipeline_root` is renamed; read" in changed.stdout

    def test_less_protection_is_a_matter_of_security(self, changed: Ended) -> None:
        section = changed.stdout.split("#### Security")[1].split("\n#### ")[0]
        wider = section.split("<details>")[0]
        assert "`storage.Bucket flight-delay-landing` `versioning.enabled: true → false`" in wider

    def test_properties_are_shown_as_they_were_and_as_they_become(self, changed: Ended) -> None:
        assert '-name: "flight-delay-flights"\n+name: "flight-delay-flights-events"' in (
            changed.stdout
        )
        assert "-versioning.enabled: true\n+versioning.enabled: false" in changed.stdout

    @pytest.mark.skipif(not policies.ready(), reason="the policies have no environment")
    def test_a_mandatory_policy_fails_it_and_is_named(self, changed: Ended) -> None:
        assert changed.returncode == 1
        assert "`bucket-versioning` `flight-delay-landing`" in changed.stdout

    def test_no_path_of_this_machine_is_in_it(self, changed: Ended, checkout: Checkout) -> None:
        assert str(checkout.folder) not in changed.stdout
        assert "esteira-base-" not in changed.stdout

    def test_nothing_of_the_comparison_stays_behind(
        self, changed: Ended, checkout: Checkout
    ) -> None:
        del changed
        assert len(checkout.git("worktree", "list").splitlines()) == 1


@needs_engine
def test_an_unchanged_program_changes_nothing(checkout: Checkout, changed: Ended) -> None:
    del changed  # The same checkout: one after the other.
    ended = checkout.esteira(
        *("preview", "local", "--offline", "--base", "HEAD", "--format", "json")
    )
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    assert found["comparison"]["basis"] == "base"
    assert found["comparison"]["ref"] == "HEAD"
    assert found["resources"] > 100
    assert (found["changes"], found["outputs"], found["images"]) == ([], [], [])
    assert found["cost"] == found["costBefore"]


class TestRefusals:
    def test_a_revision_that_git_does_not_know(self, checkout: Checkout) -> None:
        with pytest.raises(NoSuchRevision, match="--base nowhere: Git knows no such revision"):
            resolve("nowhere", checkout.folder)

    def test_a_word_that_git_would_take_for_an_option(self, checkout: Checkout) -> None:
        with pytest.raises(NoSuchRevision):
            resolve("--all", checkout.folder)

    def test_what_is_compared_with_is_where_the_histories_part(self, checkout: Checkout) -> None:
        parted = checkout.git("rev-parse", "HEAD")
        checkout.git("branch", "ahead")
        tree = checkout.git("rev-parse", "HEAD^{tree}")
        ahead = checkout.git("commit-tree", tree, "-p", "HEAD", "-m", "others went on")
        checkout.git("update-ref", "refs/heads/ahead", ahead)
        assert resolve("ahead", checkout.folder).commit == parted

    def test_a_base_needs_offline_and_json_of_pulumi_takes_no_review(
        self, checkout: Checkout
    ) -> None:
        ended = checkout.esteira("preview", "prod", "--base", "main")
        assert ended.returncode == 1
        assert "add --offline" in ended.stderr
        ended = checkout.esteira("preview", "prod", "--json", "--format", "json")
        assert ended.returncode == 1
        assert "--format json" in ended.stderr


class TestNoBase:
    """What happens where the other program cannot be planned; no engine is asked."""

    def test_a_stack_that_the_revision_does_not_have_is_new(self, checkout: Checkout) -> None:
        revision = resolve("HEAD", checkout.folder)
        with (
            pytest.raises(NewStack, match=r"HEAD has no Pulumi.staging.yaml"),
            planning(revision, "staging", checkout.folder),
        ):
            pytest.fail("there is nothing to plan")
        assert len(checkout.git("worktree", "list").splitlines()) == 1

    def test_a_program_that_fails_says_why(self, checkout: Checkout) -> None:
        checkout.change("stacks/program.py", r"\Z", "\nraise RuntimeError('not yet')\n")
        tree = checkout.git("stash", "create")
        checkout.git("checkout", "--quiet", ".")
        revision = Revision(ref="broken", commit=tree)
        with (
            planning(revision, "prod", checkout.folder) as beside,
            pytest.raises(BaseFailed, match="RuntimeError: not yet"),
        ):
            beside.result()

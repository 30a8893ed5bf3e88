"""What the workflows write on GitHub: previews in a conversation, and the alert of a drift."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.workflows.conftest import CHECKOUT, GitHub

SHA, OLDER = "a" * 40, "b" * 40
RUN = 7
NUMBER = 12
FORK = {"id": 31, "owner": {"login": "contributor"}, "full_name": "contributor/esteira"}

Script = Callable[..., subprocess.CompletedProcess[str]]


def preview(stack: str, text: str = "one change") -> str:
    return f"<!-- esteira-preview:{stack} -->\n### {stack}\n\n{text}\n"


def event(sha: str = SHA) -> dict[str, Any]:
    """What the runner gives to the workflow that comments."""
    return {
        "repository": {"default_branch": "main"},
        "workflow_run": {
            "id": RUN,
            "event": "pull_request",
            "head_sha": sha,
            "head_branch": "late & later",
            "head_repository": FORK,
        },
    }


def pull(number: int = NUMBER, **changes: Any) -> dict[str, Any]:
    head = {"sha": SHA, "ref": "late & later", "repo": FORK, "user": {"login": "contributor"}}
    return {
        "number": number,
        "state": changes.pop("state", "open"),
        "base": {"ref": changes.pop("base", "main")},
        "head": head | changes,
    }


@pytest.fixture
def script(github: GitHub, runner_environment: dict[str, str]) -> Script:
    """Runs one of the scripts as the workflow does: the runner's own Python, nothing installed."""
    event_file = Path(runner_environment["GITHUB_EVENT_PATH"])
    event_file.write_text(json.dumps(event()))
    assert github.url

    def run(name: str, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                sys.executable,
                "-I",
                "-S",
                "-c",
                _START,
                CHECKOUT / "tools" / "github" / name,
                *words,
            ],
            env=runner_environment,
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


# `python3 FILE`, without site-packages: the scripts may use the standard library alone.
_START = (
    "import sys, runpy, os; sys.argv[:] = sys.argv[1:]; "
    "sys.path.insert(0, os.path.dirname(sys.argv[0])); "
    "runpy.run_path(sys.argv[0], run_name='__main__')"
)


@pytest.fixture
def comment(script: Script) -> Callable[[], str]:
    def run() -> str:
        ended = script("preview_comment.py")
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    return run


def test_each_stack_has_one_comment_that_is_updated_in_place(
    github: GitHub, comment: Callable[[], str]
) -> None:
    github.pulls = [pull()]
    for number in range(4):
        github.comment(NUMBER, f"a person's remark {number}", login="a-person")
    github.upload(RUN, "preview-dev", {"preview.md": preview("dev").encode()})
    github.upload(RUN, "preview-prod", {"preview.md": preview("prod").encode()})
    github.upload(RUN, "coverage", {"coverage.xml": b"<coverage/>"})
    comment()
    made = github.comments[NUMBER][4:]
    assert [one["body"] for one in made] == [preview("dev"), preview("prod")]

    github.artifacts.clear()
    github.upload(RUN, "preview-dev", {"preview.md": preview("dev", "two changes").encode()})
    github.upload(RUN, "preview-prod", {"preview.md": preview("prod").encode()})
    before = len(github.writes)
    assert "prod: unchanged" in comment()
    assert len(github.comments[NUMBER]) == 6
    assert [one["body"] for one in made] == [preview("dev", "two changes"), preview("prod")]
    assert [method for method, _ in github.writes[before:]] == ["PATCH"]
    assert github.leaked == [], "the token went to where downloads are"


def test_a_repeated_run_is_told_from_its_first_attempt(
    github: GitHub, comment: Callable[[], str]
) -> None:
    github.pulls = [pull()]
    github.upload(RUN, "preview-dev", {"preview.md": preview("dev", "first").encode()})
    github.upload(RUN, "preview-dev", {"preview.md": preview("dev", "second").encode()})
    comment()
    assert [one["body"] for one in github.comments[NUMBER]] == [preview("dev", "second")]


def test_no_change_needs_no_comment_and_withdraws_the_one_that_is_there(
    github: GitHub, comment: Callable[[], str]
) -> None:
    github.pulls = [pull()]
    github.upload(RUN, "preview-dev", {"preview.md": b""})
    assert "nothing to say" in comment()
    assert github.comments == {}
    github.comment(NUMBER, preview("dev"))
    comment()
    withdrawn = github.comments[NUMBER][0]["body"]
    assert withdrawn.startswith("<!-- esteira-preview:dev -->\n")
    assert "**No changes**: this pull request no longer changes `dev`." in withdrawn
    assert "dev: unchanged" in comment(), "it is found again, and left as it is"
    github.artifacts.clear()
    github.upload(RUN, "preview-dev", {"preview.md": preview("dev", "again").encode()})
    assert "dev: updated" in comment()
    assert [one["body"] for one in github.comments[NUMBER]] == [preview("dev", "again")]


def test_someone_elses_comment_with_our_marker_is_left_alone(
    github: GitHub, comment: Callable[[], str]
) -> None:
    github.pulls = [pull()]
    theirs = github.comment(NUMBER, preview("dev", "looks harmless"), login="contributor")
    github.upload(RUN, "preview-dev", {"preview.md": preview("dev").encode()})
    comment()
    assert theirs["body"] == preview("dev", "looks harmless")
    assert len(github.comments[NUMBER]) == 2


@pytest.mark.parametrize(
    "other",
    [
        pull(sha=OLDER),
        pull(state="closed"),
        pull(base="release"),
        pull(repo={"id": 99}),
        pull(repo=None),
        pull(ref="elsewhere"),
    ],
    ids=["newer commit", "closed", "other base", "other fork", "fork gone", "other branch"],
)
def test_only_the_open_pull_request_at_the_events_commit_is_commented_on(
    other: dict[str, Any], github: GitHub, comment: Callable[[], str]
) -> None:
    github.pulls = [other]
    github.upload(RUN, "preview-dev", {"preview.md": preview("dev").encode()})
    assert "no open pull request is at this commit" in comment()
    assert github.writes == []
    # Among others, on whichever page it is.
    github.pulls = [other, other | {"number": 13}, other | {"number": 14}, pull(15)]
    comment()
    assert list(github.comments) == [15]


def bomb() -> bytes:
    return preview("dev").encode() + b" " * 20_000_000


@pytest.mark.parametrize(
    ("content", "claims", "said"),
    [
        ({"preview.md": b"<script>"}, {}, "does not begin with"),
        ({"preview.md": preview("prod").encode()}, {}, "does not begin with"),
        ({"../preview.md": preview("dev").encode()}, {}, "preview.md"),
        ({"preview.md": b"\xff\xfe"}, {}, "utf-8"),
        ({"preview.md": bomb()}, {}, "more than 1000000 bytes"),
        ({"preview.md": preview("dev").encode()}, {"size_in_bytes": 10**9}, "at most 1000000"),
    ],
    ids=["no marker", "other stack", "other file", "no text", "bomb", "large"],
)
def test_an_artifact_that_is_no_preview_is_refused(
    content: dict[str, bytes],
    claims: dict[str, Any],
    said: str,
    github: GitHub,
    script: Script,
) -> None:
    github.pulls = [pull()]
    github.upload(RUN, "preview-dev", content, **claims)
    ended = script("preview_comment.py")
    assert ended.returncode == 1
    assert said in ended.stdout
    assert ended.stdout.startswith("::error::")
    assert ended.stdout.count("\n") == 1
    assert github.writes == []


def test_what_is_no_archive_is_refused(github: GitHub, script: Script) -> None:
    github.pulls = [pull()]
    github.upload(RUN, "preview-dev", {"preview.md": preview("dev").encode()})
    github.archives = dict.fromkeys(github.archives, b"PK\x03\x04 and then nothing")
    ended = script("preview_comment.py")
    assert ended.returncode == 1
    assert "not a zip file" in ended.stdout


def test_a_preview_notifies_nobody_and_fits_a_comment(
    github: GitHub, comment: Callable[[], str]
) -> None:
    github.pulls = [pull()]
    text = "ask @security, (@ops) or esteira@dev.iam.gserviceaccount.com\n" + "x" * 100_000
    github.upload(RUN, "preview-dev", {"preview.md": preview("dev", text).encode()})
    comment()
    (made,) = github.comments[NUMBER]
    assert "@security" not in made["body"]
    assert "@ops" not in made["body"]
    assert "esteira@dev.iam.gserviceaccount.com" in made["body"]
    assert len(made["body"]) <= 65_536
    assert "cut off here" in made["body"]


def test_an_error_of_github_fails_the_job_and_says_what_it_was(
    github: GitHub, script: Script, runner_environment: dict[str, str]
) -> None:
    github.pulls = [pull()]
    runner_environment["GH_TOKEN"] = "another"
    ended = script("preview_comment.py")
    assert ended.returncode == 1
    assert "401" in ended.stdout
    assert "Bad credentials" in ended.stdout


# Drift


def drifted(*names: str) -> list[dict[str, Any]]:
    return [
        {
            "urn": f"urn:pulumi:dev::esteira::gcp:storage/bucket:Bucket::{name}",
            "type": "gcp:storage/bucket:Bucket",
            "name": name,
            "kind": "changed",
            "properties": ["labels", "versioning.enabled"],
        }
        for name in names
    ]


@pytest.fixture
def alert(script: Script, tmp_path: Path) -> Callable[..., str]:
    def run(stack: str, *names: str) -> str:
        file = tmp_path / "drift.json"
        file.write_text(json.dumps({"stack": stack, "drifted": drifted(*names)}))
        ended = script("drift_issue.py", str(file))
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    return run


def test_drift_opens_one_issue_updates_it_and_closes_it(
    github: GitHub, alert: Callable[..., str]
) -> None:
    for number in range(5):
        github.issues.append(
            {"number": number, "state": "open", "user": {"login": "a-person"}, "body": None}
        )
    assert "no drift" in alert("dev")
    assert github.writes == []

    assert "opened" in alert("dev", "landing")
    issue = github.issues[5]
    assert issue["title"] == "dev has drifted: 1 resource(s)"
    assert issue["labels"] == ["drift"]
    assert "| `landing` | `gcp:storage/bucket:Bucket` | `changed` |" in issue["body"]
    assert "https://github.example/flights/esteira/actions/runs/77" in issue["body"]

    assert "opened" in alert("prod", "models"), "each stack has its own"
    assert f"updated #{issue['number']}" in alert("dev", "landing", "models")
    assert issue["title"] == "dev has drifted: 2 resource(s)"
    assert len(github.issues) == 7

    assert f"closed #{issue['number']}" in alert("dev")
    assert issue["state"] == "closed"
    assert "The drift is gone" in github.comments[issue["number"]][0]["body"]
    assert github.issues[6]["state"] == "open"

    alert("dev", "landing")
    assert len(github.issues) == 8, "drift that comes back is a new alert"


def test_a_stack_that_drifted_altogether_still_fits_an_issue(
    github: GitHub, alert: Callable[..., str]
) -> None:
    alert("prod", *(f"resource-{number}" for number in range(3_000)))
    body = github.issues[0]["body"]
    assert len(body) <= 65_536
    assert "more; `esteira drift prod` lists all" in body


def test_names_cannot_break_out_of_the_table(github: GitHub, alert: Callable[..., str]) -> None:
    alert("dev", "a`|b\n@everyone")
    assert "| `a\\|b @everyone` |" in github.issues[0]["body"]

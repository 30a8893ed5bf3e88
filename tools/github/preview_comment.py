"""Puts what `preview.yml` left into the pull request's conversation, updating what is there.

Run by `preview-comment.yml` with a token that can comment. The previews come from the pull
request's own code, so nothing in them is trusted:

- which pull request it is, is asked of GitHub, by the commit that the event names;
- an artifact is read from memory, one named file of it, up to a size;
- the text has to begin with its stack's marker, and can call nobody by name. An empty one is of a
  stack that nothing changes: nobody is told, unless a comment is there that says otherwise.
"""

from __future__ import annotations

import io
import json
import os
import re
import sys
import zipfile
from pathlib import Path
from typing import Any, Final

from rest import BOT, LIMIT, Refused, Repository

STACKS: Final = ("dev", "prod")
FILE: Final = "preview.md"
MOST_BYTES: Final = 1_000_000
"""Of an artifact and of what is in it. A preview of everything is some 100 kB."""
_MENTION: Final = re.compile(r"(?<![\w.`/+-])@(?=[A-Za-z0-9])")
_CUT: Final = "\n\n… cut off here; the whole preview is in the summary of the workflow's run.\n"


class Untrusted(ValueError):
    """What was uploaded is not a preview; the message says why."""


def marker(stack: str) -> str:
    """The first line of a stack's preview, by which its comment is found again."""
    return f"<!-- esteira-preview:{stack} -->"


def pull_request(repository: Repository, event: dict[str, Any]) -> dict[str, Any] | None:
    """The open pull request whose newest commit the run was for; none if there is a newer one."""
    run = event["workflow_run"]
    source = run["head_repository"]
    found = repository.every(
        "pulls", state="open", head=f"{source['owner']['login']}:{run['head_branch']}"
    )
    for one in found:
        # A fork that was deleted has no repository any more.
        origin = (one["head"]["repo"] or {}).get("id")
        same_commit = one["head"]["sha"] == run["head_sha"]
        if same_commit and origin == source["id"] and one["base"]["ref"] == default_branch(event):
            return one
    return None


def default_branch(event: dict[str, Any]) -> str:
    """The branch that previews are made for."""
    return event["repository"]["default_branch"]


def uploaded(repository: Repository, run: int) -> dict[str, str]:
    """The preview of each stack that the run left, checked."""
    newest: dict[str, dict[str, Any]] = {}
    for one in repository.every(f"actions/runs/{run}/artifacts", "artifacts"):
        stack = one["name"].removeprefix("preview-")
        # A run that was repeated has left one of each attempt.
        if one["name"] == f"preview-{stack}" and stack in STACKS and not one["expired"]:
            newest[stack] = max(one, newest.get(stack, one), key=lambda each: each["id"])
    previews: dict[str, str] = {}
    for stack, one in newest.items():
        if one["size_in_bytes"] > MOST_BYTES:
            raise Untrusted(f"{one['name']}: {one['size_in_bytes']} bytes, at most {MOST_BYTES}")
        archive = repository.download(f"actions/artifacts/{one['id']}/zip", MOST_BYTES)
        previews[stack] = text_of(archive, stack)
    return previews


def text_of(archive: bytes, stack: str) -> str:
    """The preview in an artifact, fit to be posted.

    Raises:
        Untrusted: it is no archive, or holds no preview of this stack, or one that is too large.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as files, files.open(FILE) as file:
            # Read up to the limit, whatever size the archive claims.
            raw = file.read(MOST_BYTES + 1)
        text = raw.decode()
    except (zipfile.BadZipFile, KeyError, NotImplementedError, RuntimeError, ValueError) as error:
        raise Untrusted(f"preview-{stack}: {error}") from None
    if len(raw) > MOST_BYTES:
        raise Untrusted(f"preview-{stack}: {FILE} has more than {MOST_BYTES} bytes")
    if text.strip() and not text.startswith(marker(stack)):
        raise Untrusted(f"preview-{stack}: {FILE} does not begin with {marker(stack)}")
    # A zero-width space after the sign: it reads the same, and notifies nobody.
    text = _MENTION.sub("@\u200b", text)
    return text if len(text) <= LIMIT else text[: LIMIT - len(_CUT)] + _CUT


def publish(repository: Repository, number: int, stack: str, text: str) -> str:
    """Make the stack's comment say `text`; what was done. No preview leaves no new comment."""
    ours = next(
        (
            one
            for one in repository.every(f"issues/{number}/comments")
            if one["user"]["login"] == BOT and one["body"].startswith(marker(stack))
        ),
        None,
    )
    if not text.strip():
        if ours is None:
            return "nothing to say"
        text = (
            f"{marker(stack)}\n\n### Preview of `{stack}`\n\n"
            f"**No changes**: this pull request no longer changes `{stack}`.\n"
        )
    if ours is None:
        repository.post(f"issues/{number}/comments", {"body": text})
        return "commented"
    if ours["body"] == text:
        return "unchanged"
    repository.patch(f"issues/comments/{ours['id']}", {"body": text})
    return "updated"


def main() -> int:
    """Post what the run of the event has left."""
    event = json.loads(Path(os.environ["GITHUB_EVENT_PATH"]).read_text())
    repository = Repository.of_this_run()
    try:
        found = pull_request(repository, event)
        if found is None:
            print("no open pull request is at this commit any more")  # noqa: T201
            return 0
        for stack, text in uploaded(repository, event["workflow_run"]["id"]).items():
            done = publish(repository, found["number"], stack, text)
            print(f"#{found['number']} {stack}: {done}")  # noqa: T201
    except (Refused, Untrusted) as error:
        # `%` and line ends would let the text speak to the runner.
        said = re.sub(r"[\r\n%]", " ", str(error))
        print(f"::error::{said}")  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

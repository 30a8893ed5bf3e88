"""Keeps one issue for each stack as the alert of its drift; closes it when the drift is gone.

Run by `drift.yml` with what `esteira drift STACK --json` printed.
Usage: python3 tools/github/drift_issue.py FILE
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any, Final

from rest import BOT, LIMIT, Refused, Repository

LABEL: Final = "drift"


def marker(stack: str) -> str:
    """The first line of a stack's issue, by which it is found again."""
    return f"<!-- esteira-drift:{stack} -->"


def body(stack: str, drifted: list[dict[str, Any]], run: str) -> str:
    """What the issue says: each resource, what became of it, what to do."""
    head = [
        marker(stack),
        f"{len(drifted)} resource(s) of `{stack}` are no longer as the program made them.",
        f"[This run]({run}) saw it.",
        "",
        "Someone changed them by hand, or another program did. Put the change into the program,",
        f"or take it back: `esteira refresh {stack}`, then `esteira up {stack}`.",
        "",
        "| resource | type | | properties |",
        "|---|---|---|---|",
    ]
    tail = "\nThis issue is updated each night, and closed when the drift is gone.\n"
    rows: list[str] = []
    room = LIMIT - len("\n".join(head)) - len(tail) - 100
    for number, one in enumerate(drifted):
        cells = (one["name"], one["type"], one["kind"], ", ".join(one["properties"]))
        row = "| {} |".format(" | ".join(_cell(cell) for cell in cells))
        room -= len(row) + 1
        if room < 0:
            rows.append(f"\n… and {len(drifted) - number} more; `esteira drift {stack}` lists all.")
            break
        rows.append(row)
    return "\n".join([*head, *rows, tail])


def _cell(text: str) -> str:
    plain = text.replace("`", "").replace("|", "\\|").replace("\n", " ")
    return f"`{plain}`" if plain else ""


def alert(repository: Repository, stack: str, drifted: list[dict[str, Any]], run: str) -> str:
    """Bring the stack's issue in line with what was found; what was done."""
    ours = next(
        (
            one
            for one in repository.every("issues", state="open")
            # GitHub lists pull requests as issues too.
            if "pull_request" not in one
            and one["user"]["login"] == BOT
            and (one["body"] or "").startswith(marker(stack))
        ),
        None,
    )
    if not drifted:
        if ours is None:
            return "no drift"
        repository.post(
            f"issues/{ours['number']}/comments",
            {"body": f"The drift is gone: [this run]({run}) saw none."},
        )
        repository.patch(
            f"issues/{ours['number']}", {"state": "closed", "state_reason": "completed"}
        )
        return f"closed #{ours['number']}"
    content = {
        "title": f"{stack} has drifted: {len(drifted)} resource(s)",
        "body": body(stack, drifted, run),
    }
    if ours is not None:
        repository.patch(f"issues/{ours['number']}", content)
        return f"updated #{ours['number']}"
    opened = repository.post("issues", {**content, "labels": [LABEL]})
    return f"opened #{opened['number']}"


def main(arguments: list[str]) -> int:
    """Bring the issue in line with the file."""
    (file,) = arguments
    found = json.loads(Path(file).read_text())
    server = os.environ.get("GITHUB_SERVER_URL", "https://github.com")
    run = f"{server}/{os.environ['GITHUB_REPOSITORY']}/actions/runs/{os.environ['GITHUB_RUN_ID']}"
    try:
        done = alert(Repository.of_this_run(), found["stack"], found["drifted"], run)
    except Refused as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    print(f"{found['stack']}: {done}")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

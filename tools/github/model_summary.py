"""Prints what became of a trained model, for the summary of its job: decision, release, card.

Run by `train.yml` with the folder of what `esteira` printed. A file that is missing belongs to a
step that failed, and that is said.
Usage: python3 tools/github/model_summary.py FOLDER
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any, Final

LIMIT: Final = 900_000
"""Characters; GitHub takes 1 MiB of a step, in bytes."""
_CUT: Final = "\n\n… cut off here; all of it lies beside the model.\n"


class Files:
    """What the steps before have left."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def document(self, name: str) -> dict[str, Any]:
        """A JSON object; empty where the step did not get that far."""
        try:
            return json.loads(self.text(f"{name}.json") or "{}")
        except ValueError:
            return {}

    def text(self, name: str) -> str:
        """A file's text; empty where there is none."""
        file = self._folder / name
        return file.read_text() if file.is_file() else ""


def summary(files: Files, product: str, stack: str, runner: str) -> str:
    """The whole of it, in Markdown."""
    registration, decision = files.document("registration"), files.document("decision")
    release, version = files.document("release"), files.document("version")
    lines = [
        f"## {product} on {stack}: {_outcome(registration, decision, release)}",
        "",
        *_table(runner, registration, decision, release, version),
    ]
    for title, name in (("Decision record", "decision.md"), ("Model card", "card.md")):
        if text := files.text(name):
            folded = "" if name == "card.md" else " open"
            lines += ["", f"<details{folded}><summary>{title}</summary>", "", _shown(text)]
            lines += ["", "</details>"]
    text = "\n".join([*lines, ""])
    return text if len(text.encode()) <= LIMIT else _cut(text)


def _outcome(
    registration: dict[str, Any], decision: dict[str, Any], release: dict[str, Any]
) -> str:
    number = registration.get("version")
    if not number:
        waits = registration.get("waits")
        return f"not trained now: {waits}" if waits else "training failed"
    if not decision:
        return f"version {number} could not be compared"
    if decision["decision"] == "rejected":
        against = (decision.get("champion") or {}).get("version")
        stays = f"version {against} goes on serving" if against else "nothing serves"
        return f"version {number} is rejected; {stays}"
    if not release.get("ok"):
        return f"version {number} is approved, and could not be released"
    if release.get("champion") == number:
        # The first of a product has nobody to be compared with on the way.
        return f"version {number} is approved, and serves"
    return f"version {number} is approved, and its release has begun"


def _table(
    runner: str,
    registration: dict[str, Any],
    decision: dict[str, Any],
    release: dict[str, Any],
    version: dict[str, Any],
) -> list[str]:
    rows: list[tuple[str, str]] = []
    if not registration:
        rows.append(("training", f"by {runner}; the log of the step **Train** says why it failed"))
    elif not registration["run"]:
        rows.append(("training", "the retraining controller trains it when its time has come"))
    else:
        rows.append(("training", f"run `{registration['run']}` by {runner}"))
    if decision:
        failed = [one for one in decision.get("reasons", []) if not one.startswith("passes")]
        rows.append(("decision", f"**{decision['decision']}**" + "".join(f"; {o}" for o in failed)))
    if release:
        rows.append(("release", str(release.get("message", ""))))
    links = dict(version.get("links") or {})
    if record := decision.get("record"):
        links["record"] = record
    rows += [(name.replace("_", " "), _link(address)) for name, address in links.items()]
    return ["| | |", "|---|---|", *(f"| {name} | {_cell(value)} |" for name, value in rows)]


def _link(address: str) -> str:
    if address.startswith(("https://", "http://")):
        return f"[{address}]({address})"
    if address.startswith("gs://"):
        # The console shows a folder and an object by different pages.
        page = "browser/_details" if address.endswith((".json", ".md")) else "browser"
        place = address.removeprefix("gs://")
        return f"[`{address}`](https://console.cloud.google.com/storage/{page}/{place})"
    return f"`{address}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _shown(text: str) -> str:
    """Without the plots, whose files lie beside the record, where a summary cannot show them from;
    and one level further down than the summary's own headings."""
    lines = [one for one in text.splitlines() if not one.startswith("![")]
    return "\n".join(f"##{one}" if one.startswith("#") else one for one in lines).strip()


def _cut(text: str) -> str:
    return text.encode()[: LIMIT - len(_CUT.encode())].decode(errors="ignore") + _CUT


def main(arguments: list[str]) -> int:
    """Print the summary of the folder."""
    (folder,) = arguments
    given = {name: os.environ[name] for name in ("PRODUCT", "STACK", "RUNNER")}
    files = Files(Path(folder))
    print(summary(files, given["PRODUCT"], given["STACK"], given["RUNNER"]))  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

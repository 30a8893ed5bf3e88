"""Which files there are, and what is in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import yaml

from esteira.dashboards import grafana, known, rules
from esteira.dashboards.boards import boards
from esteira.dashboards.naming import Naming
from esteira.dashboards.promql import check
from esteira.paths import ROOT
from stacks.settings import NAMESPACE, Settings
from workloads import product as products

FOLDER: Final = ROOT / "dashboards"
STACK: Final = "prod"
RULES: Final = Path("prometheus") / "esteira.rules.yaml"
_HEAD: Final = (
    "# Made by `esteira dashboards generate`: change what it is made of, not this file.\n"
)


class UnknownStack(ValueError):
    """There is no such stack."""


def settings_of(stack: str) -> Settings:
    """The settings of a stack, by its file.

    Raises:
        UnknownStack: it has no file.
        SettingsError: what is in it does not fit.
    """
    file = ROOT / f"Pulumi.{stack}.yaml"
    if not file.is_file():
        known_ones = sorted(one.stem.partition(".")[2] for one in ROOT.glob("Pulumi.*.yaml"))
        raise UnknownStack(f"there is no stack {stack!r}; allowed: {', '.join(known_ones)}")
    config: dict[str, Any] = (yaml.safe_load(file.read_text()) or {}).get("config") or {}
    prefix = f"{NAMESPACE}:"
    return Settings.from_values(
        {key.removeprefix(prefix): value for key, value in config.items() if key.startswith(prefix)}
    )


def generated(settings: Settings, naming: Naming = Naming.GOOGLE) -> dict[Path, str]:
    """The text of every file, by its path in the folder.

    Raises:
        BadQuery: a query names what there is not.
        Unmeasurable: an alert could never open.
    """
    declared = tuple(products.load(name) for name in settings.products)
    ruled = rules.document(settings, declared, naming)
    there = {**known.scraped(), **known.monitored(naming, declared), **rules.RECORDED}
    files = {RULES: _HEAD + yaml.safe_dump(ruled, sort_keys=False, width=100, allow_unicode=True)}
    for board in boards(settings, declared, naming):
        for graph in board.graphs:
            for query in graph.queries:
                check(query.query, there)
        text = json.dumps(grafana.document(board), indent=2, ensure_ascii=False) + "\n"
        files[Path("grafana") / f"{board.uid}.json"] = text
    return files


def outdated(files: dict[Path, str], folder: Path) -> list[Path]:
    """What is not in the folder as it should be, by its path there: changed, missing, or of a
    product that is no more. Of files that others put there nothing is said.
    """
    wrong = [
        path
        for path, text in files.items()
        if not (folder / path).is_file() or (folder / path).read_text() != text
    ]
    left = [file.relative_to(folder) for file in sorted((folder / "grafana").glob("*.json"))]
    return wrong + [path for path in left if path not in files and _ours(folder / path)]


def write(files: dict[Path, str], folder: Path) -> list[Path]:
    """Write what is outdated, each file whole or not at all; remove what is no more.

    Returns:
        What has changed.
    """
    changed = outdated(files, folder)
    for path in changed:
        file = folder / path
        if path not in files:
            file.unlink()
            continue
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(f".{file.name}.partial")
        partial.write_text(files[path])
        partial.replace(file)
    return changed


def _ours(file: Path) -> bool:
    """Whether Grafana's dashboard has our tag."""
    try:
        found = json.loads(file.read_text())
    except ValueError:
        return False
    return isinstance(found, dict) and "esteira" in (found.get("tags") or [])

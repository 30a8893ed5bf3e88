"""The whole way of a new product: from no folder to a version that answers and stacks with it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from workloads.product import Task

CHECKOUT = Path(__file__).resolve().parents[2]
NEW = {Task.CLASSIFICATION: "parcel-loss", Task.REGRESSION: "parcel-cost"}
ALIKE = {
    Task.CLASSIFICATION: ("gate-change", "flight-delay"),
    Task.REGRESSION: ("gate-move", "arrival-delay"),
}
"""New products and which they are like."""


def _id(name: str) -> str:
    return name.replace("-", "_")


def _name(settings: Path, products: list[str]) -> None:
    """Add products to those of a stack, as docs/add-a-product.md says."""
    text = settings.read_text()
    named = "  esteira:products:\n"
    assert text.count(named) == 1
    added = "".join(f"    - {one}\n" for one in products)
    settings.write_text(text.replace(named, named + added))


@pytest.mark.long
@pytest.mark.timeout(600)
def test_the_whole_way_in_a_checkout_of_its_own(tmp_path: Path) -> None:
    """The commands as a data team would type them, then the tests that they were given.

    In a copy of the checkout, so that whatever ends this test leaves nothing behind here.
    """
    copy = tmp_path / "checkout"
    tracked = subprocess.run(
        ["git", "-C", str(CHECKOUT), "ls-files", "-coz", "--exclude-standard"],
        capture_output=True,
        check=True,
    )
    for name in tracked.stdout.decode().split("\0"):
        if name and (CHECKOUT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(CHECKOUT / name, copy / name)
    (copy / ".esteira").symlink_to(CHECKOUT / ".esteira")
    environment = {
        **os.environ,
        "ESTEIRA_STATE": str(tmp_path / "state"),
        "PYTHONPATH": str(copy),
        "COLUMNS": "200",
    }

    def run(*words: str) -> str:
        ended = subprocess.run(
            [sys.executable, *words], cwd=copy, env=environment, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert ended.returncode == 0, f"{words}\n{ended.stdout}\n{ended.stderr}"
        return ended.stdout

    esteira = ("-m", "esteira.cli")
    for task, name in NEW.items():
        told = json.loads(run(*esteira, "product", "new", name, "--task", task.value, "--json"))
        assert f"workloads/products/{_id(name)}/schemas.json" in told["files"]
    pytest_ = ("-m", "pytest", "-q", "-p", "no:xdist", "-p", "no:cacheprovider")
    for stack in ("dev", "prod"):
        _name(copy / f"Pulumi.{stack}.yaml", list(NEW.values()))
    digest = json.loads(run(*esteira, "preview", "dev", "--offline", "--json"))
    planned = {one["urn"].rpartition("$")[2] for one in digest["steps"]}
    assert {f"gcp:vertex/aiEndpoint:AiEndpoint::{one}" for one in NEW.values()} <= planned
    # Whatever looks at all products, or at the settings of a stack, has nothing to renew.
    tests = ("tests/esteira/dashboards", "tests/stacks/test_settings.py")
    run(*pytest_, *tests, "tests/stacks/test_program.py", "tests/stacks/test_tracking.py")
    for task, (name, like) in ALIKE.items():
        told = json.loads(run(*esteira, "product", "new", name, "--like", like, "--json"))
        assert told["task"] == task.value
    listed = json.loads(run(*esteira, "product", "list", "--json"))
    made = {one["name"]: one["task"] for one in listed}
    alike = {task: name for task, (name, _) in ALIKE.items()}
    for task, name in [*NEW.items(), *alike.items()]:
        assert made[name] == task.value
        findings = json.loads(run(*esteira, "product", "check", name, "--json"))
        assert not [one for one in findings if one["passed"] is False]
    run("-m", "ruff", "check", "--no-cache", "workloads/products", "tests/workloads/products")
    names = [*NEW.values(), *alike.values()]
    # To registered versions, which are asked over HTTP.
    run(*pytest_, *(f"tests/workloads/products/test_{_id(one)}.py" for one in names))

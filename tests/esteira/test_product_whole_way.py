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


def _name(settings: Path, product: str) -> None:
    """Add a product to those of a stack, as docs/add-a-product.md says."""
    text = settings.read_text()
    named = "  esteira:products:\n"
    assert text.count(named) == 1
    settings.write_text(text.replace(named, f"{named}    - {product}\n"))


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("task", list(Task))
def test_the_whole_way_in_a_checkout_of_its_own(tmp_path: Path, task: Task) -> None:
    """The commands as a data team would type them, then the test that they were given.

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
    told = json.loads(
        run(*esteira, "product", "new", "parcel-loss", "--task", task.value, "--json")
    )
    assert "workloads/products/parcel_loss/schemas.json" in told["files"]
    listed = json.loads(run(*esteira, "product", "list", "--json"))
    assert {"name": "parcel-loss", "task": task.value}.items() <= next(
        one for one in listed if one["name"] == "parcel-loss"
    ).items()
    findings = json.loads(run(*esteira, "product", "check", "parcel-loss", "--json"))
    assert not [one for one in findings if one["passed"] is False]
    pytest_ = ("-m", "pytest", "-q", "-p", "no:xdist", "-p", "no:cacheprovider")
    # To a registered version, which is asked over HTTP.
    run(*pytest_, "tests/workloads/products/test_parcel_loss.py")
    for stack in ("dev", "prod"):
        _name(copy / f"Pulumi.{stack}.yaml", "parcel-loss")
    digest = json.loads(run(*esteira, "preview", "dev", "--offline", "--json"))
    made = {one["urn"].rpartition("$")[2] for one in digest["steps"]}
    assert "gcp:vertex/aiEndpoint:AiEndpoint::parcel-loss" in made
    # Whatever looks at all products, or at the settings of a stack, has nothing to renew.
    tests = ("tests/esteira/dashboards", "tests/stacks/test_settings.py")
    run(*pytest_, *tests, "tests/stacks/test_program.py", "tests/stacks/test_tracking.py")
    like = {Task.CLASSIFICATION: "flight-delay", Task.REGRESSION: "arrival-delay"}[task]
    told = json.loads(run(*esteira, "product", "new", "gate-change", "--like", like, "--json"))
    assert told["task"] == task.value
    run(*esteira, "product", "check", "gate-change", "--json")
    run(*pytest_, "tests/workloads/products/test_gate_change.py")
    run("-m", "ruff", "check", "--no-cache", "workloads/products", "tests/workloads/products")

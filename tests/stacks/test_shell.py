"""What a person types: `pulumi preview -s dev`, with the language host and no `esteira`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from esteira.engine import install, policies, stack
from esteira.paths import ROOT

ENGINE = install.find()
HOST = None if ENGINE is None else ENGINE.path.parent / "pulumi-language-python"

pytestmark = [
    pytest.mark.long,
    pytest.mark.engine,
    pytest.mark.skipif(ENGINE is None, reason="no Pulumi engine; `make setup` gets one"),
    pytest.mark.skipif(
        HOST is not None and not HOST.exists(),
        reason="no Python language host beside the engine; `make setup` builds one",
    ),
]


def shell(folder: Path, port: int, *words: str) -> str:
    """Run `pulumi` in the checkout as a shell would, against a provider that only validates."""
    assert ENGINE is not None
    (folder / "state").mkdir(exist_ok=True)
    ended = subprocess.run(
        [ENGINE.path, "--non-interactive", *words],
        cwd=folder / "checkout",
        env={
            **os.environ,
            # As after `. .venv/bin/activate`.
            "PATH": os.pathsep.join(
                [
                    str(Path(sys.executable).parent),
                    str(ENGINE.path.parent),
                    os.environ["PATH"],
                    str(policies.PACK),
                ]
            ),
            "VIRTUAL_ENV": str(Path(sys.executable).parents[1]),
            "PULUMI_HOME": str(folder / "home"),
            "PULUMI_BACKEND_URL": f"file://{folder / 'state'}",
            "PULUMI_CONFIG_PASSPHRASE": "test",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            "PULUMI_DEBUG_PROVIDERS": f"gcp:{port},kubernetes:{port},docker:{port}",
        },
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-3000:] + ended.stdout[-3000:]
    return ended.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkout of its own to type in: the engine writes its salt into the settings file."""
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    for one in ROOT.iterdir():
        if one.name.startswith("Pulumi."):
            (checkout / one.name).write_text(one.read_text())
        elif one.name in (".venv", "stacks", "components", "workloads", "requirements", "policies"):
            (checkout / one.name).symlink_to(one)
    return tmp_path


def planned(steps: list[dict[str, Any]]) -> dict[str, Any]:
    """Inputs of what is planned, by urn; where a checkout lies and its image contexts left out."""
    return {
        step["urn"]: step.get("newState", {}).get("inputs")
        for step in steps
        if "::docker:index/image:Image::" not in step["urn"]
    }


def test_the_shell_plans_what_esteira_plans_and_may_judge_it(folder: Path) -> None:
    with stack.validating_provider() as port:
        shell(folder, port, "stack", "init", "dev")
        judged = ["--policy-pack", str(policies.PACK), "--policy-pack-config", str(policies.CONFIG)]
        words = ["preview", "-s", "dev", "--json", *(judged if policies.ready() else [])]
        typed = json.loads(shell(folder, port, *words))
    with stack.opened("dev", offline=True, progress=lambda _: None) as opened:
        ours = opened.digest()
    assert {step["urn"] for step in typed["steps"]} == {step["urn"] for step in ours["steps"]}
    assert planned(typed["steps"]) == planned(ours["steps"])

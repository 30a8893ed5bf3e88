"""Runs the local stack without an engine: the same program, the same provider, no state.

Where no Pulumi engine can be had, Pulumi's own mocks stand between the program and the provider.
Resources become real, and a second run leaves or updates what is there; but there is no state file,
no preview, no diff, and nothing is deleted when the program no longer declares it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pulumi
import yaml
from pulumi.runtime import mocks
from pulumi.runtime.settings import get_root_resource
from pulumi.runtime.stack import run_pulumi_func

from esteira import local
from esteira.engine.known import LOCAL_STACK, PROJECT
from esteira.paths import ROOT
from localcloud.provider.inprocess import ProviderMocks
from localcloud.provider.lifecycle import Lifecycle


def up(progress: Callable[[str], None]) -> tuple[dict[str, Any], int]:
    """Make the local stack's resources; its outputs, and how many resources there are.

    Raises:
        localcloud.provider.inprocess.InvalidInputs: a resource's inputs are wrong.
    """
    from stacks.program import program

    local.start(progress)
    settings = yaml.safe_load((ROOT / f"Pulumi.{LOCAL_STACK}.yaml").read_text())["config"]
    provider = _Shown(progress, local.home())
    # Set up before the loop runs: the mocks find it and hand it to the program's tasks.
    asyncio.set_event_loop(asyncio.new_event_loop())
    mocks.set_mocks(provider, project=PROJECT, stack=LOCAL_STACK, preview=False)
    pulumi.runtime.set_all_config({key: _text(value) for key, value in settings.items()})
    outputs = asyncio.get_event_loop().run_until_complete(_run(program))
    return outputs, len(provider.made)


async def _run(program: Callable[[], None]) -> dict[str, Any]:
    """Run the program until nothing is outstanding; what it exports."""

    async def run() -> None:
        program()

    await run_pulumi_func(run)
    root = get_root_resource()
    return await pulumi.Output.from_input(getattr(root, "outputs", {})).future() or {}


class _Shown(ProviderMocks):
    def __init__(self, progress: Callable[[str], None], home: Any) -> None:
        super().__init__(lifecycle=Lifecycle(home), repeatable=True)
        self._progress = progress

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        self._progress(f"{args.typ} {args.name}")
        return super().new_resource(args)


def _text(value: Any) -> str:
    """A setting as the engine hands it to the program: text, with structure as JSON."""
    import json

    return value if isinstance(value, str) else json.dumps(value)

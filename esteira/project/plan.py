"""What the program of a stack would make, found out in memory: no engine, no credentials."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml


class NoPlan(RuntimeError):
    """The program does not run with these settings; says why."""


@dataclass(frozen=True, kw_only=True)
class Resource:
    """A resource that the program declares."""

    token: str
    """Such as `gcp:pubsub/topic:Topic`."""
    name: str
    inputs: Mapping[str, Any]


@dataclass(frozen=True)
class Plan:
    """All resources of a stack."""

    resources: Sequence[Resource] = ()

    def of(self, token: str) -> list[Resource]:
        """Those of a type, by the beginning of its token."""
        return [one for one in self.resources if one.token.startswith(token)]

    @property
    def tokens(self) -> set[str]:
        """The types there are."""
        return {one.token for one in self.resources}

    @property
    def apis(self) -> list[str]:
        """Short names of the APIs that the program switches on."""
        hosts = [str(one.inputs.get("service", "")) for one in self.of("gcp:projects/service:")]
        return sorted({host.removesuffix(".googleapis.com") for host in hosts})


def of_stack(stack: str, folder: Path) -> Plan:
    """Run the program with the settings of a stack. Takes some seconds.

    Raises:
        NoPlan: it does not run.
    """
    # Imported here: the provider's modules take seconds, and bootstrap needs none of them.
    import pulumi
    from pulumi.runtime import mocks
    from pulumi.runtime.mocks import MockResourceArgs
    from pulumi.runtime.stack import run_pulumi_func

    from esteira.engine.known import PROJECT
    from localcloud.provider.inprocess import ProviderMocks
    from stacks.program import program

    class Recorded(ProviderMocks):
        def new_resource(self, args: MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
            made, outputs = super().new_resource(args)
            if args.typ == "docker:index/image:Image":
                # Nothing is built, so nothing has a digest.
                repository = str(outputs["imageName"]).rpartition(":")[0]
                outputs.setdefault("repoDigest", f"{repository}@sha256:{'0' * 64}")
            return made, outputs

    async def run() -> None:
        program()

    config: dict[str, Any] = yaml.safe_load((folder / f"Pulumi.{stack}.yaml").read_text())
    recorded = Recorded()
    asyncio.set_event_loop(asyncio.new_event_loop())
    mocks.set_mocks(recorded, project=PROJECT, stack=stack, preview=False)
    pulumi.runtime.set_all_config(
        {key: _text(value) for key, value in (config.get("config") or {}).items()}
    )
    try:
        asyncio.get_event_loop().run_until_complete(run_pulumi_func(run))
    except Exception as error:  # whatever it is, the other checks are made
        raise NoPlan(str(error) or type(error).__name__) from error
    return Plan(
        [Resource(token=one.token, name=one.name, inputs=one.inputs) for one in recorded.made]
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)

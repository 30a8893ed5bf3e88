"""The Google APIs that a project has to have switched on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_gcp as gcp

from components import checks
from components.child_opts import child_opts
from components.propagation import Propagation


@dataclass(frozen=True, kw_only=True)
class EnabledApisArgs:
    """Which APIs.

    Raises:
        InvalidArgs: at construction, when a name is no API's.
    """

    project: str
    apis: Sequence[str]
    """Short names: `pubsub` for `pubsub.googleapis.com`."""
    propagation_seconds: int = 0
    """How long Google needs, after an API is switched on for the first time, until it answers
    everywhere; 0 to 600."""

    def __post_init__(self) -> None:
        checks.between(
            "EnabledApis", "propagation_seconds", self.propagation_seconds, 0, 600, "seconds"
        )
        for api in self.apis:
            if not api.isalnum():
                raise checks.InvalidArgs(
                    "EnabledApis", "apis", api, "short names, e.g. `pubsub` without the domain"
                )


class EnabledApis(pulumi.ComponentResource):
    """APIs of one project. Destroying the stack leaves them on: others may use them."""

    services: list[gcp.projects.Service]
    project: pulumi.Output[str]
    """The project, known once all its APIs can be used: what is made in it cannot be too early."""

    def __init__(
        self, name: str, *, args: EnabledApisArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("esteira:enabled_apis:EnabledApis", name, {}, opts)
        propagation = Propagation(f"apis:{name}", seconds=args.propagation_seconds)
        self.services = [
            gcp.projects.Service(
                f"{name}-{api}",
                service=f"{api}.googleapis.com",
                project=args.project,
                disable_on_destroy=False,
                opts=child_opts(self, hooks=propagation.hooks),
            )
            for api in args.apis
        ]
        self.project = propagation.after(args.project, self.services)
        self.register_outputs({"apis": list(args.apis)})

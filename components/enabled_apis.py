"""The Google APIs that a project has to have switched on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_gcp as gcp

from components import checks
from components.child_opts import child_opts


@dataclass(frozen=True, kw_only=True)
class EnabledApisArgs:
    """Which APIs.

    Raises:
        InvalidArgs: at construction, when a name is no API's.
    """

    project: str
    apis: Sequence[str]
    """Short names: `pubsub` for `pubsub.googleapis.com`."""

    def __post_init__(self) -> None:
        for api in self.apis:
            if not api.isalnum():
                raise checks.InvalidArgs(
                    "EnabledApis", "apis", api, "short names, e.g. `pubsub` without the domain"
                )


class EnabledApis(pulumi.ComponentResource):
    """APIs of one project. Destroying the stack leaves them on: others may use them."""

    services: list[gcp.projects.Service]

    def __init__(
        self, name: str, *, args: EnabledApisArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("esteira:enabled_apis:EnabledApis", name, {}, opts)
        self.services = [
            gcp.projects.Service(
                f"{name}-{api}",
                service=f"{api}.googleapis.com",
                project=args.project,
                disable_on_destroy=False,
                opts=child_opts(self),
            )
            for api in args.apis
        ]
        self.register_outputs({"apis": list(args.apis)})

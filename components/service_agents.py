"""Google's own accounts in a project, which act for its services.

In a fresh project a service agent does not exist until it is asked for, and a role granted to one
that does not exist fails: so each is asked for here, once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_gcp as gcp

from components import checks
from components.child_opts import child_opts

APIS: Final = {
    "aiplatform": "aiplatform.googleapis.com",
    "artifactregistry": "artifactregistry.googleapis.com",
    "dataflow": "dataflow.googleapis.com",
    "pubsub": "pubsub.googleapis.com",
    "run": "run.googleapis.com",
}
SPECIAL: Final = ("bigquery", "compute", "storage")
"""Agents that have an address of another form, each with a way of its own to ask for it."""


@dataclass(frozen=True, kw_only=True)
class ServiceAgentsArgs:
    """Which agents are needed.

    Raises:
        InvalidArgs: at construction, when a name is not known.
    """

    project: str
    agents: Sequence[str]
    """Names out of `APIS` and `SPECIAL`."""

    def __post_init__(self) -> None:
        for agent in self.agents:
            checks.one_of("ServiceAgents", "agents", agent, (*APIS, *SPECIAL))


class ServiceAgents(pulumi.ComponentResource):
    """The agents of one project; `members["pubsub"]` is one as IAM writes it."""

    members: dict[str, pulumi.Output[str]]

    def __init__(
        self, name: str, *, args: ServiceAgentsArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("esteira:service_agents:ServiceAgents", name, {}, opts)
        self._name = name
        self._project = args.project
        self.members = {agent: self._member(agent) for agent in args.agents}
        self.register_outputs(dict(self.members))

    def _member(self, agent: str) -> pulumi.Output[str]:
        invoke = pulumi.InvokeOutputOptions(parent=self)
        match agent:
            case "storage":
                storage = gcp.storage.get_project_service_account_output(
                    project=self._project, opts=invoke
                )
                return storage.member
            case "bigquery":
                bigquery = gcp.bigquery.get_default_service_account_output(
                    project=self._project, opts=invoke
                )
                return bigquery.member
            case "compute":
                project = gcp.organizations.get_project_output(
                    project_id=self._project, opts=invoke
                )
                return pulumi.Output.concat(
                    "serviceAccount:service-",
                    project.number,
                    "@compute-system.iam.gserviceaccount.com",
                )
            case _:
                identity = gcp.projects.ServiceIdentity(
                    f"{self._name}-{agent}",
                    service=APIS[agent],
                    project=self._project,
                    opts=child_opts(self),
                )
                return identity.member

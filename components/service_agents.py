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

ADDRESSES: Final = {
    "aiplatform": "gcp-sa-aiplatform",
    "artifactregistry": "gcp-sa-artifactregistry",
    "compute": "compute-system",
    "dataflow": "dataflow-service-producer-prod",
    "notebooks": "gcp-sa-notebooks",
    "pubsub": "gcp-sa-pubsub",
    "run": "serverless-robot-prod",
    "secretmanager": "gcp-sa-secretmanager",
    "sqladmin": "gcp-sa-cloud-sql",
}
"""The domain of each agent, `service-<number>@<domain>.iam.gserviceaccount.com`, by Google's
reference of service agents. Put together here, and not read from the made identity, so that a
preview knows the members that it grants roles to."""
LOOKED_UP: Final = ("bigquery", "storage")
"""Agents that are made by looking them up."""
LASTING: Final = ("compute",)
"""Agents that exist from the moment their API is on."""


@dataclass(frozen=True, kw_only=True)
class ServiceAgentsArgs:
    """Which agents are needed.

    Raises:
        InvalidArgs: at construction, when a name is not known.
    """

    project: str
    agents: Sequence[str]
    """Names out of `ADDRESSES` and `LOOKED_UP`."""

    def __post_init__(self) -> None:
        for agent in self.agents:
            checks.one_of("ServiceAgents", "agents", agent, (*ADDRESSES, *LOOKED_UP))


class ServiceAgents(pulumi.ComponentResource):
    """The agents of one project; `members["pubsub"]` is one as IAM writes it."""

    members: dict[str, pulumi.Output[str]]

    def __init__(
        self, name: str, *, args: ServiceAgentsArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("esteira:service_agents:ServiceAgents", name, {}, opts)
        self._name = name
        self._project = args.project
        self._invoke = pulumi.InvokeOutputOptions(parent=self)
        self._number = gcp.organizations.get_project_output(
            project_id=args.project, opts=self._invoke
        ).number
        self.members = {agent: self._member(agent) for agent in args.agents}
        self.register_outputs(dict(self.members))

    def _member(self, agent: str) -> pulumi.Output[str]:
        """The agent as IAM writes it, known once it exists."""
        if agent == "storage":
            return gcp.storage.get_project_service_account_output(
                project=self._project, opts=self._invoke
            ).member
        if agent == "bigquery":
            return gcp.bigquery.get_default_service_account_output(
                project=self._project, opts=self._invoke
            ).member
        ready: list[pulumi.Output[str]] = []
        if agent not in LASTING:
            identity = gcp.projects.ServiceIdentity(
                f"{self._name}-{agent}",
                service=f"{agent}.googleapis.com",
                project=self._project,
                opts=child_opts(self),
            )
            ready.append(identity.urn)
        return pulumi.Output.all(self._number, *ready).apply(
            lambda known: (
                f"serviceAccount:service-{known[0]}@{ADDRESSES[agent]}.iam.gserviceaccount.com"
            )
        )

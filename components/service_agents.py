"""Google's own accounts in a project, which act for its services.

In a fresh project a service agent does not exist until it is asked for, and a role granted to one
that does not exist fails: so each is asked for here, once. One that is asked for does not get the
role that Google gives to one that it makes by itself, without which the service does not work
(cloud.google.com/iam/docs/create-service-agents): so that role is granted here too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_gcp as gcp

from components import checks
from components.child_opts import child_opts
from components.propagation import Propagation

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
"""Agents that exist, with their role, from the moment their API is on."""
ROLES: Final = {
    "aiplatform": "roles/aiplatform.serviceAgent",
    "artifactregistry": "roles/artifactregistry.serviceAgent",
    "dataflow": "roles/dataflow.serviceAgent",
    "notebooks": "roles/notebooks.serviceAgent",
    "pubsub": "roles/pubsub.serviceAgent",
    "run": "roles/run.serviceAgent",
    "sqladmin": "roles/cloudsql.serviceAgent",
}
"""The role that each has on its project, by the same reference; the others have none."""


@dataclass(frozen=True, kw_only=True)
class ServiceAgentsArgs:
    """Which agents are needed.

    Raises:
        InvalidArgs: at construction, when a name is not known.
    """

    project: str
    agents: Sequence[str]
    """Names out of `ADDRESSES` and `LOOKED_UP`."""
    propagation_seconds: int = 0
    """How long Google needs until all of it knows of an agent that was made; 0 to 600."""

    def __post_init__(self) -> None:
        checks.between(
            "ServiceAgents", "propagation_seconds", self.propagation_seconds, 0, 600, "seconds"
        )
        for agent in self.agents:
            checks.one_of("ServiceAgents", "agents", agent, (*ADDRESSES, *LOOKED_UP))


class ServiceAgents(pulumi.ComponentResource):
    """The agents of one project; `members["pubsub"]` is one as IAM writes it."""

    number: pulumi.Output[str]
    """Of the project."""
    members: dict[str, pulumi.Output[str]]

    def __init__(
        self, name: str, *, args: ServiceAgentsArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("esteira:service_agents:ServiceAgents", name, {}, opts)
        self._name = name
        self._project = args.project
        self._propagation = Propagation(f"agents:{name}", seconds=args.propagation_seconds)
        self._invoke = pulumi.InvokeOutputOptions(parent=self)
        self.number = gcp.organizations.get_project_output(
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
        member = self.number.apply(
            lambda number: (
                f"serviceAccount:service-{number}@{ADDRESSES[agent]}.iam.gserviceaccount.com"
            )
        )
        if agent in LASTING:
            return member
        identity = gcp.projects.ServiceIdentity(
            f"{self._name}-{agent}",
            service=f"{agent}.googleapis.com",
            project=self._project,
            opts=child_opts(self, hooks=self._propagation.hooks),
        )
        member = self._propagation.after(member, [identity])
        if agent in ROLES:
            gcp.projects.IAMMember(
                f"{self._name}-{agent}",
                project=self._project,
                role=ROLES[agent],
                member=member,
                # It is Google's own, and the service's other users need it.
                opts=child_opts(self, retain_on_delete=True),
            )
        return member

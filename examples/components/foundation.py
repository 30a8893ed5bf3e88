"""What everything stands on: APIs, network, keys, identities, guards."""

from __future__ import annotations

import pulumi
import pulumi_gcp as gcp

from components.access_log import AccessLog, AccessLogArgs
from components.audit_logs import AuditLogs, AuditLogsArgs
from components.budget import Budget, BudgetArgs
from components.enabled_apis import EnabledApis, EnabledApisArgs
from components.encryption_key import EncryptionKey, EncryptionKeyArgs
from components.firewall import Firewall, FirewallArgs
from components.github_federation import GithubFederation, GithubFederationArgs
from components.guard_rails import GuardRails, GuardRailsArgs
from components.private_connect import PrivateConnect, PrivateConnectArgs
from components.private_network import PrivateNetwork, PrivateNetworkArgs
from components.service_agents import ServiceAgents, ServiceAgentsArgs
from components.service_perimeter import ServicePerimeter, ServicePerimeterArgs
from components.workload_identity import Grant, WorkloadIdentity, WorkloadIdentityArgs
from examples.components.given import AGENT, KEY, alone


def enabled_apis(opts: pulumi.ResourceOptions) -> EnabledApis:
    """Two APIs, and a minute for all of Google to know."""
    return EnabledApis(
        "apis",
        args=EnabledApisArgs(project="acme-ml", apis=["pubsub", "storage"], propagation_seconds=60),
        opts=opts,
    )


def service_agents(opts: pulumi.ResourceOptions) -> ServiceAgents:
    """The agents that will be granted something, made before the first grant."""
    return ServiceAgents(
        "agents",
        args=ServiceAgentsArgs(
            project="acme-ml",
            agents=["pubsub", "storage", "bigquery", "compute", "aiplatform", "dataflow"],
        ),
        opts=opts,
    )


def private_network(opts: pulumi.ResourceOptions) -> PrivateNetwork:
    """One subnetwork, addresses for managed services, and a way out to the internet."""
    return PrivateNetwork(
        "demo",
        args=PrivateNetworkArgs(region="us-central1", services_cidr="10.65.0.0/20", nat=True),
        opts=opts,
    )


def firewall(opts: pulumi.ResourceOptions) -> Firewall:
    """Nothing comes in; out goes only what stays in the network."""
    return Firewall(
        "demo",
        args=FirewallArgs(
            network="projects/acme-ml/global/networks/demo", egress={"network": ["10.0.0.0/20"]}
        ),
        opts=opts,
    )


def private_connect(opts: pulumi.ResourceOptions) -> PrivateConnect:
    """Google's APIs at an address of the network."""
    return PrivateConnect(
        "demo",
        args=PrivateConnectArgs(
            network="projects/acme-ml/global/networks/demo",
            region="us-central1",
            address="10.66.0.2",
        ),
        opts=opts,
    )


def encryption_key(opts: pulumi.ResourceOptions) -> EncryptionKey:
    """One key, which Pub/Sub may use."""
    return EncryptionKey(
        "demo",
        args=EncryptionKeyArgs(location="us-central1", encrypters={"pubsub": {"agent": AGENT}}),
        opts=opts,
    )


def workload_identity(opts: pulumi.ResourceOptions) -> WorkloadIdentity:
    """An identity that may publish to one topic, and start jobs as itself."""
    plain = alone(opts)
    return WorkloadIdentity(
        "demo-work",
        args=WorkloadIdentityArgs(
            account_id="demo-work",
            description="Works",
            grants=[
                Grant(
                    role="roles/pubsub.publisher",
                    on=gcp.pubsub.Topic("t", opts=plain),
                    label="publish",
                )
            ],
            acts_as_itself=True,
        ),
        opts=opts,
    )


def github_federation(opts: pulumi.ResourceOptions) -> GithubFederation:
    """One branch of one repository may deploy, without a key."""
    return GithubFederation(
        "github",
        args=GithubFederationArgs(
            project="acme-ml",
            repository="acme/ml",
            branch="main",
            deployer="deploy@acme-ml.iam.gserviceaccount.com",
        ),
        opts=opts,
    )


def guard_rails(opts: pulumi.ResourceOptions) -> GuardRails:
    """Resources in one region, and no service open to the internet."""
    return GuardRails(
        "guard", args=GuardRailsArgs(project="acme-ml", regions=["us-central1"]), opts=opts
    )


def service_perimeter(opts: pulumi.ResourceOptions) -> ServicePerimeter:
    """A perimeter that one person may reach in through."""
    return ServicePerimeter(
        "demo",
        args=ServicePerimeterArgs(
            access_policy="1", project_number="1", members=["user:ana@example.com"]
        ),
        opts=opts,
    )


def audit_logs(opts: pulumi.ResourceOptions) -> AuditLogs:
    """Who read and wrote data is logged."""
    return AuditLogs("audit", args=AuditLogsArgs(project="acme-ml"), opts=opts)


def access_log(opts: pulumi.ResourceOptions) -> AccessLog:
    """The bucket in which others log who touched them."""
    return AccessLog(
        "demo-access-log",
        args=AccessLogArgs(bucket="acme-ml-demo-access-log", location="us-central1", kms_key=KEY),
        opts=opts,
    )


def budget(opts: pulumi.ResourceOptions) -> Budget:
    """A monthly amount, told by e-mail and to a topic."""
    return Budget(
        "demo",
        args=BudgetArgs(
            billing_account="012345-6789AB-CDEF01",
            project_number="1",
            amount=500,
            channels=["projects/acme-ml/notificationChannels/1"],
            topic="projects/acme-ml/topics/alerts",
        ),
        opts=opts,
    )

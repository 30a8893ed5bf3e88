"""What every product stands on: APIs, keys, network, identities of Google and of GitHub."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pulumi
import pytest

from components.audit_logs import AuditLogs, AuditLogsArgs
from components.budget import Budget, BudgetArgs
from components.checks import InvalidArgs
from components.enabled_apis import EnabledApis, EnabledApisArgs
from components.encryption_key import ROLE, EncryptionKey, EncryptionKeyArgs
from components.firewall import LAST, Firewall, FirewallArgs
from components.github_federation import GithubFederation, GithubFederationArgs
from components.guard_rails import ENFORCED, GuardRails, GuardRailsArgs
from components.private_connect import DOMAINS, PrivateConnect, PrivateConnectArgs
from components.private_network import PrivateNetwork, PrivateNetworkArgs
from components.service_agents import ROLES, ServiceAgents, ServiceAgentsArgs
from components.service_perimeter import ServicePerimeter, ServicePerimeterArgs

NETWORK = "projects/p/global/networks/n"
PUBSUB, COMPUTE, DATAFLOW = (
    f"serviceAccount:service-1@{domain}.iam.gserviceaccount.com"
    for domain in ("gcp-sa-pubsub", "compute-system", "dataflow-service-producer-prod")
)


class TestEnabledApis:
    def test_apis_stay_on_when_the_stack_goes(self, declare: Any) -> None:
        declared = declare(
            lambda opts: EnabledApis(
                "apis", args=EnabledApisArgs(project="p", apis=["pubsub", "run"]), opts=opts
            )
        )
        made = {one.name: one.inputs for one in declared.mocks.find("Service")}
        assert {one["service"] for one in made.values()} == {
            "pubsub.googleapis.com",
            "run.googleapis.com",
        }
        assert all(one["disableOnDestroy"] is False for one in made.values())


class TestServiceAgents:
    def test_an_agent_that_is_asked_for_gets_the_role_that_google_would_give(
        self, declare: Any
    ) -> None:
        agents = [*ROLES, "compute", "secretmanager", "storage", "bigquery"]
        declared = declare(
            lambda opts: ServiceAgents(
                "agents", args=ServiceAgentsArgs(project="p", agents=agents), opts=opts
            )
        )
        asked = {one.inputs["service"] for one in declared.mocks.find("ServiceIdentity")}
        assert asked == {f"{agent}.googleapis.com" for agent in [*ROLES, "secretmanager"]}
        granted = {
            one.name: (one.inputs["role"], one.inputs["member"].partition("@")[2])
            for one in declared.mocks.find("gcp:projects/iAMMember:IAMMember")
        }
        assert set(granted) == {f"agents-{agent}" for agent in ROLES}
        assert granted["agents-sqladmin"] == (
            "roles/cloudsql.serviceAgent",
            "gcp-sa-cloud-sql.iam.gserviceaccount.com",
        )


class TestEncryptionKey:
    def test_each_service_has_a_key_that_only_its_agents_use(self, declare: Any) -> None:
        known: dict[str, str] = {}

        def program(opts: pulumi.ResourceOptions) -> Any:
            keys = EncryptionKey(
                "demo",
                args=EncryptionKeyArgs(
                    location="us-central1",
                    encrypters={
                        "pubsub": {"pubsub": PUBSUB},
                        "dataflow": {
                            "compute": COMPUTE,
                            "dataflow": DATAFLOW,
                        },
                    },
                ),
                opts=opts,
            )
            return pulumi.Output.all(**keys.ids).apply(known.update)

        declared = declare(program)
        ring = "projects/test-project/locations/us-central1/keyRings/demo/cryptoKeys"
        assert known == {"pubsub": f"{ring}/pubsub", "dataflow": f"{ring}/dataflow"}
        grants = [one.inputs for one in declared.mocks.find("CryptoKeyIAMMember")]
        assert {(one["cryptoKeyId"], one["member"]) for one in grants} == {
            (f"{ring}/pubsub", PUBSUB),
            (f"{ring}/dataflow", COMPUTE),
            (f"{ring}/dataflow", DATAFLOW),
        }
        assert {one["role"] for one in grants} == {ROLE}
        for key in declared.mocks.find("CryptoKey"):
            assert key.inputs["rotationPeriod"] == "7776000s"


def _network(**more: Any) -> Callable[[pulumi.ResourceOptions], PrivateNetwork]:
    return lambda opts: PrivateNetwork(
        "demo", args=PrivateNetworkArgs(region="us-central1", **more), opts=opts
    )


class TestPrivateNetwork:
    def test_flows_are_logged_and_google_is_reached_privately(self, declare: Any) -> None:
        declared = declare(_network())
        assert declared.inputs("Network")["autoCreateSubnetworks"] is False
        subnetwork = declared.inputs("Subnetwork")
        assert subnetwork["privateIpGoogleAccess"] is True
        assert subnetwork["logConfig"]["flowSampling"] == 0.5
        assert declared.mocks.find("RouterNat") == []
        assert declared.mocks.find("Connection") == []
        with pytest.raises(LookupError, match="give `services_cidr`"):
            _ = declared.result.services_ready

    def test_managed_services_get_the_range_that_is_reserved_for_them(self, declare: Any) -> None:
        declared = declare(_network(services_cidr="10.65.0.0/20"))
        reserved = declared.inputs("GlobalAddress")
        assert (reserved["address"], reserved["prefixLength"]) == ("10.65.0.0", 20)
        assert reserved["purpose"] == "VPC_PEERING"
        connection = declared.inputs("gcp:servicenetworking/connection:Connection")
        assert connection["reservedPeeringRanges"] == [reserved["name"]]
        assert connection["deletionPolicy"] == "ABANDON"

    def test_nat_serves_the_one_subnetwork_and_logs(self, declare: Any) -> None:
        nat = declare(_network(nat=True)).inputs("RouterNat")
        assert nat["sourceSubnetworkIpRangesToNat"] == "LIST_OF_SUBNETWORKS"
        assert len(nat["subnetworks"]) == 1
        assert nat["logConfig"] == {"enable": True, "filter": "ALL"}


class TestFirewall:
    def test_what_is_not_allowed_is_denied_and_logged(self, declare: Any) -> None:
        declared = declare(
            lambda opts: Firewall("demo", args=FirewallArgs(network=NETWORK), opts=opts)
        )
        rules = {one.name: one.inputs for one in declared.mocks.find("Firewall")}
        denied = rules["demo-deny-ingress"]
        assert denied["denies"] == [{"protocol": "all"}]
        assert denied["sourceRanges"] == ["0.0.0.0/0"]
        assert denied["priority"] == LAST
        assert denied["logConfig"] == {"metadata": "INCLUDE_ALL_METADATA"}
        assert all(one["sourceTags"] == ["dataflow"] for one in rules.values() if one.get("allows"))
        assert not [one for one in rules.values() if one["direction"] == "EGRESS"]

    def test_traffic_leaves_only_for_what_is_named(self, declare: Any) -> None:
        declared = declare(
            lambda opts: Firewall(
                "demo",
                args=FirewallArgs(
                    network=NETWORK,
                    egress={"network": ["10.0.0.0/20"], "google": ["199.36.153.8/30"]},
                ),
                opts=opts,
            )
        )
        out = [
            one.inputs
            for one in declared.mocks.find("Firewall")
            if one.inputs["direction"] == "EGRESS"
        ]
        allowed = [one for one in out if "allows" in one]
        assert {r for one in allowed for r in one["destinationRanges"]} == {
            "10.0.0.0/20",
            "199.36.153.8/30",
        }
        [denied] = [one for one in out if "denies" in one]
        assert denied["destinationRanges"] == ["0.0.0.0/0"]
        assert all(one.get("priority", 1000) < denied["priority"] for one in allowed)


class TestPrivateConnect:
    def test_the_names_of_googles_apis_lead_to_one_private_address(self, declare: Any) -> None:
        declared = declare(
            lambda opts: PrivateConnect(
                "demo",
                args=PrivateConnectArgs(network=NETWORK, region="europe-west1", address="10.9.0.2"),
                opts=opts,
            )
        )
        rule = declared.inputs("GlobalForwardingRule")
        assert (rule["target"], rule["loadBalancingScheme"]) == ("all-apis", "")
        assert rule["ipAddress"].endswith("/global/addresses/demo")
        directory = rule["serviceDirectoryRegistrations"]
        assert directory == {"serviceDirectoryRegion": "europe-west1"}
        zones = [one.inputs for one in declared.mocks.find("ManagedZone")]
        assert {one["dnsName"] for one in zones} == {f"{domain}." for domain in DOMAINS}
        assert all(one["visibility"] == "private" for one in zones)
        records = {
            (one.inputs["name"], one.inputs["type"]): one.inputs["rrdatas"]
            for one in declared.mocks.find("RecordSet")
        }
        assert records["googleapis.com.", "A"] == ["10.9.0.2"]
        assert records["*.googleapis.com.", "CNAME"] == ["googleapis.com."]
        assert len(records) == 2 * len(DOMAINS)


class TestGithubFederation:
    def test_one_branch_of_one_repository_deploys(self, declare: Any) -> None:
        declared = declare(
            lambda opts: GithubFederation(
                "github",
                args=GithubFederationArgs(
                    project="p",
                    repository="acme/ml",
                    branch="main",
                    deployer="esteira-deploy@p.iam.gserviceaccount.com",
                ),
                opts=opts,
            )
        )
        provider = declared.inputs("WorkloadIdentityPoolProvider")
        assert provider["attributeCondition"] == 'assertion.repository == "acme/ml"'
        claim = provider["attributeMapping"]["attribute.repository_ref"]
        assert claim == "assertion.repository + ':' + assertion.ref"
        grant = declared.inputs("gcp:serviceaccount/iAMMember:IAMMember")
        assert grant["role"] == "roles/iam.workloadIdentityUser"
        assert grant["serviceAccountId"] == (
            "projects/p/serviceAccounts/esteira-deploy@p.iam.gserviceaccount.com"
        )
        assert grant["member"].startswith("principalSet://iam.googleapis.com/projects/")
        assert grant["member"].endswith(
            "/workloadIdentityPools/github/attribute.repository_ref/acme/ml:refs/heads/main"
        )
        assert declared.mocks.find("gcp:serviceaccount/key:Key") == []


class TestGuardRails:
    def _policies(self, declare: Any, **more: Any) -> dict[str, Any]:
        declared = declare(
            lambda opts: GuardRails(
                "guard",
                args=GuardRailsArgs(project="p", regions=["us-central1"], **more),
                opts=opts,
            )
        )
        found = [one.inputs for one in declared.mocks.find("gcp:orgpolicy/policy:Policy")]
        assert all(one["parent"] == "projects/p" for one in found)
        return {one["name"].rpartition("/")[2]: one["spec"]["rules"] for one in found}

    def test_google_refuses_what_the_platform_never_does(self, declare: Any) -> None:
        policies = self._policies(declare)
        for constraint in ENFORCED:
            assert policies[constraint] == [{"enforce": "TRUE"}]
        assert policies["compute.vmExternalIpAccess"] == [{"denyAll": "TRUE"}]
        assert policies["gcp.resourceLocations"] == [
            {"values": {"allowedValues": ["in:us-central1-locations"]}}
        ]
        [ingress] = policies["run.allowedIngress"]
        assert "is:all" not in ingress["values"]["allowedValues"]

    def test_services_behind_a_gateway_keep_their_ingress(self, declare: Any) -> None:
        assert "run.allowedIngress" not in self._policies(declare, public_services=True)


class TestAuditLogs:
    def test_reads_and_writes_are_logged_for_everybody(self, declare: Any) -> None:
        declared = declare(
            lambda opts: AuditLogs(
                "audit", args=AuditLogsArgs(project="p", services=["storage"]), opts=opts
            )
        )
        config = declared.inputs("IAMAuditConfig")
        assert config["service"] == "storage.googleapis.com"
        assert config["auditLogConfigs"] == [
            {"logType": "ADMIN_READ"},
            {"logType": "DATA_READ"},
            {"logType": "DATA_WRITE"},
        ]


def _budget(**more: Any) -> Callable[[pulumi.ResourceOptions], Budget]:
    return lambda opts: Budget(
        "demo",
        args=BudgetArgs(
            billing_account="012345-6789AB-CDEF01", project_number="42", amount=300, **more
        ),
        opts=opts,
    )


class TestBudget:
    def test_it_warns_as_it_is_spent_and_when_it_is_forecast_to_be(self, declare: Any) -> None:
        topic = "projects/p/topics/alerts"
        budget = declare(_budget(topic=topic)).inputs("Budget")
        assert budget["amount"] == {"specifiedAmount": {"units": "300"}}
        assert budget["budgetFilter"]["projects"] == ["projects/42"]
        told = [(one["thresholdPercent"], one["spendBasis"]) for one in budget["thresholdRules"]]
        assert told == [
            (0.5, "CURRENT_SPEND"),
            (0.9, "CURRENT_SPEND"),
            (1.0, "CURRENT_SPEND"),
            (1.0, "FORECASTED_SPEND"),
        ]
        assert budget["allUpdatesRule"]["pubsubTopic"] == topic

    def test_without_anybody_to_tell_it_tells_the_billing_administrators(
        self, declare: Any
    ) -> None:
        assert "allUpdatesRule" not in declare(_budget()).inputs("Budget")


class TestServicePerimeter:
    def _status(self, declare: Any, *members: str) -> dict[str, Any]:
        made = declare(
            lambda opts: ServicePerimeter(
                "demo",
                args=ServicePerimeterArgs(access_policy="7", project_number="42", members=members),
                opts=opts,
            )
        ).inputs("ServicePerimeter")
        assert made["name"] == "accessPolicies/7/servicePerimeters/demo"
        return made["status"]

    def test_data_services_of_the_project_are_kept_in(self, declare: Any) -> None:
        status = self._status(declare)
        assert status["resources"] == ["projects/42"]
        assert {"bigquery.googleapis.com", "storage.googleapis.com"} <= set(
            status["restrictedServices"]
        )
        assert "ingressPolicies" not in status

    def test_members_reach_in(self, declare: Any) -> None:
        [entry] = self._status(declare, "user:ana@example.com")["ingressPolicies"]
        assert entry["ingressFrom"]["identities"] == ["user:ana@example.com"]
        assert entry["ingressTo"]["resources"] == ["projects/42"]


ACCOUNT = "012345-6789AB-CDEF01"


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (
            lambda: EnabledApisArgs(project="p", apis=["run"], propagation_seconds=601),
            "EnabledApis: `propagation_seconds` is 601; allowed: 0 to 600 seconds",
        ),
        (
            lambda: ServiceAgentsArgs(project="p", agents=["run"], propagation_seconds=-1),
            "ServiceAgents: `propagation_seconds` is -1",
        ),
        (lambda: EncryptionKeyArgs(location="l", encrypters={}), "at least one service"),
        (
            lambda: EncryptionKeyArgs(location="l", encrypters={"run": {}}),
            "a key that nobody may use",
        ),
        (
            lambda: EncryptionKeyArgs(location="l", encrypters={"Cloud Run": {"a": "b"}}),
            "`encrypters` is 'Cloud Run'",
        ),
        (
            lambda: PrivateNetworkArgs(
                region="r", cidr="10.64.0.0/16", services_cidr="10.64.128.0/20"
            ),
            "`services_cidr` is '10.64.128.0/20'; allowed: a range that does not overlap `cidr`",
        ),
        (
            lambda: PrivateNetworkArgs(region="r", services_cidr="10.65.0.0/25"),
            "`services_cidr` is '10.65.0.0/25'; allowed: a private IPv4 range of /8 to /24",
        ),
        (
            lambda: FirewallArgs(network="n", egress={"google": ["0.0.0.0/0"]}),
            "leave `egress` out to let traffic go everywhere",
        ),
        (lambda: FirewallArgs(network="n", egress={"google": ["ten"]}), "is 'ten'; allowed"),
        (
            lambda: PrivateConnectArgs(network="n", region="r", address="8.8.8.8"),
            "`address` is '8.8.8.8'; allowed: a private IPv4 address",
        ),
        (
            lambda: PrivateConnectArgs(network="n", region="r", address="10.0.0.0/8"),
            "`address` is '10.0.0.0/8'",
        ),
        (
            lambda: PrivateConnectArgs(network="n", region="r", address="10.0.0.1", bundle="all"),
            "`bundle` is 'all'; allowed: `all-apis`, `vpc-sc`",
        ),
        (
            lambda: GithubFederationArgs(project="p", repository="ml", branch="main", deployer="d"),
            "`repository` is 'ml'; allowed: `owner/name`",
        ),
        (
            lambda: GithubFederationArgs(
                project="p", repository='a/b" || true || "', branch="main", deployer="d"
            ),
            "`repository` is 'a/b\" ||",
        ),
        (lambda: GuardRailsArgs(project="p", regions=[]), "at least one region"),
        (lambda: AuditLogsArgs(project="p", services=["maps"]), "`services` is 'maps'; allowed"),
        (
            lambda: BudgetArgs(billing_account="1234", project_number="1", amount=1),
            "`billing_account` is '1234'; allowed: three groups",
        ),
        (
            lambda: BudgetArgs(billing_account=ACCOUNT, project_number="1", amount=0),
            "`amount` is 0; allowed: at least 1",
        ),
        (
            lambda: BudgetArgs(
                billing_account=ACCOUNT, project_number="1", amount=1, channels=["c"] * 6
            ),
            "`channels` is 6; allowed: at most 5 notification channels",
        ),
        (
            lambda: ServicePerimeterArgs(access_policy="policy", project_number="1"),
            "`access_policy` is 'policy'; allowed: the number of an access policy",
        ),
        (
            lambda: ServicePerimeterArgs(access_policy="1", project_number="1", services=["maps"]),
            "`services` is 'maps'",
        ),
        (
            lambda: ServicePerimeterArgs(
                access_policy="1", project_number="1", members=["domain:example.com"]
            ),
            "`members` is 'domain:example.com'; allowed: members that start with user:",
        ),
    ],
)
def test_an_argument_that_does_not_fit_is_named_with_what_is_allowed(
    build: Callable[[], Any], expected: str
) -> None:
    with pytest.raises(InvalidArgs) as refused:
        build()
    assert expected in str(refused.value)

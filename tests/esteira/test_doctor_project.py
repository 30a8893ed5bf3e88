"""The doctor says what of a project would stop an `up`, and how to mend it, whatever is amiss."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from esteira.engine import policies
from esteira.project import check_room, deployer, plan
from esteira.project.bootstrap import Bootstrap
from esteira.project.check_rules import Rules
from esteira.project.clients import NoCredentials
from esteira.project.examination import examine
from esteira.project.finding import Finding, Status
from esteira.project.plan import Plan, Resource
from esteira.project.stack_file import settings

ANA = "user:ana@example.com"
APIS = ("aiplatform", "bigquery", "dataflow", "pubsub", "run", "storage")


def declared(**more: Any) -> Plan:
    """A small program: one of what most checks look for."""

    def resource(token: str, **inputs: Any) -> Resource:
        return Resource(token=token, name=token.rpartition(":")[2].lower(), inputs=inputs)

    job = {"machineType": "n1-standard-2", "maxWorkers": 2, **more.get("job", {})}
    template = {
        "scaling": {"maxInstanceCount": 3},
        "containers": [{"resources": {"limits": {"cpu": "2"}}}],
    }
    return Plan(
        [
            *(
                resource("gcp:projects/service:Service", service=f"{api}.googleapis.com")
                for api in APIS
            ),
            resource("gcp:pubsub/topic:Topic"),
            resource("gcp:storage/bucket:Bucket"),
            resource("gcp:serviceaccount/account:Account"),
            resource("gcp:projects/iAMMember:IAMMember"),
            resource("gcp:dataflow/flexTemplateJob:FlexTemplateJob", **job),
            resource(
                "gcp:cloudrunv2/service:Service",
                ingress="INGRESS_TRAFFIC_INTERNAL_ONLY",
                template=template,
            ),
            resource("gcp:vertex/aiEndpoint:AiEndpoint"),
            *more.get("resources", ()),
        ]
    )


type Examine = Callable[..., list[Finding]]


@pytest.fixture
def look(cloud: Any, folder: Path) -> Examine:
    """Examine the project; with `esteira:` settings to change."""

    def run(program: Plan | None = None, **more: Any) -> list[Finding]:
        file = folder / "Pulumi.dev.yaml"
        document = yaml.safe_load(file.read_text())
        document["config"] |= {f"esteira:{key}": value for key, value in more.items()}
        file.write_text(yaml.safe_dump(document))
        given = program or declared()
        return examine("dev", folder, lambda _: cloud.google, lambda *_: given)

    return run


@pytest.fixture
def ready(cloud: Any, folder: Path) -> None:
    """The project was prepared, and every API switched on, as after an `up`."""
    done = Bootstrap(
        settings=settings("dev", folder),
        stack="dev",
        calls=cloud.calls(),
        file=folder / "Pulumi.dev.yaml",
        deployers=(ANA,),
    ).run()
    assert not done.refused
    cloud.switch_on(*APIS)
    networks = cloud.api("compute", "v1").networks()
    networks.delete(project=cloud.project, network="default").execute()


def amiss(findings: list[Finding], status: Status = Status.FAILURE) -> list[Finding]:
    return [one for one in findings if one.status is status]


def only(findings: list[Finding], subject: str) -> Finding:
    (found,) = [one for one in findings if one.status is not Status.OK]
    assert found.subject == subject, found
    assert found.means
    assert found.mend
    return found


def alert(*urls: str) -> Resource:
    """An alert policy that links these pages."""
    links = {"links": [{"displayName": "Runbook", "url": url} for url in urls]} if urls else {}
    documentation = {"content": "It is so.", **links}
    return Resource(
        token="gcp:monitoring/alertPolicy:AlertPolicy",
        name="drift",
        inputs={"documentation": documentation},
    )


@pytest.mark.usefixtures("ready")
class TestRunbooks:
    """An alert that nobody can read on from is half an alert."""

    def test_are_linked_at_an_address_of_ones_own(self, look: Examine) -> None:
        findings = look(declared(resources=[alert("https://git.acme.io/esteira/drift.md")]))
        assert [one.status for one in findings if one.subject == "Runbooks"] == [Status.OK]

    @pytest.mark.parametrize(
        ("links", "found"),
        [
            ((), "1 alert policies of 1 link none"),
            (("https://git.example.com/ml/drift.md",), "git.example.com/ml/drift.md, which is"),
        ],
    )
    def test_that_lead_nowhere_are_told(
        self, look: Examine, links: tuple[str, ...], found: str
    ) -> None:
        told = only(look(declared(resources=[alert(*links)])), "Runbooks")
        assert told.status is Status.WARNING
        assert found in told.found
        assert "esteira:alerts.runbooks" in told.mend[0]


@pytest.mark.usefixtures("ready")
class TestAProjectThatIsReady:
    def test_has_nothing_amiss(self, look: Examine) -> None:
        findings = look()
        assert not [one for one in findings if one.status is not Status.OK]
        assert len(findings) > 10

    def test_may_use_more_apis_than_one_request_tells_about(self, look: Examine) -> None:
        many = [
            Resource(
                token="gcp:projects/service:Service",
                name=f"api{n}",
                inputs={"service": f"a-rather-long-name-of-an-api-{n}.googleapis.com"},
            )
            for n in range(40)
        ]
        findings = look(declared(resources=many))
        assert amiss(findings) == []
        (told,) = [one for one in findings if one.subject == "APIs"]
        assert "api-39" in told.found

    def test_lacks_no_permission_silently(self, cloud: Any, look: Examine) -> None:
        cloud.deny("pubsub.topics.create")
        found = only(look(), "Permissions")
        assert found.status is Status.FAILURE
        assert "pubsub.topics.create" in found.found
        assert "impersonate-service-account=esteira-deploy@" in found.mend[0]
        assert "--role=roles/pubsub.admin" in found.mend[1]

    def test_is_told_what_only_an_organisation_can_grant(self, look: Examine) -> None:
        budget = Resource(token="gcp:billing/budget:Budget", name="budget", inputs={})
        found = only(look(declared(resources=[budget])), "Permissions")
        assert found.status is Status.WARNING
        assert "roles/billing.costsManager on the billing account" in found.found

    def test_may_have_lost_its_billing(self, cloud: Any, look: Examine) -> None:
        cloud.unbill()
        found = only(look(), "Billing")
        assert found.mend[0].startswith(f"gcloud billing projects link {cloud.project} ")

    def test_may_be_on_its_way_out(self, cloud: Any, look: Examine) -> None:
        projects = cloud.api("cloudresourcemanager", "v3").projects()
        projects.delete(name=f"projects/{cloud.project}").execute()
        assert "DELETE_REQUESTED" in only(look(), "Project").found

    def test_may_be_too_small_for_the_workers(self, look: Examine) -> None:
        found = only(look(declared(job={"maxWorkers": 14})), "Quotas")
        assert "CPUS in us-central1: 24 free, 28 needed for 14 workers n1-standard-2" in found.found

    def test_may_have_a_lowered_quota(self, cloud: Any, look: Examine) -> None:
        limits = cloud.api("serviceusage", "v1beta1").services().consumerQuotaMetrics().limits()
        parent = (
            f"projects/{cloud.project}/services/run.googleapis.com/consumerQuotaMetrics/"
            "run.googleapis.com%2Fcpu_allocation/limits/%2Fproject%2Fregion"
        )
        limits.consumerOverrides().create(
            parent=parent, force=True, body={"overrideValue": "5000"}
        ).execute()
        found = only(look(), "Quotas")
        assert "run.googleapis.com/cpu_allocation is 5000" in found.found
        assert "6000 needed" in found.found

    def test_may_have_a_default_network_that_nobody_uses(self, cloud: Any, look: Examine) -> None:
        cloud.switch_off("compute")
        cloud.switch_on("compute")
        found = only(look(), "Network")
        assert found.status is Status.WARNING
        assert any("networks delete default" in one for one in found.mend)

    def test_may_lack_the_network_that_the_settings_count_on(self, look: Examine) -> None:
        without_network = {
            "network": {"private": False},
            "database": {"enabled": False},
            "tracking": {"enabled": False},
        }
        found = only(look(**without_network), "Network")
        assert found.status is Status.FAILURE
        assert "esteira:network.private true" in found.mend[0]

    def test_may_be_where_an_api_is_not(self, look: Examine, cloud: Any) -> None:
        cloud.switch_on("apigateway")
        gateway = Resource(token="gcp:apigateway/gateway:Gateway", name="gateway", inputs={})
        found = amiss(look(declared(resources=[gateway]), location="us-west1"))
        told = [one for one in found if one.subject == "Region"]
        assert [one.found for one in told] == ["apigateway.googleapis.com does not offer us-west1"]
        assert "us-central1" in told[0].mend[0]

    def test_may_be_in_a_region_that_our_own_policies_do_not_allow(
        self, look: Examine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        found = [one for one in amiss(look(location="europe-west1")) if one.subject == "Policies"]
        assert [one.found for one in found] == [
            "`allowed-region` allows us-central1; the stack is in europe-west1"
        ]
        assert 'add "europe-west1" to `regions` of `allowed-region`' in found[0].mend[0]
        assert "policies/config.json" in found[0].mend[0]
        config = json.loads(policies.CONFIG.read_text())
        config["allowed-region"]["regions"].append("EUROPE-WEST1")
        allowing = tmp_path / "config.json"
        allowing.write_text(json.dumps(config))
        monkeypatch.setattr(policies, "CONFIG", allowing)
        assert not [one for one in amiss(look()) if one.subject == "Policies"]

    def test_may_be_held_up_by_an_exemption_that_has_ended(
        self, look: Examine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        exemption = {"urn": "*::scratch", "reason": "moves next week", "expires": "2020-01-31"}
        monkeypatch.setattr(policies, "CONFIG", tmp_path / "config.json")
        policies.CONFIG.write_text(json.dumps({"key-rotation": {"exemptions": [exemption]}}))
        found = only(look(), "Policies")
        assert "key-rotation: the exemption of `*::scratch` ended on 2020-01-31" in found.found

    @pytest.mark.parametrize(
        ("constraint", "rule", "problem"),
        [
            (
                "gcp.resourceLocations",
                {"values": {"allowedValues": ["in:eu-locations"]}},
                "us-central1 is not among",
            ),
            ("gcp.resourceLocations", {"denyAll": True}, "us-central1 is not among"),
            (
                "gcp.restrictServiceUsage",
                {"values": {"deniedValues": ["pubsub.googleapis.com"]}},
                "may not be used: pubsub",
            ),
            (
                "gcp.restrictNonCmekServices",
                {"values": {"deniedValues": ["is:bigquery.googleapis.com"]}},
                "bigquery may hold no data",
            ),
            ("iam.disableServiceAccountCreation", {"enforce": True}, "no service account"),
            (
                "run.allowedIngress",
                {"values": {"allowedValues": ["is:internal-and-cloud-load-balancing"]}},
                "the ingress internal",
            ),
        ],
    )
    def test_may_be_under_a_policy_that_stops_it(
        self, cloud: Any, look: Examine, constraint: str, rule: dict[str, Any], problem: str
    ) -> None:
        cloud.restrict(constraint, **rule)
        found = only(look(), "Organisation policy")
        assert found.found.startswith(f"{constraint}: ")
        assert problem in found.found
        assert f"gcloud org-policies describe {constraint} --effective" in found.mend[1]
        assert "orgpolicy.policyAdmin" in found.who

    @pytest.mark.parametrize(
        ("constraint", "rule"),
        [
            ("gcp.resourceLocations", {"values": {"allowedValues": ["in:us-locations"]}}),
            ("gcp.resourceLocations", {"values": {"allowedValues": ["in:us-central1-locations"]}}),
            ("run.allowedIngress", {"values": {"allowedValues": ["is:internal"]}}),
            ("iam.disableServiceAccountKeyCreation", {"enforce": True}),
            ("iam.allowedPolicyMemberDomains", {"values": {"allowedValues": ["C0abc"]}}),
        ],
    )
    def test_may_be_under_policies_that_do_not(
        self, cloud: Any, look: Examine, constraint: str, rule: dict[str, Any]
    ) -> None:
        cloud.restrict(constraint, **rule)
        assert amiss(look()) == []

    def test_may_have_a_state_bucket_without_versions(self, cloud: Any, look: Examine) -> None:
        bucket = f"{cloud.project}-pulumi-state"
        body = {"versioning": {"enabled": False}}
        cloud.api("storage", "v1").buckets().patch(bucket=bucket, body=body).execute()
        assert only(look(), "State bucket").mend == ("esteira bootstrap dev",)

    def test_may_encrypt_with_another_key_than_the_settings_say(
        self, look: Examine, folder: Path
    ) -> None:
        file = folder / "Pulumi.dev.yaml"
        file.write_text(file.read_text().replace("secretsprovider: ", "# "))
        assert "of a passphrase" in only(look(), "Secrets key").found

    def test_may_not_let_the_caller_use_the_key(self, cloud: Any, look: Examine) -> None:
        cloud.deny("cloudkms.cryptoKeyVersions.useToDecrypt")
        found = only(look(), "Secrets key")
        assert "useToDecrypt" in found.found

    @pytest.mark.parametrize(
        ("permission", "subject"),
        [
            ("resourcemanager.projects.get", "Project"),
            ("serviceusage.services.get", "APIs"),
            ("compute.networks.get", "Network"),
            ("compute.regions.get", "Machines"),
            ("run.locations.list", "Region"),
            ("serviceusage.quotas.get", "Quotas"),
            ("orgpolicy.policy.get", "Organisation policy"),
            ("cloudkms.cryptoKeys.get", "Secrets key"),
        ],
    )
    def test_may_not_be_looked_at_and_every_other_check_is_made(
        self, cloud: Any, look: Examine, permission: str, subject: str
    ) -> None:
        before = {one.subject for one in look()}
        cloud.deny(permission)
        findings = look()
        told = next(one for one in findings if f"it lacks {permission}" in one.found)
        assert told.subject == subject
        assert told.status is Status.WARNING
        assert told.mend[0].startswith("gcloud projects add-iam-policy-binding")
        assert before <= {one.subject for one in findings} | {"Quotas"}

    def test_is_not_asked_twice_about_what_is_not_for_a_project_to_say(
        self, cloud: Any, look: Examine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Google refuses the whole request for one permission that it does not know there."""
        need = deployer.Need(
            role="roles/pubsub.admin",
            why="topics",
            permissions=("billing.budgets.create", "pubsub.topics.create", "pubsub.schemas.create"),
        )
        monkeypatch.setattr(deployer, "NEEDS", {**deployer.NEEDS, "pubsub": need})
        cloud.deny("pubsub.schemas.create")
        assert only(look(), "Permissions").found == "the caller lacks pubsub.schemas.create"


class TestAFreshProject:
    def test_is_told_to_bootstrap_for_all_that_bootstrap_does(
        self, cloud: Any, look: Examine
    ) -> None:
        del cloud
        findings = amiss(look())
        subjects = {one.subject for one in findings if "esteira bootstrap dev" in one.mend}
        assert {"APIs", "State bucket"} <= subjects
        every = look()
        assert {"Project", "Billing", "Secrets key", "Network", "Organisation policy"} <= {
            one.subject for one in every if "esteira bootstrap dev" in one.mend
        }

    def test_is_looked_at_even_where_the_program_does_not_run(
        self, cloud: Any, folder: Path
    ) -> None:
        def broken(*_: Any) -> Plan:
            raise plan.NoPlan("products: no such product")

        findings = examine("dev", folder, lambda _: cloud.google, broken)
        told = next(one for one in findings if one.subject == "Program")
        assert told.status is Status.FAILURE
        assert "State bucket" in {one.subject for one in findings}

    def test_without_credentials_says_how_to_get_some(self, folder: Path) -> None:
        def connect(_: str) -> Any:
            raise NoCredentials("no application-default credentials")

        (found,) = examine("dev", folder, connect)
        assert found.status is Status.FAILURE
        assert found.mend == ("gcloud auth application-default login",)


@pytest.mark.parametrize(
    ("machine", "cpus", "metric"),
    [
        ("n1-standard-2", 2, "CPUS"),
        ("e2-highmem-16", 16, "CPUS"),
        ("e2-medium", 2, "CPUS"),
        ("n2-custom-8-16384", 8, "N2_CPUS"),
        ("c2-standard-60", 60, "C2_CPUS"),
        ("g2-standard-4", 4, "G2_CPUS"),
        ("a2-highgpu-1g", 12, "A2_CPUS"),
    ],
)
def test_a_machine_counts_against_the_quota_of_its_family(
    machine: str, cpus: int, metric: str
) -> None:
    assert check_room.vcpus(machine) == cpus
    assert check_room.cpu_metric(machine) == metric


@pytest.mark.parametrize(
    ("text", "milli"), [("1", 1000), ("0.5", 500), ("500m", 500), (None, 1000), (2, 2000)]
)
def test_cpus_of_a_container_are_read_as_kubernetes_writes_them(text: Any, milli: int) -> None:
    assert check_room.milli_cpu(text) == milli


def test_a_rule_denies_before_it_allows() -> None:
    rules = Rules([{"values": {"allowedValues": ["is:a", "b"], "deniedValues": ["b"]}}])
    assert rules.allows("a")
    assert not rules.allows("b")
    assert not rules.allows("c")
    assert Rules([]).allows("anything")
    assert Rules([{"denyAll": True}]).allowed == []


class TestTheProgram:
    """The tables of `deployer` cover what the stacks really make."""

    @pytest.fixture(scope="class")
    def program(self) -> Plan:
        return plan.of_stack("prod", Path(__file__).resolve().parents[2])

    def test_needs_are_known_for_every_resource(self, program: Plan) -> None:
        modules = deployer.modules(program.tokens)
        assert modules <= deployer.NEEDS.keys() | deployer.ELSEWHERE.keys()

    def test_grants_on_the_project_only_what_its_deployer_may_grant(self, program: Plan) -> None:
        (admin,) = (one for one in deployer.bindings("user:x") if one.role == deployer.IAM_ADMIN)
        assert admin.condition is not None
        granted = {one.inputs["role"] for one in program.of("gcp:projects/iAMMember:")}
        assert granted
        for role in granted:
            assert f"'{role}'" in admin.condition["expression"]

    def test_tells_which_apis_it_switches_on(self, program: Plan) -> None:
        assert {"aiplatform", "cloudkms", "dataflow", "pubsub"} <= set(program.apis)

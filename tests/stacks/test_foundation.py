"""The layer that products share: what each environment gets, and that it comes up at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pulumi
import pytest
from pulumi import automation

from components.propagation import Propagation
from components.service_perimeter import RESTRICTED
from esteira.engine import install
from esteira.engine.brief import BriefStack, KnownCommand
from localcloud.provider.inprocess import ProviderMocks
from stacks import foundation, network
from stacks.names import deployer
from stacks.settings import Settings, SettingsError


def settings(environment: str, **groups: dict[str, Any]) -> Settings:
    return Settings.from_values({"environment": environment, "project": "my-project", **groups})


type Lay = Callable[[Settings], tuple[foundation.Foundation, ProviderMocks]]


@pytest.fixture
def lay() -> Lay:
    def run(wanted: Settings) -> tuple[foundation.Foundation, ProviderMocks]:
        mocks = ProviderMocks()
        pulumi.runtime.set_mocks(mocks, project="esteira", stack="test")
        laid: list[foundation.Foundation] = []

        def program() -> None:
            laid.append(foundation.lay(wanted))

        pulumi.runtime.test(program)()
        return laid[0], mocks

    return run


class TestApis:
    def test_a_stack_asks_for_what_its_settings_switch_on(self) -> None:
        local, dev, prod = (set(foundation.apis(settings(e))) for e in ("local", "dev", "prod"))
        # Releases and MLflow keep their records in a database, also on this machine.
        assert local - set(foundation.APIS) == {"sqladmin", "secretmanager"}
        assert dev - local >= {"servicenetworking", "apigateway"}
        assert prod - dev >= {"cloudkms", "dns", "servicedirectory"}

    @pytest.mark.parametrize(
        ("group", "values", "api"),
        [
            ("workbench", {"enabled": True}, "notebooks"),
            ("budget", {"billingAccount": "012345-6789AB-CDEF01"}, "billingbudgets"),
            ("security", {"guardRails": True}, "orgpolicy"),
            ("security", {"accessPolicy": "1"}, "accesscontextmanager"),
            ("github", {"repository": "acme/ml"}, "sts"),
            ("alerts", {"teamsWebhookSecret": "teams"}, "secretmanager"),
        ],
    )
    def test_an_option_brings_its_api(self, group: str, values: dict[str, Any], api: str) -> None:
        bare: dict[str, Any] = {
            **{one: {"enabled": False} for one in ("database", "tracking", "alerts")},
            "features": {"online": False},
        }
        assert api not in foundation.apis(settings("local", **bare))
        with_it = bare | {group: bare.get(group, {}) | values}
        assert api in foundation.apis(settings("local", **with_it))

    def test_they_are_named_once_and_in_order(self) -> None:
        named = foundation.apis(settings("prod"))
        assert list(named) == sorted(set(named))

    def test_a_perimeter_protects_only_what_a_stack_can_use(self) -> None:
        everything = settings("prod", workbench={"enabled": True})
        assert set(RESTRICTED) <= set(foundation.apis(everything))


class TestKeys:
    def test_a_service_that_is_off_has_no_key(self, lay: Lay) -> None:
        laid, mocks = lay(
            settings("prod", database={"enabled": False}, tracking={"enabled": False})
        )
        keys = {one.inputs["name"] for one in mocks.find("CryptoKey")}
        assert keys == set(foundation.ENCRYPTERS) - {"sqladmin", "notebooks"}
        with pytest.raises(KeyError):
            laid.key("sqladmin")

    def test_only_its_own_agents_use_a_key(self, lay: Lay) -> None:
        _, mocks = lay(settings("prod", workbench={"enabled": True}))
        grants = [one.inputs for one in mocks.find("CryptoKeyIAMMember")]
        by_key: dict[str, set[str]] = {}
        for grant in grants:
            users = by_key.setdefault(grant["cryptoKeyId"].rpartition("/")[2], set())
            users.add(grant["member"].partition("@")[2].partition(".")[0])
        assert by_key["sqladmin"] == {"gcp-sa-cloud-sql"}
        assert by_key["dataflow"] == {"compute-system", "dataflow-service-producer-prod"}
        assert by_key["notebooks"] == {"compute-system", "gcp-sa-notebooks"}
        assert by_key["storage"] == {"gs-project-accounts"}
        assert set(by_key) == set(foundation.ENCRYPTERS)

    def test_dev_leaves_encryption_to_google(self, lay: Lay) -> None:
        laid, mocks = lay(settings("dev"))
        assert laid.key("storage") is None
        assert mocks.find("CryptoKey") == []


class TestNetwork:
    def test_prod_reaches_google_and_itself_and_nothing_else(self, lay: Lay) -> None:
        _, mocks = lay(settings("prod"))
        out = [one.inputs for one in mocks.find("Firewall") if one.inputs["direction"] == "EGRESS"]
        reached = {where for one in out if "allows" in one for where in one["destinationRanges"]}
        assert reached == {"10.64.0.0/20", "10.65.0.0/20", "10.66.0.2/32", *network.GOOGLE}
        assert [one["destinationRanges"] for one in out if "denies" in one] == [["0.0.0.0/0"]]
        assert [one.inputs["target"] for one in mocks.find("GlobalForwardingRule")] == ["all-apis"]

    def test_with_nat_the_internet_is_wanted(self, lay: Lay) -> None:
        _, mocks = lay(settings("prod", network={"nat": True}))
        assert len(mocks.find("RouterNat")) == 1
        assert {one.inputs["direction"] for one in mocks.find("Firewall")} == {"INGRESS"}

    def test_managed_services_are_let_in_where_there_are_some(self, lay: Lay) -> None:
        with_database, _ = lay(settings("dev"))
        assert with_database.network is not None
        assert with_database.network.services is not None
        without, mocks = lay(
            settings("dev", database={"enabled": False}, tracking={"enabled": False})
        )
        assert without.network is not None
        assert without.network.services is None
        assert mocks.find("GlobalAddress") == []

    @pytest.mark.parametrize(
        ("values", "expected"),
        [
            ({"cidr": "10.64.0.0/15"}, "`services_cidr` 10.65.0.0/20 overlaps `cidr` 10.64.0.0/15"),
            ({"apiAddress": "10.64.0.2"}, "`api_address` 10.64.0.2 lies in `cidr`"),
            ({"cidr": "ten"}, "'ten' does not appear to be an IPv4 or IPv6 network"),
            ({"private": False, "privateConnect": True}, "`private_connect` needs `private`"),
        ],
    )
    def test_ranges_that_do_not_fit_stop_before_the_first_resource(
        self, values: dict[str, Any], expected: str
    ) -> None:
        with pytest.raises(SettingsError) as refused:
            settings("dev", network=values)
        assert expected in str(refused.value)


class TestSecurity:
    def test_prod_logs_who_reads_data_and_dev_does_not(self, lay: Lay) -> None:
        assert lay(settings("dev"))[1].find("IAMAuditConfig") == []
        logged = {one.inputs["service"] for one in lay(settings("prod"))[1].find("IAMAuditConfig")}
        assert {"bigquery.googleapis.com", "storage.googleapis.com"} <= logged

    def test_nothing_of_an_organisation_is_touched_unless_asked(self, lay: Lay) -> None:
        _, mocks = lay(settings("prod"))
        for token in ("orgpolicy/policy:Policy", "ServicePerimeter", "WorkloadIdentityPool"):
            assert mocks.find(token) == [], token

    def test_github_becomes_the_account_that_bootstrap_made(self, lay: Lay) -> None:
        _, mocks = lay(settings("prod", github={"repository": "acme/ml"}))
        [grant] = [
            one.inputs
            for one in mocks.find("gcp:serviceaccount/iAMMember:IAMMember")
            if one.inputs["role"] == "roles/iam.workloadIdentityUser"
        ]
        assert grant["serviceAccountId"] == (
            "projects/my-project/serviceAccounts/" + deployer("my-project")
        )

    def test_who_deploys_is_not_locked_out_of_the_perimeter(self, lay: Lay) -> None:
        _, mocks = lay(
            settings(
                "prod",
                security={"accessPolicy": "7", "perimeterMembers": ["user:ana@example.com"]},
            )
        )
        [perimeter] = [one.inputs for one in mocks.find("ServicePerimeter")]
        [entry] = perimeter["status"]["ingressPolicies"]
        assert entry["ingressFrom"]["identities"] == [
            f"serviceAccount:{deployer('my-project')}",
            "user:ana@example.com",
        ]
        # Inside the perimeter, only what it protects is reached.
        assert [one.inputs["target"] for one in mocks.find("GlobalForwardingRule")] == ["vpc-sc"]


SECONDS = 1.5


@pytest.fixture(scope="module")
def waits(tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    """By operation, how long a value stayed unknown after the last resource was registered."""
    engine = install.find()
    assert engine is not None
    folder: Path = tmp_path_factory.mktemp("propagation")
    (folder / "state").mkdir()
    registered: list[float] = []
    known: list[float] = []

    def program() -> None:
        propagation = Propagation("test", seconds=SECONDS)
        made = [
            pulumi.Stash(f"one-{n}", input=n, opts=pulumi.ResourceOptions(hooks=propagation.hooks))
            for n in range(3)
        ]
        pulumi.Output.all(*[one.urn for one in made]).apply(
            lambda _: registered.append(time.monotonic())
        )
        propagation.after("value", made).apply(lambda _: known.append(time.monotonic()))

    backend = automation.ProjectBackend(url=f"file://{folder / 'state'}")
    workspace = automation.LocalWorkspace(
        project_settings=automation.ProjectSettings("propagation", "python", backend=backend),
        program=program,
        work_dir=str(folder),
        pulumi_command=KnownCommand(engine.path, engine.version),
        env_vars={
            "PULUMI_CONFIG_PASSPHRASE": "test",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        },
    )
    stack = BriefStack.open("test", workspace, exists=False)
    found: dict[str, float] = {}
    for name, operation in (("preview", stack.preview), ("first", stack.up), ("again", stack.up)):
        with stack.brief() as summary:
            operation(on_event=summary)
        found[name] = known.pop() - registered.pop()
    return found


@pytest.mark.engine
@pytest.mark.skipif(install.find() is None, reason="no Pulumi engine; `make setup` gets one")
class TestPropagation:
    def test_what_was_made_gets_time_to_be_known(self, waits: dict[str, float]) -> None:
        # Counted from when it was made, which is a moment before it is registered.
        assert SECONDS / 2 < waits["first"] <= SECONDS + 0.5

    def test_neither_a_preview_nor_a_later_run_waits(self, waits: dict[str, float]) -> None:
        assert waits["preview"] < SECONDS / 2
        assert waits["again"] < SECONDS / 2

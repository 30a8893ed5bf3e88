"""Drift and idleness, on the engine: a small stack that others have their hands on."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pulumi
import pytest
from pulumi.automation import LocalWorkspace, ProjectSettings, PulumiCommand
from typer.testing import CliRunner

from esteira import lifetime, operations
from esteira.cli import app
from esteira.engine.brief import BriefStack
from esteira.engine.install import find
from esteira.engine.stack import Stack
from localcloud.provider.lifecycle import Lifecycle, State
from localcloud.provider.server import serve

pytestmark = pytest.mark.engine

ACCOUNT = "gcp:serviceaccount/account:Account"
METRIC = "gcp:logging/metric:Metric"


class Hands(Lifecycle):
    """A cloud in which somebody else changes things too."""

    def __init__(self) -> None:
        super().__init__(None)
        self.moved: dict[str, dict[str, Any]] = {}

    def read(self, token: str, id: str, urn: str, **known: Any) -> State | None:  # noqa: A002
        state = super().read(token, id, urn, **known)
        change = self.moved.get(urn.rpartition("::")[2])
        if state is None or change is None:
            return state
        asked = {name: value for name, value in change.items() if name in state.inputs}
        return dataclasses.replace(
            state, outputs=state.outputs | change, inputs=state.inputs | asked
        )

    def lose(self, token: str, ending: str) -> None:
        (record,) = [one for one in self.store.all(token) if ending in one.id]
        self.store.forget(token, record.id)


def program() -> None:
    import pulumi_gcp as gcp

    from components.encryption_key import EncryptionKey, EncryptionKeyArgs
    from components.github_federation import GithubFederation, GithubFederationArgs
    from components.private_network import PrivateNetwork, PrivateNetworkArgs

    api = gcp.projects.Service(
        "iam",
        service="iam.googleapis.com",
        project="drifting",
        disable_on_destroy=False,
        opts=pulumi.ResourceOptions(provider=gcp.Provider("first", project="drifting")),
    )
    google = gcp.Provider(
        "gcp",
        project="drifting",
        region="us-central1",
        opts=pulumi.ResourceOptions(depends_on=[api]),
    )
    ours = pulumi.ResourceOptions(providers=[google])
    GithubFederation(
        "github",
        args=GithubFederationArgs(
            project="drifting",
            repository="ana/esteira",
            branch="main",
            deployer="esteira-deploy@drifting.iam.gserviceaccount.com",
        ),
        opts=ours,
    )
    PrivateNetwork(
        "esteira",
        args=PrivateNetworkArgs(region="us-central1", services_cidr="10.65.0.0/20"),
        opts=ours,
    )
    EncryptionKey(
        "esteira",
        args=EncryptionKeyArgs(
            location="us-central1",
            encrypters={"storage": {"storage": "serviceAccount:storage@drifting.example.com"}},
            protect=False,
        ),
        opts=ours,
    )
    there = pulumi.ResourceOptions(provider=google)
    gcp.logging.Metric("dead-letters", name="dead-letters", filter="severity>=ERROR", opts=there)
    gcp.serviceaccount.Account("training", account_id="training", display_name="a", opts=there)
    gcp.serviceaccount.Account("ingestion", account_id="ingestion", display_name="b", opts=there)
    gcp.serviceaccount.Account(
        "serving",
        account_id="serving",
        display_name="c",
        # As an endpoint's traffic split: another's to change.
        opts=pulumi.ResourceOptions(provider=google, ignore_changes=["displayName"]),
    )


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, Hands]]:
    engine = find()
    if engine is None:
        pytest.skip("no Pulumi engine here; `esteira doctor` says how to get one")
    folder = tmp_path_factory.mktemp("drift")
    (folder / "state").mkdir()
    (folder / "bin").mkdir()
    (folder / "bin" / "pulumi").symlink_to(engine.path)
    cloud = Hands()
    server, port = serve(cloud, 0)
    workspace = LocalWorkspace(
        work_dir=str(folder),
        pulumi_home=str(folder / "home"),
        pulumi_command=PulumiCommand(root=str(folder)),
        project_settings=ProjectSettings(name="esteira", runtime="python"),
        program=program,
        env_vars={
            "PULUMI_BACKEND_URL": f"file://{folder / 'state'}",
            "PULUMI_CONFIG_PASSPHRASE": "only a test's",
            "PULUMI_DEBUG_PROVIDERS": f"gcp:{port}",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        },
    )
    stack = BriefStack.open("dev", workspace)
    stack.up(color="never", suppress_outputs=True)
    yield Stack("dev", stack), cloud
    server.stop(0).wait()
    cloud.store.close()


def test_drift_is_what_others_changed_and_looking_changes_nothing(
    deployed: tuple[Stack, Hands], monkeypatch: pytest.MonkeyPatch
) -> None:
    stack, cloud = deployed
    assert stack.drift() == []

    cloud.moved["training"] = {"displayName": "renamed by hand"}
    cloud.lose(METRIC, "dead-letters")
    before = stack.export()
    found = stack.drift()
    assert [(one.name, one.kind, one.properties) for one in found] == [
        ("dead-letters", "missing", ()),
        ("training", "changed", ("displayName",)),
    ]
    assert {one.type for one in found} == {ACCOUNT, METRIC}
    # No value is shown: it may be a secret one.
    assert "renamed by hand" not in str([one.as_dict() for one in found])
    assert stack.export() == before, "a look at the drift changed the state"

    monkeypatch.setattr(operations, "drift", lambda *_: found)
    ended = CliRunner().invoke(app, ["drift", "dev", "--json"])
    assert ended.exit_code == 2
    assert '"name": "training"' in ended.stdout
    monkeypatch.setattr(operations, "drift", lambda *_: [])
    assert CliRunner().invoke(app, ["drift", "dev"]).exit_code == 0


def test_what_the_program_leaves_to_others_is_no_drift(deployed: tuple[Stack, Hands]) -> None:
    """A release shifts an endpoint's traffic each week; that must not alarm anyone."""
    stack, cloud = deployed
    before = stack.drift()
    cloud.moved["serving"] = {"displayName": "shifted by a release"}
    # Only ever an output: Google's own to change.
    cloud.moved["ingestion"] = {"uniqueId": "another"}
    assert stack.drift() == before


def test_idleness_runs_from_the_last_up_and_a_refresh_does_not_prolong_it(
    deployed: tuple[Stack, Hands],
) -> None:
    stack, _ = deployed
    updated = stack.last_update()
    assert updated is not None
    assert timedelta(0) <= datetime.now(UTC) - updated < timedelta(minutes=5)
    stack.refresh(lambda _: None)
    assert stack.last_update() == updated
    stack.destroy(lambda _: None, keep=lifetime.KEPT)
    assert stack.last_update() is None, "there is nothing left that could expire"


def test_an_idle_stack_keeps_what_it_could_not_be_made_again_without(
    deployed: tuple[Stack, Hands],
) -> None:
    """GitHub's way in most of all: nobody else brings the stack back."""
    stack, cloud = deployed
    left = stack.export()["deployment"]["resources"]
    assert {one["type"] for one in left if one.get("custom")} == {
        "pulumi:providers:gcp",
        "gcp:projects/service:Service",
        "gcp:iam/workloadIdentityPool:WorkloadIdentityPool",
        "gcp:iam/workloadIdentityPoolProvider:WorkloadIdentityPoolProvider",
        "gcp:serviceaccount/iAMMember:IAMMember",
        "gcp:compute/network:Network",
        "gcp:compute/subnetwork:Subnetwork",
        "gcp:compute/globalAddress:GlobalAddress",
        "gcp:servicenetworking/connection:Connection",
        "gcp:kms/keyRing:KeyRing",
        "gcp:kms/cryptoKey:CryptoKey",
        "gcp:kms/cryptoKeyIAMMember:CryptoKeyIAMMember",
    }
    assert not cloud.store.all(ACCOUNT), "what can be made again was kept"
    before = {one["urn"]: one["id"] for one in left if one.get("custom")}

    again = stack.destroy(lambda _: None, keep=lifetime.KEPT)
    assert again.total == 0, "a second night deletes nothing more"

    stack.up(lambda _: None)
    back = {one["urn"]: one.get("id") for one in stack.export()["deployment"]["resources"]}
    assert len(cloud.store.all(ACCOUNT)) == 3
    assert {urn: back[urn] for urn in before} == before, "what was kept was made anew"

    stack.destroy(lambda _: None)
    assert not stack.export()["deployment"].get("resources"), "asked for by hand, all of it goes"


NOW = datetime(2026, 11, 21, 3, tzinfo=UTC)


@pytest.mark.parametrize(
    ("idle", "expired"),
    [
        (timedelta(days=13, hours=23), False),
        (timedelta(days=14), False),
        (timedelta(days=14, seconds=1), True),
    ],
)
def test_a_stack_expires_after_the_days_of_its_settings(idle: timedelta, expired: bool) -> None:
    allowed = lifetime.allowed("dev")
    assert allowed == timedelta(days=14)
    idleness = lifetime.Idleness(allowed=allowed, last_update=NOW - idle, now=NOW)
    assert idleness.expired is expired


def test_what_was_never_up_or_was_destroyed_does_not_expire() -> None:
    idleness = lifetime.Idleness(allowed=timedelta(days=1), last_update=None, now=NOW)
    assert not idleness.expired
    assert str(idleness) == "nothing is deployed"


def test_a_stack_without_a_lifetime_is_never_destroyed_for_being_idle(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(operations, "destroy", lambda *_: pytest.fail("prod was destroyed"))
    ended = CliRunner().invoke(app, ["destroy", "prod", "--if-idle", "--yes"])
    assert isinstance(ended.exception, lifetime.NoLifetime)
    assert "Pulumi.prod.yaml" in str(ended.exception)


@pytest.mark.parametrize("days", [13, 15])
def test_an_idle_stack_is_destroyed_and_one_in_use_is_kept(
    days: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime.now(UTC)
    idleness = lifetime.Idleness(
        allowed=timedelta(days=14), last_update=now - timedelta(days=days), now=now
    )
    destroyed = list[str]()

    def destroy(name: str, _: object, *, keep: Collection[str]) -> operations.Changes:
        assert keep == lifetime.KEPT
        destroyed.append(name)
        return operations.Changes(counts={"delete": 3})

    monkeypatch.setattr(operations, "idleness", lambda *_: idleness)
    monkeypatch.setattr(operations, "destroy", destroy)
    ended = CliRunner().invoke(app, ["destroy", "dev", "--if-idle", "--yes", "--json"])
    assert ended.exit_code == 0
    assert destroyed == (["dev"] if days > 14 else [])

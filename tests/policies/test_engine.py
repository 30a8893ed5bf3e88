"""The pack on the real engine: what it stops, and when."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pulumi
import pytest
import yaml
from pulumi import automation
from pulumi.automation import EngineEvent
from typer.testing import CliRunner

from esteira import cli
from esteira.engine import install, policies, stack
from esteira.engine.brief import BriefStack, KnownCommand
from esteira.engine.policies import Finding
from esteira.paths import ROOT
from localcloud.home import Home
from policies.catalogue import RULES
from policies.rule import Environment
from tests.policies.examples import EXAMPLES

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(install.find() is None, reason="no Pulumi engine; `make setup` gets one"),
    pytest.mark.skipif(not policies.ready(), reason="no environment; `make setup` makes it"),
]

BINDING = {one.name for one in RULES if one.level.binds(Environment.PROD)}


class Judged:
    """A stack of an inline program, with the pack on."""

    def __init__(self, folder: Path, port: int, name: str) -> None:
        self._folder = folder
        self._port = port
        self._name = name
        self.config = policies.CONFIG

        self._made: BriefStack | None = None

    def _stack(self) -> BriefStack:
        engine = install.find()
        assert engine is not None
        for part in ("state", "work"):
            (self._folder / part).mkdir()
        backend = automation.ProjectBackend(url=f"file://{self._folder / 'state'}")
        config = {"gcp:project": "a-project", "gcp:region": "us-central1"}
        workspace = automation.LocalWorkspace(
            project_settings=automation.ProjectSettings("esteira", "python", backend=backend),
            stack_settings={self._name: automation.StackSettings(config=config)},
            work_dir=str(self._folder / "work"),
            pulumi_home=str(self._folder / "home"),
            pulumi_command=KnownCommand(engine.path, engine.version),
            env_vars={
                "PULUMI_CONFIG_PASSPHRASE": "test",
                "PULUMI_SKIP_UPDATE_CHECK": "true",
                "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
                "PULUMI_DEBUG_PROVIDERS": f"gcp:{self._port},kubernetes:{self._port}",
                **policies.environment(),
            },
        )
        return BriefStack.open(self._name, workspace, exists=False)

    def run(self, program: Callable[[], None], operation: str) -> tuple[list[Finding], str]:
        """What the pack said, and what the engine said if it failed."""
        events: list[EngineEvent] = []
        if self._made is None:
            self._made = self._stack()
        self._made.workspace.program = program
        failure = ""
        try:
            with self._made.brief(events.append) as summary:
                getattr(self._made, operation)(
                    on_event=summary,
                    color="never",
                    policy_packs=[str(policies.PACK)],
                    policy_pack_configs=[str(self.config)],
                )
        except automation.CommandError as error:
            failure = str(error)
        found = [policies.finding(one.policy_event) for one in events if one.policy_event]
        return found, failure


@contextlib.contextmanager
def provider(*arguments: str) -> Iterator[int]:
    command = [sys.executable, "-m", "localcloud.provider", "--port", "0", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, text=True) as process:
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())["port"]
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A provider whose resources exist in its own memory only."""
    home = Home(tmp_path_factory.mktemp("cloud") / "local")
    home.reserve()
    with provider("--home", str(home.path)) as port:
        yield port


@pytest.fixture
def prod(tmp_path: Path, port: int) -> Judged:
    return Judged(tmp_path, port, "prod")


def bad_stack() -> None:
    """For each policy that binds in prod, a resource that breaks it."""
    for rule in sorted(BINDING):
        example = next(one for one in EXAMPLES if one.rule == rule and one.fails)
        pulumi.CustomResource(example.type, rule, dict(example.props))


def test_a_bad_stack_fails_with_every_mandatory_policy_named(prod: Judged) -> None:
    found, failure = prod.run(bad_stack, "preview")
    assert failure
    violated = {one.policy: one for one in found if one.mandatory}
    assert set(violated) == BINDING
    for name in BINDING:
        own = [one for one in found if one.policy == name and one.resource.endswith(f"::{name}")]
        assert own, f"{name} is named, but not for the resource that breaks it"
        assert own[0].remedy
        assert own[0].references
        assert own[0].message


def test_what_is_unknown_in_the_preview_fails_in_the_update(prod: Judged) -> None:
    def program() -> None:
        account = pulumi.CustomResource(
            "gcp:serviceaccount/account:Account", "account", {"accountId": "someone", "email": None}
        )
        member = account.id.apply(lambda _: "allUsers")
        pulumi.CustomResource(
            "gcp:storage/bucketIAMMember:BucketIAMMember",
            "readers",
            {"bucket": "b", "role": "roles/storage.objectViewer", "member": member},
        )

    found, failure = prod.run(program, "preview")
    assert not failure
    assert [(one.policy, one.decided) for one in found] == [("bucket-no-public-member", False)]
    found, failure = prod.run(program, "up")
    assert failure
    assert [(one.policy, one.mandatory, one.decided) for one in found] == [
        ("bucket-no-public-member", True, True)
    ]


def test_the_engine_refuses_an_exemption_without_a_reason(prod: Judged, tmp_path: Path) -> None:
    prod.config = tmp_path / "config.json"
    exemption = {"urn": "*", "expires": "2030-01-01"}
    prod.config.write_text(json.dumps({"bucket-versioning": {"exemptions": [exemption]}}))
    found, failure = prod.run(bad_stack, "preview")
    assert found == []
    assert "bucket-versioning" in failure
    assert "reason is required" in failure


def test_an_exemption_that_has_ended_stops_a_stack_that_breaks_nothing(
    prod: Judged, tmp_path: Path
) -> None:
    prod.config = tmp_path / "config.json"
    exemption = {"urn": "*::gone", "reason": "moves next week", "expires": "2020-01-31"}
    prod.config.write_text(json.dumps({"bucket-access-log": {"exemptions": [exemption]}}))
    found, failure = prod.run(lambda: None, "preview")
    assert found == []
    assert "bucket-access-log: the exemption of `*::gone` ended on 2020-01-31" in failure


@pytest.mark.long
def test_a_prod_that_protects_nothing_is_refused_by_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(ROOT / "Pulumi.yaml", tmp_path)
    settings = yaml.safe_load((ROOT / "Pulumi.prod.yaml").read_text())
    settings["config"]["esteira:security"] = {"protect": False, "deletionProtection": False}
    (tmp_path / "Pulumi.prod.yaml").write_text(yaml.safe_dump(settings))
    monkeypatch.setattr(stack, "ROOT", tmp_path)
    result = CliRunner().invoke(cli.app, ["policies", "check", "prod", "--json"])
    assert result.exit_code == 1, result.output
    document = json.loads(result.stdout)
    assert not document["passed"]
    violated = {one["policy"] for one in document["findings"] if one["mandatory"]}
    assert violated == {"stateful-protected", "warehouse-deletion-protection", "key-protected"}
    bucket = next(
        one
        for one in document["findings"]
        if one["mandatory"] and one["resource"].endswith("Bucket::flight-delay-models")
    )
    assert bucket["message"] == "the option `protect` is off"
    assert "security.protect" in bucket["remedy"]
    assert bucket["references"] == ["house"]

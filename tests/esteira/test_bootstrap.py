"""A bootstrap makes a project ready, whatever happened before, and says what it cannot mend."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner
from typer.testing import Result as Ended

import esteira.paths
from components.workload_identity import PROJECT_ROLES
from esteira.cli import app
from esteira.engine import stack
from esteira.project import deployer, plan, stack_file
from esteira.project.bootstrap import Bootstrap, Result
from esteira.project.calls import Calls
from esteira.project.key import ROTATION
from esteira.project.step import Outcome, Report
from stacks.settings import Settings

ANA = "user:ana@example.com"


class Names:
    """What a bootstrap makes, spelt out."""

    def __init__(self, project: str) -> None:
        self.account = f"esteira-deploy@{project}.iam.gserviceaccount.com"
        self.account_name = f"projects/{project}/serviceAccounts/{self.account}"
        self.deployer = f"serviceAccount:{self.account}"
        self.bucket = f"{project}-pulumi-state"
        self.ring = f"projects/{project}/locations/us-central1/keyRings/esteira-bootstrap"
        self.key = f"{self.ring}/cryptoKeys/pulumi-secrets-dev"


@pytest.fixture
def names(cloud: Any) -> Names:
    return Names(cloud.project)


def settings_of(folder: Path, **more: Any) -> Settings:
    file = folder / "Pulumi.dev.yaml"
    document = yaml.safe_load(file.read_text())
    config = {k.removeprefix("esteira:"): one for k, one in document["config"].items()}
    return Settings.from_values({**config, **more})


def bootstrap(cloud: Any, folder: Path, calls: Calls | None = None, **more: Any) -> Result:
    options: dict[str, Any] = {"deployers": (ANA,), "settings": settings_of(folder), **more}
    calls = calls or cloud.calls()
    assert calls is not None
    file = folder / "Pulumi.dev.yaml"
    return Bootstrap(stack="dev", calls=calls, file=file, **options).run()


def made(calls: Calls) -> list[Any]:
    return calls.__dict__["made"]


def is_write(call: Any) -> bool:
    reading = ("getIamPolicy", "testIamPermissions")
    return call.method != "GET" and not any(word in call.url for word in reading)


def writes(calls: Calls) -> list[str]:
    return [
        f"{one.method} {one.url} {json.dumps(one.body)}" for one in made(calls) if is_write(one)
    ]


def outcomes(result: Result) -> set[Outcome]:
    return {report.outcome for report in result.reports}


def refusal(result: Result) -> dict[str, Any]:
    last = result.reports[-1]
    assert last.outcome is Outcome.REFUSED, last
    assert last.refusal is not None
    return last.refusal


def report(result: Result, subject: str) -> Report:
    return next(one for one in result.reports if one.subject == subject)


def bucket_of(cloud: Any) -> dict[str, Any]:
    return cloud.api("storage", "v1").buckets().get(bucket=Names(cloud.project).bucket).execute()


def project_policy(cloud: Any) -> dict[str, Any]:
    projects = cloud.api("cloudresourcemanager", "v3").projects()
    return projects.getIamPolicy(resource=f"projects/{cloud.project}", body={}).execute()


def insert_bucket(cloud: Any, project: str = "", **body: Any) -> None:
    body = {"name": Names(cloud.project).bucket, "location": "US-CENTRAL1", **body}
    cloud.api("storage", "v1").buckets().insert(
        project=project or cloud.project, body=body
    ).execute()


class TestAFreshProject:
    @pytest.fixture
    def result(self, cloud: Any, folder: Path) -> Result:
        return bootstrap(cloud, folder)

    def test_is_made_ready(self, cloud: Any, folder: Path, result: Result, names: Names) -> None:
        assert outcomes(result) == {Outcome.CHANGED, Outcome.UNCHANGED}
        assert result.as_dict()["done"]
        bucket = bucket_of(cloud)
        assert bucket["location"] == "US-CENTRAL1"
        assert bucket["versioning"] == {"enabled": True}
        access = bucket["iamConfiguration"]
        assert access["uniformBucketLevelAccess"]["enabled"]
        assert access["publicAccessPrevention"] == "enforced"
        assert bucket["softDeletePolicy"]["retentionDurationSeconds"] == "604800"
        assert "encryption" not in bucket
        keys = cloud.api("cloudkms", "v1").projects().locations().keyRings().cryptoKeys()
        key = keys.get(name=names.key).execute()
        assert key["purpose"] == "ENCRYPT_DECRYPT"
        assert key["rotationPeriod"] == f"{ROTATION}s"
        assert keys.getIamPolicy(resource=names.key).execute()["bindings"] == [
            {"role": "roles/cloudkms.cryptoKeyEncrypterDecrypter", "members": [names.deployer]}
        ]
        accounts = cloud.api("iam", "v1").projects().serviceAccounts()
        resource = names.account_name
        assert accounts.getIamPolicy(resource=resource).execute()["bindings"] == [
            {"role": "roles/iam.serviceAccountTokenCreator", "members": [ANA]}
        ]
        policy = cloud.api("storage", "v1").buckets().getIamPolicy(bucket=names.bucket).execute()
        assert {"role": "roles/storage.objectUser", "members": [names.deployer]} in policy[
            "bindings"
        ]

    def test_has_its_key_in_the_settings_file_and_no_secret(
        self, cloud: Any, folder: Path, result: Result, names: Names
    ) -> None:
        text = (folder / "Pulumi.dev.yaml").read_text()
        assert yaml.safe_load(text)["secretsprovider"] == f"gcpkms://{names.key}"
        assert "# A comment that stays." in text
        assert set(yaml.safe_load(text)) == {"secretsprovider", "config"}
        assert stack_file.settings("dev", folder).project == cloud.project
        assert result.as_dict()["backend"] == f"gs://{names.bucket}"

    def test_is_left_alone_by_a_second_run(self, cloud: Any, folder: Path, result: Result) -> None:
        calls = cloud.calls()
        assert outcomes(bootstrap(cloud, folder, calls)) == {Outcome.UNCHANGED}
        assert writes(calls) == []
        assert result.changed

    def test_gives_the_account_its_listed_roles_and_no_others(
        self, cloud: Any, result: Result, names: Names
    ) -> None:
        policy = project_policy(cloud)
        granted = {one["role"] for one in policy["bindings"] if names.deployer in one["members"]}
        assert granted == {need.role for need in deployer.NEEDS.values()}
        assert not granted & set(deployer.FORBIDDEN)
        (admin,) = (one for one in policy["bindings"] if one["role"] == deployer.IAM_ADMIN)
        expression = admin["condition"]["expression"]
        assert all(f"'{role}'" in expression for role in PROJECT_ROLES)
        assert "modifiedGrantsByRole" in expression


def test_prod_encrypts_its_state_with_a_key_of_its_own(
    cloud: Any, folder: Path, names: Names
) -> None:
    wanted = settings_of(folder, security={"customerManagedKeys": True})
    assert not bootstrap(cloud, folder, settings=wanted).refused
    key = f"{names.ring}/cryptoKeys/pulumi-state"
    assert bucket_of(cloud)["encryption"] == {"defaultKmsKeyName": key}
    keys = cloud.api("cloudkms", "v1").projects().locations().keyRings().cryptoKeys()
    (binding,) = keys.getIamPolicy(resource=key).execute()["bindings"]
    assert binding["members"][0].endswith("@gs-project-accounts.iam.gserviceaccount.com")
    assert outcomes(bootstrap(cloud, folder, settings=wanted)) == {Outcome.UNCHANGED}


def test_it_converges_wherever_it_was_killed(cloud: Any, folder: Path, names: Names) -> None:
    """Killed before each of its calls in turn, each time a little further on, then run whole."""
    killed = 0
    while True:
        calls = cloud.calls(after=killed)
        try:
            result = bootstrap(cloud, folder, calls)
        except cloud.Killed:
            killed += 1
            continue
        break
    assert killed > 10
    assert not result.refused
    assert outcomes(bootstrap(cloud, folder)) == {Outcome.UNCHANGED}
    policy = project_policy(cloud)
    assert all(one["members"] == [names.deployer] for one in policy["bindings"])


def test_a_fresh_project_that_is_killed_after_any_write_needs_only_the_rest(
    cloud: Any, folder: Path
) -> None:
    """Each change is made once, however often it is killed: nothing is made twice or undone."""
    changes = list[str]()
    for after in range(200):
        calls = cloud.calls(after=after)
        try:
            bootstrap(cloud, folder, calls)
        except cloud.Killed:
            changes += writes(calls)
            continue
        changes += writes(calls)
        break
    assert len(changes) == len(set(changes))


def test_a_dry_run_prints_each_call_and_makes_none_but_reads(cloud: Any, folder: Path) -> None:
    before = (folder / "Pulumi.dev.yaml").read_text()
    calls = cloud.calls(dry_run=True)
    planned = bootstrap(cloud, folder, calls)
    assert not planned.refused
    assert writes(calls) == []
    assert (folder / "Pulumi.dev.yaml").read_text() == before

    real = cloud.calls()
    bootstrap(cloud, folder, real)
    promised = [(call.method, call.url) for one in planned.reports for call in one.calls]
    assert promised == [(call.method, call.url) for call in made(real) if is_write(call)]
    bodies = [call.body for one in planned.reports for call in one.calls]
    assert None not in bodies
    assert json.dumps(planned.as_dict())


def test_github_is_left_to_the_program_which_also_minds_the_branch(
    cloud: Any, folder: Path, names: Names
) -> None:
    bootstrap(cloud, folder, settings=settings_of(folder, github={"repository": "acme/esteira"}))
    accounts = cloud.api("iam", "v1").projects().serviceAccounts()
    policy = accounts.getIamPolicy(resource=names.account_name).execute()
    assert [one["role"] for one in policy["bindings"]] == ["roles/iam.serviceAccountTokenCreator"]


class TestWhatExistsAndDiffers:
    def test_a_bucket_is_mended_where_that_takes_nothing_from_anyone(
        self, cloud: Any, folder: Path
    ) -> None:
        insert_bucket(cloud, labels={"kept": "yes"})
        result = bootstrap(cloud, folder)
        (what,) = report(result, "State bucket").changes
        assert "switch versioning on" in what
        bucket = bucket_of(cloud)
        assert bucket["versioning"]["enabled"]
        assert bucket["iamConfiguration"]["publicAccessPrevention"] == "enforced"
        assert bucket["labels"] == {"kept": "yes"}
        assert outcomes(bootstrap(cloud, folder)) == {Outcome.UNCHANGED}

    def test_a_bucket_elsewhere_is_refused(self, cloud: Any, folder: Path) -> None:
        insert_bucket(cloud, location="EU")
        told = refusal(bootstrap(cloud, folder))
        assert "is in EU, not in US-CENTRAL1" in told["problem"]
        assert "--state-bucket" in told["mend"][0]
        assert not bootstrap(cloud, folder, state_bucket="acme-other").refused

    def test_a_bucket_of_another_project_is_refused(self, cloud: Any, folder: Path) -> None:
        insert_bucket(cloud, project="somebody-else")
        told = refusal(bootstrap(cloud, folder))
        assert "belongs to project" in told["problem"]
        assert "versioning" not in bucket_of(cloud)

    def test_a_bucket_that_cannot_even_be_seen_is_refused(self, cloud: Any, folder: Path) -> None:
        cloud.storage_gate.refuse("POST", "/storage/v1/b$", 409, message="Not available.")
        told = refusal(bootstrap(cloud, folder))
        assert "409: Not available." in told["problem"]
        assert "--state-bucket" in told["mend"][0]

    @pytest.mark.parametrize(
        ("body", "problem"),
        [
            ({"retentionPolicy": {"retentionPeriod": "86400"}}, "has a retention policy"),
            (
                {"lifecycle": {"rule": [{"action": {"type": "Delete"}, "condition": {"age": 9}}]}},
                "deletes live objects",
            ),
        ],
    )
    def test_a_bucket_that_would_lose_the_state_is_refused(
        self, cloud: Any, folder: Path, body: dict[str, Any], problem: str
    ) -> None:
        insert_bucket(cloud, **body)
        told = refusal(bootstrap(cloud, folder))
        assert problem in told["problem"]
        assert told["mend"][0].startswith("gcloud storage buckets update")

    def test_a_key_that_is_never_rotated_is_rotated(
        self, cloud: Any, folder: Path, names: Names
    ) -> None:
        bootstrap(cloud, folder)
        keys = cloud.api("cloudkms", "v1").projects().locations().keyRings().cryptoKeys()
        mask = "rotationPeriod,nextRotationTime"
        keys.patch(name=names.key, updateMask=mask, body={}).execute()
        result = bootstrap(cloud, folder)
        assert report(result, "Key of Pulumi's secrets").outcome is Outcome.CHANGED
        assert keys.get(name=names.key).execute()["rotationPeriod"] == f"{ROTATION}s"

    def test_a_key_on_its_way_out_is_refused(self, cloud: Any, folder: Path, names: Names) -> None:
        bootstrap(cloud, folder)
        keys = cloud.api("cloudkms", "v1").projects().locations().keyRings().cryptoKeys()
        keys.cryptoKeyVersions().destroy(name=f"{names.key}/cryptoKeyVersions/1", body={}).execute()
        told = refusal(bootstrap(cloud, folder))
        assert "DESTROY_SCHEDULED" in told["problem"]
        assert told["mend"][0].startswith("gcloud kms keys versions restore 1 ")

    def test_an_account_that_someone_disabled_stays_disabled(
        self, cloud: Any, folder: Path, names: Names
    ) -> None:
        bootstrap(cloud, folder)
        accounts = cloud.api("iam", "v1").projects().serviceAccounts()
        name = names.account_name
        accounts.disable(name=name, body={}).execute()
        told = refusal(bootstrap(cloud, folder))
        assert told["mend"][0].startswith("gcloud iam service-accounts enable")

    def test_roles_of_others_stay_and_wide_ones_of_the_account_are_told(
        self, cloud: Any, folder: Path, names: Names
    ) -> None:
        bootstrap(cloud, folder)
        projects = cloud.api("cloudresourcemanager", "v3").projects()
        policy = project_policy(cloud)
        policy["bindings"].append({"role": "roles/owner", "members": [ANA, names.deployer]})
        projects.setIamPolicy(
            resource=f"projects/{cloud.project}", body={"policy": {**policy, "version": 3}}
        ).execute()
        result = bootstrap(cloud, folder)
        (note,) = report(result, "Roles of the deploying account").notes
        assert "roles/owner" in note
        assert {"role": "roles/owner", "members": [ANA, names.deployer]} in project_policy(cloud)[
            "bindings"
        ]

    def test_secrets_that_are_encrypted_otherwise_already_are_not_cut_off(
        self, cloud: Any, folder: Path, names: Names
    ) -> None:
        file = folder / "Pulumi.dev.yaml"
        file.write_text("encryptionsalt: v1:abc\n" + file.read_text())
        told = refusal(bootstrap(cloud, folder))
        assert told["mend"] == [
            f'pulumi stack change-secrets-provider "gcpkms://{names.key}" -s dev'
        ]


class TestRefusals:
    @pytest.mark.parametrize(
        ("permission", "role"),
        [
            ("serviceusage.services.get", "roles/serviceusage.serviceUsageViewer"),
            ("serviceusage.services.enable", "roles/serviceusage.serviceUsageAdmin"),
            ("resourcemanager.projects.get", "roles/browser"),
            ("iam.serviceAccounts.get", "roles/iam.serviceAccountAdmin"),
            ("iam.serviceAccounts.create", "roles/iam.serviceAccountAdmin"),
            ("iam.serviceAccounts.setIamPolicy", "roles/iam.serviceAccountAdmin"),
            ("resourcemanager.projects.setIamPolicy", "roles/resourcemanager.projectIamAdmin"),
            ("cloudkms.keyRings.create", "roles/cloudkms.admin"),
            ("cloudkms.cryptoKeys.create", "roles/cloudkms.admin"),
            ("cloudkms.cryptoKeys.setIamPolicy", "roles/cloudkms.admin"),
        ],
    )
    def test_a_missing_permission_is_named_with_the_role_that_has_it(
        self, cloud: Any, folder: Path, permission: str, role: str
    ) -> None:
        cloud.deny(permission)
        told = refusal(bootstrap(cloud, folder))
        assert told["permission"] == permission
        assert f"--role={role} " in told["mend"][0]
        assert told["mend"][0].startswith(
            f"gcloud projects add-iam-policy-binding {cloud.project} "
        )
        assert "owner of the project" in told["who"]

    @pytest.mark.parametrize(
        ("method", "path", "permission"),
        [
            ("GET", r"/storage/v1/b/[^/]+$", "storage.buckets.get"),
            ("POST", r"/storage/v1/b$", "storage.buckets.create"),
            ("GET", r"/storage/v1/b/[^/]+/iam$", "storage.buckets.getIamPolicy"),
            ("PUT", r"/storage/v1/b/[^/]+/iam$", "storage.buckets.setIamPolicy"),
        ],
    )
    def test_so_are_those_of_cloud_storage(
        self, cloud: Any, folder: Path, method: str, path: str, permission: str
    ) -> None:
        cloud.storage_gate.refuse(
            method,
            path,
            403,
            message=f"ana@example.com does not have {permission} access to the Google Cloud "
            f"project. Permission '{permission}' denied on resource (or it may not exist).",
            errors=[{"domain": "global", "reason": "forbidden", "message": ""}],
        )
        told = refusal(bootstrap(cloud, folder))
        assert told["permission"] == permission
        assert "--role=roles/storage.admin " in told["mend"][0]

    def test_an_api_that_does_not_say_what_was_missing_is_told_by_its_method(
        self, cloud: Any, folder: Path
    ) -> None:
        cloud.gate.refuse(
            "POST", "services:batchEnable", 403, message="Permission denied to enable service"
        )
        assert refusal(bootstrap(cloud, folder))["permission"] == "serviceusage.services.enable"

    def test_a_project_without_billing_says_how_to_link_one(self, cloud: Any, folder: Path) -> None:
        cloud.unbill()
        told = refusal(bootstrap(cloud, folder))
        assert told["mend"][0].startswith(f"gcloud billing projects link {cloud.project} ")
        assert "roles/billing.user" in told["who"]

    def test_a_project_on_its_way_out_is_refused(self, cloud: Any, folder: Path) -> None:
        cloud.switch_on("cloudresourcemanager")
        projects = cloud.api("cloudresourcemanager", "v3").projects()
        projects.delete(name=f"projects/{cloud.project}").execute()
        told = refusal(bootstrap(cloud, folder))
        assert told["mend"][0] == f"gcloud projects undelete {cloud.project}"

    def test_service_usage_itself_may_be_off(self, cloud: Any, folder: Path) -> None:
        cloud.switch_off("serviceusage")
        told = refusal(bootstrap(cloud, folder))
        assert told["mend"][0] == (
            f"gcloud services enable serviceusage.googleapis.com --project={cloud.project}"
        )

    @pytest.mark.parametrize(
        ("constraint", "rule"),
        [
            ("gcp.resourceLocations", {"values": {"allowedValues": ["in:eu-locations"]}}),
            ("iam.disableServiceAccountCreation", {"enforce": True}),
            ("iam.allowedPolicyMemberDomains", {"values": {"allowedValues": ["C0abc"]}}),
        ],
    )
    def test_an_organisation_policy_is_named(
        self, cloud: Any, folder: Path, constraint: str, rule: dict[str, Any]
    ) -> None:
        cloud.restrict(constraint, **rule)
        told = refusal(bootstrap(cloud, folder))
        assert constraint in told["problem"]
        assert told["mend"][0] == (
            f"gcloud org-policies describe {constraint} --effective --project={cloud.project}"
        )

    def test_what_was_done_before_a_refusal_is_not_done_again(
        self, cloud: Any, folder: Path
    ) -> None:
        cloud.storage_gate.refuse("POST", "/storage/v1/b$", 403, message="No.")
        assert bootstrap(cloud, folder).refused
        cloud.storage_gate.rules.clear()
        calls = cloud.calls()
        assert not bootstrap(cloud, folder, calls).refused
        written = [call.url.rpartition("/")[2] for call in made(calls) if is_write(call)]
        assert written == [f"b?project={cloud.project}&alt=json", "iam?alt=json"]


class TestTheCommandLine:
    @pytest.fixture
    def run(
        self, cloud: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> Callable[..., Ended]:
        """`esteira ...` in the checkout of one stack, pointed at the local APIs."""
        monkeypatch.setattr(esteira.paths, "ROOT", folder)
        monkeypatch.setenv("PROJECT_API_ENDPOINT", cloud.google.endpoint)
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", cloud.storage_url)
        return lambda *words: CliRunner().invoke(app, [*words])

    def test_a_dry_run_shows_method_address_and_body(self, run: Any, cloud: Any) -> None:
        ended = run("bootstrap", "dev", "--deployer", ANA, "--dry-run", "--json")
        assert ended.exit_code == 0
        told = json.loads(ended.stdout)
        assert told["dry_run"]
        assert not told["done"]
        calls = [call for step in told["steps"] for call in step.get("calls", ())]
        assert calls[0]["method"] == "POST"
        assert calls[0]["url"].endswith(f"{cloud.project}/services:batchEnable?alt=json")
        assert "iam.googleapis.com" in calls[0]["body"]["serviceIds"]

    def test_a_dry_run_can_be_piped_with_all_that_each_call_would_send(
        self, run: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # As narrow as a terminal can be: no address may be broken in two.
        monkeypatch.setenv("COLUMNS", "40")
        words = ("bootstrap", "dev", "--deployer", ANA, "--dry-run")
        told = json.loads(run(*words, "--json").stdout)
        calls = [call for step in told["steps"] for call in step.get("calls", ())]
        ended = run(*words)
        assert ended.exit_code == 0
        printed = ended.stdout.splitlines()
        assert len(calls) > 5
        at = -1
        for call in calls:
            at = printed.index(f"    {call['method']} {call['url']}", at + 1)
            if "body" in call:
                body = "\n".join(printed[at + 1 :])
                sent, _ = json.JSONDecoder().raw_decode(body.strip())
                # Keys rotate a while from now, and the two runs are not of the same second.
                for each in (sent, call["body"]):
                    each.pop("nextRotationTime", None)
                assert sent == call["body"]
        assert "It would be ready" in ended.stdout
        assert "POST" not in ended.stderr

    def test_a_dry_run_that_is_refused_says_why_where_it_is_read(
        self, run: Any, cloud: Any
    ) -> None:
        cloud.switch_on("iam")
        cloud.deny("iam.serviceAccounts.get")
        ended = run("bootstrap", "dev", "--dry-run")
        assert ended.exit_code == 1
        assert "lacks iam.serviceAccounts.get" in ended.stdout

    def test_a_bootstrap_says_where_the_state_is(self, run: Any, names: Names) -> None:
        for outcome in ("changed", "unchanged"):
            ended = run("bootstrap", "dev", "--json")
            assert ended.exit_code == 0
            told = json.loads(ended.stdout)
            assert told["done"]
            assert told["backend"] == f"gs://{names.bucket}"
            assert told["secrets_provider"] == f"gcpkms://{names.key}"
            assert outcome in {step["outcome"] for step in told["steps"]}

    def test_a_person_is_told_what_to_type_next(self, run: Any, names: Names) -> None:
        ended = run("bootstrap", "dev", "--deployer", ANA)
        assert f"--impersonate-service-account={names.account}" in ended.stdout
        assert f"pulumi login gs://{names.bucket}" in ended.stdout
        assert "✓ APIs without billing" in ended.stderr, "what is done is progress"

    def test_a_refusal_exits_with_1_and_the_command_that_mends_it(
        self, run: Any, cloud: Any
    ) -> None:
        cloud.deny("iam.serviceAccounts.create")
        ended = run("bootstrap", "dev")
        assert ended.exit_code == 1
        assert "lacks iam.serviceAccounts.create" in ended.stderr
        assert "--role=roles/iam.serviceAccountAdmin" in ended.stderr

    @pytest.mark.parametrize(
        "words", [("bootstrap", "local"), ("bootstrap", "dev", "--deployer", "allUsers")]
    )
    def test_what_makes_no_sense_is_refused_before_any_call(
        self, run: Any, words: tuple[str, ...]
    ) -> None:
        assert run(*words).exit_code == 2

    def test_the_doctor_looks_at_the_project_of_a_stack(
        self, run: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # The program of this stack is not of interest here, and takes seconds.
        monkeypatch.setattr(plan, "of_stack", lambda *_: plan.Plan())
        ended = run("doctor", "dev", "--json")
        assert ended.exit_code == 1
        findings = json.loads(ended.stdout)
        assert {"ok", "failure"} <= {one["status"] for one in findings}
        printed = run("doctor", "dev").stdout
        assert "esteira bootstrap dev" in printed
        assert all(one["subject"] in printed for one in findings)


def test_the_engine_keeps_the_key_that_it_was_given_for_secrets(
    tmp_path: Path, folder: Path
) -> None:
    """Cloud KMS encrypts a key that the engine writes into its copy of the settings file."""
    (folder / "Pulumi.yaml").write_text("name: esteira\nruntime: python\n")
    file = folder / "Pulumi.dev.yaml"
    config = file.read_text()
    file.write_text(f"secretsprovider: gcpkms://one\n{config}")
    work = tmp_path / "work"
    work.mkdir()
    copy = work / "Pulumi.dev.yaml"
    stack._write_settings("dev", work, folder, keep_backend=True)
    copy.write_text(f"encryptedkey: abc\n{copy.read_text()}")
    stack._write_settings("dev", work, folder, keep_backend=True)
    assert yaml.safe_load(copy.read_text())["encryptedkey"] == "abc"
    file.write_text(f"secretsprovider: gcpkms://another\n{config}")
    stack._write_settings("dev", work, folder, keep_backend=True)
    assert "encryptedkey" not in yaml.safe_load(copy.read_text())

"""What every workflow keeps to: pinned actions, least rights, bounded time, no secret."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

CHECKOUT = Path(__file__).resolve().parents[2]
GITHUB = CHECKOUT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
ACTIONS = sorted((GITHUB / "actions").glob("*/action.yml"))
ZIZMOR = Path(sys.executable).with_name("zizmor")
ACTIONLINT = CHECKOUT / ".esteira" / "bin" / "actionlint"

USED = {
    "actions/cache": "v6.1.0",
    "actions/checkout": "v7.0.1",
    "actions/setup-go": "v7.0.0",
    "actions/setup-python": "v6.3.0",
    "actions/upload-artifact": "v7.0.1",
    "google-github-actions/auth": "v3.0.0",
}
"""Every action from elsewhere. A new one is added here on purpose."""
VARIABLES = {
    "ESTEIRA_STACKS",
    "GCP_SERVICE_ACCOUNT",
    "GCP_WORKLOAD_IDENTITY_PROVIDER",
    "KFP_API_ENDPOINT",
    "PULUMI_BACKEND_URL",
    "TRAINING_RUNNER",
}
WRITES = {
    "deploy.yml": {"id-token"},
    "deploy-stack.yml": {"id-token"},
    "drift.yml": {"id-token", "issues"},
    "preview-comment.yml": {"pull-requests"},
    "train.yml": {"id-token"},
}
"""What each workflow may write; the others nothing. An `id-token` is exchanged for an identity."""


def loaded(file: Path) -> dict[str, Any]:
    document = yaml.safe_load(file.read_text())
    # YAML 1.1 reads the key `on` as true.
    return {"on" if key is True else key: value for key, value in document.items()}


def jobs() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for file in WORKFLOWS:
        for name, job in loaded(file)["jobs"].items():
            yield file.name, name, job


def steps() -> Iterator[tuple[str, dict[str, Any]]]:
    for file, name, job in jobs():
        for step in job.get("steps", []):
            yield f"{file}: {name}", step
    for file in ACTIONS:
        for step in loaded(file)["runs"]["steps"]:
            yield f"{file.parent.name}/action.yml", step


def test_actionlint_finds_nothing() -> None:
    if not ACTIONLINT.exists() and shutil.which("go") is None:
        pytest.skip("actionlint is built from its Go module, and there is no Go here")
    checked = subprocess.run(
        [CHECKOUT / "tools" / "check-workflows"], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_actionlint_would_find_something(tmp_path: Path) -> None:
    if not ACTIONLINT.exists():
        pytest.skip("actionlint has not been built here: `make lint` does")
    bad = tmp_path / "bad.yml"
    bad.write_text("on: push\njobs:\n  one:\n    runs-on: ubuntu-24.04\n    stpes: []\n")
    checked = subprocess.run([ACTIONLINT, bad], capture_output=True, text=True, check=False)
    assert checked.returncode == 1
    assert "stpes" in checked.stdout


def test_zizmor_finds_nothing_but_what_is_explained() -> None:
    checked = subprocess.run(
        # Whatever the caller's terminal or CI asks for, what is read here has no colours.
        [ZIZMOR, "--offline", "--no-progress", "--color", "never", "--pedantic", "."],
        cwd=GITHUB,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout
    # The one that is ignored says why, beside it.
    assert "1 ignored" in checked.stdout
    (line,) = [
        line
        for file in WORKFLOWS
        for line in file.read_text().splitlines()
        if "zizmor: ignore" in line
    ]
    assert re.search(r"ignore\[dangerous-triggers\] \w+ \w+", line)


def test_every_action_is_pinned_by_its_commit_and_says_its_version() -> None:
    seen: dict[str, set[str]] = {}
    for file in [*WORKFLOWS, *ACTIONS]:
        for line in file.read_text().splitlines():
            if (found := re.match(r"\s*(?:- )?uses:\s*(.*)", line)) is None:
                continue
            if found[1].startswith("./"):
                assert (CHECKOUT / found[1]).exists()
                continue
            pinned = re.fullmatch(r"([\w./-]+)@([0-9a-f]{40}) # (v\d+\.\d+\.\d+)", found[1])
            assert pinned, f"{file.name}: {line.strip()}"
            assert USED.get(pinned[1]) == pinned[3], f"{pinned[1]} is not in the list"
            seen.setdefault(pinned[1], set()).add(pinned[2])
    assert set(seen) == set(USED)
    assert all(len(commits) == 1 for commits in seen.values()), "one action, two commits"


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_rights_are_given_to_each_job_and_are_no_more_than_listed(file: Path) -> None:
    document = loaded(file)
    assert document["permissions"] == {}, "nothing is given to all jobs at once"
    writes = set[str]()
    for name, job in document["jobs"].items():
        assert isinstance(job.get("permissions"), dict), f"{name} says what it needs"
        writes |= {right for right, access in job["permissions"].items() if access == "write"}
    assert writes == WRITES.get(file.name, set())


def test_pull_requests_run_with_a_token_that_can_only_read() -> None:
    for file in WORKFLOWS:
        document = loaded(file)
        assert "pull_request_target" not in document["on"]
        if "pull_request" in document["on"]:
            assert all(
                job["permissions"] == {"contents": "read"} for job in document["jobs"].values()
            )
            assert "id-token" not in file.read_text()


def test_the_workflow_that_comments_runs_nothing_of_the_pull_request() -> None:
    (job,) = loaded(GITHUB / "workflows" / "preview-comment.yml")["jobs"].values()
    checkout, post = job["steps"]
    # Of a workflow_run event this is the default branch's commit.
    assert checkout["with"]["ref"] == "${{ github.sha }}"
    assert post["run"] == "python3 tools/github/preview_comment.py"
    assert job["if"] == "github.event.workflow_run.event == 'pull_request'"


def test_every_job_ends_and_is_bounded() -> None:
    for file, name, job in jobs():
        if "uses" not in job:
            assert 0 < job["timeout-minutes"] <= 90, f"{file}: {name}"
            assert job["runs-on"] == "ubuntu-24.04"


def test_checkouts_leave_no_token_behind() -> None:
    checkouts = [step for _, step in steps() if step.get("uses", "").startswith("actions/checkout")]
    assert len(checkouts) >= 7
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


def test_no_expression_is_put_into_a_script() -> None:
    for where, step in steps():
        assert "${{" not in step.get("run", ""), f"{where}: pass it as a variable of `env`"


def test_no_secret_is_needed_and_the_documents_name_every_variable() -> None:
    text = "\n".join(file.read_text() for file in [*WORKFLOWS, *ACTIONS])
    assert not re.search(r"\bsecrets\b", text)
    assert set(re.findall(r"\bvars\.(\w+)", text)) == VARIABLES
    documented = (CHECKOUT / "docs" / "ci.md").read_text()
    assert all(f"`{name}`" in documented for name in VARIABLES)


def test_jobs_that_hold_credentials_use_no_cache() -> None:
    for file, name, job in jobs():
        uses = [step.get("uses", "") for step in job.get("steps", [])]
        if "./.github/actions/connect" in uses:
            (prepare,) = [s for s in job["steps"] if s.get("uses") == "./.github/actions/prepare"]
            assert prepare["with"] == {"cache": "false"}, f"{file}: {name}"


def test_nothing_changes_a_stack_twice_at_once_or_is_stopped_midway() -> None:
    changing = {
        (file, name): job
        for file, name, job in jobs()
        for step in job.get("steps", [])
        if re.search(r"esteira (up|destroy|refresh)\b", step.get("run", ""))
    }
    assert set(changing) == {("deploy-stack.yml", "up"), ("drift.yml", "expire")}
    for job in changing.values():
        assert job["concurrency"]["cancel-in-progress"] is False
    groups = {job["concurrency"]["group"] for job in changing.values()}
    assert groups == {"stack-${{ inputs.stack }}", "stack-dev"}
    environments = [job["environment"] for job in changing.values()]
    assert environments == ["${{ inputs.stack }}", "dev"]


def test_what_is_deployed_has_passed_the_checks_and_prod_comes_after_dev() -> None:
    deploy = loaded(GITHUB / "workflows" / "deploy.yml")
    assert deploy["on"]["push"] == {"branches": ["main"]}
    assert deploy["jobs"]["checks"]["uses"] == "./.github/workflows/checks.yml"
    assert deploy["jobs"]["dev"]["needs"] == "checks"
    assert deploy["jobs"]["prod"]["needs"] == "dev"
    checks = loaded(GITHUB / "workflows" / "checks.yml")
    runs = [s.get("run", "") for job in checks["jobs"].values() for s in job["steps"]]
    assert {"make lint", "make test", '.venv/bin/esteira policies check "$STACK"'} <= set(runs)


def test_connect_installs_the_providers_that_the_program_is_written_with(tmp_path: Path) -> None:
    said = tmp_path / "said"
    (tmp_path / "bin").mkdir()
    for tool in ("pulumi", "gcloud"):
        file = tmp_path / "bin" / tool
        file.write_text(f'#!/bin/sh\necho {tool} "$@" >>"{said}"\n')
        file.chmod(0o755)
    connect = CHECKOUT / "tools" / "connect"
    environment = {"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin"}
    subprocess.run([connect, "dev"], env=environment, check=True)
    pins = dict(
        re.findall(
            r"^pulumi-(gcp|kubernetes|docker)==(\S+)",
            (CHECKOUT / "requirements" / "platform.txt").read_text(),
            re.MULTILINE,
        )
    )
    location = yaml.safe_load((CHECKOUT / "Pulumi.dev.yaml").read_text())["config"][
        "esteira:location"
    ]
    assert said.read_text().splitlines() == [
        *(
            f"pulumi plugin install resource {one} v{pins[one]}"
            for one in ("gcp", "kubernetes", "docker")
        ),
        f"gcloud auth configure-docker {location}-docker.pkg.dev --quiet",
    ]
    refused = subprocess.run(
        [connect, "staging"], env=environment, capture_output=True, text=True, check=False
    )
    assert refused.returncode == 1
    assert "Pulumi.staging.yaml" in refused.stderr

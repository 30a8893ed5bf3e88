"""The Cloud Build files against Google's own description of a build, and against the workflows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from esteira.project import names
from localcloud.rest.discovery import Api
from localcloud.rest.errors import InvalidArgument

CHECKOUT = Path(__file__).resolve().parents[2]
FILES = sorted((CHECKOUT / "cloudbuild").glob("*.yaml"))


@pytest.fixture(scope="module")
def api() -> Api:
    return Api.load("cloudbuild", "v1")


def build(name: str) -> dict[str, Any]:
    return yaml.safe_load((CHECKOUT / "cloudbuild" / f"{name}.yaml").read_text())


def test_there_is_one_for_each_thing_that_a_workflow_does() -> None:
    assert [file.stem for file in FILES] == ["checks", "deploy", "drift", "expire", "preview"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_google_would_take_it(file: Path, api: Api) -> None:
    document = yaml.safe_load(file.read_text())
    assert api.validate_body("Build", document)["steps"]
    assert document["timeout"].endswith("s")


def test_google_would_not_take_a_misspelt_field(api: Api) -> None:
    with pytest.raises(InvalidArgument, match="sript"):
        api.validate_body("Build", {"steps": [{"name": "python", "sript": "make"}]})


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_steps_run_one_pinned_image_and_take_no_substitution_into_a_script(file: Path) -> None:
    document = yaml.safe_load(file.read_text())
    images = {step["name"] for step in document["steps"]}
    assert len(images) == 1
    assert re.fullmatch(r"python:3\.13-bookworm@sha256:[0-9a-f]{64}", images.pop())
    for step in document["steps"]:
        assert step["script"].startswith("#!/usr/bin/env bash\nset -euo pipefail\n")
        # `script` is not substituted, so what looks like a substitution has to be in `env`.
        assert not re.search(r"\$\{?_", step["script"])
        given = {one.partition("=")[0] for one in step.get("env", [])}
        wanted = set(re.findall(r"\$\{?([A-Z_]+)", step["script"]))
        assert wanted <= given, f"{step['id']}: {wanted - given}"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_substitution_has_a_value(file: Path) -> None:
    text = "\n".join(
        line for line in file.read_text().splitlines() if not line.lstrip().startswith("#")
    )
    used = set(re.findall(r"\$\{?(_[A-Z_]+)", text))
    assert used == set(yaml.safe_load(text).get("substitutions", {}))


@pytest.mark.parametrize("name", ["deploy", "drift", "expire"])
def test_what_changes_or_looks_at_a_stack_uses_what_bootstrap_makes(name: str) -> None:
    document = build(name)
    made = names.Names(stack="dev", project="P", location="L")
    given = {
        key: value.replace("${PROJECT_ID}", "P") for key, value in document["substitutions"].items()
    }
    assert given["_BACKEND"] == made.backend
    # Looking needs no right to change anything, so it is not the account that deploys.
    assert given.get("_DEPLOYER") == (None if name == "drift" else made.account)
    account = "_READER" if name == "drift" else "_DEPLOYER"
    assert document["serviceAccount"].endswith(f"/serviceAccounts/${account}")


COMMANDS = re.compile(
    r"(?:make [\w-]+|tools/connect"
    r"|esteira (?:up|outputs|preview|policies check|drift|destroy)\b(?: .*--if-idle --yes)?)"
)


def commands(text: str) -> set[str]:
    """What a workflow or a build runs, without its comments and its arguments."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    found = COMMANDS.findall(re.sub(r' "\$STACK"', "", "\n".join(lines)))
    return {" ".join(words.split()) for words in found}


def test_a_command_is_read_whole() -> None:
    assert commands(
        'run: make test-long\n# make lint\nesteira destroy "$STACK" --if-idle --yes'
    ) == {
        "make test-long",
        "esteira destroy --if-idle --yes",
    }


def test_it_runs_what_the_workflows_run() -> None:
    workflows = CHECKOUT / ".github" / "workflows"
    for files, workflow in (
        (["checks"], "checks.yml"),
        (["preview"], "preview.yml"),
        (["deploy"], "deploy-stack.yml"),
        (["drift", "expire"], "drift.yml"),
    ):
        theirs = commands((workflows / workflow).read_text())
        ours = [commands((CHECKOUT / "cloudbuild" / f"{name}.yaml").read_text()) for name in files]
        assert theirs, workflow
        assert theirs <= set[str]().union(*ours), workflow


def test_the_document_has_each_build_and_says_what_has_none() -> None:
    section = (CHECKOUT / "docs" / "ci.md").read_text().split("## Cloud Build")[1]
    for file in FILES:
        assert f"| `{file.name}` |" in section
    mirrored = {"checks.yml", "preview.yml", "deploy.yml", "deploy-stack.yml", "drift.yml"}
    for workflow in sorted((CHECKOUT / ".github" / "workflows").glob("*.yml")):
        if workflow.name not in mirrored:
            assert f"`{workflow.name}`" in section, "it has no equivalent, and nobody says so"

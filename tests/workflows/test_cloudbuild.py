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
    assert [file.stem for file in FILES] == ["checks", "deploy", "preview"]


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


def test_deploying_uses_the_account_and_the_state_that_bootstrap_makes() -> None:
    document = build("deploy")
    made = names.Names(stack="dev", project="P", location="L")
    given = {
        key: value.replace("${PROJECT_ID}", "P") for key, value in document["substitutions"].items()
    }
    assert given["_BACKEND"] == made.backend
    assert given["_DEPLOYER"] == made.account


def test_it_runs_what_the_workflows_run() -> None:
    def commands(*documents: str) -> set[str]:
        return {
            " ".join(words.split())
            for text in documents
            for words in re.findall(
                r"(?:make \w+|tools/bootstrap|esteira (?:up|outputs|preview|policies check))", text
            )
        }

    workflows = CHECKOUT / ".github" / "workflows"
    for name, workflow in (
        ("checks", "checks.yml"),
        ("preview", "preview.yml"),
        ("deploy", "deploy-stack.yml"),
    ):
        theirs = commands((workflows / workflow).read_text()) - {"tools/bootstrap"}
        ours = commands((CHECKOUT / "cloudbuild" / f"{name}.yaml").read_text())
        assert theirs <= ours, name

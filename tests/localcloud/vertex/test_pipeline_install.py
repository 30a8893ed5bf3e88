"""A step that kfp compiled installs what is missing, and nothing else."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import pytest
import yaml
from kfp import dsl

from localcloud.services.vertex.pipeline_install import without_needless_install

from . import pipelines

KFP = importlib.metadata.version("kfp")


def command(pipeline: object, folder: Path) -> list[str]:
    spec = yaml.safe_load(Path(pipelines.compiled(pipeline, folder)).read_text())
    (executor,) = spec["deploymentSpec"]["executors"].values()
    return executor["container"]["command"]


def with_packages(*packages: str) -> object:
    @dsl.component(base_image="python:3.13", packages_to_install=list(packages))
    def step():
        print("done")  # noqa: T201

    @dsl.pipeline(name="installing")
    def pipeline():
        step()

    return pipeline


def test_what_is_there_is_not_installed(tmp_path: Path) -> None:
    words = command(pipelines.looking, tmp_path)
    assert "pip install" in words[2]
    assert without_needless_install(words) == words[3:]


@pytest.mark.parametrize("packages", [["msgspec"], ["msgspec>=0.18", f"kfp=={KFP}"]])
def test_a_requirement_that_is_met_is_not_installed(tmp_path: Path, packages: list[str]) -> None:
    words = command(with_packages(*packages), tmp_path)
    assert without_needless_install(words) == words[3:]


@pytest.mark.parametrize(
    "package",
    [
        "no-such-package-anywhere",
        "msgspec>=1000",
        "msgspec[toml]",
        "msgspec @ https://example.org/msgspec-1.tar.gz",
        "git+https://example.org/msgspec.git",
        "./msgspec",
        "--index-url=https://example.org",
    ],
)
def test_whatever_else_is_left_to_pip(tmp_path: Path, package: str) -> None:
    words = command(with_packages("msgspec", package), tmp_path)
    assert without_needless_install(words) == words


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["sh", "-ec", "true"],
        ["sh", "-c", 'python3 -m pip install kfp; "$0" "$@"', "sh"],
        ["sh", "-c", 'python3 -m pip install kfp && touch /x && "$0" "$@"', "sh"],
        ["sh", "-c", 'python3 -m pip install "kfp && "$0" "$@"', "sh"],
    ],
)
def test_a_command_of_another_kind_stays(words: list[str]) -> None:
    assert without_needless_install(words) == words

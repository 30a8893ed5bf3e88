"""A workload's environment is held to the settings class that reads it."""

from __future__ import annotations

import os
from typing import Annotated
from unittest import mock

import pulumi
import pytest
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from stacks.environment import InvalidEnvironment, environment
from stacks.names import account_id


class Worker(BaseSettings):
    """Settings of a workload, for these tests."""

    model_config = SettingsConfigDict(frozen=True)

    google_cloud_project: Annotated[str, Field(min_length=1, description="The project")]
    tasks: Annotated[int, Field(ge=1)] = 2
    columns: list[str] = []
    level: Annotated[str, Field(validation_alias="LOG_LEVEL")] = "info"


class Prefixed(BaseSettings):
    """Settings whose variables share a prefix."""

    model_config = SettingsConfigDict(env_prefix="worker_")

    rate: float


def test_what_is_built_is_what_the_workload_reads() -> None:
    variables = environment(
        Worker,
        {
            "google_cloud_project": "p",
            "tasks": "4",
            "columns": '["a","b"]',
            "level": "debug",
        },
    )
    assert set(variables) == {"GOOGLE_CLOUD_PROJECT", "TASKS", "COLUMNS", "LOG_LEVEL"}
    plain = {key: str(value) for key, value in variables.items()}
    with mock.patch.dict(os.environ, plain, clear=True):
        read = Worker()
    assert (read.google_cloud_project, read.tasks, read.columns) == ("p", 4, ["a", "b"])
    assert read.level == "debug"


def test_a_prefix_is_kept() -> None:
    assert environment(Prefixed, {"rate": "0.5"}) == {"WORKER_RATE": "0.5"}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, "Worker needs `google_cloud_project` (The project)"),
        (
            {"google_cloud_project": "p", "taks": "2"},
            "Worker has no setting `taks`; it has: google_cloud_project, tasks, columns, level",
        ),
        (
            {"google_cloud_project": "p", "tasks": "0"},
            "Worker: `tasks` is '0'; allowed: greater than or equal to 1",
        ),
        (
            {"google_cloud_project": "p", "tasks": "many"},
            "Worker: `tasks` is 'many'; allowed: a valid integer",
        ),
        ({"google_cloud_project": ""}, "Worker: `google_cloud_project` is ''"),
    ],
)
def test_a_wrong_variable_is_refused_by_name(values: dict[str, str], expected: str) -> None:
    with pytest.raises(InvalidEnvironment) as refused:
        environment(Worker, values)
    assert expected in str(refused.value)


def test_a_value_that_comes_later_is_checked_when_it_comes() -> None:
    @pulumi.runtime.test
    def program() -> pulumi.Output[str]:
        variables = environment(
            Worker, {"google_cloud_project": "p", "tasks": pulumi.Output.from_input("none")}
        )
        return pulumi.Output.from_input(variables["TASKS"])

    with pytest.raises(InvalidEnvironment, match="`tasks` is 'none'"):
        program()


@pytest.mark.parametrize(
    ("product", "role", "expected"),
    [
        ("flight-delay", "ingest", "flight-delay-ingest"),
        ("a", "train", "a-train"),
        ("predictive-maintenance-of-lift", "ingest", "predictive-mainten-f67a-ingest"),
    ],
)
def test_an_account_is_named_after_product_and_role(product: str, role: str, expected: str) -> None:
    assert account_id(product, role) == expected
    assert len(account_id(product, role)) <= 30


def test_long_names_that_begin_alike_stay_apart() -> None:
    first, second = "predictive-maintenance-of-lift", "predictive-maintenance-of-lamp"
    assert account_id(first, "ingest") != account_id(second, "ingest")

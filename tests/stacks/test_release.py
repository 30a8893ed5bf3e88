"""The job that releases a product's models, by the settings."""

from __future__ import annotations

import json
from typing import Any

import pytest

from workloads.database import DatabaseSettings
from workloads.release.settings import ReleaseSettings

JOB = "gcp:cloudrunv2/job:Job"
SCHEDULE = "gcp:cloudscheduler/job:Job"
NAME = "flight-delay-release"


def _configuration(environment: str, **more: Any) -> dict[str, str]:
    return {
        "environment": environment,
        "project": f"esteira-{environment}",
        "products": '["flight-delay"]',
        **{key: json.dumps(value) for key, value in more.items()},
    }


@pytest.fixture(scope="module")
def local(compose: Any) -> Any:
    return compose(_configuration("local"))


@pytest.fixture(scope="module")
def without(compose: Any) -> Any:
    return compose(
        _configuration(
            "local",
            database={"enabled": False},
            tracking={"enabled": False},
            features={"online": False},
        )
    )


def test_the_job_advances_as_its_own_identity_with_the_records_it_needs(local: Any) -> None:
    task = local.inputs(JOB, NAME)["template"]["template"]
    [container] = task["containers"]
    told = {one["name"].lower(): one["value"] for one in container["envs"]}

    settings, database = ReleaseSettings(**told), DatabaseSettings(**_only(told, DatabaseSettings))

    assert container["commands"] == ["python", "-m", "workloads.release"]
    assert task["serviceAccount"] == "flight-delay-release@esteira-local.iam.gserviceaccount.com"
    assert (settings.release_command, settings.product) == ("advance", "flight-delay")
    assert settings.service_account.startswith("flight-delay-serve@")
    assert database.database_user == "flight-delay-release@esteira-local.iam"
    assert database.database_name == "esteira"


def _only(told: dict[str, str], settings: Any) -> dict[str, str]:
    return {name: value for name, value in told.items() if name in settings.model_fields}


def test_its_schedule_rests_locally(local: Any) -> None:
    schedule = local.inputs(SCHEDULE, NAME)

    assert (schedule["schedule"], schedule["paused"]) == ("*/10 * * * *", True)


def test_its_rights_are_on_what_it_touches(local: Any) -> None:
    member = "serviceAccount:flight-delay-release@esteira-local.iam.gserviceaccount.com"
    roles = {
        made.inputs["role"] for made in local.mocks.made if made.inputs.get("member") == member
    }

    # MLflow, where the stack has it, asks for one more.
    assert roles - {"roles/run.invoker"} == {
        "roles/aiplatform.user",
        "roles/bigquery.jobUser",
        "roles/cloudsql.instanceUser",
        "roles/iam.serviceAccountUser",
        "roles/logging.logWriter",
        "roles/monitoring.metricWriter",
        "roles/storage.objectUser",
        "roles/storage.objectViewer",
    }
    assert [one for one in local.mocks.made if one.name == "flight-delay-release-read-log"]


def test_outputs_tell_the_command_line_where_releases_are_kept(local: Any) -> None:
    release = local.outputs["esteira"]["products"]["flight-delay"]["release"]

    assert release["job"].endswith(f"/jobs/{NAME}")
    assert release["schedule"] == NAME
    assert (release["database"], release["database_user"]) == (
        "esteira",
        "flight-delay-release@esteira-local.iam",
    )


def test_without_a_database_there_is_no_job_and_the_outputs_say_so(without: Any) -> None:
    release = without.outputs["esteira"]["products"]["flight-delay"]["release"]

    assert set(release.values()) == {None}
    assert NAME not in {made.name for made in without.mocks.find(JOB)}

"""What a stack can be told, and what it refuses."""

from __future__ import annotations

from typing import Any

import pulumi
import pytest
import yaml
from pydantic import BaseModel

from stacks import settings as module
from stacks.foundation import ROOT
from stacks.settings import DEFAULTS, Environment, Settings, SettingsError
from workloads import product

GIVEN: dict[str, Any] = {"environment": "dev", "project": "my-project"}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            {"environment": "staging"},
            "esteira:environment is 'staging'; allowed: 'local', 'dev' or 'prod'",
        ),
        ({"project": "My Project"}, "esteira:project is 'My Project'; allowed: text matching"),
        ({"project": None}, "esteira:project is missing; set it: pulumi config set"),
        ({"location": "US"}, "esteira:location is 'US'; allowed: text matching"),
        ({"locaton": "us-central1"}, "no such key; did you mean `location`?"),
        (
            {"products": ["fraud"]},
            f"allowed: a product declared under workloads/products: {', '.join(product.names())}",
        ),
        ({"products": "flight-delay"}, "esteira:products is 'flight-delay'; allowed:"),
        (
            {"streaming": {"maxWorkers": 0}},
            "streaming.maxWorkers is 0; allowed: greater than or equal to 1 (workers that the job",
        ),
        (
            {"streaming": {"max_workers": 3}},
            "max_workers is 3, but there is no such key; did you mean `maxWorkers`?",
        ),
        ({"streaming": "fast"}, "esteira:streaming is 'fast'; allowed:"),
        ({"security": {"keyRotationDays": 365}}, "allowed: less than or equal to 90"),
        ({"security": {"protect": "perhaps"}}, "esteira:security.protect is 'perhaps'; allowed:"),
        ({"retention": {"messages": 32}}, "esteira:retention.messages is 32; allowed: less than"),
        (
            {"serving": {"requestLogSampling": 0}},
            "esteira:serving.requestLogSampling is 0; allowed: greater than 0",
        ),
        (
            {"security": {"perimeterMembers": ["domain:example.com"]}},
            "security.perimeterMembers is ['domain:example.com']; allowed: each of a domain's",
        ),
        (
            {"network": {"private": False, "nat": True}},
            "allowed: `nat` needs `private`: the default network is not ours to change",
        ),
        (
            {"database": {"highlyAvailable": True, "backups": False}},
            "allowed: `highly_available` needs `backups`",
        ),
        (
            {"lifetime": {"rest": True}, "batch": {"pauseSchedules": False}},
            "`lifetime.rest` needs `batch.pauseSchedules`",
        ),
        ({"environment": "local", "lifetime": {"rest": True}}, "`esteira local stop` rests"),
        ({"owner": "Team A"}, "esteira:owner is 'Team A'; allowed: text matching"),
    ],
)
def test_a_wrong_setting_is_named_with_what_is_allowed(
    change: dict[str, Any], expected: str
) -> None:
    values = {key: value for key, value in {**GIVEN, **change}.items() if value is not None}
    with pytest.raises(SettingsError) as refused:
        Settings.from_values(values)
    assert expected in str(refused.value)


def test_all_wrong_settings_are_told_at_once() -> None:
    with pytest.raises(SettingsError) as refused:
        Settings.from_values({"environment": "dev", "owner": "A B", "colour": "red"})
    lines = str(refused.value).splitlines()
    assert sorted(line.split()[0] for line in lines) == [
        "esteira:colour",
        "esteira:owner",
        "esteira:project",
    ]


@pytest.mark.parametrize("environment", Environment)
def test_every_environment_has_defaults_for_everything(environment: Environment) -> None:
    settings = Settings.from_values({"environment": environment.value, "project": "my-project"})
    assert settings.products == tuple(product.names())
    for group, values in DEFAULTS[environment].items():
        own = getattr(settings, group).model_dump(by_alias=True)
        assert values.items() <= own.items()


def test_one_setting_of_a_group_leaves_the_others_as_they_are() -> None:
    changed = Settings.from_values({**GIVEN, "streaming": {"maxWorkers": 7}})
    default = Settings.from_values(GIVEN)
    assert changed.streaming.max_workers == 7
    assert changed.streaming.ack_deadline_seconds == default.streaming.ack_deadline_seconds


def test_prod_is_stricter_than_dev() -> None:
    prod = Settings.from_values({"environment": "prod", "project": "my-project"}).security
    dev = Settings.from_values(GIVEN).security
    assert (prod.protect, prod.deletion_protection, prod.customer_managed_keys) == (True,) * 3
    assert prod.private_endpoint
    assert not prod.force_destroy
    assert dev.force_destroy
    assert not dev.protect


def test_configuration_is_read_as_pulumi_gives_it() -> None:
    pulumi.runtime.set_all_config(
        {
            "esteira:environment": "prod",
            "esteira:project": "my-project",
            "esteira:products": '["flight-delay"]',
            "esteira:security": '{"protect": false}',
            "gcp:project": "another",
        }
    )
    settings = Settings.load()
    assert settings.environment is Environment.PROD
    assert settings.security.protect is False
    assert settings.security.customer_managed_keys is True


def test_a_misspelt_key_of_a_stack_is_refused() -> None:
    pulumi.runtime.set_all_config(
        {
            "esteira:environment": "prod",
            "esteira:project": "my-project",
            "esteira:protect": "true",
        }
    )
    with pytest.raises(SettingsError, match="esteira:protect is 'true', but there is no such key"):
        Settings.load()


def test_pulumi_yaml_documents_every_option() -> None:
    project = yaml.safe_load((ROOT / "Pulumi.yaml").read_text())
    documented = project["config"]
    assert set(documented) == {str(field.alias) for field in Settings.model_fields.values()}
    for name, field in Settings.model_fields.items():
        text = documented[str(field.alias)]["description"]
        group = field.annotation
        if isinstance(group, type) and issubclass(group, BaseModel):
            options = {str(one.alias) for one in group.model_fields.values()}
            assert {one for one in options if f"{one} (" in text} == options, name
        elif not field.is_required():
            assert documented[str(field.alias)]["default"] == _plain(field.default), name


def test_the_settings_files_of_all_stacks_are_right() -> None:
    for environment in Environment:
        file = ROOT / f"Pulumi.{environment.value}.yaml"
        config = yaml.safe_load(file.read_text())["config"]
        values = {key.removeprefix(f"{module.NAMESPACE}:"): one for key, one in config.items()}
        assert Settings.from_values(values).environment is environment


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value

"""Resources that exist only in the provider's memory, on the real engine."""

from __future__ import annotations

from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes
import pytest
from pulumi_gcp import monitoring, secretmanager, serviceaccount

from localcloud.provider.lifecycle import Lifecycle

from .conftest import Cloud, Deployment, changes

pytestmark = pytest.mark.engine


def program(threshold: int = 5, password: str = "hunter2") -> None:
    account = serviceaccount.Account("train", account_id="train-product", display_name="Train")
    serviceaccount.IAMMember(
        "deployer",
        service_account_id=account.name,
        role="roles/iam.serviceAccountUser",
        member="user:deployer@example.com",
    )
    secret = secretmanager.Secret("key", secret_id="key", replication={"auto": {}})
    version = secretmanager.SecretVersion(
        "key", secret=secret.id, secret_data=pulumi.Output.secret(password)
    )
    monitoring.Group(
        "late",
        display_name=f"later than {threshold} s",
        filter='resource.metadata.region="us-central1"',
    )
    kubernetes.core.v1.ConfigMap("settings", data={"threshold": str(threshold)})
    pulumi.export("email", account.email)
    pulumi.export("data", version.secret_data)


def test_whole_life(deploy: Deployment, cloud: Cloud) -> None:
    project = deploy.config["gcp:project"]
    made = deploy.up(program)
    assert made.outputs["email"] == f"train-product@{project}.iam.gserviceaccount.com"
    assert made.outputs["data"] == "[secret]"
    state = next((deploy.work / ".pulumi" / "stacks").rglob("test.json")).read_text()
    assert "hunter2" not in state
    assert changes(deploy.up(program)) == {}
    assert set(deploy.refresh()) == {"same"}
    assert changes(deploy.up(lambda: program(9))) == {"update": 2}
    assert changes(deploy.up(lambda: program(9, "hunter3"))) == {"replace": 1}
    assert deploy.destroy()["delete"] == 7
    left = [one for one in Lifecycle(cloud.home).store.all() if project in one.id]
    assert left == []


def test_one_is_mended_when_forgotten_and_imported_by_its_id(
    deploy: Deployment, cloud: Cloud
) -> None:
    deploy.up(program)
    name = f"projects/{deploy.config['gcp:project']}/secrets/key"
    Lifecycle(cloud.home).store.forget("gcp:secretmanager/secret:Secret", name)
    assert deploy.refresh()["delete"] == 1
    assert changes(deploy.up(program))["create"] == 1

    def importing() -> Any:
        return secretmanager.Secret(
            "key",
            secret_id="key",
            replication={"auto": {}},
            opts=pulumi.ResourceOptions(import_=name),
        )

    other = Deployment(deploy.environment, deploy.work, deploy.config, deploy.engine, name="other")
    assert changes(other.up(importing)) == {"create": 1, "import": 1}


def test_charts_are_refused(deploy: Deployment) -> None:
    def chart() -> None:
        kubernetes.helm.v3.Release("r", chart="nginx")

    with pytest.raises(pulumi.automation.CommandError, match="does not expand"):
        deploy.preview(chart)

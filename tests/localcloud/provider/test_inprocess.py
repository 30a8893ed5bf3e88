"""The provider behind Pulumi's mocks: what components are tested through."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pulumi
import pytest
from pulumi_gcp import Provider, organizations, pubsub, secretmanager, storage

from localcloud.provider.inprocess import InvalidInputs, ProviderMocks


def run(mocks: ProviderMocks, program: Callable[[], Any]) -> None:
    pulumi.runtime.set_mocks(mocks, project="test", stack="unit", preview=False)
    pulumi.runtime.test(program)()


def test_what_is_declared_is_checked_and_made() -> None:
    mocks = ProviderMocks(default_labels={"environment": "unit"})

    def program() -> Any:
        topic = pubsub.Topic("orders", name="orders", labels={"owner": "sales"})
        return pubsub.Subscription("reader", name="reader", topic=topic.id).id

    run(mocks, program)
    (topic,) = mocks.find("Topic")
    assert topic.id == "projects/test-project/topics/orders"
    assert topic.outputs["pulumiLabels"]["environment"] == "unit"
    (subscription,) = mocks.find("gcp:pubsub/subscription:Subscription")
    assert subscription.inputs["topic"] == topic.id


def test_all_failures_are_raised_together() -> None:
    def program() -> Any:
        return pubsub.Topic(
            "orders", name="go", message_storage_policy={"regions": ["us"]}, labels={"A": "b"}
        ).id

    with pytest.raises(InvalidInputs) as refused:
        run(ProviderMocks(), program)
    assert "gcp:pubsub/topic:Topic 'orders' has invalid inputs" in str(refused.value)
    assert "messageStoragePolicy.regions: unknown property" in str(refused.value)


def test_names_that_clash_are_refused_as_google_would() -> None:
    def program() -> Any:
        first = storage.Bucket("first", name="shared-bucket", location="US")
        second = storage.Bucket("second", name="shared-bucket", location="US")
        return pulumi.Output.all(first.id, second.id)

    with pytest.raises(Exception, match="409 ALREADY_EXISTS"):
        run(ProviderMocks(), program)


def test_components_pass_and_are_remembered() -> None:
    class Thing(pulumi.ComponentResource):
        def __init__(self, name: str) -> None:
            super().__init__("test:things:Thing", name)
            self.topic = pubsub.Topic(name, opts=pulumi.ResourceOptions(parent=self))
            self.register_outputs({})

    mocks = ProviderMocks()
    run(mocks, lambda: Thing("orders").topic.id)
    assert mocks.components == [("test:things:Thing", "orders")]
    assert mocks.made[0].inputs["name"].startswith("orders-")


def test_an_explicit_provider_brings_its_settings() -> None:
    mocks = ProviderMocks()

    def program() -> Any:
        own = Provider("own", project="elsewhere", default_labels={"team": "ml"})
        return pubsub.Topic("t", name="orders", opts=pulumi.ResourceOptions(provider=own)).id

    run(mocks, program)
    assert mocks.made[0].id == "projects/elsewhere/topics/orders"
    assert mocks.made[0].outputs["effectiveLabels"]["team"] == "ml"


def test_functions_answer_or_are_refused_by_name() -> None:
    seen: dict[str, str] = {}

    def program() -> Any:
        agent = storage.get_project_service_account_output()
        project = organizations.get_project_output()
        policy = organizations.get_iam_policy_output(
            bindings=[{"role": "roles/run.invoker", "members": ["allUsers"]}]
        )

        def keep(values: list[str]) -> None:
            seen.update(zip(("agent", "number", "policy"), values, strict=True))

        return pulumi.Output.all(agent.email_address, project.number, policy.policy_data).apply(
            keep
        )

    run(ProviderMocks(), program)
    number = seen["number"]
    assert seen["agent"] == f"service-{number}@gs-project-accounts.iam.gserviceaccount.com"
    assert seen["policy"] == ('{"bindings":[{"role":"roles/run.invoker","members":["allUsers"]}]}')

    with pytest.raises(Exception, match="does not answer gcp:organizations/getFolder"):
        run(ProviderMocks(), lambda: organizations.get_folder_output(folder="1").name)


def test_a_secret_reaches_the_resource() -> None:
    mocks = ProviderMocks()

    def program() -> Any:
        secret = secretmanager.Secret("s", secret_id="s", replication={"auto": {}})
        version = secretmanager.SecretVersion(
            "v", secret=secret.id, secret_data=pulumi.Output.secret("hunter2")
        )
        return version.name

    run(mocks, program)
    (version,) = mocks.find("SecretVersion")
    assert version.inputs["secretData"] == "hunter2"
    assert version.outputs["name"] == "projects/test-project/secrets/s/versions/1"

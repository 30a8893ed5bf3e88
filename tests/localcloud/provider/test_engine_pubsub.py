"""Pub/Sub resources on the real engine: made, unchanged, drifted, mended, replaced, destroyed."""

from __future__ import annotations

import json

import pulumi
import pytest
from google.api_core.exceptions import NotFound
from pulumi_gcp import pubsub

from localcloud.provider.clients import Clients

from .conftest import Cloud, Deployment, changes

pytestmark = pytest.mark.engine

AVRO = json.dumps({"type": "record", "name": "Order", "fields": [{"name": "id", "type": "string"}]})


@pytest.fixture
def clients(cloud: Cloud) -> Clients:
    return Clients(cloud.home)


def program(retention: str = "86400s", filter_: str = "") -> None:
    schema = pubsub.Schema("orders", name="orders", type="AVRO", definition=AVRO)
    topic = pubsub.Topic(
        "orders",
        name="orders",
        labels={"owner": "sales"},
        message_retention_duration=retention,
        schema_settings={"schema": schema.id, "encoding": "JSON"},
    )
    dead = pubsub.Topic("dead", name="orders-dead-letters")
    subscription = pubsub.Subscription(
        "ingestion",
        name="orders-ingestion",
        topic=topic.id,
        ack_deadline_seconds=30,
        enable_message_ordering=True,
        filter=filter_ or None,
        expiration_policy={"ttl": ""},
        dead_letter_policy={"dead_letter_topic": dead.id, "max_delivery_attempts": 5},
        retry_policy={"minimum_backoff": "10s", "maximum_backoff": "600s"},
    )
    for name, on in (("topic", topic), ("dead", dead)):
        pubsub.TopicIAMMember(
            f"publisher-{name}",
            topic=on.name,
            role="roles/pubsub.publisher",
            member="serviceAccount:replay@p.iam.gserviceaccount.com",
        )
    pubsub.SubscriptionIAMMember(
        "reader",
        subscription=subscription.name,
        role="roles/pubsub.subscriber",
        member="serviceAccount:ingest@p.iam.gserviceaccount.com",
    )
    pulumi.export("topic", topic.id)
    pulumi.export("subscription", subscription.id)


def test_whole_life(deploy: Deployment, clients: Clients) -> None:
    assert deploy.preview(program)["create"] == 8
    project = f"projects/{deploy.config['gcp:project']}"
    assert list(clients.publisher.list_topics(project=project)) == []

    made = deploy.up(program)
    topic = made.outputs["topic"]
    assert topic == f"projects/{deploy.config['gcp:project']}/topics/orders"
    held = clients.publisher.get_topic(topic=topic)
    assert held.schema_settings.schema.endswith("/schemas/orders")
    assert held.labels["owner"] == "sales"
    subscription = clients.subscriber.get_subscription(subscription=made.outputs["subscription"])
    assert subscription.dead_letter_policy.max_delivery_attempts == 5
    assert subscription.enable_message_ordering

    assert changes(deploy.up(program)) == {}
    assert set(deploy.refresh()) == {"same"}

    assert changes(deploy.up(lambda: program(retention="172800s"))) == {"update": 1}
    assert clients.publisher.get_topic(topic=topic).message_retention_duration.days == 2

    replaced = changes(deploy.up(lambda: program("172800s", 'attributes.kind = "new"')))
    # The grant goes with the subscription that it was given on.
    assert replaced == {"replace": 2}
    assert deploy.destroy()["delete"] == 8
    with pytest.raises(NotFound):
        clients.publisher.get_topic(topic=topic)


def test_what_happens_behind_its_back_is_found_and_mended(
    deploy: Deployment, clients: Clients
) -> None:
    topic = deploy.up(program).outputs["topic"]
    held = clients.publisher.get_topic(topic=topic)
    held.labels["owner"] = "nobody"
    clients.publisher.update_topic(topic=held, update_mask={"paths": ["labels"]})
    assert deploy.refresh()["update"] == 1
    assert changes(deploy.up(program)) == {"update": 1}
    assert clients.publisher.get_topic(topic=topic).labels["owner"] == "sales"

    clients.publisher.delete_topic(topic=topic)
    assert deploy.refresh()["delete"] >= 1
    assert changes(deploy.up(program))["create"] >= 1
    assert clients.publisher.get_topic(topic=topic).labels["owner"] == "sales"
    assert changes(deploy.up(program)) == {}


def test_somebody_elses_topic_is_not_taken_over(deploy: Deployment, clients: Clients) -> None:
    topic = f"projects/{deploy.config['gcp:project']}/topics/orders"
    clients.publisher.create_topic(name=topic)
    with pytest.raises(pulumi.automation.CommandError, match="409 ALREADY_EXISTS"):
        deploy.up(program)
    clients.publisher.delete_topic(topic=topic)
    deploy.up(program)


def test_a_topic_is_imported_by_any_documented_id(deploy: Deployment, clients: Clients) -> None:
    project = deploy.config["gcp:project"]
    documented = (f"projects/{project}/topics/first", f"{project}/second", "third")
    for one in documented:
        clients.publisher.create_topic(name=f"projects/{project}/topics/{one.rpartition('/')[2]}")

    def importing() -> None:
        for one in documented:
            name = one.rpartition("/")[2]
            pubsub.Topic(name, name=name, opts=pulumi.ResourceOptions(import_=one))

    assert changes(deploy.up(importing)) == {"import": 3, "create": 1}
    assert changes(deploy.up(importing)) == {}


def test_wrong_inputs_are_named_in_the_preview(deploy: Deployment) -> None:
    def wrong() -> None:
        pubsub.Topic("t", name="goog-topic", message_storage_policy={"allowed_regions": ["us"]})

    with pytest.raises(pulumi.automation.CommandError) as refused:
        deploy.preview(wrong)
    assert "messageStoragePolicy.allowed_regions" in str(refused.value)
    assert "allowedPersistenceRegions" in str(refused.value)


def test_provider_instances_keep_their_own_projects(deploy: Deployment, clients: Clients) -> None:
    from pulumi_gcp import Provider

    def two() -> None:
        for project in ("first-project", "second-project"):
            own = Provider(project, project=project, default_labels={"of": project})
            topic = pubsub.Topic(
                project, name="shared-name", opts=pulumi.ResourceOptions(provider=own)
            )
            pulumi.export(project, topic.id)

    outputs = deploy.up(two).outputs
    for project in ("first-project", "second-project"):
        assert outputs[project] == f"projects/{project}/topics/shared-name"
        assert clients.publisher.get_topic(topic=outputs[project]).labels["of"] == project
    assert changes(deploy.up(two)) == {}

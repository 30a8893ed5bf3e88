"""What the provider takes and what it refuses, and how it words a refusal."""

from __future__ import annotations

from typing import Any

import pytest

from localcloud.provider.check import Failure
from localcloud.provider.configuration import Configuration, check_configuration, configuration
from localcloud.provider.lifecycle import Lifecycle
from localcloud.provider.values import UNKNOWN, Secret

TOPIC = "gcp:pubsub/topic:Topic"
SUBSCRIPTION = "gcp:pubsub/subscription:Subscription"
BUCKET = "gcp:storage/bucket:Bucket"
OBJECT = "gcp:storage/bucketObject:BucketObject"
TABLE = "gcp:bigquery/table:Table"
DATASET = "gcp:bigquery/dataset:Dataset"
RUN = "gcp:cloudrunv2/service:Service"
ENDPOINT = "gcp:vertex/aiEndpoint:AiEndpoint"
ACCOUNT = "gcp:serviceaccount/account:Account"
GRANT = "gcp:pubsub/topicIAMMember:TopicIAMMember"
SCHEDULE = "gcp:cloudscheduler/job:Job"
IMAGE = "docker:index/image:Image"
CONFIG_MAP = "kubernetes:core/v1:ConfigMap"
DEPLOYMENT = "kubernetes:apps/v1:Deployment"

CONFIGURATION = Configuration("gcp", project="p", region="us-central1")


@pytest.fixture(scope="module")
def lifecycle() -> Lifecycle:
    return Lifecycle(None)


def failures(lifecycle: Lifecycle, token: str, inputs: dict[str, Any]) -> list[Failure]:
    return lifecycle.check(token, "thing", inputs, CONFIGURATION, seed=b"seed")[1]


GOOD: list[tuple[str, dict[str, Any]]] = [
    (TOPIC, {}),
    (TOPIC, {"name": "orders", "messageRetentionDuration": "600s"}),
    (TOPIC, {"name": "orders", "labels": UNKNOWN}),
    (TOPIC, {"name": Secret("orders")}),
    (TOPIC, {"name": "orders", "schemaSettings": {"schema": "s", "encoding": "JSON"}}),
    (SUBSCRIPTION, {"topic": UNKNOWN, "ackDeadlineSeconds": 10}),
    # pulumi's bridge converts scalars, so these deploy on Google too.
    (SUBSCRIPTION, {"topic": "t", "ackDeadlineSeconds": "10", "enableMessageOrdering": "true"}),
    (SUBSCRIPTION, {"topic": "t", "expirationPolicy": {"ttl": ""}}),
    (BUCKET, {"location": "US", "lifecycleRules": [
        {"action": {"type": "Delete"}, "condition": {"age": 3}}]}),
    (BUCKET, {"location": "US", "labels": {"k": ""}}),
    (TABLE, {"datasetId": "d", "tableId": "t$20200101", "schema": "[]"}),
    (RUN, {"location": "us-central1", "name": "s", "ingress": "INGRESS_TRAFFIC_ALL",
           "template": {"containers": [{"image": "i", "envs": [{"name": "A", "value": "1"}]}]}}),
    (RUN, {"location": "us-central1", "name": "s", "ingress": "",
           "template": {"containers": [{"image": UNKNOWN}]}}),
    (ENDPOINT, {"name": "123", "displayName": "d", "location": "us-central1"}),
    (ACCOUNT, {"accountId": "train-product"}),
    (GRANT, {"topic": "t", "role": "roles/pubsub.publisher", "member": "allUsers"}),
    (GRANT, {"topic": "t", "role": "projects/p/roles/custom", "member": UNKNOWN}),
    (SCHEDULE, {"schedule": "* * * * *", "httpTarget": {"uri": "https://x"}}),
    (IMAGE, {"imageName": "a/b:c", "build": {"context": ".", "builderVersion": "BuilderBuildKit"}}),
    (CONFIG_MAP, {"data": {"a": "b"}}),
    (DEPLOYMENT, {"spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {
        "spec": {"containers": [{"name": "c", "ports": [{"containerPort": 80}],
                                 "livenessProbe": {"httpGet": {"port": "http"}}}]}}}}),
    ("kubernetes:serving.kserve.io/v1beta1:InferenceService",
     {"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService", "spec": {"any": 1}}),
]  # fmt: skip


@pytest.mark.parametrize(("token", "inputs"), GOOD)
def test_good_inputs_pass(lifecycle: Lifecycle, token: str, inputs: dict[str, Any]) -> None:
    assert failures(lifecycle, token, inputs) == []


BAD: list[tuple[str, dict[str, Any], str, str]] = [
    (TOPIC, {"lables": {"a": "b"}}, "lables", "did you mean 'labels'?"),
    (TOPIC, {"schema_settings": {}}, "schema_settings", "'schemaSettings'"),
    (TOPIC, {"colour": "red"}, "colour", "unknown property; allowed are deletionPolicy"),
    (TOPIC, {"labels": ["a"]}, "labels", "expected a map with string keys, got a list of 1"),
    (TOPIC, {"labels": {"Owner": "x"}}, 'labels["Owner"]', "lower-case"),
    (TOPIC, {"name": "a"}, "name", "3 to 255"),
    (TOPIC, {"name": "google-topic"}, "name", "not with `goog`"),
    (SUBSCRIPTION, {}, "topic", "missing required property; it is a string"),
    (SUBSCRIPTION, {"topic": "t", "ackDeadlineSeconds": "soon"}, "ackDeadlineSeconds",
     "expected an integer, got 'soon'"),
    (SUBSCRIPTION, {"topic": "t", "ackDeadlineSeconds": 1.5}, "ackDeadlineSeconds", "an integer"),
    (SUBSCRIPTION, {"topic": "t", "enableMessageOrdering": "yes"}, "enableMessageOrdering",
     "expected a boolean, got 'yes'"),
    (SUBSCRIPTION, {"topic": "t", "pushConfig": "https://x"}, "pushConfig", "expected an object"),
    (SUBSCRIPTION, {"topic": "t", "pushConfig": {}}, "pushConfig.pushEndpoint", "missing required"),
    (SUBSCRIPTION, {"topic": "t", "pushConfig": {"pushEndpoint": "u", "url": "v"}},
     "pushConfig.url", "unknown property"),
    (SUBSCRIPTION, {"topic": "t", "pushConfig": {"pushEndpoint": "u"}, "bigqueryConfig":
     {"table": "t"}}, "bigqueryConfig", "conflicts with 'pushConfig'"),
    (BUCKET, {"location": "US", "lifecycleRules": [{"action": {"type": "Delete"}}]},
     "lifecycleRules[0].condition", "missing required"),
    (BUCKET, {"location": "US", "lifecycleRules": [
        {"action": {"type": "Delete"}, "condition": {"age": "old"}}]},
     "lifecycleRules[0].condition.age", "expected an integer, got 'old'"),
    (OBJECT, {"bucket": "b", "name": "n"}, "content", "give one of content, source"),
    (OBJECT, {"bucket": "b", "name": "n", "source": "/etc/hosts"}, "source", "expected an asset"),
    (DATASET, {"datasetId": "my-data"}, "datasetId", "letters, digits and underscores"),
    (RUN, {"location": "l", "name": "s", "ingress": "ALL", "template": {}}, "ingress",
     "'ALL' is not one of INGRESS_TRAFFIC_ALL"),
    (RUN, {"location": "l", "name": "s", "template": {"containers": [{"envs": []}]}},
     "template.containers[0].image", "missing required"),
    (RUN, {"location": "l", "name": "S", "template": {}}, "name", "lower-case"),
    (ENDPOINT, {"displayName": "d", "location": "l"}, "name", "numeric, with no leading zero"),
    (ENDPOINT, {"name": "0123", "displayName": "d", "location": "l"}, "name", "no leading zero"),
    (ACCOUNT, {"accountId": "train"}, "accountId", "6 to 30"),
    (GRANT, {"topic": "t", "role": "publisher", "member": "allUsers"}, "role", "roles/pubsub"),
    (GRANT, {"topic": "t", "role": "roles/x.y", "member": "a@b.c"}, "member", "serviceAccount:"),
    (SCHEDULE, {"schedule": "* * * * *"}, "httpTarget", "give one of"),
    (IMAGE, {"imageName": "a/b", "build": {"builderVersion": "V2"}}, "build.builderVersion",
     "'V2' is not one of BuilderV1, BuilderBuildKit"),
    (CONFIG_MAP, {"apiVersion": "v2"}, "apiVersion", "'v2' is not one of v1"),
    (CONFIG_MAP, {"data": {"a": {"b": "c"}}}, "data.a", "expected a string, got an object with b"),
    (DEPLOYMENT, {"spec": {"template": {}}}, "spec.selector", "missing required"),
    ("gcp:pubsub/topik:Topik", {}, "", "pulumi-gcp 10.2.0 has no resource"),
    ("kubernetes:helm.sh/v3:Release", {}, "", "charts"),
    ("kubernetes:yaml/v2:ConfigFile", {}, "", "declare the objects one by one"),
    ("aws:s3/bucket:Bucket", {}, "", "no package 'aws'"),
]  # fmt: skip


@pytest.mark.parametrize(("token", "inputs", "where", "why"), BAD)
def test_bad_inputs_are_named(
    lifecycle: Lifecycle, token: str, inputs: dict[str, Any], where: str, why: str
) -> None:
    found = failures(lifecycle, token, inputs)
    assert where in [failure.property for failure in found]
    assert why in next(failure.reason for failure in found if failure.property == where)


def test_every_failure_is_reported_at_once(lifecycle: Lifecycle) -> None:
    inputs = {"ackDeadlineSeconds": "x", "wrong": 1, "retryPolicy": {"maximum": "1s"}}
    assert {failure.property for failure in failures(lifecycle, SUBSCRIPTION, inputs)} == {
        "topic",
        "ackDeadlineSeconds",
        "wrong",
        "retryPolicy.maximum",
    }


def test_a_secret_is_never_shown(lifecycle: Lifecycle) -> None:
    inputs = {"topic": "t", "ackDeadlineSeconds": Secret("hunter2")}
    (failure,) = failures(lifecycle, SUBSCRIPTION, inputs)
    assert "hunter2" not in failure.reason


def test_a_secret_stays_secret_through_check_and_creation(lifecycle: Lifecycle) -> None:
    token = "gcp:secretmanager/secretVersion:SecretVersion"
    inputs = {"secret": "projects/p/secrets/s", "secretData": Secret("hunter2")}
    checked, found = lifecycle.check(token, "v", inputs, CONFIGURATION)
    assert found == []
    assert checked["secretData"] == Secret("hunter2")
    state = lifecycle.create(token, "urn:pulumi:s::p::t::v", checked, CONFIGURATION)
    assert state.outputs["secretData"] == Secret("hunter2")
    assert state.outputs["version"] == "1"


class TestNames:
    def test_the_seed_decides_and_the_old_name_stays(self, lifecycle: Lifecycle) -> None:
        first, _ = lifecycle.check(TOPIC, "orders", {}, CONFIGURATION, seed=b"one")
        again, _ = lifecycle.check(TOPIC, "orders", {}, CONFIGURATION, seed=b"one")
        later, _ = lifecycle.check(TOPIC, "orders", {}, CONFIGURATION, olds=first, seed=b"two")
        assert first["name"] == again["name"] == later["name"]
        assert first["name"].startswith("orders-")
        assert len(first["name"]) == len("orders-") + 7

    def test_a_name_given_up_is_not_kept(self, lifecycle: Lifecycle) -> None:
        chosen, _ = lifecycle.check(TOPIC, "orders", {"name": "mine"}, CONFIGURATION, seed=b"one")
        made, _ = lifecycle.check(TOPIC, "orders", {}, CONFIGURATION, olds=chosen, seed=b"two")
        assert made["name"] != "mine"

    def test_bucket_names_are_lower_case(self, lifecycle: Lifecycle) -> None:
        made, found = lifecycle.check(BUCKET, "Landing", {"location": "US"}, CONFIGURATION)
        assert found == []
        assert made["name"].startswith("landing-")

    def test_kubernetes_names_are_marked(self, lifecycle: Lifecycle) -> None:
        made, _ = lifecycle.check(CONFIG_MAP, "settings", {}, CONFIGURATION, seed=b"one")
        assert made["metadata"]["namespace"] == "default"
        assert made["metadata"]["annotations"] == {"pulumi.com/autonamed": "true"}
        assert len(made["metadata"]["name"]) == len("settings-") + 8
        again, _ = lifecycle.check(
            CONFIG_MAP, "settings", {}, CONFIGURATION, olds=made, seed=b"two"
        )
        assert again == made

    def test_the_project_may_switch_names_off(self, lifecycle: Lifecycle) -> None:
        _, found = lifecycle.check(
            TOPIC, "orders", {}, CONFIGURATION, proposed=("orders", "disable")
        )
        assert found[0].property == "name"


class TestConfiguration:
    def test_a_missing_project_is_named(
        self, lifecycle: Lifecycle, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("GOOGLE_CLOUD_PROJECT", raising=False)
        _, found = lifecycle.check(TOPIC, "orders", {"name": "orders"}, configuration("gcp", {}))
        assert [failure.property for failure in found] == ["project"]

    def test_settings_are_judged(self) -> None:
        assert check_configuration("gcp", {"project": "p", "version": "10.2.0"}) == []
        assert check_configuration("gcp", {"defaultLabels": '{"a": "b"}'}) == []
        (failure,) = check_configuration("gcp", {"projekt": "p"})
        assert failure.property == "projekt"
        assert "'project'" in failure.reason

    def test_default_labels_reach_resources_that_take_labels(self, lifecycle: Lifecycle) -> None:
        own = configuration(
            "gcp", {"project": "p", "defaultLabels": {"team": "ml", "environment": "dev"}}
        )
        state = lifecycle.create(
            TOPIC, "urn:pulumi:s::p::t::n", {"name": "n1", "labels": {"team": "data"}}, own
        )
        assert state.outputs["labels"] == {"team": "data"}
        assert (
            state.outputs["effectiveLabels"]
            == state.outputs["pulumiLabels"]
            == {
                "goog-pulumi-provisioned": "true",
                "team": "data",
                "environment": "dev",
            }
        )

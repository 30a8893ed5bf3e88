"""Which changes there are, and which of them need a new resource."""

from __future__ import annotations

import json
from typing import Any

import pytest

from localcloud.provider.configuration import Configuration, configuration
from localcloud.provider.diff import Difference
from localcloud.provider.lifecycle import Lifecycle
from localcloud.provider.values import UNKNOWN, Asset, Secret

CONFIGURATION = Configuration("gcp", project="p", region="us-central1")
URN = "urn:pulumi:dev::test::{token}::thing"


@pytest.fixture(scope="module")
def lifecycle() -> Lifecycle:
    return Lifecycle(None)


def diff(
    lifecycle: Lifecycle,
    token: str,
    old: dict[str, Any],
    new: dict[str, Any],
    *,
    to: Configuration = CONFIGURATION,
    ignored: tuple[str, ...] = (),
) -> Difference:
    urn = URN.format(token=token)
    outputs = lifecycle.preview(token, urn, old, CONFIGURATION)
    place = lifecycle._identity(lifecycle.schema(token), outputs)
    return lifecycle.diff(
        token,
        place or "id",
        urn,
        olds=outputs,
        old_inputs=old,
        news=new,
        configuration=to,
        ignored=ignored,
    )


TOPIC = "gcp:pubsub/topic:Topic"
SUBSCRIPTION = "gcp:pubsub/subscription:Subscription"
TABLE = "gcp:bigquery/table:Table"
ENDPOINT = "gcp:vertex/aiEndpoint:AiEndpoint"
JOB = "gcp:dataflow/flexTemplateJob:FlexTemplateJob"
GRANT = "gcp:pubsub/topicIAMMember:TopicIAMMember"

CHANGES: list[tuple[str, dict[str, Any], dict[str, Any], dict[str, bool]]] = [
    (TOPIC, {"name": "a"}, {"name": "a"}, {}),
    (TOPIC, {"name": "a"}, {"name": "b"}, {"name": True}),
    (TOPIC, {"name": "a"}, {"name": "a", "tags": {"k": "v"}}, {"tags": True}),
    (TOPIC, {"name": "a", "labels": {"x": "1", "y": "1"}},
     {"name": "a", "labels": {"x": "2", "z": "1"}},
     {"labels.x": False, "labels.y": False, "labels.z": False}),
    (TOPIC, {"name": "a", "messageRetentionDuration": "600s"},
     {"name": "a", "messageRetentionDuration": "600.0s"}, {}),
    (SUBSCRIPTION, {"name": "s", "topic": "t"}, {"name": "s", "topic": "u"}, {"topic": True}),
    (SUBSCRIPTION, {"name": "s", "topic": "t"}, {"name": "s", "topic": UNKNOWN}, {"topic": True}),
    (SUBSCRIPTION, {"name": "s", "topic": "t", "filter": "a"}, {"name": "s", "topic": "t"},
     {"filter": True}),
    (SUBSCRIPTION, {"name": "s", "topic": "t", "ackDeadlineSeconds": 10},
     {"name": "s", "topic": "t", "ackDeadlineSeconds": 20}, {"ackDeadlineSeconds": False}),
    (GRANT, {"topic": "t", "role": "roles/a.b", "member": "allUsers"},
     {"topic": "t", "role": "roles/a.c", "member": "allUsers"}, {"role": True}),
    (ENDPOINT, {"name": "1", "displayName": "a", "location": "l"},
     {"name": "1", "displayName": "b", "location": "l"}, {"displayName": False}),
    (ENDPOINT, {"name": "1", "displayName": "a", "location": "l"},
     {"name": "1", "displayName": "a", "location": "l",
      "predictRequestResponseLoggingConfig": {"enabled": True}},
     {"predictRequestResponseLoggingConfig": True}),
    (JOB, {"name": "j", "containerSpecGcsPath": "gs://a/b", "parameters": {"x": "1"}},
     {"name": "j", "containerSpecGcsPath": "gs://a/b", "parameters": {"x": "2"}},
     {"parameters.x": False}),
    ("gcp:storage/bucketObject:BucketObject",
     {"bucket": "b", "name": "n", "source": Asset(False, {"path": "/a", "hash": "1"})},
     {"bucket": "b", "name": "n", "source": Asset(False, {"path": "/other", "hash": "1"})}, {}),
    ("gcp:secretmanager/secretVersion:SecretVersion",
     {"secret": "s", "secretData": Secret("a")}, {"secret": "s", "secretData": Secret("b")},
     {"secretData": True}),
    ("docker:index/image:Image", {"imageName": "a/b:1"}, {"imageName": "a/b:2"},
     {"imageName": True}),
    ("kubernetes:apps/v1:Deployment",
     {"spec": {"replicas": 1, "selector": {"matchLabels": {"a": "b"}}}, "metadata": {"name": "d"}},
     {"spec": {"replicas": 2, "selector": {"matchLabels": {"a": "c"}}}, "metadata": {"name": "d"}},
     {"spec.replicas": False, "spec.selector.matchLabels.a": True}),
]  # fmt: skip


@pytest.mark.parametrize(("token", "old", "new", "expected"), CHANGES)
def test_changes(
    lifecycle: Lifecycle,
    token: str,
    old: dict[str, Any],
    new: dict[str, Any],
    expected: dict[str, bool],
) -> None:
    found = diff(lifecycle, token, old, new)
    assert {change.path: change.replaces for change in found.changes} == expected


COLUMN = {"name": "id", "type": "STRING", "mode": "REQUIRED"}
SCHEMAS: list[tuple[list[dict[str, Any]], bool]] = [
    ([{**COLUMN, "mode": "NULLABLE"}], False),
    ([COLUMN, {"name": "at", "type": "TIMESTAMP"}], False),
    ([{**COLUMN, "description": "new"}], False),
    ([{**COLUMN, "type": "INT64"}], True),
    ([{**COLUMN, "name": "key"}], True),
    ([COLUMN, {"name": "at", "type": "TIMESTAMP", "mode": "REQUIRED"}], True),
]


@pytest.mark.parametrize(("columns", "replaced"), SCHEMAS)
def test_a_table_is_replaced_only_where_bigquery_cannot_alter_it(
    lifecycle: Lifecycle, columns: list[dict[str, Any]], replaced: bool
) -> None:
    def table(schema: list[dict[str, Any]]) -> dict[str, Any]:
        return {"datasetId": "d", "tableId": "t", "schema": json.dumps(schema)}

    found = diff(lifecycle, TABLE, table([COLUMN]), table(columns))
    assert [change.replaces for change in found.changes] == [replaced]


def test_a_schema_written_differently_is_the_same(lifecycle: Lifecycle) -> None:
    old = {"datasetId": "d", "tableId": "t", "schema": json.dumps([COLUMN])}
    new = {**old, "schema": json.dumps([dict(reversed(COLUMN.items()))], indent=2)}
    assert diff(lifecycle, TABLE, old, new).changes == []


def test_ignored_changes_are_not_seen(lifecycle: Lifecycle) -> None:
    old = {"name": "1", "displayName": "a", "location": "l", "trafficSplit": '{"5": 100}'}
    new = {"name": "1", "displayName": "a", "location": "l"}
    assert diff(lifecycle, ENDPOINT, old, new).changes != []
    assert diff(lifecycle, ENDPOINT, old, new, ignored=("trafficSplit",)).changes == []


def test_a_replacement_that_keeps_its_place_deletes_first(lifecycle: Lifecycle) -> None:
    named = {"name": "s", "topic": "t"}
    assert diff(lifecycle, SUBSCRIPTION, named, {**named, "topic": "u"}).delete_first
    assert not diff(lifecycle, SUBSCRIPTION, named, {"name": "other", "topic": "t"}).delete_first


def test_another_project_moves_what_names_none(lifecycle: Lifecycle) -> None:
    elsewhere = Configuration("gcp", project="other", region="us-central1")
    found = diff(lifecycle, TOPIC, {"name": "a"}, {"name": "a"}, to=elsewhere)
    assert {change.path: change.replaces for change in found.changes} == {"project": True}
    own = {"name": "a", "project": "p"}
    assert diff(lifecycle, TOPIC, own, own, to=elsewhere).changes == []


def test_another_default_label_is_a_change(lifecycle: Lifecycle) -> None:
    labelled = configuration(
        "gcp", {"project": "p", "region": "us-central1", "defaultLabels": {"team": "ml"}}
    )
    found = diff(lifecycle, TOPIC, {"name": "a"}, {"name": "a"}, to=labelled)
    assert [(change.path, change.replaces) for change in found.changes] == [("pulumiLabels", False)]


def test_a_batch_job_is_replaced_by_any_change(lifecycle: Lifecycle) -> None:
    inputs = {"name": "j", "containerSpecGcsPath": "gs://a/b", "parameters": {"x": "1"}}
    found = lifecycle.diff(
        JOB,
        "id",
        URN.format(token=JOB),
        olds={**inputs, "type": "JOB_TYPE_BATCH"},
        old_inputs=inputs,
        news={**inputs, "parameters": {"x": "2"}},
        configuration=CONFIGURATION,
    )
    assert found.replaces == ["parameters.x"]

"""One definition of the features, three uses: training, the offline store, the online store."""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.workloads.conftest import Trained, local
from tests.workloads.features.conftest import Serve
from tests.workloads.features.sensors import HOUR, NOON, Asked, reading, sensors, tables
from workloads import gcp
from workloads.artifacts import Folder
from workloads.features import offline, parity, snapshot, syncing, views
from workloads.features.online import (
    NoOnlineStore,
    NotSynced,
    OnlineFeatures,
    OnlineTimeout,
    OnlineUnavailable,
    StaleFeatures,
)
from workloads.features.query import FeatureQuery, InvalidFeatureQuery
from workloads.features.store import view_name
from workloads.manifest import Manifest
from workloads.product import InvalidProduct, Product

ENTITIES = 100
PATIENT = 30.0

Filled = Callable[..., Product]


@pytest.fixture
def filled(
    cloud: object, product: Product, load_rows: Callable[..., None], tmp_path: Path
) -> Filled:
    """`filled("name", *rows)`: sensors, whose raw table holds just these readings."""

    def fill(name: str, *rows: dict[str, Any]) -> Product:
        made = sensors(product, name, tmp_path)
        load_rows(made, tables(*(rows or (reading("a", NOON, temperature=20.0),))))
        return made

    return fill


LAST_YEAR = datetime(2025, 3, 1, tzinfo=UTC)
ROWS = (
    reading("a", LAST_YEAR - HOUR, temperature=31.0, mode="manual", serviced_at=LAST_YEAR),
    reading("a", LAST_YEAR, mode=""),
    reading("b", LAST_YEAR, temperature=30.5, mode='é, "quoted"\nline', serviced_at=LAST_YEAR),
    reading("fresh", datetime.now(UTC) - HOUR, temperature=1.0),
)


@pytest.fixture(scope="module")
def _synced() -> list[Product]:
    return []


@pytest.fixture
def synced(filled: Filled, serve: Serve, _synced: list[Product]) -> Product:
    """Sensors `a` and `b`, read last year, and `fresh`, read an hour ago; all online."""
    if not _synced:
        _synced.append(serve(filled("sensors", *ROWS)))
        assert syncing.sync(_synced[0]).rows == 3
    return _synced[0]


@pytest.fixture
def online() -> Iterator[Callable[[Product], OnlineFeatures]]:
    """The online store of a product, asked with the patience of a test."""
    made: list[OnlineFeatures] = []

    def ask(product: Product, timeout: float = PATIENT) -> OnlineFeatures:
        made.append(OnlineFeatures(product, timeout=timeout))
        return made[-1]

    yield ask
    for one in made:
        one.close()


Online = Callable[..., OnlineFeatures]


class TestOneDefinition:
    def test_a_model_is_asked_with_what_it_was_trained_on(
        self, trained: Trained, served: Product, online: Online
    ) -> None:
        """The same flights in the snapshot that the pipeline froze, offline, and online."""
        content = Folder(trained.registration.uri).read("manifest.json")
        frozen = msgspec.json.decode(content, type=Manifest).training
        rows = snapshot.thaw(frozen.uri, frozen.sha256).slice(0, ENTITIES).to_pylist()
        pairs = [(row["flight_id"], row["asked_at"]) for row in rows]

        then = offline.as_of(served, pairs, since=rows[0]["asked_at"])
        now = online(served).fetch([name for name, _ in pairs])

        assert len({name for name, _ in pairs}) == ENTITIES
        for row, there, here in zip(rows, then, now, strict=True):
            assert there is not None
            assert there.event_time == row["asked_at"]
            frozen_values = {name: row[name] for name in there.values}
            assert frozen_values == there.values == here

    def test_the_stores_say_the_same_of_every_feature(self, served: Product) -> None:
        # Named, for to draw them is a query over all of history more.
        rows = FeatureQuery(served).run(local(13), local(14)).slice(0, ENTITIES)

        found = parity.compare(served, entities=rows.column("flight_id").to_pylist())

        assert found.differences == ()
        assert found.entities == ENTITIES
        assert found.features == len(served.features.request.__struct_fields__)

    def test_a_difference_names_entity_and_feature(
        self, filled: Filled, serve: Serve, product: Product, load_rows: Callable[..., None]
    ) -> None:
        synced = [reading(one, NOON, temperature=20.0) for one in "abc"]
        made = serve(filled("differing", *synced))
        syncing.sync(made)

        # What reaches BigQuery late, for a moment before the sync, is online only after the next.
        late = [reading("b", NOON - HOUR, temperature=10.0), reading("d", NOON)]
        load_rows(made, tables(*synced, *late))
        found = parity.compare(made)
        assert {
            (one.entity, one.feature, one.online, one.offline) for one in found.differences
        } == {
            ("b", "mean_temperature", 20.0, 15.0),
            ("b", "readings", 1, 2),
            ("d", "(row)", "missing", "there"),
        }

        name = f"{gcp.project()}.differing_curated.{views.LATEST}"
        latest = views.latest(made, gcp.project())
        _view(name, f"SELECT * FROM ({latest}) UNION ALL SELECT * FROM ({latest})")
        with pytest.raises(syncing.SyncFailed, match="could not create unique index"):
            syncing.sync(made)
        assert parity.compare(made) == found, "a sync that fails changes nothing"

        _view(name, latest)
        syncing.sync(made)
        assert parity.compare(made).differences == ()


class TestAsOf:
    def test_a_later_event_does_not_change_an_earlier_read(self, filled: Filled) -> None:
        pairs = [("a", NOON), ("a", NOON + 2 * HOUR)]
        rows = [reading("a", NOON - HOUR, temperature=10.0), reading("a", NOON, temperature=20.0)]
        before, _ = offline.as_of(filled("moments", *rows), pairs)

        rows += [
            reading("a", NOON + timedelta(microseconds=1), temperature=90.0),
            reading("a", NOON + HOUR, temperature=60.0),
        ]
        then, now = offline.as_of(filled("moments", *rows), pairs)

        assert before is not None
        assert before.values["mean_temperature"] == 15.0
        assert then == before
        assert now is not None
        assert (now.event_time, now.values["readings"]) == (NOON + HOUR, 4)

    def test_before_its_first_row_nothing_is_known_of_an_entity(self, filled: Filled) -> None:
        made = filled("moments")
        instant = timedelta(microseconds=1)
        pairs = [("a", NOON - instant), ("a", NOON), ("nobody", NOON), ("a", NOON)]

        found = offline.as_of(made, pairs)

        assert [one is None for one in found] == [True, False, True, False]
        assert found[1] == found[3]
        assert offline.as_of(made, []) == []
        assert offline.as_of(made, pairs[1:2], since=NOON + instant) == [None]

    def test_many_are_asked_about_in_parts(
        self, filled: Filled, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = filled("moments", *(reading(one, NOON, temperature=ord(one)) for one in "abc"))
        monkeypatch.setattr(offline, "MAX_PAIRS", 2)

        found = offline.as_of(made, [(one, NOON) for one in "cba"])

        assert [one and one.entity for one in found] == list("cba")

    def test_a_moment_has_a_time_zone(self, product: Product) -> None:
        with pytest.raises(InvalidFeatureQuery, match="an instant with a time zone"):
            offline.as_of(product, [("a", datetime(2013, 1, 1))])  # noqa: DTZ001

    def test_a_sample_is_the_same_again_and_another_by_another_seed(self, filled: Filled) -> None:
        made = filled("moments", *(reading(f"s{one}", NOON) for one in range(40)))

        first, again, other = (offline.sample(made, NOON, 10, seed) for seed in (1, 1, 2))

        assert first == again
        assert len(set(first)) == 10
        assert set(first) != set(other)
        assert offline.sample(made, NOON - HOUR, 10) == []


class TestOnline:
    def test_the_last_row_is_served_as_it_is_nulls_and_all(
        self, synced: Product, online: Online
    ) -> None:
        """A feature group would answer with the temperature of the row before."""
        store = online(synced)
        a, b = store.lookup(["a", "b"])

        assert a is not None
        assert a.event_time == LAST_YEAR
        assert a.values == {
            "sensor": "a",
            "temperature": None,
            "hot_now": None,
            "mean_temperature": 31.0,
            "readings": 2,
            "mode": "",
            "serviced_at": None,
        }
        assert b is not None
        assert (b.values["hot_now"], b.values["serviced_at"]) == (True, LAST_YEAR)
        assert b.values["mode"] == 'é, "quoted"\nline'
        kinds = [str, float, bool, float, int, str, datetime]
        assert [type(one) for one in b.values.values()] == kinds
        Asked(**store.fetch(["b"])[0] or {})

    def test_an_unknown_entity_is_none_and_keeps_its_place(
        self, synced: Product, online: Online
    ) -> None:
        found = online(synced).fetch(["nobody", "a", "nobody", "a"])

        assert [one is None for one in found] == [True, False, True, False]
        assert online(synced).fetch([]) == []

    def test_stale_features_are_told_and_not_answered(
        self, synced: Product, online: Online
    ) -> None:
        features = dataclasses.replace(synced.features, fresh_for=timedelta(days=7))
        strict = dataclasses.replace(synced, features=features)
        store, now = online(strict), datetime.now(UTC)

        with pytest.raises(StaleFeatures, match=r"of 1 entities are stale.*'a'.*`fresh_for`"):
            store.fetch(["fresh", "a"])

        assert store.fetch(["fresh"]) != [None]
        found = store.lookup(["fresh", "a"])
        assert [one and one.stale(strict, now) for one in found] == [False, True]
        assert not any(one is None or one.stale(synced, now) for one in found)

    def test_a_store_that_is_not_there_is_told_apart_from_one_that_is_empty(
        self, filled: Filled, serve: Serve, online: Online
    ) -> None:
        made = filled("nothing")
        store = online(made)
        for ask in (lambda: store.fetch(["a"]), store.prepare, lambda: syncing.sync(made)):
            with pytest.raises(NoOnlineStore, match="`online: true`"):
                ask()

        serve(made)
        for ask in (lambda: store.fetch(["a"]), store.prepare, lambda: parity.compare(made)):
            with pytest.raises(NotSynced, match="esteira features sync nothing"):
                ask()

        begun = gcp.feature_store_admin_client().sync_feature_view(feature_view=view_name(made))
        told: list[str] = []
        done = syncing.sync(made, on_progress=told.append)

        assert done.name == begun.feature_view_sync
        assert told[0] == "joining the sync of nothing that is under way"
        assert syncing.syncs(made) == [done]
        assert done.started is not None
        assert done.ended is not None
        assert done.started < done.ended
        store.prepare()
        assert store.fetch(["a"]) != [None]

    def test_who_does_not_answer_is_not_waited_for(
        self, cloud: object, product: Product, online: Online, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            address = f"http://127.0.0.1:{silent.getsockname()[1]}"
            monkeypatch.setenv("VERTEX_API_ENDPOINT", address)
            gcp.feature_store_client.cache_clear()
            gcp.feature_store_client()
            began = time.monotonic()
            with pytest.raises(OnlineTimeout, match=r"within 0.3 s"):
                online(product, timeout=0.3).fetch([f"flight {one}" for one in range(40)])
            assert time.monotonic() - began < 2
        with pytest.raises((OnlineUnavailable, OnlineTimeout)):
            online(product, timeout=1).fetch(["anything"])
        gcp.feature_store_client.cache_clear()


class TestTheRegistry:
    def test_serves_the_last_value_that_is_known(self, synced: Product) -> None:
        """What Google documents of feature groups, and why a product's view is not made of one."""
        table = f"{gcp.project()}.sensors_curated.features"
        _view(table, views.features(synced, gcp.project()))
        online, _, _ = view_name(synced).partition("/featureViews/")
        place, _, _ = online.partition("/featureOnlineStores/")
        _register(place, f"bq://{table}", online)

        answer = gcp.feature_store_client().fetch_feature_values(
            request={
                "feature_view": f"{online}/featureViews/from_registry",
                "data_key": {"key": "a"},
                "data_format": "PROTO_STRUCT",
            }
        )

        assert dict(answer.proto_struct) == {"temperature": 31.0, "mode": "", "count": 2.0}


def _view(name: str, query: str) -> None:
    from google.cloud import bigquery

    table = bigquery.Table(name)
    table.view_query = query
    gcp.bigquery_client().delete_table(table, not_found_ok=True)
    gcp.bigquery_client().create_table(table)


def _register(place: str, uri: str, online: str) -> None:
    """A feature group of some columns, and a view of them, synced."""
    import requests

    def call(path: str, body: dict[str, Any], **query: str) -> dict[str, Any]:
        address = f"{os.environ['VERTEX_API_ENDPOINT']}/v1/{path}"
        answer = requests.post(address, data=json.dumps(body), params=query, timeout=PATIENT)
        assert answer.ok, answer.text
        return answer.json()

    group = f"{place}/featureGroups"
    source = {"bigQuery": {"bigQuerySource": {"inputUri": uri}, "entityIdColumns": ["sensor"]}}
    call(group, source, featureGroupId="readings")
    for feature, column in (("temperature", ""), ("mode", ""), ("count", "readings")):
        body = {"versionColumnName": column} if column else {}
        call(f"{group}/readings/features", body, featureId=feature)
    chosen = {"featureGroupId": "readings", "featureIds": ["temperature", "mode", "count"]}
    body = {"featureRegistrySource": {"featureGroups": [chosen]}}
    view = {"featureViewId": "from_registry", "runSyncImmediately": "true"}
    call(f"{online}/featureViews", body, **view)
    parent = f"{online}/featureViews/from_registry"
    client, deadline = gcp.feature_store_admin_client(), time.monotonic() + PATIENT
    while not (
        found := [
            one
            for one in client.list_feature_view_syncs(parent=parent)
            if one.run_time.HasField("end_time")
        ]
    ):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert not found[0].final_status.code, found[0].final_status.message


def test_a_limit_on_age_is_above_zero(product: Product) -> None:
    features = dataclasses.replace(product.features, fresh_for=timedelta(0))
    with pytest.raises(InvalidProduct, match=r"features\.fresh_for is 0:00:00"):
        dataclasses.replace(product, features=features)

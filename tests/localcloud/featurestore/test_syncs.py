"""What a sync copies is served whole or not at all, at its times, whatever ends in between."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pytest
from starlette.testclient import TestClient

from localcloud.home import Home
from localcloud.processes import Supervisor
from localcloud.rest.app import build_app
from localcloud.rest.store import Documents
from localcloud.services import vertex
from localcloud.services.featurestore.clock import Clock, following
from localcloud.services.featurestore.copying import query
from localcloud.services.featurestore.jobs import Job
from localcloud.services.featurestore.syncs import Syncs
from localcloud.services.featurestore.tables import DATABASE, Table, Unsupported
from localcloud.services.featurestore.values import Values
from localcloud.services.postgres.client import connected
from tests.localcloud.featurestore.conftest import BIGTABLE, PLACE, SOURCE, STORE, VIEW, Call

WHEN = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)


def rows(**columns: list[Any]) -> pa.Table:
    return pa.table({"flight": ["UA1", "UA2"], **columns})


@pytest.fixture
def served(database: Home) -> Iterator[Call]:
    """The REST API of the home with a database, with a store and a view in it."""
    with TestClient(build_app([vertex.service(database)])) as client:

        def ask(method: str, path: str, body: Any = None, **given: Any) -> Any:
            return client.request(method, f"/v1/{path}", json=body, params=given or None)

        ask("POST", f"{PLACE}/featureOnlineStores", BIGTABLE, featureOnlineStoreId="online")
        ask("POST", f"{STORE}/featureViews", SOURCE, featureViewId="flights")
        yield ask
        ask("DELETE", STORE, force=True)


def fetched(served: Call, entity: str, **more: Any) -> Any:
    return served("POST", f"{VIEW}:fetchFeatureValues", {"dataKey": {"key": entity}, **more})


def test_values_come_back_as_they_went_in(served: Call, database: Home) -> None:
    content = rows(
        feature_timestamp=[WHEN, None],
        hour=pa.array([2**53 + 1, None], pa.int64()),
        delay=[0.1 + 0.2, float("nan")],
        carrier=['a "b",\nc', ""],
        late=[True, None],
    )
    Table(database, VIEW).replace(content, ["flight"])

    first, second = (fetched(served, one).json() for one in ("UA1", "UA2"))
    features = {one["name"]: one.get("value") for one in first["keyValues"]["features"]}
    when = {"metadata": {"generateTime": "2026-03-01T12:00:00.250000Z"}}
    assert features == {
        "hour": {"int64Value": "9007199254740993", **when},
        "delay": {"doubleValue": 0.30000000000000004, **when},
        "carrier": {"stringValue": 'a "b",\nc', **when},
        "late": {"boolValue": True, **when},
    }
    assert second["keyValues"]["features"] == [
        {"name": "hour"},
        {"name": "delay", "value": {"doubleValue": "NaN"}},
        {"name": "carrier", "value": {"stringValue": ""}},
        {"name": "late"},
    ]
    struct = fetched(served, "UA1", dataFormat="PROTO_STRUCT").json()["protoStruct"]
    assert struct["delay"] == 0.30000000000000004


def test_what_is_not_there_is_told_apart(served: Call, database: Home) -> None:
    early = fetched(served, "UA1")
    assert (early.status_code, early.json()["error"]["status"]) == (400, "FAILED_PRECONDITION")
    assert "was not synced yet" in early.json()["error"]["message"]

    Table(database, VIEW).replace(rows(hour=[1, 2]), ["flight"])
    assert fetched(served, "UA1").status_code == 200
    assert "'UA3' is not in the FeatureView" in fetched(served, "UA3").json()["error"]["message"]
    two = {"dataKey": {"compositeKey": {"parts": ["UA", "1"]}}}
    wrong = served("POST", f"{VIEW}:fetchFeatureValues", two).json()["error"]["message"]
    assert wrong == f"data_key has 2 parts; entities of '{VIEW}' have 1: flight"
    none = served("POST", f"{VIEW}:fetchFeatureValues", {}).json()["error"]["message"]
    assert "exactly one of key and composite_key" in none


def test_another_shape_replaces_the_old_one_while_it_is_read(served: Call, database: Home) -> None:
    table = Table(database, VIEW)
    table.replace(rows(hour=[1, 2]), ["flight"])
    assert fetched(served, "UA1", dataFormat="PROTO_STRUCT").json()["protoStruct"] == {"hour": 1.0}
    table.replace(rows(gate=["A", "B"]), ["flight"])
    assert fetched(served, "UA1", dataFormat="PROTO_STRUCT").json()["protoStruct"] == {"gate": "A"}


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (pa.table({"flight": ["UA1", "UA1"], "hour": [1, 2]}), psycopg.errors.UniqueViolation),
        (pa.table({"flight": ["UA1", None], "hour": [1, 2]}), psycopg.errors.NotNullViolation),
        (pa.table({"flight": ["UA1"], "hours": [[1, 2]]}), Unsupported),
        (pa.table({"flight": ["UA1"], "seen": [WHEN]}), Unsupported),
    ],
)
def test_a_copy_that_fails_leaves_what_was_there(
    served: Call, database: Home, content: pa.Table, error: type[Exception]
) -> None:
    table = Table(database, VIEW)
    table.replace(rows(hour=[1, 2]), ["flight"])
    with pytest.raises(error):
        table.replace(content, ["flight"])
    assert fetched(served, "UA2").status_code == 200


def test_values_go_with_their_view(served: Call, database: Home) -> None:
    Table(database, VIEW).replace(rows(hour=[1, 2]), ["flight"])
    served("DELETE", VIEW)
    with connected(database, DATABASE) as connection:
        names = "SELECT tablename FROM pg_tables WHERE schemaname = 'online'"
        assert connection.execute(names).fetchall() == []


def test_a_sync_that_the_end_of_the_service_cut_is_closed_at_the_next_start(
    database: Home, served: Call
) -> None:
    documents = Documents(database.folder("vertex") / "vertex.sqlite")
    name = f"{VIEW}/featureViewSyncs/1"
    begun = {"name": name, "createTime": "2026-01-01T00:00:00Z", "runTime": {"startTime": "x"}}
    documents.put(f"FeatureViewSync:{name}", begun)

    syncs = Syncs(database, documents, Supervisor(database), Values(database))
    syncs.recover()

    found = served("GET", name).json()
    assert found["finalStatus"]["code"] == 10
    assert "cut by a restart" in found["finalStatus"]["message"]
    assert "endTime" in found["runTime"]


class Noted:
    """Stands in for the syncs: notes what would have begun."""

    def __init__(self) -> None:
        self.begun: list[str] = []

    def begin(self, view: str) -> str:
        self.begun.append(view)
        return f"{view}/featureViewSyncs/1"


def test_a_view_is_synced_at_its_times_and_once_each(tmp_path: Path) -> None:
    async def play() -> None:
        documents, noted = Documents(tmp_path / "state.sqlite"), Noted()
        cron = {"syncConfig": {"cron": "TZ=America/New_York 30 * * * *"}}
        documents.put(f"FeatureView:{VIEW}", {"name": VIEW, **cron})
        documents.put("FeatureView:other", {"name": "other"})
        clock = Clock(documents, noted)  # pyright: ignore[reportArgumentType]

        def at(hour: int, minute: int) -> float:
            return clock.turn(datetime(2026, 3, 1, hour, minute, tzinfo=UTC))

        assert at(12, 29) == 30.0
        assert noted.begun == []
        at(12, 30)
        at(12, 30)
        assert noted.begun == [VIEW]
        # The laptop slept over two times: they are made up for once.
        at(15, 0)
        at(15, 1)
        assert noted.begun == [VIEW, VIEW]
        documents.put(f"FeatureView:{VIEW}", {"name": VIEW})
        at(18, 0)
        assert len(noted.begun) == 2

    asyncio.run(play())


def test_a_zone_moves_a_time() -> None:
    noon = datetime(2026, 7, 1, 12, tzinfo=UTC)
    assert following("TZ=America/New_York 0 9 * * *", noon).hour == 13
    assert following("0 9 * * *", noon).day == 2


def test_names_are_quoted_wherever_they_stand_in_a_query() -> None:
    job = Job(
        view=VIEW, project="p", uri="bq://p.d.t", entity=["id"], features={"f": "c"}, dense=True
    )
    assert query(job) == (
        "SELECT CAST(`id` AS STRING) AS `id`, `feature_timestamp` AS `feature_timestamp`, `c` AS "
        "`f` FROM `p.d.t` QUALIFY ROW_NUMBER() OVER (PARTITION BY `id` ORDER BY "
        "`feature_timestamp` DESC) = 1"
    )

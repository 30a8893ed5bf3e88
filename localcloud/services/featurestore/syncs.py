"""Syncs of feature views: each a process that copies from BigQuery to PostgreSQL.

A process of its own, so that copying takes nothing from those who are being answered meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, final

import msgspec

from localcloud.home import Home
from localcloud.processes import Supervisor
from localcloud.rest.app import Handler, Request
from localcloud.rest.errors import RPC_CODES, FailedPrecondition, NotFound
from localcloud.rest.listing import page, property_fields
from localcloud.rest.operations import now
from localcloud.rest.store import Documents
from localcloud.services.featurestore.jobs import Job, Outcome
from localcloud.services.featurestore.resources import PREFIX, key
from localcloud.services.featurestore.values import Values
from localcloud.services.vertex import names

log = logging.getLogger(__name__)

KIND: Final = "FeatureViewSync"
_VIEW: Final = "FeatureView"
_KEPT: Final = 100
_FIELDS: Final = property_fields("name", "create_time")


@final
class Syncs:
    """The syncs of all views; one at a time for each.

    Args:
        home: says where BigQuery and PostgreSQL are.
        documents: of the service.
        supervisor: runs the processes.
        values: tells whether there is a PostgreSQL.
    """

    def __init__(
        self, home: Home, documents: Documents, supervisor: Supervisor, values: Values
    ) -> None:
        self._home = home
        self._documents = documents
        self._supervisor = supervisor
        self._values = values
        self._running: dict[str, asyncio.Task[None]] = {}

    def handlers(self) -> dict[str, Handler]:
        """By method id."""
        views = f"{PREFIX}featureOnlineStores.featureViews."
        return {
            f"{views}sync": self.sync,
            f"{views}featureViewSyncs.get": self.get,
            f"{views}featureViewSyncs.list": self.list,
        }

    def recover(self) -> None:
        """Close what an earlier process left open: its copies were never put in place."""
        for stored in self._documents.list(f"{KIND}:"):
            if "endTime" not in stored.value["runTime"]:
                self._end(stored.key, "ABORTED", "The sync was cut by a restart of the service.")

    async def stop(self) -> None:
        """End what runs; after the next start it is ABORTED."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def sync(self, request: Request) -> dict[str, Any]:
        """Begin one, and say its name."""
        return {"featureViewSync": self.begin(request.path["featureView"])}

    async def get(self, request: Request) -> dict[str, Any]:
        """One of them."""
        found = self._documents.get(key(KIND, request.path["name"]))
        if found is None:
            raise NotFound(f"The FeatureViewSync '{request.path['name']}' does not exist.")
        return found

    async def list(self, request: Request) -> dict[str, Any]:
        """Of one view, the newest first."""
        view = request.path["parent"]
        if self._documents.get(key(_VIEW, view)) is None:
            raise NotFound(f"The FeatureView '{view}' does not exist.")
        found = [one.value for one in self._documents.list(_below(view))]
        found.sort(key=lambda one: one["createTime"], reverse=True)
        return page(found, request.query, _FIELDS, key="featureViewSyncs")

    def begin(self, view: str) -> str:
        """Begin a sync of a view; its name.

        Raises:
            NotFound: there is no such view.
            FailedPrecondition: one is under way, or there is no PostgreSQL.
        """
        stored = self._documents.get(key(_VIEW, view))
        if stored is None:
            raise NotFound(f"The FeatureView '{view}' does not exist.")
        if view in self._running:
            raise FailedPrecondition(f"A sync of the FeatureView '{view}' is running already.")
        self._values.check_there()
        name = f"{view}/featureViewSyncs/{names.new_id()}"
        time = now()
        place = key(KIND, name)
        self._documents.put(
            place, {"name": name, "createTime": time, "runTime": {"startTime": time}}
        )
        task = asyncio.create_task(self._run(stored, place), name=name)
        self._running[view] = task
        task.add_done_callback(lambda _: self._running.pop(view, None))
        return name

    async def forget(self, view: str) -> None:
        """End and forget the syncs of a view."""
        task = self._running.get(view)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        for stored in self._documents.list(_below(view)):
            self._documents.delete(stored.key)

    async def _run(self, view: Mapping[str, Any], place: str) -> None:
        number = place.rpartition("/")[2]
        folder = self._home.folder("featurestore")
        job = folder / f"{number}.job.json"
        process = f"featurestore/{number}"
        try:
            outcome = Outcome(code="INTERNAL", message="The process of the sync ended early.")
            try:
                job.write_bytes(msgspec.json.encode(self._job(view)))
                workload = await self._supervisor.start(
                    process,
                    [sys.executable, "-m", "localcloud.services.featurestore.copying"],
                    [str(self._home.path), str(job)],
                    env={"PYTHONPATH": str(Path(__file__).parents[3])},
                )
                await workload.wait()
                result = job.with_suffix(".outcome")
                if result.exists():
                    outcome = msgspec.json.decode(result.read_bytes(), type=Outcome)
                else:
                    outcome.message += "\n" + "\n".join(workload.tail())
            finally:
                await self._supervisor.stop(process, grace=0)
                job.unlink(missing_ok=True)
                job.with_suffix(".outcome").unlink(missing_ok=True)
        except asyncio.CancelledError:
            self._end(place, "CANCELLED", "The sync was ended.")
            raise
        except Exception as error:
            log.exception("%s failed", place)
            outcome = Outcome(code="INTERNAL", message=f"{type(error).__name__}: {error}")
        if outcome.code != "OK":
            log.warning("%s failed: %s", place, outcome.message)
        self._end(place, outcome.code, outcome.message, outcome.rows)
        self._trim(view["name"])

    def _job(self, view: Mapping[str, Any]) -> Job:
        project = view["name"].split("/")[1]
        table = view.get("bigQuerySource")
        if table is not None:
            return Job(
                view=view["name"],
                project=project,
                uri=table["uri"],
                entity=table["entityIdColumns"],
            )
        (chosen,) = view["featureRegistrySource"]["featureGroups"]
        place = view["name"].partition("/featureOnlineStores/")[0]
        name = f"{place}/featureGroups/{chosen['featureGroupId']}"
        group = self._documents.get(key("FeatureGroup", name))
        if group is None:
            raise NotFound(f"The FeatureGroup '{name}' does not exist.")
        source = group["bigQuery"]
        features = {
            one: (self._documents.get(key("Feature", f"{name}/features/{one}")) or {}).get(
                "versionColumnName", one
            )
            for one in chosen["featureIds"]
        }
        return Job(
            view=view["name"],
            project=project,
            uri=source["bigQuerySource"]["inputUri"],
            entity=source.get("entityIdColumns", ["entity_id"]),
            features=features,
            timestamp=source.get("timeSeries", {}).get("timestampColumn", "feature_timestamp"),
            dense=bool(source.get("dense")),
        )

    def _end(self, place: str, code: str, message: str, rows: int = 0) -> None:
        def edit(sync: dict[str, Any]) -> None:
            sync["runTime"]["endTime"] = now()
            sync["finalStatus"] = {"code": RPC_CODES[code]} | (
                {"message": message} if message else {}
            )
            sync["syncSummary"] = {"rowSynced": str(rows)}

        if self._documents.get(place) is not None:
            self._documents.change(place, edit)

    def _trim(self, view: str) -> None:
        found = sorted(self._documents.list(_below(view)), key=lambda one: one.value["createTime"])
        for stored in found[:-_KEPT]:
            self._documents.delete(stored.key)


def _below(view: str) -> str:
    return key(KIND, f"{view}/featureViewSyncs/")

"""What can be asked of the release controller, in words and as a document.

The command line asks here where it reaches the database, and else through the Cloud Run job, which
asks here too: both give the same outcome.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from workloads import gcp
from workloads.artifacts import ArtifactNotFound, Folder
from workloads.database import DatabaseSettings, NoCertificates
from workloads.product import Product
from workloads.registry import NoSuchVersion
from workloads.release.acts import Progress
from workloads.release.approval import NotApproved
from workloads.release.controller import (
    Controller,
    NothingToRollBackTo,
    NothingUnderWay,
    Status,
)
from workloads.release.endpoint import NoEndpoint
from workloads.release.records import Passed, Record
from workloads.release.settings import FOLDER, ReleaseSettings
from workloads.release.smoke import SmokeTestFailed
from workloads.release.states import State, Strategy
from workloads.release.store import Busy, NoRecords, Overtaken, opened
from workloads.release.targets import DeployFailed, InvalidSplit
from workloads.scoring import ModelRefused

REFUSALS: Final = (
    Busy,
    DeployFailed,
    InvalidSplit,
    ModelRefused,
    NoCertificates,
    NoEndpoint,
    NoRecords,
    NoSuchVersion,
    NotApproved,
    NothingToRollBackTo,
    NothingUnderWay,
    Overtaken,
    SmokeTestFailed,
    gcp.NoCluster,
)
"""What a person can do something about; each says what."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a command."""

    ok: bool
    message: str
    status: Status | None = None
    history: tuple[Passed, ...] = ()


def perform(
    product: Product,
    settings: ReleaseSettings,
    database: DatabaseSettings,
    on_progress: Progress = lambda _: None,
) -> Outcome:
    """Do what the settings say. What a person can mend is an outcome, and no exception."""
    try:
        with opened(database, settings.release_actor or f"release job of {product.name}") as store:
            if settings.release_command == "history":
                found = tuple(store.history(product.name, settings.release_limit))
                return Outcome(ok=True, message=f"{len(found)} transitions", history=found)
            before = store.latest(product.name)
            controller = Controller(
                product,
                store,
                service_account=settings.service_account or None,
                on_progress=on_progress,
            )
            status = _acts(controller, settings)[settings.release_command]()
            if settings.release_command == "abort":
                return Outcome(ok=True, message=describe(status), status=status)
            return _told(status, before)
    except REFUSALS as error:
        return Outcome(ok=False, message=str(error))


def _acts(controller: Controller, settings: ReleaseSettings) -> dict[str, Callable[[], Status]]:
    reason = settings.release_reason or f"told to by {settings.release_actor or 'the job'}"
    return {
        "status": controller.status,
        "promote": lambda: controller.promote(
            settings.release_version,
            approved=settings.release_approved,
            strategy=Strategy(settings.release_strategy),
            wait_seconds=settings.release_wait_seconds,
        ),
        "advance": lambda: controller.advance(whatever_the_evidence_says=settings.release_forced),
        "abort": lambda: controller.abort(reason),
        "rollback": lambda: controller.rollback(reason),
    }


def _told(status: Status, before: Record | None) -> Outcome:
    """A release that this very command saw aborted is a failure; one of long ago is none."""
    release = status.release
    aborted = release is not None and release.state is State.ABORTED
    seen = None if before is None or before.state is not State.ABORTED else before.id
    failed = aborted and release is not None and release.id != seen
    return Outcome(ok=not failed, message=describe(status), status=status)


def describe(status: Status) -> str:
    """The status for people, a line for each thing."""
    lines: list[str] = []
    release = status.release
    if release is not None and release.under_way:
        step = f", step {release.step + 1}" if release.state is State.CANARY else ""
        lines.append(
            f"version {release.version} is being released: {release.state.value}{step}, "
            f"{release.share} % of the traffic, since {release.entered_at:%Y-%m-%d %H:%M} UTC"
        )
        lines.append(f"it {_lower(status.waits_for)}")
        for verdict in release.verdicts[-3:]:
            window = verdict.window
            said = "; ".join(verdict.breaches) or "clean"
            lines.append(
                f"  {window.start:%H:%M:%S} to {window.end:%H:%M:%S}, "
                f"{window.challenger.requests} requests: {said}"
            )
    elif release is not None and status.watched_until is not None:
        lines.append(
            f"version {release.version} is watched until {status.watched_until:%Y-%m-%d %H:%M} "
            f"UTC: evidence against it makes version {status.previous} champion again"
        )
    elif release is not None and release.state in (State.ABORTED, State.ROLLED_BACK):
        lines.append(f"version {release.version} was {_words(release.state)}: {release.reason}")
    lines += [
        f"version {one.version}{_names(one.version, status)}: {one.share} % of the traffic"
        for one in status.served
    ]
    return "\n".join(lines or [f"no model of {status.product} is deployed"])


def _lower(text: str) -> str:
    return text if text.startswith("waits") else f"waits for {text}"


def _words(state: State) -> str:
    return state.value.replace("_", " ")


def _names(version: str, status: Status) -> str:
    names = [
        name
        for name, holder in (("champion", status.champion), ("previous", status.previous))
        if holder == version
    ]
    return f" ({', '.join(names)})" if names else ""


def write(product: Product, execution: str, outcome: Outcome) -> str:
    """Keep the outcome of a job's execution where whoever started it can read it; its place."""
    folder = Folder.of(product, FOLDER)
    name = f"{execution or 'last'}.json"
    folder.write_json(name, outcome)
    return f"{folder.uri}/{name}"


def read(product: Product, execution: str) -> Outcome | None:
    """The outcome of an execution; none where it did not get to write one."""
    try:
        return Folder.of(product, FOLDER).read_json(f"{execution}.json", Outcome)
    except ArtifactNotFound:
        return None

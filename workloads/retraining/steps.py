"""What a run does to the platform: trains, asks the gate, hands over to the release controller.

Each may be repeated after it was killed, and finds what it did before.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from workloads.database import DatabaseSettings
from workloads.product import Product
from workloads.retraining.runs import Run
from workloads.retraining.settings import RetrainingSettings

Progress = Callable[[str], None]


class RunFailed(Exception):
    """The run ends without a model that serves; trying again would end the same."""


class Standing(StrEnum):
    """How far a release has come."""

    RELEASED = "released"
    """It has all traffic."""
    UNDER_WAY = "under way"
    """The release controller waits for evidence."""
    STOPPED = "stopped"
    """By its evidence, or a person."""
    BLOCKED = "blocked"
    """Another release of the product is under way."""
    UNJUDGED = "unjudged"
    """The champion has changed since the gate approved."""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What the gate says."""

    approved: bool
    why: str
    champion: bool = False
    """Whether it serves already, so that there was nothing to judge."""
    evidence: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, kw_only=True)
class Released:
    """What the release controller says."""

    standing: Standing
    why: str


class Steps(Protocol):
    """The edge of the controller."""

    def train(self, run: Run) -> str:
        """The registered version of a run, trained now unless it was before.

        Raises:
            RunFailed: there is none.
        """
        ...

    def judge(self, run: Run) -> Judged:
        """The gate's decision on the run's version against the present champion.

        Raises:
            RunFailed: the version is not what its hash says.
        """
        ...

    def release(self, run: Run) -> Released:
        """Hand the version over, unless that was done before.

        Raises:
            RunFailed: it cannot be deployed.
        """
        ...

    def look(self, run: Run) -> Released:
        """How far its release has come; changes nothing."""
        ...


class PlatformSteps:
    """On Vertex AI, the gate and the release controller.

    Args:
        product: The declaration.
        settings: Of this process.
        database: Where releases are kept.
        on_progress: Told of each step.
    """

    def __init__(
        self,
        product: Product,
        settings: RetrainingSettings,
        database: DatabaseSettings,
        on_progress: Progress = lambda _: None,
    ) -> None:
        self._product = product
        self._settings = settings
        self._database = database
        self._say = on_progress

    def train(self, run: Run) -> str:
        from workloads.training.run import InvalidRun, TrainingRun, code_version
        from workloads.training.submit import TrainingFailed, submit

        given = self._settings
        try:
            training = TrainingRun(
                product=self._product,
                start=run.learn_from,
                split=run.hold_out_from,
                end=run.read_until,
                training_image=given.training_image,
                serving_image=given.serving_image,
                name=run.name,
                code_version=code_version(),
                service_account=given.service_account,
                tracking=given.mlflow_tracking_uri.rstrip("/"),
            )
            return submit(
                training,
                on_progress=lambda one: self._say(f"{one.step}: {one.state.lower()}"),
            ).version
        except (InvalidRun, TrainingFailed) as error:
            raise RunFailed(str(error)) from error

    def judge(self, run: Run) -> Judged:
        from workloads.features.snapshot import SnapshotAltered
        from workloads.gate.decision import NoCommonHoldout, NothingToDecide, decide
        from workloads.registry import NoSuchVersion
        from workloads.scoring import ModelRefused

        try:
            decision = decide(self._product, _version(run), asked_by=f"retraining run {run.name}")
        except NothingToDecide as error:
            return Judged(approved=True, champion=True, why=str(error))
        except NoCommonHoldout as error:
            return Judged(approved=False, why=str(error))
        except (ModelRefused, NoSuchVersion, SnapshotAltered) as error:
            raise RunFailed(str(error)) from error
        told = decision.reasons
        if not decision.approved:
            told = [one for one in told if one.startswith("fails")] or told
        return Judged(
            approved=decision.approved,
            why="; ".join(told),
            evidence={
                "record": decision.record,
                "rows": decision.rows,
                "reasons": decision.reasons,
            },
        )

    def release(self, run: Run) -> Released:
        from workloads.gate.decision import NoCommonHoldout
        from workloads.registry import NoSuchVersion
        from workloads.release import store as releases
        from workloads.release.approval import NotApproved
        from workloads.release.endpoint import NoEndpoint
        from workloads.release.smoke import SmokeTestFailed
        from workloads.release.targets import DeployFailed, InvalidSplit
        from workloads.scoring import ModelRefused

        with releases.opened(self._database, self._settings.retraining_actor or run.name) as store:
            before = self._standing(store, run)
            # What this very run began before it was killed is looked at, not begun again: evidence
            # may have stopped it meanwhile.
            if before is not None and before.standing is not Standing.UNDER_WAY:
                return before
            try:
                if self._settings.retraining_releases == "here":
                    self._promote(store, run)
                elif before is None:
                    self._hand_over(store, run)
            except (NotApproved, NoCommonHoldout) as error:
                return Released(standing=Standing.UNJUDGED, why=str(error))
            except (releases.Busy, releases.Overtaken) as error:
                return Released(standing=Standing.BLOCKED, why=str(error))
            except (
                DeployFailed,
                InvalidSplit,
                ModelRefused,
                NoEndpoint,
                NoSuchVersion,
                SmokeTestFailed,
            ) as error:
                raise RunFailed(f"version {run.version} cannot be released: {error}") from error
            return self._standing(store, run) or Released(
                standing=Standing.BLOCKED, why="the release controller knows nothing of it yet"
            )

    def look(self, run: Run) -> Released:
        from workloads.release import store as releases

        with releases.opened(self._database, self._settings.retraining_actor or run.name) as store:
            return self._standing(store, run) or Released(
                standing=Standing.STOPPED,
                why=f"nothing is known of a release of version {run.version}",
            )

    def _promote(self, store: Any, run: Run) -> None:
        from workloads.release.controller import Controller

        Controller(
            self._product,
            store,
            service_account=self._settings.serving_service_account or None,
            on_progress=self._say,
        ).promote(_version(run), strategy=run.strategy)

    def _hand_over(self, store: Any, run: Run) -> None:
        """Open a release, which the product's release job goes on with: this identity may not."""
        from datetime import UTC, datetime

        from workloads.registry import CHAMPION, Registry
        from workloads.release.approval import require_approval

        name = self._product.name
        with store.alone(name):
            registry = Registry(self._product)
            champion = registry.find(CHAMPION)
            version = registry.get(_version(run))
            require_approval(self._product, version, champion)
            store.begin(
                name,
                version.number,
                None if champion is None else champion.number,
                target=self._product.serving.target.value,
                strategy=run.strategy,
                reason=f"retraining run {run.name}, approved by the gate",
                now=datetime.now(UTC),
            )

    def _standing(self, store: Any, run: Run) -> Released | None:
        from workloads.release.states import UNDER_WAY, State

        record = store.last(self._product.name, _version(run), *State)
        if record is None:
            return None
        if record.state in (State.FULL, State.RETIRED):
            return Released(
                standing=Standing.RELEASED, why=f"version {record.version} has all traffic"
            )
        if record.state in UNDER_WAY:
            why = f"version {record.version} is {record.state}, {record.share} % of the traffic"
            return Released(standing=Standing.UNDER_WAY, why=why)
        return Released(
            standing=Standing.STOPPED,
            why=f"the release of version {record.version} was {record.state}: {record.reason}",
        )


def _version(run: Run) -> str:
    if run.version is None:
        raise RunFailed(f"run {run.name} is {run.state} and has no version")
    return run.version

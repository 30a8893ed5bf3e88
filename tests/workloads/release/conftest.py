"""PostgreSQL for the records of releases, and fakes at the edge of everything else."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from localcloud.home import Home
from localcloud.services.postgres.client import connected
from tests.workloads.local_cloud import ACCOUNTS
from workloads.database import DatabaseSettings
from workloads.manifest import Example
from workloads.product import Product
from workloads.release.controller import Controller
from workloads.release.judgement import Side, Window
from workloads.release.policy import ReleasePolicy, ServingTarget
from workloads.release.store import Store, opened
from workloads.release.targets import Asked, DeployFailed, Served, check_split

USERS = ACCOUNTS


@pytest.fixture
def database(_records: Home, monkeypatch: pytest.MonkeyPatch) -> DatabaseSettings:
    """An empty database, as the workload of one product reaches it."""
    monkeypatch.setenv("CLOUD_SQL_EMULATOR_HOST", _records.endpoints().address("postgres"))
    with connected(_records, "esteira") as connection:
        connection.execute("DROP SCHEMA IF EXISTS release CASCADE")
    return settings_of(USERS[0])


def settings_of(user: str) -> DatabaseSettings:
    return DatabaseSettings(database_host="127.0.0.1", database_name="esteira", database_user=user)


@pytest.fixture
def store(database: DatabaseSettings) -> Iterator[Store]:
    with opened(database, "ana@laptop") as one:
        # No test here kills PostgreSQL, and waiting for a disk is most of what they would do.
        one._connection.execute("SET synchronous_commit = off")
        yield one


class Killed(BaseException):
    """As SIGKILL would, it lets no handler run that catches exceptions."""


class Death:
    """Kills at the n-th act, before it or after it."""

    def __init__(self) -> None:
        self.at: tuple[int, str] | None = None
        self.acts: list[str] = []

    @contextmanager
    def around(self, act: str) -> Iterator[None]:
        number = len(self.acts)
        self.acts.append(act)
        if self.at == (number, "before"):
            raise Killed(act)
        try:
            yield
        finally:
            if self.at == (number, "after"):
                raise Killed(act)


@dataclasses.dataclass
class Folder:
    examples: list[Example]

    def read_json(self, name: str, kind: Any) -> Any:
        return self.examples


@dataclasses.dataclass
class Manifest:
    answered: dict[str, str] = dataclasses.field(default_factory=lambda: {"probability": "value"})


@dataclasses.dataclass
class Version:
    number: str
    folder: Folder = dataclasses.field(
        default_factory=lambda: Folder([Example(instance={"x": 1}, value=0.25)])
    )

    def manifest(self) -> Manifest:
        return Manifest()


class Versions:
    """The Model Registry: numbers and aliases."""

    def __init__(self, death: Death, *numbers: str) -> None:
        self.death = death
        self.versions = {number: Version(number) for number in numbers}
        self.aliases: dict[str, str] = {}
        self.states: dict[str, str] = {}

    def find(self, version: str) -> Any:
        return self.versions.get(self.aliases.get(version, version))

    def get(self, version: str) -> Any:
        found = self.find(version)
        assert found is not None, version
        return found

    def move(self, alias: str, version: Any) -> None:
        with self.death.around(f"move {alias}"):
            self.aliases[alias] = version.number

    def drop(self, alias: str) -> None:
        with self.death.around(f"drop {alias}"):
            self.aliases.pop(alias, None)

    def mark(self, version: Any, state: str) -> None:
        with self.death.around(f"mark {version.number} {state}"):
            self.states[version.number] = state


class FakeTarget:
    """What Vertex AI and the others have in common, in memory; refuses what they refuse."""

    kind = ServingTarget.VERTEX
    name = "fake"

    def __init__(self, death: Death, *, beside: bool) -> None:
        self.death = death
        self.beside = beside
        self.shares: dict[str, int] = {}
        self.splits: list[dict[str, int]] = []
        self.sick: dict[str, Exception] = {}
        """By version: what its deployment ends with."""
        self.wrong: set[str] = set()
        """Versions that answer otherwise than when they were evaluated."""

    def served(self) -> list[Served]:
        return [
            Served(version=version, share=share, id=f"d{version}")
            for version, share in self.shares.items()
        ]

    def deploy(self, version: Any, within: timedelta) -> None:
        with self.death.around(f"deploy {version.number}"):
            if version.number in self.shares:
                return
            if error := self.sick.get(version.number):
                raise error
            self.shares[version.number] = 0 if self.shares else 100

    def split(self, shares: Mapping[str, int]) -> None:
        with self.death.around(f"split {dict(shares)}"):
            kept = check_split(shares, list(self.shares))
            self.shares = {one: kept.get(one, 0) for one in self.shares}
            self.splits.append(kept)

    def ask(self, version: str, instances: Sequence[dict[str, Any]]) -> Asked:
        with self.death.around(f"ask {version}"):
            assert self.beside or self.shares[version] > 0, "it would not be reached"
            value = 0.75 if version in self.wrong else 0.25
            return Asked(
                predictions=tuple({"probability": value} for _ in instances),
                latencies=(1.0,),
                errors=(),
            )

    def tidy(self, keep: Collection[str]) -> None:
        with self.death.around(f"tidy all but {sorted(keep)}"):
            for version, share in sorted(self.shares.items(), key=lambda one: one[1]):
                if version not in keep and (not share or len(self.shares) == 1):
                    del self.shares[version]


class FakeEvidence:
    """Windows as told, one after the other; then nothing."""

    def __init__(self) -> None:
        self.windows: list[Callable[[datetime, datetime], Window]] = []

    def window(
        self, challenger: str, champion: str | None, start: datetime, end: datetime
    ) -> Window:
        if self.windows:
            return self.windows.pop(0)(start, end)
        none = Side(version=challenger, requests=0, errors=0)
        return Window(start=start, end=end, challenger=none, champion=None)


class FakeRehearsal:
    """Drifts as told, one after the other; then always the same."""

    def __init__(self) -> None:
        self.drift = 0.0
        self.first: list[float] = []

    def window(self, target: Any, challenger: Any, champion: Any, now: datetime) -> Window:
        side = Side(version=challenger.number, requests=500, errors=0)
        drift = self.first.pop(0) if self.first else self.drift
        return Window(
            start=now, end=now, challenger=side, champion=None, drift=drift, source="hold-out"
        )


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 11, 21, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def pass_(self, **span: float) -> None:
        self.now += timedelta(**span)


POLICY = ReleasePolicy(evidence_requests=100, step_time=timedelta(minutes=1))


class Stage:
    """One product with everything around its controller faked but the records."""

    def __init__(self, product: Product, store: Store, *, beside: bool = False) -> None:
        self.product = dataclasses.replace(product, release=POLICY)
        self.store = store
        self.death = Death()
        self.versions = Versions(self.death, "1", "2", "3")
        self.target = FakeTarget(self.death, beside=beside)
        self.evidence = FakeEvidence()
        self.rehearsal = FakeRehearsal()
        self.clock = Clock()
        self.unapproved: set[str] = set()

    def controller(self, store: Store | None = None) -> Controller:
        return Controller(
            self.product,
            store or self.store,
            target=self.target,
            registry=self.versions,
            evidence=self.evidence,
            rehearsal=self.rehearsal,
            approval=lambda *_: None,
            clock=self.clock,
        )

    def serve(self, version: str = "1") -> None:
        """The version is champion, and has all traffic."""
        self.controller().promote(version)
        self.death.acts.clear()

    def tell(self, count: int = 1, **figures: Any) -> None:
        """Windows of evidence that are to come."""
        for _ in range(count):
            self.evidence.windows.append(lambda start, end: window(start, end, **figures))

    def state(self) -> dict[str, Any]:
        record = self.store.find(self.product.name) or self.store.latest(self.product.name)
        return {
            "state": None if record is None else record.state.value,
            "intent": None if record is None else record.intent,
            "shares": {one: share for one, share in self.target.shares.items() if share},
            "champion": self.versions.aliases.get("champion"),
            "default": self.versions.aliases.get("default"),
            "previous": self.versions.aliases.get("previous"),
        }


def window(
    start: datetime,
    end: datetime,
    *,
    requests: int = 200,
    errors: int = 0,
    p95: float | None = 10.0,
    drift: float | None = 0.01,
    guard: float | None = None,
    champion: Mapping[str, Any] | None = None,
) -> Window:
    """A window; clean unless told otherwise."""
    reference = {"requests": 2000, "errors": 0, "p95": 10.0, **(champion or {})}
    return Window(
        start=start,
        end=end,
        challenger=Side(version="2", requests=requests, errors=errors, p95=p95, guard=guard),
        champion=Side(version="1", **reference),
        drift=drift,
    )


@pytest.fixture
def stage(product: Product, store: Store) -> Stage:
    """A target that, like Vertex AI, answers only with versions that have traffic."""
    return Stage(product, store)


@pytest.fixture
def stage_beside(product: Product, store: Store) -> Stage:
    """A target that, like Cloud Run, has an address for a version without traffic."""
    return Stage(product, store, beside=True)


def sick(version: str = "2") -> DeployFailed:
    return DeployFailed(f"version {version}: Model server never became ready")

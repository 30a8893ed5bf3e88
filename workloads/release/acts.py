"""What each transition does: to the target, and to the aliases of the Model Registry.

Every act may be repeated, and ends in the same state from wherever an earlier one was killed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from workloads.product import Product
from workloads.registry import CHALLENGER, CHAMPION, DEFAULT, PREVIOUS, Version
from workloads.release.records import Record
from workloads.release.smoke import smoke_test
from workloads.release.states import State, Transition
from workloads.release.targets import DeployFailed, Target

Progress = Callable[[str], None]


class Versions(Protocol):
    """What releases need of the Model Registry."""

    def find(self, version: str) -> Version | None: ...
    def get(self, version: str) -> Version: ...
    def move(self, alias: str, version: Version) -> None: ...
    def drop(self, alias: str) -> None: ...
    def mark(self, version: Version, state: str) -> None: ...


class Acts:
    """Acts on one product's target and registry."""

    def __init__(
        self, product: Product, target: Target, registry: Versions, on_progress: Progress
    ) -> None:
        self._product = product
        self._target = target
        self._registry = registry
        self._say = on_progress

    def carry_out(self, record: Record, intent: Transition) -> None:
        """Do what was intended of a release.

        Raises:
            SmokeTestFailed, DeployFailed: the version, or the one to return to, does not serve.
        """
        if intent.to is State.SHADOW:
            self._deploy(record)
            self._smoke(record, on=self._target.beside)
        elif intent.to is State.CANARY:
            fresh = record.state is not State.CANARY
            self._deploy(record)
            self._smoke(record, on=fresh and self._target.beside)
            rest = {} if record.champion is None else {record.champion: 100 - intent.share}
            self._target.split({**rest, record.version: intent.share})
            self._smoke(record, on=fresh and not self._target.beside)
        elif intent.to is State.FULL:
            self._deploy(record)
            self._smoke(record, on=self._target.beside)
            self._target.split({record.version: 100})
            self._smoke(record, on=not self._target.beside)
            self._crown(record.version, record.champion)
        elif record.state is State.FULL:
            self._return(record)
        else:
            self.back(record)

    def mark(self, record: Record) -> None:
        """Have the registry say of each version how far its release has come."""
        intent = record.intent
        if intent is None:
            return
        share = f"-{intent.share}" if intent.to is State.CANARY else ""
        states = {record.version: f"{intent.to.value}{share}"}
        for alias, state in ((CHAMPION, State.FULL), (PREVIOUS, State.RETIRED)):
            holder_of = self._registry.find(alias)
            if holder_of is not None:
                states.setdefault(holder_of.number, state.value)
        for number, state in states.items():
            version = self._registry.find(number)
            if version is not None:
                self._registry.mark(version, state)

    def _deploy(self, record: Record) -> None:
        version = self._registry.get(record.version)
        self._target.deploy(version, self._product.release.deploy_time)

    def _smoke(self, record: Record, *, on: bool) -> None:
        if on:
            self._say(f"asking version {record.version} for rows of the hold-out")
            smoke_test(self._product, self._target, self._registry.get(record.version))

    def _crown(self, version: str, before: str | None) -> None:
        """Give the aliases to the new champion, and take away what is neither it nor before."""
        registry = self._registry
        new = registry.get(version)
        old = None if before is None else registry.find(before)
        if old is not None:
            registry.move(PREVIOUS, old)
        registry.move(CHAMPION, new)
        registry.move(DEFAULT, new)
        self._target.tidy({version} if old is None else {version, old.number})
        # Last, since what was killed before finds its way by them.
        for alias in (CHALLENGER, PREVIOUS):
            holder_of = registry.find(alias)
            if holder_of is not None and holder_of.number == version:
                registry.drop(alias)

    def back(self, record: Record) -> None:
        """All traffic to whoever served before the release began; the challenger goes."""
        registry, target = self._registry, self._target
        champion = registry.find(CHAMPION)
        if champion is not None and champion.number == record.version:
            # It was stopped between getting the alias and the end.
            champion = None if record.champion is None else registry.find(record.champion)
            if champion is None:
                registry.drop(CHAMPION)
            else:
                registry.move(CHAMPION, champion)
                registry.move(DEFAULT, champion)
        keep = {one.number for one in (champion, registry.find(PREVIOUS)) if one is not None}
        if champion is not None:
            target.deploy(champion, self._product.release.deploy_time)
            target.split({champion.number: 100})
        target.tidy(keep - {record.version})
        previous = registry.find(PREVIOUS)
        if champion is not None and previous is not None and previous.number == champion.number:
            registry.drop(PREVIOUS)

    def _return(self, record: Record) -> None:
        """Make the version before the champion again."""
        registry = self._registry
        champion = registry.find(CHAMPION)
        before = registry.find(PREVIOUS)
        if before is None and champion is not None and champion.number != record.version:
            before = champion  # it was killed after its last step
        if before is None:
            raise DeployFailed(f"no version of {self._product.name} is kept as `{PREVIOUS}`")
        self._target.deploy(before, self._product.release.deploy_time)
        if self._target.beside:
            smoke_test(self._product, self._target, before)
        self._target.split({before.number: 100})
        if not self._target.beside:
            smoke_test(self._product, self._target, before)
        self._crown(before.number, None)

    def stay(self, record: Record) -> None:
        """A roll-back has failed: the champion has all traffic again."""
        version = self._registry.get(record.version)
        self._target.deploy(version, self._product.release.deploy_time)
        self._target.split({record.version: 100})

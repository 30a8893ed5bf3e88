"""Take the challenger to the gate, and write down what was decided and why."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import msgspec

from workloads import telemetry
from workloads.artifacts import Folder
from workloads.features.snapshot import thaw
from workloads.gate.judgement import Judgement, judge
from workloads.manifest import Data, Manifest
from workloads.product import Product
from workloads.registry import CHALLENGER, CHAMPION, Registry, Version
from workloads.training.data import MINIMUM_ROWS, labels
from workloads.training.evaluation import slices

if TYPE_CHECKING:
    import pyarrow as pa


log: Final = logging.getLogger("esteira.gate")


class NothingToDecide(Exception):
    """There is no challenger that is not the champion already."""


class NoCommonHoldout(Exception):
    """The champion has learned from so much of the hold-out that too little is left to judge by."""


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """One of the two models."""

    version: str
    run: str
    model_sha256: str
    trained_until: datetime
    code_version: str


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What was decided, with everything needed to decide it again."""

    product: str
    decided_at: datetime
    approved: bool
    challenger: Side
    champion: Side | None
    holdout: Data
    """The frozen rows; those before either model's `trained_until` were left out."""
    rows: int
    """Judged by."""
    judgement: Judgement
    record: str
    """Where the decision is written, `gs://….json`; the same in Markdown beside it."""

    @property
    def reasons(self) -> list[str]:
        """One sentence a check; those that failed first."""
        checks = sorted(self.judgement.checks, key=lambda one: one.passed)
        return [f"{'passes' if one.passed else 'fails'}: {one.reason}" for one in checks]


@dataclass(frozen=True)
class _Contender:
    version: Version
    manifest: Manifest

    @classmethod
    def of(cls, version: Version) -> _Contender:
        return cls(version, version.manifest())

    def side(self) -> Side:
        return Side(
            version=self.version.number,
            run=self.manifest.run,
            model_sha256=self.manifest.model_sha256,
            trained_until=self.manifest.training.end,
            code_version=self.manifest.code_version,
        )


def decide(product: Product, challenger: str = CHALLENGER) -> Decision:
    """Score champion and challenger on the challenger's frozen hold-out, and record the decision.

    Nothing is released: `workloads.release` does that, and asks for the decision.

    Args:
        challenger: an alias or a number of a version.

    Raises:
        NoSuchVersion: there is no such version.
        NothingToDecide: it is the champion already.
        NoCommonHoldout: too few rows are new to both models.
        ModelRefused, SnapshotAltered: an artefact is not what its hash says.
    """
    registry = Registry(product)
    new = _Contender.of(registry.get(challenger))
    champion = registry.find(CHAMPION)
    if champion is not None and champion.number == new.version.number:
        raise NothingToDecide(
            f"version {champion.number} of {product.name} is the champion already; train another"
        )
    old = None if champion is None else _Contender.of(champion)
    holdout = new.manifest.holdout
    rows = thaw(holdout.uri, holdout.sha256)
    if old is not None:
        rows = _unseen(product, rows, old.manifest)
    truth = labels(product, rows)
    judgement = judge(
        product.gate,
        truth,
        new.version.scorer(product).table(rows),
        None if old is None else old.version.scorer(product).table(rows),
        slices(product, rows, truth),
        task=product.task,
    )
    return _record(product, new, old, rows.num_rows, judgement)


def _unseen(product: Product, rows: pa.Table, champion: Manifest) -> pa.Table:
    """The rows that the champion has not learned from, in which it would look better than it is."""
    times = rows.column(product.features.event_time).to_pylist()
    unseen = rows.filter([time >= champion.training.end for time in times])
    if unseen.num_rows < MINIMUM_ROWS:
        raise NoCommonHoldout(
            f"of {rows.num_rows} rows held out, {unseen.num_rows} are later than "
            f"{champion.training.end.isoformat()}, until when the champion was trained; at least "
            f"{MINIMUM_ROWS} are needed: hold out a later range"
        )
    return unseen


_FOLDER: Final = "decisions"


def _record(
    product: Product, new: _Contender, old: _Contender | None, rows: int, judgement: Judgement
) -> Decision:
    folder = Folder.of(product, _FOLDER)
    against = "none" if old is None else old.version.number
    name = f"{new.manifest.run}-against-{against}"
    decision = Decision(
        product=product.name,
        decided_at=datetime.now(UTC),
        approved=judgement.passed,
        challenger=new.side(),
        champion=None if old is None else old.side(),
        holdout=new.manifest.holdout,
        rows=rows,
        judgement=judgement,
        record=f"{folder.uri}/{name}.json",
    )
    folder.write(f"{name}.md", markdown(decision), "text/markdown; charset=utf-8")
    folder.write_json(f"{name}.json", decision)
    log.info(telemetry.GATE_DECISION, product.name, decision.approved)
    return decision


def markdown(decision: Decision) -> str:
    """The decision for people."""
    judgement, champion = decision.judgement, decision.champion
    verdict = "is approved" if decision.approved else "is rejected"
    title = f"# Version {decision.challenger.version} of {decision.product} {verdict}"
    against = f"against version {champion.version}" if champion else "as the first model"
    told = (
        f"Judged {decision.decided_at:%Y-%m-%d %H:%M:%S} UTC {against}, on {decision.rows:,} rows "
        f"of the frozen hold-out `{decision.holdout.sha256[:16]}` ({decision.holdout.uri})."
    )
    lines = [
        title,
        "",
        told,
        "",
        f"| | version | {judgement.metric} | 95 % interval | code | model |",
        "|---|---|---|---|---|---|",
    ]
    sides = [("challenger", decision.challenger, judgement.challenger)]
    if champion and judgement.champion:
        sides.append(("champion", champion, judgement.champion))
    lines += [
        f"| {name} | {side.version} | {score.value:.4f} | {score.low:.4f} to {score.high:.4f} | "
        f"{side.code_version} | `{side.model_sha256[:16]}` |"
        for name, side, score in sides
    ]
    lines += ["", "| check | | why |", "|---|---|---|"]
    lines += [
        f"| {one.name} | {'passes' if one.passed else '**fails**'} | {one.reason} |"
        for one in judgement.checks
    ]
    return "\n".join([*lines, ""])


def read(product: Product, challenger: Version, champion: Version | None) -> Decision | None:
    """The recorded decision on a challenger against a champion, or none."""
    from workloads.artifacts import ArtifactNotFound

    against = "none" if champion is None else champion.number
    name = f"{challenger.manifest().run}-against-{against}.json"
    try:
        return Folder.of(product, _FOLDER).read_json(name, Decision)
    except ArtifactNotFound:
        return None

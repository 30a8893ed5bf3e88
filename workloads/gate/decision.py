"""Take the challenger to the gate, and write down what was decided and why."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from workloads import telemetry
from workloads.features.snapshot import thaw
from workloads.gate import leaks as leak
from workloads.gate import record
from workloads.gate.asker import asker
from workloads.gate.fairness import GroupDifference, difference
from workloads.gate.guard import guard
from workloads.gate.judgement import (
    Check,
    extended,
    fairness_check,
    judge,
    leak_checks,
    skew_check,
)
from workloads.gate.plots import plots
from workloads.gate.record import Decision, Side
from workloads.gate.shift import shifts
from workloads.gate.skew import compare
from workloads.manifest import PROFILE, Manifest
from workloads.product import Product
from workloads.registry import CHALLENGER, CHAMPION, Registry, Version
from workloads.scoring import Answers
from workloads.training.data import MINIMUM_ROWS, labels
from workloads.training.evaluation import slices
from workloads.training.run import code_version

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

__all__ = ["Decision", "NoCommonHoldout", "NothingToDecide", "Side", "decide", "read"]

log: Final = logging.getLogger("esteira.gate")


class NothingToDecide(Exception):
    """There is no challenger that is not the champion already."""


class NoCommonHoldout(Exception):
    """The champion has learned from so much of the hold-out that too little is left to judge by."""


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


def decide(
    product: Product, challenger: str = CHALLENGER, *, asked_by: str | None = None
) -> Decision:
    """Score champion and challenger on the challenger's frozen hold-out, and record the decision.

    Nothing is released: `workloads.release` does that, and asks for the decision.

    Args:
        product: the declaration.
        challenger: an alias or a number of a version.
        asked_by: for the record; what the environment tells when not given.

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
    guarded = guard(product, holdout, rows)
    if old is not None:
        rows = _unseen(product, rows, old.manifest)
    truth = labels(product, rows)
    scorer = new.version.scorer(product)
    answers = scorer.table(rows)
    before = None if old is None else old.version.scorer(product).table(rows)
    judgement = judge(
        product.gate,
        truth,
        answers,
        before,
        slices(product, rows, truth),
        task=product.task,
        # As the feature query yields them.
        in_order_of_time=True,
        noise=new.manifest.noise,
    )
    told = leak.look(product, rows, truth, answers, scorer, guarded)
    skew = compare(product, scorer, rows)
    groups, fairness = _fairness(product, rows, truth, answers, new.manifest)
    judgement = extended(judgement, [*fairness, *leak_checks(told), skew_check(skew)])
    drawn = plots(product.task, product.gate, truth, answers, before, judgement)
    stem = record.name(None if old is None else old.version.number)
    drawn = {f"{stem}-{name}": content for name, content in drawn.items()}
    decision = Decision(
        product=product.name,
        decided_at=datetime.now(UTC),
        approved=judgement.passed,
        challenger=new.side(),
        champion=None if old is None else old.side(),
        holdout=holdout,
        rows=rows.num_rows,
        judgement=judgement,
        record=f"{new.version.folder.uri}/{record.FOLDER}/{stem}.json",
        asked_by=asker() if asked_by is None else asked_by,
        code_version=code_version(),
        thresholds=msgspec.json.decode(msgspec.json.encode(asdict(product.gate))),
        leaks=told,
        skew=skew,
        groups=groups,
        shifts=shifts(new.version.folder.read_json(PROFILE, dict[str, Any]), rows),
        plots=tuple(drawn),
    )
    record.write(registry, new.version, decision, drawn)
    log.info(telemetry.GATE_DECISION, product.name, decision.approved)
    return decision


def read(product: Product, challenger: Version, champion: Version | None) -> Decision | None:
    """The recorded decision on a challenger against a champion, or none."""
    del product  # the version knows where it lies
    return record.read(challenger, None if champion is None else champion.number)


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


def _fairness(
    product: Product, rows: pa.Table, truth: NDArray[Any], answers: Answers, manifest: Manifest
) -> tuple[GroupDifference | None, list[Check]]:
    fairness = product.gate.fairness
    if fairness is None:
        return None, []
    groups = np.array([str(one) for one in rows.column(fairness.column).to_pylist()], dtype=object)
    found = difference(fairness, groups, truth, answers, manifest.threshold)
    return found, [fairness_check(product.gate, found)]

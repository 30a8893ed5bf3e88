"""Measures one window of one product: everything that BigQuery and the model can say about it.

Only reads. What cannot be measured is unknown, with the reason; a column that is not there is a
fault of the schema, and no crash.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

import msgspec
import numpy as np

from workloads import contracts
from workloads.artifacts import ArtifactNotFound, Folder
from workloads.features.query import FeatureQuery
from workloads.metrics import NotScorable
from workloads.monitoring import concept, estimation, histogram_query, performance, served, tables
from workloads.monitoring.assessment import FeatureScore, Verdict, assess
from workloads.monitoring.champion import Champion, columns
from workloads.monitoring.counting import MissingColumn
from workloads.monitoring.histogram_query import PREDICTED
from workloads.monitoring.performance import Outcomes, Performance
from workloads.monitoring.reference import Histogram, Reference, of_window
from workloads.monitoring.served import Service
from workloads.monitoring.thresholds import ADWIN, AGE_HOURS, stale_hours, thresholds
from workloads.monitoring.window import Window
from workloads.product import Product, Task

log = logging.getLogger(__name__)

LOSS_ROWS: Final = 20_000
"""Rows of a window that the loss of a regression is estimated from; more change nothing."""
_NAMED: Final = re.compile(
    r"(?:Unrecognized name:?\s*[`\"']?|Referenced column\s+[`\"'])(?P<name>[\w.]+)"
)


@dataclass(frozen=True, kw_only=True)
class Rated:
    """How good the answers of a window were, or are estimated to be."""

    performance: Performance
    version: str
    """That answered."""
    estimated: bool = False


@dataclass(kw_only=True)
class Measured:
    """One window, as it was found."""

    version: str
    window: Window
    at: datetime
    scores: dict[str, list[FeatureScore]] = field(default_factory=dict[str, list[FeatureScore]])
    """By what they were held against, `tables.REFERENCES`."""
    before: dict[str, Reference] = field(default_factory=dict[str, Reference])
    counts: dict[str, Mapping[str, Histogram]] = field(
        default_factory=dict[str, Mapping[str, Histogram]]
    )
    """Of the same, all rows: the distributions before and after."""
    rated: list[Rated] = field(default_factory=list[Rated])
    service: Service = field(default_factory=Service)
    faults: tuple[str, ...] = ()
    """Columns that are missing, a sentence each."""
    missing: tuple[str, ...] = ()
    """Their names."""

    def of(self, reference: str) -> list[FeatureScore]:
        """The scores against one reference."""
        return self.scores.get(reference, [])

    @property
    def all(self) -> list[tuple[str, FeatureScore]]:
        """Every score, with what it was held against."""
        return [(name, one) for name, found in self.scores.items() for one in found]


def measure(
    champion: Champion,
    window: Window,
    *,
    at: datetime,
    earlier: Sequence[tuple[str, Window]] = (),
) -> Measured:
    """Everything about one window.

    Args:
        champion: the model that is watched.
        window: of the questions' event time.
        at: the moment of measuring, by which labels are mature or not.
        earlier: versions and windows whose labels were not all there when they were measured last.
    """
    product = champion.product
    found = Measured(version=champion.number, window=window, at=at)
    found.service = served.service(product, window, at=at)
    _schema(champion, found)
    _data(champion, found)
    _served(champion, found)
    outcomes = _outcomes(found, product, window, champion.number)
    _answers(champion, found, outcomes)
    _performance(champion, found, outcomes)
    _concept(champion, found, outcomes)
    _freshness(product, found)
    for version, past in earlier:
        again = _outcomes(found, product, past, version, earlier=True)
        if again is not None:
            score = performance.measure(product, again, past, at=at)
            found.rated.append(Rated(performance=score, version=version))
    return found


def _schema(champion: Champion, found: Measured) -> None:
    """What the model learned from and the product no longer has."""
    names = {one.name for one in contracts.fields(champion.product.features.request)}
    absent = [one.name for one in champion.features.features if one.name not in names]
    if absent:
        found.missing = tuple(absent)
        text = (
            f"the model learned from {absent}, which the contract of {champion.product.name} no "
            "longer has; train it again, or name them as they were"
        )
        found.faults = (text,)


def _known(champion: Champion, found: Measured) -> Reference:
    there = {one.name for one in champion.features.features} - set(found.missing)
    return champion.features.only(there)


def _data(champion: Champion, found: Measured) -> None:
    product, window = champion.product, found.window
    source = histogram_query.raw(product, window)
    reference = _known(champion, found)
    slices = [one for one in product.monitoring.slices if one not in found.missing]
    parts: list[_Part] = []
    counts: Mapping[str, Histogram] | None = None
    for column in slices:
        both = _guarded(found, partial(histogram_query.count_parts, reference, source, column))
        if both is None:
            break
        counts = both[0]
        parts += _slices(champion, reference, column, both[1])
    if not slices:
        counts = _guarded(found, lambda: histogram_query.count(reference, source))
    limits = thresholds(product, tables.TRAINING, tests=1 + len(parts))
    # Of the whole reference, so that a feature that is gone is told of as unknown.
    scores = assess(champion.features, counts or {}, limits, window=window)
    for part, before, after in parts:
        scores += assess(before, after, limits, window=window, part=part)
    found.scores[tables.TRAINING] = scores
    found.before[tables.TRAINING] = champion.features
    found.counts[tables.TRAINING] = counts or {}


type _Part = tuple[str, Reference, Mapping[str, Histogram]]
"""A slice, what it was, and what it is."""


def _slices(
    champion: Champion,
    reference: Reference,
    column: str,
    now: Mapping[str, Mapping[str, Histogram]],
) -> list[_Part]:
    """Each slice against what itself was in the rows that the model learned from."""
    least = champion.product.monitoring.least_rows
    others = reference.only({one.name for one in reference.features} - {column})
    before = _slices_before(champion, others, column)
    result: list[_Part] = []
    for value in sorted(set(before) & set(now)):
        if max((one.rows for one in before[value].values()), default=0) >= least:
            after = {one.name: now[value][one.name] for one in others.features}
            result.append((f"{column}={value}", of_window(others, before[value]), after))
    return result


def _slices_before(
    champion: Champion, reference: Reference, column: str
) -> dict[str, dict[str, Histogram]]:
    """Counted once for each version, in BigQuery, and kept beside the reports."""
    product = champion.product
    folder = Folder.of(product, "reports", product.name, "references")
    name = f"{champion.number}-{champion.manifest.run}-{column}.json"
    kind = dict[str, dict[str, Histogram]]
    try:
        kept = folder.read_json(name, kind)
        names = {one.name for one in reference.features}
        return {
            value: {one: counts[one] for one in counts if one in names}
            for value, counts in kept.items()
        }
    except ArtifactNotFound:
        pass
    data = champion.manifest.training
    source = histogram_query.raw(product, Window(start=data.start, end=data.end))
    counted = histogram_query.count_by(reference, source, column)
    if counted:
        folder.write_once(name, msgspec.json.encode(counted), "application/json")
    return counted


def _served(champion: Champion, found: Measured) -> None:
    """What servers were asked: against the profile, and against the feature query's own rows."""
    product, window = champion.product, found.window
    reference = _known(champion, found)
    if found.service.rows:
        source = histogram_query.logged(product, window, champion.number)
        counts = histogram_query.count(reference, source)
        if max((one.rows for one in counts.values()), default=0):
            _keep(champion, found, tables.SERVED, reference, counts)
    if not found.service.joinable or found.faults:
        return
    both = Reference(
        features=(
            *reference.features,
            *(
                msgspec.structs.replace(one, name=served.SHOWN + one.name)
                for one in reference.features
            ),
        )
    )
    source = served.both(product, window, champion.number)
    counts = _guarded(found, lambda: histogram_query.count(both, source))
    if not counts or not max(one.rows for one in counts.values()):
        return
    before = of_window(reference, {one.name: counts[one.name] for one in reference.features})
    after = {one.name: counts[served.SHOWN + one.name] for one in reference.features}
    _keep(champion, found, tables.SKEW, before, after)


def _keep(
    champion: Champion,
    found: Measured,
    name: str,
    reference: Reference,
    counts: Mapping[str, Histogram],
) -> None:
    limits = thresholds(champion.product, name)
    found.scores[name] = assess(reference, counts, limits, window=found.window)
    found.before[name] = reference
    found.counts[name] = counts


def _outcomes(
    found: Measured, product: Product, window: Window, version: str, *, earlier: bool = False
) -> Outcomes | None:
    """The servers' predictions, else those that were made in batches; None where the query fails
    for want of a column.

    Args:
        found: whose service says where there are any.
        product: whose.
        window: of the questions' event time.
        version: that answered.
        earlier: another window than the service's, so that both places are looked at.
    """
    if found.faults:
        return None
    for online, there in ((True, found.service.joinable), (False, found.service.batches)):
        if not there and not earlier:
            continue
        rows = _guarded(found, partial(_joined, product, window, version, online))
        if rows is None or rows.rows:
            return rows
    return _nothing(product)


def _joined(product: Product, window: Window, version: str, online: bool) -> Outcomes:
    from google.api_core.exceptions import NotFound

    try:
        return performance.outcomes(product, window, online=online, model_version=version)
    except NotFound:
        # A stack without a log, or without batch predictions.
        return _nothing(product)


def _nothing(product: Product) -> Outcomes:
    from workloads.scoring import Answers

    none = np.array([], dtype=np.float64)
    bounds = None if product.task is Task.CLASSIFICATION else none
    return Outcomes(
        event_time=np.array([], dtype="datetime64[us]"),
        answers=Answers(none, bounds, bounds),
        truth=none,
        parts={},
    )


def _answers(champion: Champion, found: Measured, outcomes: Outcomes | None) -> None:
    product = champion.product
    reference = champion.answers.only(PREDICTED)
    counts: Mapping[str, Histogram] = {}
    if outcomes is not None and outcomes.rows:
        from workloads.monitoring.counting import count

        answers = outcomes.answers
        there: dict[str, Any] = {"value": answers.value}
        if champion.manifest.threshold is not None:
            yes = answers.value >= champion.manifest.threshold
            there["answer"] = np.where(yes, "true", "false").tolist()
        if answers.lower is not None and answers.upper is not None:
            there |= {"lower": answers.lower, "upper": answers.upper}
        counts = count(reference, there)
    elif outcomes is not None and found.service.rows:
        # Nobody said which entity they asked about: labels cannot be joined, answers are there.
        counts = histogram_query.count(
            reference, histogram_query.answered(product, found.window, champion.number)
        )
    if not counts:
        counts = {one.name: Histogram(cells=(0,) * one.size) for one in reference.features}
    _keep(champion, found, tables.ANSWERS, reference, counts)


def _performance(champion: Champion, found: Measured, outcomes: Outcomes | None) -> None:
    product, window, metric = champion.product, found.window, champion.product.gate.metric
    if outcomes is None:
        for estimated in (False, True):
            score = _unknown(metric, window, 0, found.faults[0])
            found.rated.append(
                Rated(performance=score, version=champion.number, estimated=estimated)
            )
        return
    rows = outcomes
    scores = [performance.measure(product, rows, window, at=found.at)]
    if rows.rows:
        scores += performance.measure_slices(product, rows, window, at=found.at)
    found.rated += [Rated(performance=one, version=champion.number) for one in scores]
    guess = estimate(champion, rows, window)
    found.rated.append(Rated(performance=guess, version=champion.number, estimated=True))


def estimate(champion: Champion, rows: Outcomes, window: Window) -> Performance:
    """The gate's metric as it most likely is, without a label; unknown where that cannot be said.

    Args:
        champion: that answered.
        rows: its answers about the window's questions.
        window: of the questions' event time.
    """
    product = champion.product
    metric = product.gate.metric
    if rows.rows == 0:
        return _unknown(metric, window, 0, "the window holds no predictions")
    try:
        if product.task is Task.CLASSIFICATION:
            score = estimation.estimate(metric, rows.answers.value, champion.calibrator)
        else:
            losses = champion.losses
            asked = FeatureQuery(product).run(window.start, window.end)
            step = max(1, asked.num_rows // LOSS_ROWS)
            asked = asked.take(list(range(0, asked.num_rows, step)))
            predicted = champion.scorer.table(asked).value
            score = losses.estimate(columns(product, asked), predicted)
    except NotScorable as error:
        return _unknown(metric, window, rows.rows, str(error))
    return msgspec.structs.replace(
        _unknown(metric, window, rows.rows, ""), value=score.value, low=score.low, high=score.high
    )


def _unknown(metric: str, window: Window, rows: int, reason: str) -> Performance:
    return Performance(
        metric=metric,
        value=None,
        low=None,
        high=None,
        window=window,
        rows=rows,
        labelled=0,
        waiting=0,
        never=0,
        future=0,
        reason=reason,
    )


def _concept(champion: Champion, found: Measured, outcomes: Outcomes | None) -> None:
    """Whether errors have grown since the hold-out, from one moment on that ADWIN finds."""
    growth = champion.product.monitoring.error_growth
    reason, score, rows, before_rows, changed = "", None, 0, 0, False
    if outcomes is None:
        reason = found.faults[0]
    else:
        there = _mature(champion.product, outcomes, found.at)
        rows = there.rows
        if rows < champion.product.monitoring.least_rows:
            least = champion.product.monitoring.least_rows
            reason = f"{rows} rows are mature and labelled; at least {least} are needed"
    if not reason and outcomes is not None:
        _, truth, answers = champion.holdout
        before = champion.errors(truth, answers)
        there = _mature(champion.product, outcomes, found.at)
        after = champion.errors(there.truth, there.answers)
        before_rows = before.size
        stream = np.concatenate([before, after])
        largest = float(stream.max(initial=0.0))
        noticed = concept.changes(stream / largest if largest > 0 else stream)
        changed = any(one.noticed >= before.size and one.worse for one in noticed)
        # Of the whole window: within one, errors come and go with the hour and the weather.
        score = max(0.0, float(after.mean() / before.mean()) - 1) if before.mean() > 0 else 0.0
        if not changed:
            reason = "ADWIN finds no change for the worse in the window"
    verdict = Verdict.UNKNOWN if score is None else Verdict.QUIET
    if score is not None and changed and score > growth:
        verdict = Verdict.DRIFTED
    found.scores[tables.ERRORS] = [
        FeatureScore(
            feature=champion.product.monitoring.error_stream.value,
            statistic=ADWIN,
            score=score,
            threshold=growth,
            p_value=None,
            verdict=verdict,
            rows=rows,
            reference_rows=before_rows,
            window=found.window,
            reason=reason,
        )
    ]


def _mature(product: Product, rows: Outcomes, at: datetime) -> Outcomes:
    now = np.datetime64(at.astimezone(UTC).replace(tzinfo=None), "us")
    mature = rows.event_time + np.timedelta64(product.label.maturity) <= now
    return rows.where(mature & np.isfinite(rows.truth))


def _freshness(product: Product, found: Measured) -> None:
    limit = stale_hours(product)
    scores: list[FeatureScore] = []
    for name, written in found.service.written.items():
        age = None if written is None else (found.at - written).total_seconds() / 3600
        verdict = Verdict.UNKNOWN if age is None else Verdict.QUIET
        if age is not None and age > limit:
            verdict = Verdict.DRIFTED
        scores.append(
            FeatureScore(
                feature=name,
                statistic=AGE_HOURS,
                score=age,
                threshold=limit,
                p_value=None,
                verdict=verdict,
                rows=0,
                reference_rows=0,
                window=found.window,
                reason="" if written else "nothing is known to have been written to it",
            )
        )
    found.scores[tables.FRESHNESS] = scores


def _guarded[T](found: Measured, ask: Callable[[], T]) -> T | None:
    """What a query says, or nothing where a column is missing, which is then a fault."""
    from google.api_core.exceptions import BadRequest

    try:
        return ask()
    except MissingColumn as error:
        _fault(found, str(error))
    except BadRequest as error:
        if not any(sign in str(error) for sign in ("Unrecognized name", "not found in FROM")):
            raise
        _fault(found, f"the feature query names a column that is not there: {error.message}")
    return None


def _fault(found: Measured, text: str) -> None:
    log.error("schema: %s", text)
    named = _NAMED.search(text)
    found.faults = (*found.faults, text)
    found.missing = (*found.missing, *([named["name"].rpartition(".")[2]] if named else ()))

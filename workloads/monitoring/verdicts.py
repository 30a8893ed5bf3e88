"""What a window means together with those before it: which monitors are alarmed, and the incident.

A score says that one window differs. An alarm is raised by a kind of monitor when one of its
subjects differs in some of the last windows, the newest among them. All alarms of a window are one
incident, however many features are in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import msgspec

from workloads.metrics import Interval
from workloads.monitoring import rating, tables
from workloads.monitoring.assessment import FeatureScore, Verdict
from workloads.monitoring.measuring import Measured
from workloads.monitoring.performance import Performance
from workloads.monitoring.store import Past, PastScore, Subject
from workloads.monitoring.window import Window, lasting
from workloads.notifications.incident import TOP, IncidentFeature, IncidentRecord, IncidentWindow
from workloads.product import Product

DRIFT: Final = "drift"
PREDICTION_DRIFT: Final = "prediction-drift"
SKEW: Final = "skew"
PERFORMANCE: Final = "performance"
CONCEPT_DRIFT: Final = "concept-drift"
ALL_ROWS: Final = "all rows"
SCHEMA: Final = "schema"
"""The verdict, and the statistic, of a column that is not there."""

REFERENCES: Final[dict[str, tuple[str, ...]]] = {
    SKEW: (tables.SKEW,),
    DRIFT: (tables.TRAINING, tables.SERVED),
    PREDICTION_DRIFT: (tables.ANSWERS,),
    CONCEPT_DRIFT: (tables.ERRORS,),
}
"""By kind, what its scores are held against."""
SEVERITY: Final = {
    SKEW: "ERROR",
    PERFORMANCE: "ERROR",
    CONCEPT_DRIFT: "ERROR",
    DRIFT: "WARNING",
    PREDICTION_DRIFT: "WARNING",
}
"""By kind; the first of those that are alarmed names the incident."""
RETRAINED: Final = (PERFORMANCE, CONCEPT_DRIFT, DRIFT, PREDICTION_DRIFT)
"""What retraining may help against. Against skew it does not: that is a fault to be mended."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What one kind of monitor says of a window."""

    kind: str
    verdict: str
    """`quiet`, `drifted`, `unknown` or `schema`: of this window alone."""
    alarm: bool
    """Whether it lasts."""
    since: datetime | None = None
    """Of an alarm, when the first window that breached began."""
    feature: str = ""
    statistic: str = ""
    score: float | None = None
    threshold: float | None = None
    """Of the worst score."""
    top: tuple[IncidentFeature, ...] = ()
    """Those that breach, or of an alarm those that last, the worst first."""
    subjects: int = 0
    """How many features, and slices of them, that is."""
    reason: str = ""
    """Of an unknown."""


def judge(
    product: Product,
    measured: Measured,
    history: Mapping[Subject, Sequence[Past]],
    scores: Sequence[PastScore],
    expected: float,
    parts: Mapping[str, Interval] | None = None,
) -> list[Finding]:
    """What each kind of monitor says.

    Args:
        product: says how many windows make an alarm.
        measured: the newest window.
        history: of the windows before, by subject.
        scores: the gate's metric of the windows before, of all rows and of slices.
        expected: the gate's metric on the hold-out.
        parts: the same of each slice of it; slices are not judged when not given.
    """
    found = [
        _of_scores(product, measured, kind, references, history)
        for kind, references in REFERENCES.items()
    ]
    found.append(_of_performance(product, measured, scores, expected, parts or {}))
    order = list(SEVERITY)
    return sorted(found, key=lambda one: order.index(one.kind))


def _of_scores(
    product: Product,
    measured: Measured,
    kind: str,
    references: Sequence[str],
    history: Mapping[Subject, Sequence[Past]],
) -> Finding:
    if kind == SKEW and measured.faults:
        top = tuple(
            IncidentFeature(feature=one, statistic=SCHEMA, score=1.0, threshold=0.0)
            for one in measured.missing[:TOP]
        )
        # Nothing else can be known while it lasts, and no second window would make it surer.
        return Finding(
            kind=kind,
            verdict=SCHEMA,
            alarm=True,
            since=measured.window.start,
            feature=top[0].feature if top else "",
            statistic=SCHEMA,
            score=1.0,
            threshold=0.0,
            top=top,
            subjects=len(measured.missing),
            reason="; ".join(measured.faults),
        )
    subjects: dict[Subject, list[FeatureScore]] = {}
    for reference in references:
        for one in measured.of(reference):
            subjects.setdefault((reference, one.feature, one.slice), []).append(one)
    breaching = [one for one, all_ in subjects.items() if _breach(all_) is True]
    alarmed: dict[Subject, datetime] = {}
    for subject in breaching:
        past = list(history.get(subject, ()))
        breaches = [*(one.breach for one in past), True]
        if lasting(breaches, least=product.monitoring.least, of=product.monitoring.of):
            newest = past[-(product.monitoring.of - 1) :] if product.monitoring.of > 1 else []
            since = [one.window.start for one in newest if one.breach]
            alarmed[subject] = min([*since, measured.window.start])
    named = list(alarmed) or breaching
    worst = sorted((_worst(subjects[one]) for one in named), key=_excess, reverse=True)
    every = [one for all_ in subjects.values() for one in all_]
    scored = [one for one in every if one.score is not None]
    shown = worst[0] if worst else max(scored, key=_excess, default=None)
    unknown = not any(one.verdict is not Verdict.UNKNOWN for one in every)
    return Finding(
        kind=kind,
        verdict=Verdict.DRIFTED if breaching else Verdict.UNKNOWN if unknown else Verdict.QUIET,
        alarm=bool(alarmed),
        since=min(alarmed.values(), default=None),
        feature=shown.feature if shown else "",
        statistic=shown.statistic if shown else "",
        score=shown.score if shown else None,
        threshold=shown.threshold if shown else None,
        top=_top(worst),
        subjects=len(named),
        reason=(every[0].reason if every else "there is nothing to compare") if unknown else "",
    )


def _breach(scores: Sequence[FeatureScore]) -> bool | None:
    if any(one.verdict is Verdict.DRIFTED for one in scores):
        return True
    return None if all(one.verdict is Verdict.UNKNOWN for one in scores) else False


def _worst(scores: Sequence[FeatureScore]) -> FeatureScore:
    return max((one for one in scores if one.verdict is Verdict.DRIFTED), key=_excess)


def _excess(one: FeatureScore) -> float:
    """How many times its threshold a score is."""
    return (one.score or 0.0) / max(one.threshold, 1e-12)


def _top(worst: Sequence[FeatureScore]) -> tuple[IncidentFeature, ...]:
    """The worst score of each feature; slices are named only where all rows do not say it."""
    found: dict[str, IncidentFeature] = {}
    for whole in (True, False):
        for one in worst:
            if (not one.slice) is whole and one.feature not in found and one.score is not None:
                found[one.feature] = IncidentFeature(
                    feature=one.feature if whole else f"{one.feature} where {one.slice}",
                    statistic=one.statistic,
                    score=one.score,
                    threshold=one.threshold,
                )
    ranked = sorted(found.values(), key=lambda x: -x.score / max(x.threshold, 1e-12))
    return tuple(ranked[:TOP])


@dataclass
class _Rated:
    """What is known of one window's performance."""

    measured: Performance | PastScore | None = None
    estimated: Performance | PastScore | None = None
    slices: dict[str, Performance | PastScore] = field(
        default_factory=dict[str, "Performance | PastScore"]
    )
    """By labels, and by nothing else."""

    def add(self, one: Performance | PastScore, *, estimated: bool) -> None:
        if one.slice and not estimated:
            self.slices[one.slice] = one
        elif not one.slice and estimated:
            self.estimated = one
        elif not one.slice:
            self.measured = one

    @property
    def best(self) -> Performance | PastScore | None:
        """Of all rows: what labels say, and while they say nothing, the estimate."""
        one = self.measured
        return one if one is not None and one.value is not None else self.estimated


def _known(
    product: Product, measured: Measured, scores: Sequence[PastScore]
) -> dict[Window, _Rated]:
    """By window, oldest first, up to the newest."""
    known: dict[Window, _Rated] = {measured.window: _Rated()}
    for past in scores:
        known.setdefault(past.window, _Rated()).add(past, estimated=past.estimated)
    for rated in measured.rated:
        one = rated.performance
        # What was measured again of an earlier window counts as it is known now; one that lies
        # across those that are judged would count the same rows twice.
        ours = one.metric == product.gate.metric and rated.version == measured.version
        if ours and one.window in known:
            known[one.window].add(one, estimated=rated.estimated)
    return {one: known[one] for one in sorted(known) if one.end <= measured.window.end}


def _of_performance(
    product: Product,
    measured: Measured,
    scores: Sequence[PastScore],
    expected: float,
    parts: Mapping[str, Interval],
) -> Finding:
    metric, ours = product.gate.metric, product.monitoring
    known = _known(product, measured, scores)
    tolerance = ours.performance_tolerance
    by_slice = [
        rating.slices(metric, one.slices, parts, tolerance=tolerance) for one in known.values()
    ]
    wrong: list[dict[str, bool | None]] = [
        {
            "": rating.worse(metric, one.best, expected=expected, tolerance=tolerance),
            **{name: found.worse for name, found in judged.items()},
        }
        for one, judged in zip(known.values(), by_slice, strict=True)
    ]
    judged = by_slice[-1]
    breaches = {
        name: [one.get(name) for one in wrong] for name in sorted({x for one in wrong for x in one})
    }
    fallen = [name for name, row in breaches.items() if row[-1]]
    alarmed = [name for name in fallen if lasting(breaches[name], least=ours.least, of=ours.of)]
    since = [
        window.start
        for name in alarmed
        for window, breach in list(zip(known, breaches[name], strict=True))[-ours.of :]
        if breach
    ]
    newest = known[measured.window]
    shown = newest.best
    value = None if shown is None else shown.value
    limit = rating.limit(metric, expected, tolerance)
    label = metric if shown is newest.measured else f"{metric}, estimated"
    named = alarmed or fallen
    top: list[IncidentFeature] = []
    if "" in named and value is not None:
        top.append(IncidentFeature(feature=ALL_ROWS, statistic=label, score=value, threshold=limit))
    # Where all rows have fallen, those slices come after them that fell most.
    top += [
        IncidentFeature(
            feature=f"rows where {one.slice}",
            statistic=metric,
            score=one.value,
            threshold=one.limit,
        )
        for one in sorted((judged[name] for name in named if name), key=lambda x: -x.fall)
    ]
    unknown = breaches[""][-1] is None and not judged
    worst = top[0] if top else None
    real = newest.measured
    reason = real.reason if isinstance(real, Performance) else "nothing was predicted"
    return Finding(
        kind=PERFORMANCE,
        verdict=Verdict.DRIFTED if fallen else Verdict.UNKNOWN if unknown else Verdict.QUIET,
        alarm=bool(alarmed),
        since=min(since, default=None),
        feature=worst.feature if worst else ALL_ROWS,
        statistic=worst.statistic if worst else label,
        score=worst.score if worst else value,
        threshold=worst.threshold if worst else limit,
        top=tuple(top[:TOP]),
        subjects=len(named),
        reason=reason if unknown else "",
    )


def incidents(
    product: Product, findings: Sequence[Finding], window: Window, *, report: str, action: str
) -> tuple[IncidentRecord, ...]:
    """What people are told of a window, the gravest first: one record a kind that is alarmed.

    Each names what made it and then what else moved, so that any one of them is the whole story.
    """
    alarms = [one for one in findings if one.alarm]
    since = min((one.since for one in alarms if one.since is not None), default=window.start)
    return tuple(
        IncidentRecord(
            product=product.name,
            kind=told.kind,
            severity="CRITICAL" if told.verdict == SCHEMA else SEVERITY[told.kind],
            since=since,
            window=IncidentWindow(start=window.start, end=window.end),
            score=told.score or 0.0,
            threshold=told.threshold or 0.0,
            top=(*told.top, *(one for other in alarms if other is not told for one in other.top))[
                :TOP
            ],
            report=report,
            action=action,
        )
        for told in alarms
    )

"""Signs that the model has been told the answer.

A feature query that reads the future is found by running it again without the future
(`workloads/features/leakage.py`). A source that carries the answer at the right time, such as a
status that is set when the case is closed, is not. It shows in the figures: one feature alone
predicts almost everything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from workloads import contracts
from workloads.gate.guard import GuardVerdict
from workloads.metrics import Scored
from workloads.product import Product, Task
from workloads.scoring import Answers, Scorer

if TYPE_CHECKING:
    import pyarrow as pa

Floats = NDArray[np.float64]

SINGLE_FEATURE: Final = {Task.CLASSIFICATION: 0.85, Task.REGRESSION: 0.75}
"""What one feature alone may score where the gate says nothing. The flights' departure delay,
which is known too late, alone has a ROC-AUC of 0.90 for a late arrival and explains 0.84 of the
variance of the arrival delay (all of 2013); the best honest feature stays below 0.7."""
SUSPICIOUS: Final = {Task.CLASSIFICATION: 0.98, Task.REGRESSION: 0.98}
"""What a whole model may score where the gate says nothing."""
_BINS: Final = 50
_COPY: Final = 0.9999
_SHOWN: Final = 5
_PRIOR: Final = 5.0


class Alone(msgspec.Struct, frozen=True, kw_only=True):
    """What one feature predicts by itself."""

    feature: str
    score: float
    """ROC-AUC, whichever way round it ranks, or the share of the variance explained (R², here the
    squared correlation); learned on the earlier half of the rows and scored on the later, and the
    other way round."""
    copy: bool
    """Whether it is the label under another name, one value for each of the label's."""


class Leaks(msgspec.Struct, frozen=True, kw_only=True):
    """What was looked at."""

    measure: str
    """`ROC-AUC` or `R²`."""
    limit: float
    """Above which one feature alone is taken for a leak."""
    alone: tuple[Alone, ...]
    """The strongest, strongest first."""
    score: float
    """Of the whole model, by the same measure."""
    suspicious: float
    """Above which a whole model is."""
    without: dict[str, float]
    """Where the whole model is suspicious: its score with one feature shuffled, by the feature
    that it leans on most."""
    query: GuardVerdict
    """Whether the feature query reads what came later than its rows."""

    @property
    def found(self) -> tuple[Alone, ...]:
        """The features that are taken for leaks."""
        return tuple(one for one in self.alone if one.copy or one.score > self.limit)


def look(
    product: Product,
    rows: pa.Table,
    truth: NDArray[Any],
    answers: Answers,
    scorer: Scorer,
    query: GuardVerdict,
) -> Leaks:
    """Look for signs in the hold-out.

    Args:
        product: the declaration; its gate may set both limits.
        rows: the hold-out.
        truth: the label of each row.
        answers: what the challenger says of the same rows.
        scorer: the challenger.
        query: what the guard of the feature query found.
    """
    task, gate = product.task, product.gate
    truth = np.asarray(truth, dtype=np.float64)
    limit = SINGLE_FEATURE[task] if gate.single_feature_limit is None else gate.single_feature_limit
    suspicious = SUSPICIOUS[task] if gate.suspicious_score is None else gate.suspicious_score
    alone = sorted(
        (
            _alone(task, field.name, _codes(rows.column(field.name), field), truth)
            for field in contracts.fields(product.features.request)
        ),
        key=lambda one: (not one.copy, -one.score),
    )
    score = _score(task, truth, answers.value)
    return Leaks(
        measure="ROC-AUC" if task is Task.CLASSIFICATION else "R²",
        limit=limit,
        alone=tuple(alone[:_SHOWN]),
        score=score,
        suspicious=suspicious,
        without=_without(product, rows, truth, scorer) if score > suspicious else {},
        query=query,
    )


def _score(task: Task, truth: Floats, predicted: Floats) -> float:
    if task is Task.CLASSIFICATION:
        return Scored(truth, predicted).score("roc_auc")
    spread = float(((truth - truth.mean()) ** 2).sum())
    return 1 - float(((truth - predicted) ** 2).sum()) / spread if spread else 0.0


def _codes(column: Any, field: contracts.Field) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The group of each row, nulls one of their own: by bins, and by distinct value."""
    values = column.to_pylist()
    if field.kind == "string":
        text = np.array(["\0" if one is None else str(one) for one in values], dtype=str)
        codes = np.unique(text, return_inverse=True)[1].astype(np.int64)
        return codes, codes
    numbers = np.array([np.nan if one is None else float(one) for one in values])
    distinct = np.unique(numbers, return_inverse=True, equal_nan=True)[1].astype(np.int64)
    known = numbers[~np.isnan(numbers)]
    if known.size == 0:
        return distinct, distinct
    edges = np.unique(np.quantile(known, np.linspace(0, 1, _BINS + 1)))
    binned = np.digitize(numbers, edges[1:-1]).astype(np.int64)
    binned[np.isnan(numbers)] = edges.size
    return binned, distinct


def _alone(
    task: Task, name: str, codes: tuple[NDArray[np.int64], NDArray[np.int64]], truth: Floats
) -> Alone:
    binned, distinct = codes
    # Halves of time: rows of one hour on both sides would make the weather look like an oracle.
    half = np.arange(truth.size) < truth.size // 2
    scores: list[float] = []
    for learned, judged in ((half, ~half), (~half, half)):
        mean = float(truth[learned].mean())
        rows = np.bincount(binned[learned], minlength=binned.max() + 1)
        sums = np.bincount(binned[learned], truth[learned], minlength=binned.max() + 1)
        predicted = ((sums + _PRIOR * mean) / (rows + _PRIOR))[binned[judged]]
        # Each half by itself: where more is true in one, what was learned in the other ranks all
        # of its rows too low, and both together would rank a feature of no use worse than chance.
        if truth[judged].min() < truth[judged].max():
            scores.append(_strength(task, truth[judged], predicted))
    chance = 0.5 if task is Task.CLASSIFICATION else 0.0
    score = float(np.mean(scores)) if scores else chance
    return Alone(feature=name, score=score, copy=_copies(distinct, truth))


def _strength(task: Task, truth: Floats, predicted: Floats) -> float:
    """How well one feature tells, at chance or above.

    What ranks the wrong way round in other rows tells as much as what ranks the right way, and so
    does what lies too high or too low in all of them.
    """
    if task is Task.CLASSIFICATION:
        score = _score(task, truth, predicted)
        return max(score, 1 - score)
    if predicted.min() == predicted.max():
        return 0.0
    return float(np.corrcoef(truth, predicted)[0, 1] ** 2)


def _copies(codes: NDArray[np.int64], truth: Floats) -> bool:
    """Whether value and label determine each other, in all rows but one in ten thousand."""
    labels = np.unique(truth, return_inverse=True)[1]
    values, pairs = (
        np.unique(codes),
        np.unique(np.stack([codes, labels]), axis=1, return_counts=True),
    )
    if values.size < 2 or values.size > truth.size / 2:
        return False  # a constant, or an identity, says nothing of the label
    counts = pairs[1]
    by_code = np.zeros(int(codes.max()) + 1)
    np.maximum.at(by_code, pairs[0][0], counts)
    by_label = np.zeros(int(labels.max()) + 1)
    np.maximum.at(by_label, pairs[0][1], counts)
    return float(min(by_code.sum(), by_label.sum())) / truth.size >= _COPY


def _without(product: Product, rows: pa.Table, truth: Floats, scorer: Scorer) -> dict[str, float]:
    """The model's score with each feature shuffled among the rows, the lowest first."""
    order = np.random.default_rng(0).permutation(rows.num_rows)
    scores: dict[str, float] = {}
    for name in product.features.request.__struct_fields__:
        place = rows.column_names.index(name)
        shuffled = rows.set_column(place, name, rows.column(name).take(order))
        scores[name] = _score(product.task, truth, scorer.table(shuffled).value)
    return dict(sorted(scores.items(), key=lambda one: one[1])[:_SHOWN])

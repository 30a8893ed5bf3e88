"""How good a model is on the hold-out: scores with intervals, calibration, slices, a baseline."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from workloads import contracts, metrics
from workloads.manifest import Example, Score
from workloads.product import Product, Task
from workloads.scoring import Answers, Scorer
from workloads.training.data import Extract, labels, load

if TYPE_CHECKING:
    import pyarrow as pa

SMALLEST_SLICE: Final = 200
"""Rows; the ROC-AUC of fewer says little."""
_EXAMPLES: Final = 5
_HISTOGRAM_BINS: Final = 20
_CATEGORIES: Final = 200


class Slice(msgspec.Struct, frozen=True, kw_only=True):
    """One group of the hold-out."""

    column: str
    value: str
    rows: int
    positive_rate: float
    score: float
    """Of the gate's metric."""


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a 30 % comes true in 30 of 100."""

    error: float
    """Mean distance of predicted from observed share over the bins."""
    bins: list[metrics.Bin]


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that was found on the hold-out."""

    rows: int
    positive_rate: float
    threshold: float
    metrics: dict[str, Score]
    baseline: dict[str, Score]
    calibration: Calibration
    slices: list[Slice]


class Evaluated(msgspec.Struct, frozen=True, kw_only=True):
    """An evaluation with the files that go beside the model."""

    evaluation: Evaluation
    profile: dict[str, Any]
    examples: list[Example]


def evaluate(product: Product, model: bytes, parts: Extract) -> Evaluated:
    """Score a model on the hold-out, beside a baseline that always predicts the base rate.

    The threshold is the one of the best F1 on the hold-out: a working point, not a score.
    """
    training, holdout = load(parts.training), load(parts.holdout)
    truth = labels(product, holdout)
    probabilities = Scorer(model, product.features.request, product.task).table(holdout).value
    base_rate = float(labels(product, training).mean())
    table = metrics.calibration(truth, probabilities)
    evaluation = Evaluation(
        rows=holdout.num_rows,
        positive_rate=float(truth.mean()),
        threshold=metrics.Scored(truth, probabilities).best_threshold(),
        metrics=_scores(truth, probabilities),
        baseline=_scores(truth, np.full(truth.size, base_rate)),
        calibration=Calibration(error=metrics.calibration_error(table), bins=table),
        slices=[
            Slice(
                column=column,
                value=value,
                rows=int(here.sum()),
                positive_rate=float(truth[here].mean()),
                score=metrics.Scored(truth[here], probabilities[here]).score(product.gate.metric),
            )
            for column, value, here in slices(product, holdout, truth)
        ],
    )
    return Evaluated(
        evaluation=evaluation,
        profile=profile(product, training),
        examples=_examples(product, holdout, probabilities),
    )


def _scores(truth: NDArray[Any], probabilities: NDArray[Any]) -> dict[str, Score]:
    found = metrics.intervals(Task.CLASSIFICATION, truth, Answers(probabilities))
    return {name: Score(**asdict(one)) for name, one in found.items()}


def slices(
    product: Product, rows: pa.Table, truth: NDArray[Any]
) -> list[tuple[str, str, NDArray[np.bool_]]]:
    """Column, value and mask of each group that is large enough and holds both classes."""
    found: list[tuple[str, str, NDArray[np.bool_]]] = []
    for column in product.gate.slices:
        values = np.array([str(one) for one in rows.column(column).to_pylist()], dtype=object)
        for value in sorted(set(values)):
            here = values == value
            if here.sum() >= SMALLEST_SLICE and 0 < truth[here].sum() < here.sum():
                found.append((column, value, here))
    return found


def profile(product: Product, rows: pa.Table) -> dict[str, Any]:
    """The distribution of each feature in training, to compare serving with later.

    Numbers: edges of bins of equal share, and rows in each. Text: rows of each value. Both: nulls.
    """
    result: dict[str, Any] = {}
    for field in contracts.fields(product.features.request):
        column = rows.column(field.name)
        values = [one for one in column.to_pylist() if one is not None]
        entry: dict[str, Any] = {"kind": field.kind, "rows": rows.num_rows}
        entry["nulls"] = column.null_count
        if field.kind == "string":
            names, counts = np.unique(np.array(values, dtype=str), return_counts=True)
            most = np.argsort(-counts, kind="stable")[:_CATEGORIES]
            entry["values"] = {str(names[one]): int(counts[one]) for one in most}
        elif values:
            numbers = np.array(values, dtype=np.float64)
            edges = np.unique(np.quantile(numbers, np.linspace(0, 1, _HISTOGRAM_BINS + 1)))
            if edges.size == 1:
                edges = np.array([edges[0], edges[0] + 1])
            entry["edges"] = edges.tolist()
            entry["counts"] = np.histogram(numbers, edges)[0].tolist()
        result[field.name] = entry
    return result


def _examples(
    product: Product, rows: pa.Table, probabilities: NDArray[np.float64]
) -> list[Example]:
    """Rows from the least to the most likely, so that a deployment that mixes them up shows."""
    order = np.argsort(probabilities, kind="stable")
    chosen = order[np.linspace(0, order.size - 1, min(_EXAMPLES, order.size)).astype(int)]
    fields = list(product.features.request.__struct_fields__)
    instances = rows.select(fields).take(chosen).to_pylist()
    return [
        Example(instance=instance, value=float(probabilities[index]))
        for instance, index in zip(instances, chosen, strict=True)
    ]


def report(product: Product, evaluation: Evaluation, parts: Extract) -> str:
    """The evaluation as Markdown, for people."""
    holdout = parts.holdout
    told = (
        f"Trained on {parts.training.rows:,} rows from {parts.training.start:%Y-%m-%d %H:%M} to "
        f"{parts.training.end:%Y-%m-%d %H:%M}, judged on {holdout.rows:,} rows up to "
        f"{holdout.end:%Y-%m-%d %H:%M} (UTC), of which {evaluation.positive_rate:.1%} are "
        f"`{product.label.column}`. Intervals are 95 % by bootstrap."
    )
    lines = [
        f"# {product.title}",
        "",
        told,
        "",
        "| metric | model | interval | base rate |",
        "|---|---|---|---|",
    ]
    for name, score in evaluation.metrics.items():
        base = evaluation.baseline[name].value
        lines.append(
            f"| {name} | {score.value:.4f} | {score.low:.4f} to {score.high:.4f} | {base:.4f} |"
        )
    error = evaluation.calibration.error
    lines += [
        "",
        f"Says yes from {evaluation.threshold:.3f} on. Calibration error {error:.4f}.",
        "",
        "| rows | predicted | observed |",
        "|---|---|---|",
        *(
            f"| {one.rows} | {one.predicted:.3f} | {one.observed:.3f} |"
            for one in evaluation.calibration.bins
        ),
        "",
        f"| slice | rows | {product.label.column} | {product.gate.metric} |",
        "|---|---|---|---|",
        *(
            f"| {one.column} {one.value} | {one.rows} | {one.positive_rate:.1%} | {one.score:.4f} |"
            for one in evaluation.slices
        ),
        "",
    ]
    return "\n".join(lines)

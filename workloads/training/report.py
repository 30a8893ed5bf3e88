"""An evaluation as Markdown, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workloads.product import Product, Task
from workloads.training.data import Extract

if TYPE_CHECKING:
    from workloads.training.evaluation import Evaluation


def report(product: Product, evaluation: Evaluation, parts: Extract) -> str:
    """What was found of a model on the hold-out, in the words of its task."""
    classifies = product.task is Task.CLASSIFICATION
    label = product.label.column
    holdout = parts.holdout
    mean = (
        f"of which {evaluation.label_mean:.1%} are `{label}`"
        if classifies
        else f"whose `{label}` is {evaluation.label_mean:.2f} on average"
    )
    told = (
        f"Trained on {parts.training.rows:,} rows from {parts.training.start:%Y-%m-%d %H:%M} to "
        f"{parts.training.end:%Y-%m-%d %H:%M}, judged on {holdout.rows:,} rows up to "
        f"{holdout.end:%Y-%m-%d %H:%M} (UTC), {mean}. Intervals are 95 % by bootstrap."
    )
    baseline = "base rate" if classifies else "training median"
    lines = [
        f"# {product.title}",
        "",
        told,
        "",
        f"| metric | model | interval | {baseline} |",
        "|---|---|---|---|",
    ]
    for name, score in evaluation.metrics.items():
        base = evaluation.baseline[name].value
        lines.append(
            f"| {name} | {score.value:.4f} | {score.low:.4f} to {score.high:.4f} | {base:.4f} |"
        )
    lines += ["", *_bounds(evaluation), "", "| rows | predicted | observed |", "|---|---|---|"]
    lines += [
        f"| {one.rows} | {one.predicted:.3f} | {one.observed:.3f} |"
        for one in evaluation.calibration.bins
    ]
    lines += ["", f"| slice | rows | {label} | {product.gate.metric} |", "|---|---|---|---|"]
    for one in evaluation.slices:
        mean = f"{one.label_mean:.1%}" if classifies else f"{one.label_mean:.2f}"
        lines.append(f"| {one.column} {one.value} | {one.rows} | {mean} | {one.score:.4f} |")
    return "\n".join([*lines, ""])


def _bounds(evaluation: Evaluation) -> list[str]:
    error = f"Calibration error {evaluation.calibration.error:.4f}."
    if evaluation.threshold is not None:
        return [f"Says yes from {evaluation.threshold:.3f} on. {error}"]
    covered = evaluation.coverage
    if covered is None:
        return [error]
    low, high = covered.quantiles
    told = (
        f"Of the rows, {covered.share.value:.1%} ({covered.share.low:.1%} to "
        f"{covered.share.high:.1%}) lie in their interval, whose quantiles {low:g} and {high:g} "
        f"promise {high - low:.0%}: {covered.below:.1%} lie below it, {covered.above:.1%} above. "
        f"The interval is {covered.width:.2f} wide on average. {error}"
    )
    if covered.margin is not None:
        told += (
            f" Both bounds lie {covered.margin:+.2f} further out than they were fitted, by the "
            f"last {covered.calibration_rows:,} training rows."
        )
    return [told]

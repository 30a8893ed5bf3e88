"""Whether groups are treated alike, where the product says which groups and in what."""

from __future__ import annotations

from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from workloads.product import Fairness, Parity
from workloads.scoring import Answers

SMALLEST_GROUP: Final = 100
"""Rows that count for the figure; a share of fewer is uncertain by ten points and more."""


class GroupFigure(msgspec.Struct, frozen=True, kw_only=True):
    """One group."""

    group: str
    rows: int
    """That count: all of the group, or those with the label (`tpr`) or without it (`fpr`)."""
    figure: float


class GroupDifference(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of all groups that are large enough."""

    column: str
    of: Parity
    difference: float | None
    """Of the highest from the lowest; None where fewer than two groups are large enough."""
    groups: tuple[GroupFigure, ...]


def difference(
    fairness: Fairness,
    groups: NDArray[Any],
    truth: NDArray[Any],
    answers: Answers,
    threshold: float | None,
) -> GroupDifference:
    """The figure of each group of a column, and how far they lie apart.

    Args:
        fairness: what is compared.
        groups: the column's value in each row, as text.
        truth: the label of each row.
        answers: what was said of the same rows.
        threshold: the probability from which a classification says yes.
    """
    if fairness.of.classification:
        measured = (answers.value >= (0.5 if threshold is None else threshold)).astype(np.float64)
    elif fairness.of is Parity.BIAS:
        measured = answers.value - truth
    else:
        measured = np.abs(answers.value - truth)
    counted = np.ones(truth.size, dtype=bool)
    if fairness.of is Parity.TPR:
        counted = truth == 1
    elif fairness.of is Parity.FPR:
        counted = truth == 0
    figures: list[GroupFigure] = []
    for group in sorted(set(groups)):
        here = (groups == group) & counted
        if (rows := int(here.sum())) >= SMALLEST_GROUP:
            figure = float(measured[here].mean())
            figures.append(GroupFigure(group=str(group), rows=rows, figure=figure))
    values = [one.figure for one in figures]
    return GroupDifference(
        column=fairness.column,
        of=fairness.of,
        difference=max(values) - min(values) if len(values) > 1 else None,
        groups=tuple(figures),
    )

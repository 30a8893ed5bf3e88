"""Whether the model is asked the same in serving as it was in training.

The rows of the hold-out take three ways to the model: as a training function gets them, as a
request to the endpoint (JSON, read and checked by the server's own reader), and as a batch. Three
answers to one question that differ mean that one of the ways changes the question.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from workloads.product import Product
from workloads.scoring import Answers, Scorer

if TYPE_CHECKING:
    import pyarrow as pa

TOLERANCE: Final = 1e-6
"""Of a probability, or as a share of the largest prediction: rounding in 32 bits stays below."""
ROWS: Final = 500


class Skew(msgspec.Struct, frozen=True, kw_only=True):
    """What was compared."""

    rows: int
    difference: float
    """The largest, of any answer's value or bound; of a regression as a share of the largest. 1
    where one of two answers is no number."""
    between: str
    """The two ways that differ most."""
    features: tuple[str, ...]
    """Those that arrive otherwise than in training."""
    refused: str | None = None
    """What the server's reader says of a row that it does not take."""

    @property
    def passed(self) -> bool:
        return self.refused is None and self.difference <= TOLERANCE


def compare(product: Product, scorer: Scorer, rows: pa.Table) -> Skew:
    """Ask the model about rows of the hold-out in all three ways.

    Args:
        product: the declaration.
        scorer: the model.
        rows: the hold-out; 500 rows spread over it are asked about.
    """
    from workloads.serving.reader import Reader
    from workloads.serving.request import BadRequest, Unresolved
    from workloads.training.data import frame

    sample = rows.take(np.linspace(0, rows.num_rows - 1, min(ROWS, rows.num_rows)).astype(int))
    request = product.features.request
    names = list(request.__struct_fields__)
    body = msgspec.json.encode({"instances": sample.select(names).to_pylist()})
    try:
        read = Reader(request, max_rows=ROWS).read(body)
    except BadRequest as refused:
        return Skew(
            rows=sample.num_rows,
            difference=0.0,
            between="training and serving",
            features=tuple(sorted({one.field for one in refused.faults})),
            refused=refused.message,
        )
    if isinstance(read, Unresolved):
        raise AssertionError("rows with all their features were taken for entities")
    trained = {str(name): column.tolist() for name, column in frame(product, sample).items()}
    served = {name: [getattr(row, name) for row in read.rows] for name in names}
    ways = {
        "training": scorer.columns(trained),
        "serving": scorer.columns(served),
        "batch": scorer.table(sample),
    }
    differences = {
        f"{one} and {other}": _difference(ways[one], ways[other])
        for one, other in (("training", "serving"), ("training", "batch"))
    }
    between = max(differences, key=lambda one: differences[one])
    return Skew(
        rows=sample.num_rows,
        difference=differences[between],
        between=between,
        features=tuple(name for name in names if not _same(trained[name], served[name])),
    )


def _difference(one: Answers, other: Answers) -> float:
    """As `Skew.difference`."""
    largest = 0.0
    for name in ("value", "lower", "upper"):
        mine, theirs = getattr(one, name), getattr(other, name)
        if mine is not None and theirs is not None:
            scale = max(1.0, float(np.abs(mine).max()))
            found = float(np.abs(mine - theirs).max()) / scale
            largest = max(largest, found if np.isfinite(found) else 1.0)
    return largest


def _same(trained: list[Any], served: list[Any]) -> bool:
    """As the graph takes them: 32-bit numbers, null as NaN or as empty text."""
    if any(isinstance(one, str) for one in trained):
        return trained == ["" if one is None else one for one in served]
    return np.array_equal(
        np.array(trained, dtype=np.float32), np.array(served, dtype=np.float32), equal_nan=True
    )

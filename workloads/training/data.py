"""The rows a model learns from and is judged on: extracted once, frozen, validated."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec

from workloads.contracts import ContractViolation, convert, kept
from workloads.features import leakage
from workloads.features.query import FeatureQuery
from workloads.features.snapshot import freeze, thaw
from workloads.manifest import Data
from workloads.product import Product, Task

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from numpy.typing import NDArray

MINIMUM_ROWS: Final = 500
"""In each of training and hold-out. With fewer, the interval of ROC-AUC is wider than 0.1."""
_SHOWN: Final = 5
_AT_ONCE: Final = 10_000
"""Rows that are held to the contract at once; where one breaks it, they are gone through."""


class InvalidData(Exception):
    """Rows that no model may be trained on; lists what is wrong, what was found and allowed."""

    def __init__(self, faults: list[str]) -> None:
        self.faults = faults
        super().__init__("the data cannot be trained on:\n- " + "\n- ".join(faults))


class Extract(msgspec.Struct, frozen=True, kw_only=True):
    """The two frozen parts of one time-based split."""

    training: Data
    holdout: Data


class Validation(msgspec.Struct, frozen=True, kw_only=True):
    """What was checked, for the record of the run."""

    rows: dict[str, int]
    label_mean: dict[str, float]
    """Of a classification, the share of yes."""
    null_share: dict[str, float]
    """In the training rows, by feature."""
    leak_check_rows: int


def extract(product: Product, start: datetime, split: datetime, end: datetime) -> Extract:
    """Freeze [start, split) to learn from and [split, end) to judge by.

    Rows whose label has not come are left out of both: cancelled flights have none.

    Raises:
        InvalidData: the instants are not in order.
    """
    if not start < split < end:
        instants = f"start {start.isoformat()}, split {split.isoformat()}, end {end.isoformat()}"
        raise InvalidData([f"{instants}; allowed: start before split before end"])
    rows = FeatureQuery(product).run(start, end)
    known = rows.filter(rows.column(product.label.column).is_valid())
    # Ordered by event time, so the split is one cut.
    cut = _before(known.column(product.features.event_time), split)
    parts = {"training": known.slice(0, cut), "holdout": known.slice(cut)}
    bounds = {"training": (start, split), "holdout": (split, end)}
    frozen: dict[str, Data] = {}
    for name, part in parts.items():
        snapshot = freeze(product, part.combine_chunks())
        frozen[name] = Data(
            uri=snapshot.uri,
            sha256=snapshot.sha256,
            rows=snapshot.rows,
            start=bounds[name][0],
            end=bounds[name][1],
        )
    return Extract(**frozen)


def _before(times: Any, instant: datetime) -> int:
    """How many of the times are before an instant."""
    import pyarrow as pa
    import pyarrow.compute as compute

    earlier: Any = compute.less(times, pa.scalar(instant, type=times.type))  # pyright: ignore
    return int(compute.sum(earlier).as_py() or 0)  # pyright: ignore


def load(data: Data) -> pa.Table:
    """The rows of a frozen part, verified against their hash."""
    return thaw(data.uri, data.sha256)


def validate(product: Product, parts: Extract) -> Validation:
    """Hold both parts to the product's declaration and to the past.

    Schema and ranges are the request contract's own: what cannot be asked cannot be learned from.

    Raises:
        InvalidData: lists every fault found.
        LeakFound: a feature depends on what came after its row.
    """
    faults: list[str] = []
    tables = {"training": load(parts.training), "holdout": load(parts.holdout)}
    means: dict[str, float] = {}
    for name, rows in tables.items():
        faults += _schema_faults(product, name, rows)
    if faults:
        raise InvalidData(faults)
    for name, rows in tables.items():
        faults += _count_faults(product, name, rows)
        faults += _value_faults(product, name, rows)
        means[name], label_faults = _label_faults(product, name, rows)
        faults += label_faults
    training = tables["training"]
    nulls = {
        name: training.column(name).null_count / max(1, training.num_rows)
        for name in product.features.request.__struct_fields__
    }
    faults += [
        f"training: `{name}` is null in every row; load its source or drop the feature"
        for name, share in nulls.items()
        if share == 1
    ]
    if faults:
        raise InvalidData(faults)
    checked = leakage.check(FeatureQuery(product), training, moments=3)
    return Validation(
        rows={name: rows.num_rows for name, rows in tables.items()},
        label_mean=means,
        null_share=nulls,
        leak_check_rows=checked.rows,
    )


def _schema_faults(product: Product, name: str, rows: pa.Table) -> list[str]:
    columns = FeatureQuery(product).columns
    if tuple(rows.column_names) == columns:
        return []
    return [f"{name}: columns are {rows.column_names}; allowed: {list(columns)}"]


def _count_faults(product: Product, name: str, rows: pa.Table) -> list[str]:
    faults: list[str] = []
    if rows.num_rows < MINIMUM_ROWS:
        faults.append(
            f"{name}: {rows.num_rows} rows with a label; allowed: at least {MINIMUM_ROWS}; choose "
            "a longer range, or ingest more"
        )
    entities = rows.column(product.features.entity).to_pylist()
    if twice := len(entities) - len(set(entities)):
        faults.append(
            f"{name}: {twice} rows repeat a `{product.features.entity}`; allowed: one row each; "
            "deduplicate the sources of the feature query by their identity"
        )
    return faults


def _label_faults(product: Product, name: str, rows: pa.Table) -> tuple[float, list[str]]:
    """The mean of the label, and what is wrong with it."""
    import numpy as np
    import pyarrow as pa

    column = product.label.column
    kind: Any = rows.schema.field(column).type
    if not (pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        allowed = "true and false" if product.task is Task.CLASSIFICATION else "numbers"
        return 0.0, [f"{name}: `{column}` is of type {kind}; allowed: {allowed}"]
    if rows.num_rows == 0:
        return 0.0, []
    truth = labels(product, rows).astype(np.float64)
    mean = float(truth.mean())
    faults: list[str] = []
    if product.task is Task.CLASSIFICATION:
        if not (0 < mean < 1 and np.isin(truth, (0, 1)).all()):
            faults.append(
                f"{name}: the share of `{column}` is {mean:g}; allowed: labels true and false, the "
                "share between 0 and 1, both excluded: one class teaches nothing"
            )
    elif not np.isfinite(truth).all():
        wrong = int((~np.isfinite(truth)).sum())
        faults.append(f"{name}: {wrong} values of `{column}` are not finite; allowed: numbers")
    elif truth.min() == truth.max():
        faults.append(
            f"{name}: `{column}` is {mean:g} in every row; allowed: more than one value: one "
            "teaches nothing"
        )
    return mean, faults


def _value_faults(product: Product, name: str, rows: pa.Table) -> list[str]:
    request = product.features.request
    asked = rows.select(list(request.__struct_fields__))
    faults: list[str] = []
    for start in range(0, rows.num_rows, _AT_ONCE):
        part = asked.slice(start, _AT_ONCE).to_pylist()
        if kept(request, part):
            continue
        entities = rows.column(product.features.entity).slice(start, _AT_ONCE).to_pylist()
        for entity, row in zip(entities, part, strict=True):
            try:
                convert(request, row)
            except ContractViolation as violation:
                faults.append(f"{name}: {entity}: {violation}")
                if len(faults) == _SHOWN:
                    more = f"{name}: there may be more; the first {_SHOWN} are shown"
                    return [*faults, more]
    return faults


def frame(product: Product, rows: pa.Table) -> pd.DataFrame:
    """Features as a training function takes them: text as `object`, numbers as `float32`.

    32 bits because the ONNX graph computes in them: trees that were cut on 64 would disagree.
    """
    import numpy as np
    import pandas as pd

    from workloads.contracts import fields

    columns: dict[str, Any] = {}
    for field in fields(product.features.request):
        values = rows.column(field.name)
        if field.kind == "string":
            text = ["" if one is None else one for one in values.to_pylist()]
            columns[field.name] = pd.Series(text, dtype=object)
        else:
            # Whole columns at once; what is missing is not a number.
            numbers = values.cast("float64", safe=False).to_numpy(zero_copy_only=False)
            columns[field.name] = numbers.astype(np.float32)
    return pd.DataFrame(columns)


def labels(product: Product, rows: pa.Table) -> NDArray[Any]:
    """The truth: 0 and 1 of a classification, 64-bit floats of a regression."""
    import numpy as np

    kind = np.int8 if product.task is Task.CLASSIFICATION else np.float64
    return np.array(rows.column(product.label.column).to_pylist(), dtype=kind)

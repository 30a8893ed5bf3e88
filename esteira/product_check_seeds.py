"""Whether a training function makes the same model again where its product says that it does.

A gate without reruns takes the seed of a training to move nothing (docs/gate.md). Two trainings on
a small sample tell whether that is so, before a luckier seed is taken for a better model.
"""

from __future__ import annotations

import importlib
import inspect
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from esteira.product_check import Finding
from workloads.contracts import fields
from workloads.product import Product, Task
from workloads.training import fitting, noise

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

ROWS: Final = 10_500
"""scikit-learn's boosting draws rows to stop early by from 10,001 on."""
SEEDS: Final = (1, 2)
_SAME: Final = 1e-6
"""By less, sums that threads add up in another order may differ."""
_WORDS: Final = 12
_MISSING: Final = 0.05


def check(product: Product) -> Finding:
    """Train twice on invented rows that have the fields of the request, and compare the answers."""
    if product.gate.reruns:
        return _told(True, f"what they move is measured: {product.gate.reruns} reruns a training")
    seeded = _takes_seed(product)
    rows, truth = sample(product)
    try:
        values, others = (
            noise.answered(product, fitting.fit(product, rows, truth, seed), rows).value
            for seed in (SEEDS if seeded else (None, None))
        )
    except fitting.InvalidFit as error:
        return _told(False, str(error))
    except Exception as error:  # noqa: BLE001  # the product's own code, which may want more of rows
        return _told(None, f"not compared: training on {ROWS:,} invented rows raised {error!r}")
    apart = float(np.max(np.abs(values - others)))
    what = f"seeds {SEEDS[0]} and {SEEDS[1]}" if seeded else "the same call"
    if apart > _SAME * max(1.0, float(np.max(np.abs(values)))):
        return _told(
            False,
            f"gate.reruns is 0, and {what} gave two models, whose answers differ by up to "
            f"{apart:.3g} on {ROWS:,} invented rows; allowed: a training that its seed does not "
            "move, or gate.reruns, with which the gate counts what a seed moves",
        )
    if not seeded:
        return _told(
            None,
            f"not compared: {product.train} takes no seed=, and what it has fixed inside may be a "
            "seed that moves the model; take `seed: int = 0` and hand it on",
        )
    return _told(True, f"move nothing: {what} gave one model on {ROWS:,} invented rows")


def sample(product: Product) -> tuple[pd.DataFrame, NDArray[Any]]:
    """Rows as a training function takes them, the same each time, and labels that follow from them.

    Text is of few values, numbers are normal, and what may be null is now and then.
    """
    import pandas as pd

    draw = np.random.default_rng(0)
    signal = draw.normal(0, 1, ROWS)
    columns: dict[str, Any] = {}
    for field in fields(product.features.request):
        if field.kind == "string":
            words = field.choices or tuple(f"{field.name}-{one}" for one in range(_WORDS))
            chosen = draw.integers(0, len(words), ROWS)
            columns[field.name] = pd.Series([words[one] for one in chosen], dtype=object)
            signal += chosen / len(words)
            continue
        values = draw.normal(0, 1, ROWS)
        signal += values
        if field.nullable:
            values[draw.random(ROWS) < _MISSING] = np.nan
        columns[field.name] = values.astype(np.float32)
    truth = signal if product.task is Task.REGRESSION else signal > np.median(signal)
    kind = np.float64 if product.task is Task.REGRESSION else np.int8
    return pd.DataFrame(columns), truth.astype(kind)


def _takes_seed(product: Product) -> bool:
    module, _, name = product.train.partition(":")
    function = inspect.signature(getattr(importlib.import_module(module), name))
    wanted = 2 if product.task is Task.CLASSIFICATION else 3
    try:
        function.bind(*[None] * wanted, seed=1)
    except TypeError:
        return False
    return True


def _told(passed: bool | None, found: str) -> Finding:
    return Finding(what="seeds", passed=passed, found=found)

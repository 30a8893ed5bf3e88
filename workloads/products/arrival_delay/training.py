# pyright: standard
# pandas and scikit-learn ship no types that strict checking could use.
"""How the arrival-delay model is fitted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from workloads.training import conformal
from workloads.training.regression import IntervalRegressor

if TYPE_CHECKING:
    import pandas as pd

# Airports and airlines with fewer flights than this lean towards the mean of all.
_PRIOR_ROWS: Final = 50


def train(
    rows: pd.DataFrame,
    minutes: NDArray[np.float64],
    interval: tuple[float, float],
    *,
    seed: int = 0,
) -> IntervalRegressor:
    """Fit gradient boosting three times: for the median, and for both quantiles.

    The value is the median, which is what the least absolute error asks for: a mean would follow
    the few flights that are hours late. Text columns are replaced by their rank in lateness, so
    that one cut of a tree separates punctual from unpunctual airlines; a value never seen in
    training counts as missing.

    The last tenth of the rows is kept from the bounds and calibrates them; the median, which
    promises no share, learns from it too. Ranks are of the rows before it, for all three.

    Measured on 21-31 March 2013 after training on 1 January to 20 March: off by 18.6 minutes on
    average, where the training median is off by 21.1; 18.9 without the weather, 19.8 without what
    landed lately, 20.4 without either. Pinball loss of the bounds 5.08 against 5.90; 82.3 % of the
    flights arrived between them, of 80 % that were promised, and 76.6 % before there was
    calibration. docs/flight-delay.md has every month.

    Args:
        rows: one column a field of `ArrivalQuestion`: text as `object`, numbers as `float32`.
        minutes: how late each flight arrived; negative is early.
        interval: the quantiles of the bounds.
        seed: moves nothing up to 200,000 rows, of which the cuts between values are then a sample.
    """
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OrdinalEncoder

    early = conformal.cut(len(rows))
    text = [name for name in rows.columns if rows[name].dtype == object]
    numbers = [name for name in rows.columns if name not in text]
    # Dictionaries, because scikit-learn declares no types for these that a checker could use.
    ranking: dict[str, Any] = {
        "categories": [
            _by_lateness(rows[name].to_numpy()[:early], minutes[:early]) for name in text
        ],
        "handle_unknown": "use_encoded_value",
        "unknown_value": np.nan,
        "dtype": np.float32,
    }
    columns = ColumnTransformer(
        [("text", OrdinalEncoder(**ranking), text), ("numbers", "passthrough", numbers)]
    ).fit(rows.iloc[:early])
    encoded: Any = columns.transform(rows)
    boosting: dict[str, Any] = {
        "learning_rate": 0.1,
        "max_iter": 100,
        "early_stopping": False,
        "random_state": seed,
    }

    def fitted(count: int, **loss: Any) -> Pipeline:
        model = HistGradientBoostingRegressor(**loss, **boosting)
        model.fit(encoded[:count], minutes[:count])
        return Pipeline([("columns", columns), ("model", model)])

    regressors = IntervalRegressor(
        value=fitted(len(rows), loss="absolute_error"),
        lower=fitted(early, loss="quantile", quantile=interval[0]),
        upper=fitted(early, loss="quantile", quantile=interval[1]),
    )
    return conformal.calibrated(regressors, rows.iloc[early:], minutes[early:], interval)


def _by_lateness(values: NDArray[Any], minutes: NDArray[np.float64]) -> NDArray[Any]:
    """The distinct values, the most punctual first."""
    names, groups = np.unique(values.astype(str), return_inverse=True)
    flights = np.bincount(groups)
    means = (np.bincount(groups, weights=minutes) + _PRIOR_ROWS * minutes.mean()) / (
        flights + _PRIOR_ROWS
    )
    return names[np.argsort(means, kind="stable")].astype(object)

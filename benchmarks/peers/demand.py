"""The model that every server of the benchmark answers with, and the rows that it is asked about.

Thirty numbers a row, six of them whole, gradient boosting on them. Made anew in each peer's own
environment, from the same rows and with the same seed: nothing is unpickled that another version
of scikit-learn wrote. Needs numpy and scikit-learn, nothing of ours.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

NAMES: Final = tuple(f"feature_{number:02}" for number in range(30))
WHOLE: Final = NAMES[24:]
LEAST, MOST = -50.0, 50.0
"""Between which every feature lies, whole ones from 0."""
_ROWS: Final = 20_000


def rows(count: int, seed: int) -> Any:
    """`[count, 30]`, 64-bit floats that 32 bits hold exactly."""
    import numpy as np

    random = np.random.default_rng(seed)
    numbers = random.normal(0, 5, (count, 24)).clip(LEAST, MOST)
    whole = random.integers(0, 10, (count, 6))
    return np.hstack([numbers, whole]).astype(np.float32).astype(np.float64)


def fit() -> Any:
    """The fitted classifier; takes an array `[rows, 30]`."""
    import numpy as np
    from sklearn.ensemble import HistGradientBoostingClassifier

    features = rows(_ROWS, seed=1)
    noise = np.random.default_rng(2).normal(0, 5, _ROWS)
    signal = features[:, 0] + features[:, 1] * features[:, 2] / 5 + features[:, 24] - 4.5
    model = HistGradientBoostingClassifier(max_iter=100, early_stopping=False, random_state=0)
    return model.fit(features.astype(np.float32), signal + noise > 0)


def saved(path: Path) -> Path:
    """The classifier as a file of joblib's, fitted unless it is there."""
    import joblib

    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        joblib.dump(fit(), path)
    return path


def instance(row: Any) -> dict[str, float | int]:
    """A row as the object that a caller would send."""
    values = [float(one) for one in row]
    return {
        name: int(value) if name in WHOLE else value
        for name, value in zip(NAMES, values, strict=True)
    }


if __name__ == "__main__":
    saved(Path(sys.argv[1]))

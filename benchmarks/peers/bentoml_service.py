"""BentoML, with one worker."""

import os
from pathlib import Path
from typing import Any

import bentoml
import joblib
import numpy as np
from demand import NAMES, saved


@bentoml.service(workers=1, metrics={"enabled": False}, logging={"access": {"enabled": False}})
class Demand:
    def __init__(self) -> None:
        self.model = joblib.load(saved(Path(os.environ["MODEL_FILE"])))

    @bentoml.api
    async def predict(self, instances: list[dict[str, Any]]) -> dict[str, Any]:
        rows = np.array([[one[name] for name in NAMES] for one in instances], np.float32)
        yes = self.model.predict_proba(rows)[:, 1]
        return {"predictions": [{"probability": float(one)} for one in yes]}

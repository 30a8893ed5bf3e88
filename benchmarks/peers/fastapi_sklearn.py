"""Plain FastAPI: a pydantic model with the same bounds, scikit-learn behind it."""

import sys
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import uvicorn
from demand import LEAST, MOST, NAMES, WHOLE, saved
from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field, create_model


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


def _field(name: str) -> Any:
    if name in WHOLE:
        return (int, Field(ge=0, le=9))
    return (float | None, Field(ge=LEAST, le=MOST))


Instance = create_model("Instance", __base__=Strict, **{one: _field(one) for one in NAMES})


class Predict(Strict):
    instances: list[Instance] = Field(min_length=1, max_length=1000)


class Prediction(BaseModel):
    probability: float
    demand: bool


class Predictions(BaseModel):
    predictions: list[Prediction]


app = FastAPI()
model = joblib.load(saved(Path(sys.argv[2])))


@app.get("/health")
async def health() -> dict[str, str]:
    return {"status": "ready"}


# Async, which is to its advantage: in a thread, as a plain `def`, it takes longer.
@app.post("/predict")
async def predict(request: Predict) -> Predictions:
    rows = np.array([[getattr(one, name) for name in NAMES] for one in request.instances])
    yes = model.predict_proba(rows.astype(np.float32))[:, 1]
    return Predictions(
        predictions=[Prediction(probability=one, demand=one >= 0.5) for one in yes.tolist()]
    )


uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=False, log_level="warning")

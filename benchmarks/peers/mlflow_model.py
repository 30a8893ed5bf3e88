"""Saves the model as MLflow serves it: `python mlflow_model.py FOLDER`."""

import shutil
import sys
from pathlib import Path

import mlflow.sklearn
from demand import fit

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    if not (folder / "MLmodel").exists():
        # What was left by a run that was cut short.
        shutil.rmtree(folder, ignore_errors=True)
        mlflow.sklearn.save_model(
            fit(), folder, pyfunc_predict_fn="predict_proba", serialization_format="cloudpickle"
        )

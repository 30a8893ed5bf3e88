"""LitServe, with one worker and one process for its API."""

import sys
from pathlib import Path
from typing import Any

import joblib
import litserve
import numpy as np
from demand import NAMES, saved


class Demand(litserve.LitAPI):
    def setup(self, device: str) -> None:
        del device
        self.model = joblib.load(Path(sys.argv[2]))

    def decode_request(self, request: dict[str, Any]) -> Any:
        return np.array([[one[name] for name in NAMES] for one in request["instances"]], np.float32)

    def predict(self, rows: Any) -> Any:
        return self.model.predict_proba(rows)[:, 1]

    def encode_response(self, output: Any) -> dict[str, Any]:
        return {"predictions": [{"probability": float(one)} for one in output]}


if __name__ == "__main__":
    saved(Path(sys.argv[2]))
    server = litserve.LitServer(Demand(), accelerator="cpu", workers_per_device=1)
    server.run(
        host="127.0.0.1",
        port=int(sys.argv[1]),
        num_api_servers=1,
        generate_client_file=False,
        log_level="warning",
        access_log=False,
    )

"""How each server of the benchmark is installed, started, asked and understood."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.peers.demand import NAMES, instance
from esteira.paths import ROOT

FOLDER: Final = ROOT / ".esteira" / "bench"
PEERS: Final = Path(__file__).parent
TELEMETRY_OFF: Final = {
    "DO_NOT_TRACK": "1",
    "BENTOML_DO_NOT_TRACK": "True",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "UV_PYTHON_DOWNLOADS": "never",
    # One thread each, for all: a row is too little to share.
    "OMP_NUM_THREADS": "1",
}


class NotInstalled(RuntimeError):
    """A peer cannot be had on this machine; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Peer:
    """One server."""

    name: str
    requirements: str | None
    """Its file beside this one; none for ours, which runs in the checkout's own environment."""
    command: Callable[[Path, int, Path], Sequence[str]]
    """From the environment's `bin`, a port, and a folder of its own."""
    ready: str
    """Answers 200 once it takes rows."""
    path: str
    body: Callable[[Any], Any]
    """The document that asks about one row."""
    probability: Callable[[Any], float]
    """That of yes, in an answer."""
    prepare: Callable[[Path, Path], None] | None = None
    """Given the environment's `bin` and its folder, before the first start."""
    environment: Mapping[str, str] | None = None

    def bin(self) -> Path:
        """Where its programs are, installed if they are not.

        Raises:
            NotInstalled: see there.
        """
        if self.requirements is None:
            return Path(sys.executable).parent
        home = FOLDER / "environments" / self.requirements
        wanted = (PEERS / f"{self.requirements}.txt").read_text()
        done = home / "installed.txt"
        if done.exists() and done.read_text() == wanted:
            return home / "bin"
        uv = _uv()
        lines = (PEERS / f"{self.requirements}.txt").as_posix()
        for words in (
            [uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(home)],
            [uv, "pip", "install", "--quiet", "--python", str(home / "bin/python"), "-r", lines],
        ):
            ended = subprocess.run(
                words,
                check=False,
                capture_output=True,
                text=True,
                env={**os.environ, **TELEMETRY_OFF},
            )
            if ended.returncode:
                raise NotInstalled(f"{' '.join(words[:3])}: {ended.stderr.strip()[-600:]}")
        done.write_text(wanted)
        return home / "bin"


def _uv() -> str:
    own = ROOT / ".esteira" / "uv" / "bin" / "uv"
    found = str(own) if own.exists() else shutil.which("uv")
    if found is None:
        raise NotInstalled("there is no uv; run tools/bootstrap")
    return found


def _object(row: Any) -> Any:
    return {"instances": [instance(row)]}


def _tensor(row: Any) -> Any:
    values = [float(one) for one in row]
    return {
        "inputs": [
            {
                "name": "rows",
                "shape": [1, len(NAMES)],
                "datatype": "FP32",
                "data": values,
                "parameters": {"content_type": "np"},
            }
        ],
        "outputs": [{"name": "predict_proba"}],
    }


def _mlserver(batching: bool) -> Callable[[Path, Path], None]:
    def prepare(programs: Path, folder: Path) -> None:
        _fit(programs, folder)
        model: dict[str, Any] = {
            "name": "demand",
            "implementation": "mlserver_sklearn.SKLearnModel",
            "parameters": {"uri": str(folder / "model.joblib")},
        }
        if batching:
            model |= {"max_batch_size": 16, "max_batch_time": 0.005}
        (folder / "model-settings.json").write_text(json.dumps(model))
        settings = {"parallel_workers": 0, "debug": False, "metrics_endpoint": None}
        (folder / "settings.json").write_text(json.dumps(settings))

    return prepare


def _fit(programs: Path, folder: Path) -> None:
    _run([str(programs / "python"), str(PEERS / "demand.py"), str(folder / "model.joblib")])


def _save_for_mlflow(programs: Path, folder: Path) -> None:
    _run([str(programs / "python"), str(PEERS / "mlflow_model.py"), str(folder / "model")])


def _run(words: Sequence[str]) -> None:
    ended = subprocess.run(
        words,
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, **TELEMETRY_OFF},
    )
    if ended.returncode:
        raise NotInstalled(f"{' '.join(words[:3])} failed: {ended.stderr.strip()[-600:]}")


def _python(script: str) -> Callable[[Path, int, Path], Sequence[str]]:
    def command(programs: Path, port: int, folder: Path) -> Sequence[str]:
        model = str(folder / "model.joblib")
        return [str(programs / "python"), str(PEERS / script), str(port), model]

    return command


def _mlserver_peer(name: str, batching: bool) -> Peer:
    return Peer(
        name=name,
        requirements="mlserver",
        command=lambda programs, port, folder: [str(programs / "mlserver"), "start", str(folder)],
        ready="/v2/models/demand/ready",
        path="/v2/models/demand/infer",
        body=_tensor,
        probability=lambda found: found["outputs"][0]["data"][1],
        prepare=_mlserver(batching),
    )


def _ours(name: str, environment: Mapping[str, str], module: str = "ours") -> Peer:
    return Peer(
        name=name,
        requirements=None,
        command=lambda programs, port, folder: [
            str(programs / "python"),
            "-m",
            f"benchmarks.peers.{module}",
        ],
        ready="/health",
        path="/predict",
        body=_object,
        probability=lambda found: found["predictions"][0]["probability"],
        environment=environment,
    )


SERVERS: Final = {
    one.name: one
    for one in (
        _ours("esteira", {}),
        _ours("esteira-threaded", {}, "threaded"),
        _ours("esteira-logged", {"PREDICTION_TOPIC": "projects/benchmark/topics/predictions"}),
        Peer(
            name="fastapi-sklearn",
            requirements="fastapi-sklearn",
            command=_python("fastapi_sklearn.py"),
            ready="/health",
            path="/predict",
            body=_object,
            probability=lambda found: found["predictions"][0]["probability"],
        ),
        _mlserver_peer("mlserver", batching=False),
        _mlserver_peer("mlserver-batching", batching=True),
        Peer(
            name="bentoml",
            requirements="bentoml",
            command=lambda programs, port, folder: [
                str(programs / "bentoml"),
                "serve",
                "bentoml_service:Demand",
                "--working-dir",
                str(PEERS),
                "--host",
                "127.0.0.1",
                "--port",
                str(port),
            ],
            ready="/readyz",
            path="/predict",
            body=_object,
            probability=lambda found: found["predictions"][0]["probability"],
        ),
        Peer(
            name="mlflow",
            requirements="mlflow",
            command=lambda programs, port, folder: [
                str(programs / "mlflow"),
                "models",
                "serve",
                "--model-uri",
                str(folder / "model"),
                "--env-manager",
                "local",
                "--host",
                "127.0.0.1",
                "--port",
                str(port),
                "--workers",
                "1",
            ],
            ready="/ping",
            path="/invocations",
            body=lambda row: {"inputs": [[float(one) for one in row]]},
            probability=lambda found: found["predictions"][0][1],
            prepare=_save_for_mlflow,
        ),
        Peer(
            name="litserve",
            requirements="litserve",
            command=_python("litserve_server.py"),
            ready="/health",
            path="/predict",
            body=_object,
            probability=lambda found: found["predictions"][0]["probability"],
        ),
    )
}

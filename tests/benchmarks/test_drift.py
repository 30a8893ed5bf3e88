"""What the drift benchmark refuses to pass, and its own side of it on few rows."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import drift

GOOD: dict[str, Any] = {
    "ratio": 60.0,
    "peak_mb": {"0.1": 200.0, "1.0": 205.0},
    "sketches": {"apart": 0.004, "bound": 0.0135},
}


def test_what_is_as_it_should_be_misses_nothing() -> None:
    assert drift.missed(GOOD) == []


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"ratio": 49.9}, "ratio is 49.9"),
        ({"peak_mb": {"0.1": 200.0, "1.0": 260.0}}, "from 200.0 to 260.0"),
        ({"sketches": {"apart": 0.02, "bound": 0.0135}}, "0.0200 of a rank apart"),
    ],
)
def test_each_promise_that_is_broken_is_named(change: dict[str, Any], named: str) -> None:
    (told,) = drift.missed({**GOOD, **change})
    assert named in told


def test_ours_names_the_column_that_was_moved(tmp_path: Path) -> None:
    drift.make(tmp_path, 20_000, 4)
    found = drift.run(sys.executable, "esteira", tmp_path)
    assert found["drifted"] == ["x0"]
    assert found["rows"] == 20_000
    assert found["cpu_s"] > 0


@pytest.mark.long
def test_it_compares_with_evidently_and_fails_below_its_ratio(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drift, "LEAST", 1e9)
    assert drift.main(["--rows", "20000", "--columns", "4", "--json"]) == 1
    told = capsys.readouterr()
    report = json.loads(told.out)
    assert report["cpu_s"]["evidently"] > report["cpu_s"]["esteira"] > 0
    assert report["drifted"] == ["x0"]
    assert report["sketches"]["apart"] <= report["sketches"]["bound"]
    assert "ratio is" in told.err

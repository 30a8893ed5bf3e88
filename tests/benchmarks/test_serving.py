"""When the serving benchmark says that a target is missed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from benchmarks import serving
from benchmarks.serving import NotInstalled

OURS = {"cpu_us_c16": 80.0, "ready_s": 1.0}
SERVERS = {"esteira": OURS, "fastapi-sklearn": {"cpu_us_c16": 1000.0}, "x": {"cpu_us_c16": 500.0}}


def test_all_targets_met() -> None:
    assert serving.faults(SERVERS, {}) == []


@pytest.mark.parametrize(
    ("name", "change", "told"),
    [
        ("esteira", {"cpu_us_c16": 101.0, "ready_s": 1.0}, "cpu_us_c16 is 101, at most 100"),
        ("esteira", {"cpu_us_c16": 80.0, "ready_s": 2.5}, "ready_s is 2.5, at most 2"),
        ("fastapi-sklearn", {"cpu_us_c16": 600.0}, "7.5 times plain FastAPI, at least 8"),
        ("x", {"cpu_us_c16": 360.0}, "4.5 times the best peer, at least 5"),
    ],
)
def test_each_missed_target_is_told(name: str, change: dict[str, float], told: str) -> None:
    assert told in serving.faults({**SERVERS, name: change}, {})


def test_our_own_variants_are_no_peers() -> None:
    assert serving.faults({**SERVERS, "esteira-logged": {"cpu_us_c16": 99.0}}, {}) == []


def test_a_peer_that_could_not_be_measured_misses(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def measured(peer: Any, *_: object) -> dict[str, float]:
        raise NotInstalled(f"{peer.name}: no index answers")

    monkeypatch.setattr(serving, "measured", measured)
    assert serving.main(["--servers", "mlserver", "--rounds", "1", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["servers"] == {}
    assert report["not_measured"] == {"mlserver": "mlserver: no index answers"}
    assert report["missed"] == ["mlserver was not measured"]


def test_an_unknown_server_is_named_with_those_that_are_known(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        serving.main(["--servers", "nginx"])
    assert "--servers has nginx; allowed: esteira" in capsys.readouterr().err

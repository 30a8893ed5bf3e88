"""Experiments as they are kept, changed and followed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec
import pytest

from tests.workloads.experiments.test_assignment import experiment
from workloads import gcp
from workloads.experiments.experiment import InvalidExperiment, Metric
from workloads.experiments.follower import Follower
from workloads.experiments.store import OBJECT, AlreadyRunning, Experiments, NoExperiment
from workloads.product import Product


@pytest.fixture
def experiments(january: Product) -> Iterator[Experiments]:
    yield Experiments(january)
    blob = gcp.storage_client().bucket(f"{gcp.project()}-{january.name}-models").get_blob(OBJECT)
    if blob is not None:
        blob.delete()


def test_an_experiment_starts_ramps_and_stops(experiments: Experiments) -> None:
    started = experiments.start(experiment(share=5))
    ramped = experiments.ramp(25, by="ana")
    stopped = experiments.stop(by="rui", why="decided")

    assert started == experiment(share=5)
    assert (ramped.share, ramped.running) == (25, True)
    assert ramped.counted_since > started.counted_since
    assert not stopped.running
    assert [(one.by, one.what) for one in stopped.changes] == [
        ("ana", "share from 5 to 25"),
        ("rui", "stopped: decided"),
    ]
    assert experiments.read().running is None
    assert experiments.latest() == stopped


def test_each_command_again_changes_nothing(experiments: Experiments) -> None:
    started = experiments.start(experiment(share=5))
    again = experiment(share=5, started_at=datetime.now(UTC), counted_since=datetime.now(UTC))
    assert experiments.start(again) == started
    assert experiments.ramp(25, by="ana") == experiments.ramp(25, by="ana")
    assert experiments.stop(by="ana") == experiments.stop(by="ana")


def test_one_experiment_at_a_time_and_no_name_twice(experiments: Experiments) -> None:
    experiments.start(experiment())

    with pytest.raises(AlreadyRunning, match="experiment trees of flight-delay runs since 2026"):
        experiments.start(experiment(name="forests"))
    experiments.stop(by="ana")
    with pytest.raises(InvalidExperiment, match="choose another"):
        experiments.start(experiment())


def test_a_smaller_share_is_refused(experiments: Experiments) -> None:
    experiments.start(experiment(share=25))

    with pytest.raises(InvalidExperiment, match="above 25"):
        experiments.ramp(5, by="ana")


def test_a_metric_of_another_task_is_refused(experiments: Experiments) -> None:
    with pytest.raises(InvalidExperiment, match=r"allowed for flight-delay, .*: correct, brier"):
        experiments.start(experiment(metric=Metric.ABSOLUTE_ERROR))


def test_nothing_to_stop(experiments: Experiments) -> None:
    with pytest.raises(NoExperiment, match="has had no experiment"):
        experiments.stop(by="ana")


def test_of_two_who_start_at_once_one_wins(experiments: Experiments) -> None:
    outcomes: list[str] = []
    both = threading.Barrier(2)

    def start(name: str) -> None:
        both.wait()
        try:
            outcomes.append(experiments.start(experiment(name=name)).name)
        except AlreadyRunning:
            outcomes.append("refused")

    threads = [threading.Thread(target=start, args=(name,)) for name in ("trees", "forests")]
    for one in threads:
        one.start()
    for one in threads:
        one.join()

    running = experiments.read().running
    assert running is not None
    assert sorted(outcomes) == sorted([running.name, "refused"])


def test_a_change_made_in_between_is_not_lost(
    experiments: Experiments, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other's write comes after this one's read."""
    experiments.start(experiment(share=5))
    read, others = experiments.read_newer, Experiments(experiments.product)

    def slow(generation: int) -> object:
        seen = read(generation)
        monkeypatch.setattr(experiments, "read_newer", read)
        others.ramp(25, by="rui")
        return seen

    monkeypatch.setattr(experiments, "read_newer", slow)
    stopped = experiments.stop(by="ana")

    assert stopped.share == 25
    assert [one.by for one in stopped.changes] == ["rui", "ana"]


def test_a_server_follows_and_keeps_what_it_knows(
    experiments: Experiments, monkeypatch: pytest.MonkeyPatch
) -> None:
    follower = Follower(experiments.product, interval=0.02)
    follower.start()
    try:
        assert follower.assign("customer-1") == "champion"
        experiments.start(experiment(share=99.9))
        _await(lambda: follower.experiment is not None)
        assert follower.assign("customer-1") == "challenger"
        assert follower.assign(None) == "champion"

        with monkeypatch.context() as broken:
            broken.setattr(gcp, "storage_client", _unreachable)
            follower.refresh()
            assert follower.assign("customer-1") == "challenger"

        experiments.stop(by="ana")
        _await(lambda: follower.experiment is None)
        assert follower.assign("customer-1") == "champion"
    finally:
        follower.stop()


def test_servers_need_nothing_heavy_to_follow() -> None:
    import subprocess
    import sys

    program = (
        "import sys, workloads.experiments.follower; "
        "print([one for one in ('numpy', 'pandas', 'google.cloud.storage') if one in sys.modules])"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )

    assert ended.stdout.strip() == "[]", ended.stderr


def _unreachable() -> None:
    raise OSError("no route to host")


def _await(condition: object, seconds: float = 10) -> None:
    import time

    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)


def test_what_is_kept_reads_as_json(experiments: Experiments) -> None:
    experiments.start(experiment())

    blob = gcp.storage_client().bucket(experiments.uri.split("/")[2]).blob(OBJECT)
    assert msgspec.json.decode(blob.download_as_bytes())["running"]["metric"] == "brier"

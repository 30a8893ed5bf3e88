"""Cloud Run and KServe as targets, against the local cloud, with a model server in small."""

from __future__ import annotations

import contextlib
import dataclasses
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import requests

from localcloud.home import Home
from localcloud.images import Images
from tests.workloads.release.conftest import Death, Killed, Manifest, Stage, Versions
from workloads import gcp
from workloads.experiments.servers import NobodyFollows, require_follower
from workloads.manifest import Example
from workloads.product import Product
from workloads.release.states import State
from workloads.release.store import Store
from workloads.release.targets import (
    DeployFailed,
    DeployTimedOut,
    InvalidSplit,
    Target,
    Unreachable,
)
from workloads.release.targets.cloud_run import CloudRunTarget
from workloads.release.targets.kserve import GROUP, KServeTarget

CHECKOUT = Path(__file__).resolve().parents[3]
IMAGE = "us-central1-docker.pkg.dev/p/repo/server:1"
WITHIN = timedelta(seconds=60)
SERVER = """
import json, os, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

VERSION = os.environ.get("AIP_VERSION_NAME", "none")
if os.environ.get("BROKEN"):
    sys.exit("the model cannot be loaded")
time.sleep(float(os.environ.get("SLOW", "0")))

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answer({"status": "ready"})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        answers = [{"probability": 0.5, "model": VERSION} for _ in body["instances"]]
        self.answer({"predictions": answers})

    def answer(self, body):
        content = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args):
        pass

ThreadingHTTPServer((os.environ["HOST"], int(os.environ["PORT"])), Handler).serve_forever()
"""


class Rest:
    """Cloud Run and KServe of a home of their own."""

    def __init__(self, folder: Path) -> None:
        self.home = Home(folder / "home")
        self.endpoints = self.home.reserve(project="p")
        self.url = self.endpoints.url("rest")
        context = folder / "server"
        context.mkdir()
        (context / "main.py").write_text(SERVER)
        (context / "Dockerfile").write_text(
            "FROM python:3.13-slim\nWORKDIR /app\nCOPY main.py .\n"
            'ENTRYPOINT ["python", "main.py"]\n'
        )
        Images(self.home).build(IMAGE, context / "Dockerfile", context)
        self._log = (folder / "rest.log").open("ab")
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "localcloud.rest", "--home", str(self.home.path)),
                *("--only", "run", "--only", "kserve"),
            ],
            cwd=CHECKOUT,
            stdout=self._log,
            stderr=self._log,
        )
        deadline = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(f"{self.url}/healthz", timeout=1)
                return
            except OSError:
                assert time.monotonic() < deadline, "the local cloud did not start"
                time.sleep(0.05)

    def stop(self) -> None:
        self._process.terminate()
        assert self._process.wait(30) == 0
        self._log.close()


@pytest.fixture(scope="module")
def rest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rest]:
    one = Rest(tmp_path_factory.mktemp("targets"))
    yield one
    one.stop()


def version(number: str, **env: str) -> Any:
    spec = SimpleNamespace(
        image_uri=IMAGE,
        env=[SimpleNamespace(name=name, value=value) for name, value in env.items()],
        health_route="/health",
        predict_route="/predict",
    )
    return SimpleNamespace(
        number=number,
        folder=SimpleNamespace(uri=f"gs://models/{number}"),
        model=SimpleNamespace(container_spec=spec),
    )


@pytest.fixture(params=["cloud-run", "kserve"])
def target(
    request: pytest.FixtureRequest,
    rest: Rest,
    product: Product,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Target]:
    """One that has served nothing yet."""
    for name, value in rest.endpoints.environment().items():
        monkeypatch.setenv(name, value)
    if request.param == "kserve":
        yield KServeTarget(product)
        requests.delete(f"{rest.url}{ISVC}", timeout=30)
        return
    body = {"template": {"containers": [{"image": IMAGE}]}}
    services = gcp.run().projects().locations().services()
    parent = "projects/p/locations/us-central1"
    started = services.create(parent=parent, serviceId="flight-delay-api", body=body).execute()
    operations = gcp.run().projects().locations().operations()
    while not started.get("done"):
        time.sleep(0.05)
        started = operations.get(name=started["name"]).execute()
    yield CloudRunTarget(product)
    services.delete(name=f"{parent}/services/flight-delay-api").execute()


ISVC = f"/apis/{GROUP}/namespaces/default/inferenceservices/flight-delay"


def address(target: Target, rest: Rest) -> str:
    """Where callers ask."""
    if isinstance(target, KServeTarget):
        return requests.get(f"{rest.url}{ISVC}", timeout=10).json()["status"]["url"]
    return gcp.run().projects().locations().services().get(name=target.name).execute()["uri"]


def answered(target: Target, rest: Rest, count: int = 100) -> Counter[str]:
    """Which versions answer callers, of so many requests."""
    url = f"{address(target, rest)}/predict"
    found = Counter[str]()
    for _ in range(count):
        answer = requests.post(url, json={"instances": [{}]}, timeout=10)
        found[answer.json()["predictions"][0]["model"]] += 1
    return found


def shares(target: Target) -> dict[str, int]:
    return {one.version: one.share for one in target.served() if one.share}


@pytest.fixture
def serving(target: Target) -> Target:
    """Version 1 has all traffic."""
    target.deploy(version("1"), WITHIN)
    target.split({"1": 100})
    return target


def test_a_version_goes_from_shadow_by_canary_to_full_and_back(serving: Target, rest: Rest) -> None:
    serving.deploy(version("2"), WITHIN)
    assert shares(serving) == {"1": 100}
    assert answered(serving, rest, 20) == {"1": 20}
    # It has no traffic, and answers all the same.
    asked = serving.ask("2", [{}, {}])
    assert [(one or {})["model"] for one in asked.predictions] == ["2", "2"]
    assert len(asked.latencies) == 1

    serving.split({"1": 90, "2": 10})
    assert answered(serving, rest) == {"1": 90, "2": 10}
    serving.split({"2": 100})
    serving.tidy({"1", "2"})
    assert answered(serving, rest, 20) == {"2": 20}

    serving.deploy(version("1"), WITHIN)
    serving.split({"1": 100})
    serving.tidy({"1"})
    assert answered(serving, rest, 20) == {"1": 20}
    assert [one.version for one in serving.served()] == ["1"]
    # And the next one begins beside it, not beside what was rolled back.
    serving.deploy(version("3"), WITHIN)
    assert shares(serving) == {"1": 100}


def test_each_act_again_changes_nothing(serving: Target) -> None:
    serving.deploy(version("2"), WITHIN)
    serving.split({"1": 95, "2": 5})
    before = serving.served()

    serving.deploy(version("2"), WITHIN)
    serving.split({"1": 95, "2": 5})
    serving.tidy({"1", "2"})

    assert serving.served() == before


def test_a_version_that_never_starts_leaves_the_champion_untouched(
    serving: Target, rest: Rest
) -> None:
    with pytest.raises(DeployFailed, match="the model cannot be loaded"):
        serving.deploy(version("2", BROKEN="yes"), WITHIN)
    assert answered(serving, rest, 20) == {"1": 20}

    serving.split({"1": 100})
    serving.tidy({"1"})
    serving.deploy(version("3"), WITHIN)
    serving.split({"1": 95, "3": 5})

    assert shares(serving) == {"1": 95, "3": 5}


def test_a_version_that_is_not_ready_in_time_leaves_the_champion_untouched(
    serving: Target, rest: Rest
) -> None:
    with pytest.raises(DeployTimedOut, match=r"version 2 was not ready on .* (in time|within 1 s)"):
        serving.deploy(version("2", SLOW="5"), timedelta(seconds=1))
    assert answered(serving, rest, 20) == {"1": 20}

    serving.split({"1": 100})
    serving.tidy({"1"})
    serving.deploy(version("3"), WITHIN)
    serving.split({"1": 95, "3": 5})

    assert shares(serving) == {"1": 95, "3": 5}


@pytest.mark.parametrize("target", ["cloud-run"], indirect=True)
def test_a_deployment_that_was_killed_and_made_again_is_there_once(
    serving: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed while Cloud Run was still starting the revision, it cannot know of it. KServe has two
    revisions at most, and makes none twice."""
    assert isinstance(serving, CloudRunTarget)
    serving.deploy(version("2"), WITHIN)
    with monkeypatch.context() as patch:
        patch.setattr(serving, "served", list)
        serving.deploy(version("2"), WITHIN)
    assert len(of_version(serving, "2")) == 2

    serving.split({"1": 95, "2": 5})
    serving.tidy({"1", "2"})

    assert len(of_version(serving, "2")) == 1
    assert shares(serving) == {"1": 95, "2": 5}
    assert [(one or {})["model"] for one in serving.ask("2", [{}]).predictions] == ["2"]


@pytest.mark.parametrize("target", ["cloud-run"], indirect=True)
class TestAnExperiment:
    """Needs a server that follows the registry, and not one version."""

    @pytest.fixture
    def services(self) -> Any:
        return gcp.run().projects().locations().services()

    def test_is_taken_part_in_by_a_server_with_an_alias(
        self, target: Target, services: Any, product: Product
    ) -> None:
        env = [{"name": "MODEL_ALIAS", "value": "champion"}]
        body = {"template": {"containers": [{"image": IMAGE, "env": env}]}}
        services.patch(name=target.name, body=body, updateMask="template").execute()
        require_follower(product)

    def test_is_refused_where_releases_pin_versions(
        self, serving: Target, product: Product
    ) -> None:
        with pytest.raises(NobodyFollows, match=r"one version a revision, .* --elsewhere"):
            require_follower(product)

    def test_is_refused_without_a_server(self, target: Target, product: Product) -> None:
        other = dataclasses.replace(product, name="other-product")
        with pytest.raises(
            NobodyFollows, match=r"there is no Cloud Run service .*other-product-api"
        ):
            require_follower(other)


def of_version(target: CloudRunTarget, number: str) -> list[str]:
    return [name for name, found in target._revisions().items() if found == number]


def test_an_aborted_version_is_taken_away(serving: Target, rest: Rest) -> None:
    serving.deploy(version("2"), WITHIN)
    serving.split({"1": 75, "2": 25})

    serving.split({"1": 100})
    serving.tidy({"1"})

    assert [one.version for one in serving.served()] == ["1"]
    assert answered(serving, rest, 20) == {"1": 20}
    with pytest.raises(Unreachable):
        serving.ask("2", [{}])


def test_splits_that_are_none_are_refused(serving: Target) -> None:
    with pytest.raises(InvalidSplit, match="100 together"):
        serving.split({"1": 99})
    with pytest.raises(InvalidSplit, match="version 9, which is not deployed"):
        serving.split({"1": 50, "9": 50})


def test_who_was_overtaken_reads_again(
    serving: Target, rest: Rest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody changes the service between each read and the write that follows it, twice."""
    serving.deploy(version("2"), WITHIN)
    left = [2]

    def disturbed(read: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*given: Any) -> Any:
            found = read(*given)
            if left[0]:
                left[0] -= 1
                disturb(serving, rest)
            return found

        return wrapped

    name = "_get" if isinstance(serving, KServeTarget) else "_service"
    # Only the reads that a change begins with.
    change = serving._change  # pyright: ignore

    def patched(*given: Any) -> Any:
        monkeypatch.setattr(serving, name, disturbed(getattr(type(serving), name).__get__(serving)))
        try:
            return change(*given)
        finally:
            monkeypatch.setattr(serving, name, getattr(type(serving), name).__get__(serving))

    monkeypatch.setattr(serving, "_change", patched)

    serving.split({"1": 95, "2": 5})

    assert left == [0]
    assert shares(serving) == {"1": 95, "2": 5}


def disturb(target: Target, rest: Rest) -> None:
    if isinstance(target, KServeTarget):
        patch = {"metadata": {"labels": {"touched": str(time.monotonic_ns())}}}
        headers = {"Content-Type": "application/merge-patch+json"}
        answer = requests.patch(f"{rest.url}{ISVC}", json=patch, headers=headers, timeout=10)
        assert answer.ok, answer.text
        return
    body = {"labels": {"touched": str(time.monotonic_ns())}}
    services = gcp.run().projects().locations().services()
    services.patch(name=target.name, body=body, updateMask="labels").execute()


class Walked:
    """The controller on the real target and real records; fakes for what neither is about."""

    def __init__(self, stage: Stage, target: Target) -> None:
        self.stage = stage
        self.target = target
        self.stage.versions = cast("Any", Staged(stage.death, "1", "2", "3"))
        self.stage.target = cast("Any", Mortal(target, stage.death))

    def to_full(self) -> None:
        """As far as evidence that is always clean takes version 2."""
        self.stage.tell(4)
        self.stage.controller().promote("2")
        for _ in range(4):
            self.stage.clock.pass_(minutes=5)
            self.stage.controller().advance()


class Staged(Versions):
    """A registry of versions whose server is the one in small."""

    def __init__(self, death: Death, *numbers: str) -> None:
        super().__init__(death)
        self.versions = {number: cast("Any", self.server(number)) for number in numbers}

    @staticmethod
    def server(number: str, **env: str) -> Any:
        """A version that answers 0.5, as when it was evaluated."""
        made = version(number, **env)
        example = Example(instance={"x": 1}, value=0.5)
        made.folder = SimpleNamespace(uri=made.folder.uri, read_json=lambda *_: [example])
        made.manifest = Manifest
        return made


class Mortal:
    """A target during whose acts the controller can be killed."""

    def __init__(self, target: Target, death: Death) -> None:
        self._target = target
        self._death = death

    @property
    def shares(self) -> dict[str, int]:
        return shares(self._target)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        if name not in ("deploy", "split", "tidy"):
            return found

        def mortal(*given: Any) -> Any:
            with self._death.around(name):
                return found(*given)

        return mortal


@pytest.fixture
def walked(product: Product, store: Store, target: Target) -> Walked:
    one = Walked(Stage(product, store), target)
    one.stage.serve()
    return one


def test_the_controller_walks_all_the_way(walked: Walked, rest: Rest) -> None:
    walked.to_full()

    status = walked.stage.controller().status()
    assert status.release is not None
    assert status.release.state is State.FULL
    assert (status.champion, status.previous) == ("2", "1")
    assert answered(walked.target, rest, 20) == {"2": 20}

    walked.stage.controller().rollback()

    assert answered(walked.target, rest, 20) == {"1": 20}
    assert walked.stage.state()["champion"] == "1"


def test_the_controller_gives_up_what_is_not_ready_in_time(walked: Walked, rest: Rest) -> None:
    stage = walked.stage
    policy = dataclasses.replace(stage.product.release, deploy_time=timedelta(seconds=1))
    stage.product = dataclasses.replace(stage.product, release=policy)
    stage.versions.versions["2"] = Staged.server("2", SLOW="5")

    with pytest.raises(DeployTimedOut):
        stage.controller().promote("2")

    assert stage.state()["state"] == "aborted"
    assert answered(walked.target, rest, 20) == {"1": 20}
    assert [one.version for one in walked.target.served() if one.share] == ["1"]


DEATHS = (("deploy", "after"), ("split", "before"), ("split", "after"), ("tidy", "before"))


@pytest.mark.parametrize(
    ("act", "side"),
    [
        DEATHS[2],
        *(pytest.param(*one, marks=pytest.mark.long) for one in DEATHS if one != DEATHS[2]),
    ],
)
def test_a_controller_that_is_killed_is_mended_by_the_next(
    walked: Walked, rest: Rest, act: str, side: str
) -> None:
    stage = walked.stage
    stage.controller().promote("2")
    stage.controller().advance(whatever_the_evidence_says=True)

    @contextlib.contextmanager
    def deadly(name: str) -> Iterator[None]:
        if name == act and side == "before":
            raise Killed(name)
        yield
        if name == act:
            raise Killed(name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage.death, "around", deadly)
        with pytest.raises(Killed):
            # From 25 % to all, which has each act once.
            stage.controller().advance(whatever_the_evidence_says=True)
    stage.controller().advance()

    assert stage.state()["state"] == "full"
    assert (stage.state()["champion"], stage.state()["previous"]) == ("2", "1")
    assert answered(walked.target, rest, 20) == {"2": 20}

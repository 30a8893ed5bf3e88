"""`python -m workloads.serving`: serve one model until told to end.

What serving does not need at once is imported when it is needed: a server that takes seconds to
load its modules is one that comes too late when traffic rises.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

from pydantic import ValidationError

from workloads.artifacts import ArtifactNotFound
from workloads.prediction_log.publisher import Publisher
from workloads.scoring import ModelRefused
from workloads.serving.app import Lookup, build
from workloads.serving.model import ServedModel
from workloads.serving.models import Chooser, Given
from workloads.serving.server import Server
from workloads.serving.settings import ServingSettings

log = logging.getLogger("workloads.serving")


def main() -> int:
    """Listen, and load the model meanwhile: who is told that it is being loaded knows more than who
    reaches nobody, and nobody is answered by a model that was not verified.

    A server that is given a folder ends where it holds no such model. One that is given an alias
    waits until a version has it, and says so to whoever asks.
    """
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
    )
    try:
        settings = ServingSettings()  # pyright: ignore[reportCallIssue]  # filled from the environment
    except ValidationError as error:
        for fault in error.errors():
            if fault["loc"]:
                name = "_".join(str(part) for part in fault["loc"]).upper()
                log.error("%s is %r: %s", name, fault["input"], fault["msg"])
            else:
                log.error("%s", fault["msg"])
        return 2
    given = None if settings.model_alias else Given(settings.variant)
    models = given or _following(settings)
    publisher = Publisher(
        settings.product,
        settings.prediction_topic,
        deployed_model_id=settings.aip_deployed_model_id,
        most_waiting=settings.prediction_queue,
    )
    # uvicorn ends requests under way on SIGTERM, then raises the signal anew: that is a success.
    signal.signal(signal.SIGTERM, lambda *_: None)
    server = Server(build(settings, models, publisher, _lookup(settings)), settings)
    if given is not None:
        words = [settings, given, server]
        threading.Thread(target=_load, args=words, name="load", daemon=True).start()
    publisher.start()
    try:
        server.run()
    finally:
        publisher.close(settings.grace_seconds)
    return 1 if server.failed else 0


def _load(settings: ServingSettings, given: Given, server: Server) -> None:
    """The model that the server was started for; it ends without."""
    try:
        model = ServedModel.load(settings)
    except (ModelRefused, ArtifactNotFound) as error:
        log.error("%s", error)
        server.fail()
    except Exception:
        # Whatever it is, somebody has to hear of it, and to start another.
        log.exception("the model cannot be loaded")
        server.fail()
    else:
        log.info("serving %s run %s", model.manifest.product, model.manifest.run)
        given.load(model)


def _following(settings: ServingSettings) -> Chooser:
    """The version of an alias. It is looked for while the server listens, and says so."""
    from workloads import product as products
    from workloads.serving.champion import Arms, Champion

    arms: Any = None
    if settings.experiments:
        from workloads.experiments.follower import Follower

        arms = Follower(products.load(settings.product))
    known: Arms | None = arms
    champion = Champion(settings, known)

    def look() -> None:
        if arms is not None:
            arms.start()
        champion.look()

    threading.Thread(target=look, name="first-look", daemon=True).start()
    return champion


def _lookup(settings: ServingSettings) -> Lookup | None:
    """What finds the features of an entity, where that is switched on."""
    if not settings.online_features:
        return None
    from workloads import product as products
    from workloads.features.online import OnlineFeatures

    online = OnlineFeatures(products.load(settings.product))
    # The first question would otherwise wait for the client to be imported.
    threading.Thread(target=_prepared, args=[online.prepare], name="features", daemon=True).start()
    return online.fetch


def _prepared(prepare: Callable[[], None]) -> None:
    try:
        prepare()
    except Exception as error:  # noqa: BLE001 - whatever it is, the questions meet it too
        log.warning("features cannot be looked up yet: %s", error)


if __name__ == "__main__":
    sys.exit(main())

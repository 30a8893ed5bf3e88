"""`python -m workloads.serving`: serve one model until told to end."""

from __future__ import annotations

import logging
import signal
import sys
from functools import partial

import uvicorn
from pydantic import ValidationError

from workloads.artifacts import ArtifactNotFound
from workloads.scoring import ModelRefused
from workloads.serving.app import Models, build
from workloads.serving.champion import Champion
from workloads.serving.model import ServedModel
from workloads.serving.settings import ServingSettings

log = logging.getLogger("workloads.serving")


def main() -> int:
    """Load the model, then listen: nobody is answered by a model that was not verified.

    A server that is given a folder ends where it holds no such model. One that is given an alias
    listens before any model has it, and says so to whoever asks.
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
    models: Models
    if settings.model_alias:
        champion = Champion(settings)
        champion.look()
        models = champion.current
    else:
        try:
            model = ServedModel.load(settings)
        except (ModelRefused, ArtifactNotFound) as error:
            log.error("%s", error)
            return 1
        log.info("serving %s run %s", model.manifest.product, model.manifest.run)
        models = partial(_always, model)
    # uvicorn ends requests under way on SIGTERM, then raises the signal anew: that is a success.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    uvicorn.run(
        build(settings, models),
        host=settings.host,
        port=settings.aip_http_port,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=settings.grace_seconds,
    )
    return 0


def _always(model: ServedModel) -> ServedModel:
    return model


if __name__ == "__main__":
    sys.exit(main())

"""The HTTP side of a model server: an ASGI application without a framework.

Routes of the path that every request takes are told apart here, and nothing is loaded for them that
they do not need: predictions in the shape of Vertex AI's custom containers (KServe's V1 protocol)
and in that of the Open Inference Protocol V2, health, and Prometheus' metrics. Everything else
(`/docs`, `/openapi.json`) goes to FastAPI, which is loaded when somebody asks for it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

import msgspec

from workloads import product as products
from workloads.prediction_log.publisher import Publisher, deployed
from workloads.serving import answers, v2
from workloads.serving.answers import Answer
from workloads.serving.batching import Batcher, Full, Predicted, ScoringFailed
from workloads.serving.body import (
    Bodies,
    Busy,
    GoneAway,
    Receive,
    Scope,
    Send,
    TooLarge,
    TooSlow,
)
from workloads.serving.gauges import watch
from workloads.serving.health import Health
from workloads.serving.metrics import CONTENT_TYPE, Labels, Metrics
from workloads.serving.models import Chooser, Chosen, Models, One
from workloads.serving.reader import Reader
from workloads.serving.recorder import Recorder
from workloads.serving.request import (
    BadRequest,
    Parameters,
    Question,
    Unresolved,
    resolved,
    shown,
    whole,
)
from workloads.serving.settings import ServingSettings

log: Final = logging.getLogger(__name__)

METRICS_ROUTE: Final = "/metrics"
KEY_HEADER: Final = b"x-assignment-key"
"""Whom an experiment's variant follows, where it is not among the parameters."""
VERTEX: Final = "vertex"
OPEN: Final = "v2"

type Lookup = Callable[[list[str]], list[dict[str, Any] | None]]
"""The features of entities, in their order; none for one that is not known."""


class _Stopped(Exception):
    """A request that gets this answer and no prediction."""

    def __init__(self, answer: Answer, *, recorded: bool = False) -> None:
        self.answer = answer
        self.recorded = recorded
        """Whether its rows are in the prediction log already."""
        super().__init__(answer.status)


class App:
    """The application.

    Args:
        settings: of the server.
        models: which model answers whom.
        publisher: takes what was predicted; nothing is logged without it.
        lookup: finds the features of entities; only with `settings.online_features`.
    """

    def __init__(
        self,
        settings: ServingSettings,
        models: Models | Chooser,
        publisher: Publisher | None = None,
        lookup: Lookup | None = None,
    ) -> None:
        self.settings = settings
        self.product = products.load(settings.product)
        self.models: Chooser = One(models, settings.variant) if callable(models) else models
        self.log = publisher or Publisher(self.product.name, "")
        self.lookup = lookup
        self.metrics = Metrics(self.product.name)
        self.under_way = 0
        """Requests to predict that are not answered yet."""
        self._contract = self.product.features.request
        self._entity = self.product.features.entity if lookup is not None else None
        self._max_rows = self.product.serving.max_rows
        self._reader = Reader(self._contract, self._max_rows, self._entity)
        self._bodies = Bodies(
            settings.max_body_bytes, settings.most_body_bytes, settings.body_seconds
        )
        self.batcher = Batcher(
            settings.most_waiting_rows, settings.batch_rows, self.metrics.batches.observe
        )
        self._recorder = Recorder(self.log, self.models)
        self._health = Health(self.product, self.models, self.batcher)
        self._predict = settings.aip_predict_route
        model = f"/v2/models/{self.product.name}"
        self._infer = f"{model}/infer"
        self._versions = f"{model}/versions/"
        self._documents: Any = None
        self._gets: dict[str, Callable[[], Answer]] = {
            settings.live_route: self._health.live,
            settings.aip_health_route: self._health.ready,
            METRICS_ROUTE: self._metrics,
            "/v2": self._health.server,
            "/v2/health/live": self._health.open_live,
            "/v2/health/ready": self._health.open_ready,
            model: self._health.model,
            f"{model}/ready": self._health.open_ready,
        }
        watch(
            self.metrics,
            settings,
            under_way=lambda: self.under_way,
            batcher=self.batcher,
            bodies=self._bodies,
            publisher=self.log,
            health=self._health,
        )
        self.metrics.model = self._answering

    def end(self) -> None:
        """Tell callers from now on to go elsewhere after their answer."""
        self._health.ending = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await _lifespan(scope, receive, send)
            return
        path, method = scope["path"], scope["method"]
        if path == self._predict and method == "POST":
            await self._answered(VERTEX, self._vertex, scope, receive, send)
        elif path == self._infer and method == "POST":
            await self._answered(OPEN, self._open, scope, receive, send)
        elif path == self._predict:
            await self._send(send, answers.wrong_method(method, "POST"))
        elif path == "/v2" or path.startswith("/v2/"):
            await self._opened(scope, receive, send)
        elif (get := self._gets.get(path)) is not None:
            await self._send(send, _got(get, method))
        else:
            await self._framework(scope, receive, send)

    async def _opened(self, scope: Scope, receive: Receive, send: Send) -> None:
        """What is seldom asked by the Open Inference Protocol: of a version, or of the server."""
        path, method = scope["path"], scope["method"]
        get = self._gets.get(path)
        posted = path == self._infer
        if path.startswith(self._versions):
            version, _, what = path.removeprefix(self._versions).partition("/")
            posted = what == "infer"
            if posted and method == "POST":
                predict = partial(self._open, version=version)
                await self._answered(OPEN, predict, scope, receive, send)
                return
            of_version = {"": self._health.model, "ready": self._health.open_ready}.get(what)
            get = None if of_version is None else partial(of_version, version)
        if posted:
            answer = answers.wrong_method(method, "POST")
        elif get is not None:
            answer = _got(get, method)
        else:
            known = [one for one in (*self._gets, self._infer) if one.startswith("/v2")]
            some = ", ".join([*known, f"{self._versions}..."])
            answer = answers.not_found(shown(path), some)
        await self._send(send, answers.in_words(answer))

    async def _answered(
        self,
        protocol: str,
        predict: Callable[[bytes, Scope, float], Awaitable[Answer]],
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        """One prediction, counted and logged whatever becomes of it."""
        began = time.perf_counter()
        if self.under_way >= self.settings.most_requests:
            answer = answers.busy(f"{self.under_way} requests are under way")
            self._recorder.refused(answer.status, began)
        else:
            self.under_way += 1
            try:
                answer = await predict(await self._bodies.read(scope, receive), scope, began)
            except GoneAway:
                return
            except (TooLarge, TooSlow, Busy, _Stopped, BadRequest) as error:
                answer = self._refusal(error, protocol)
                if not (isinstance(error, _Stopped) and error.recorded):
                    self._recorder.refused(answer.status, began)
            except Exception:
                # A fault of ours: the caller gets an answer all the same, and the log the reason.
                log.exception("a request failed")
                answer = answers.error(500, "INTERNAL", "the server failed; it was logged")
                self._recorder.refused(answer.status, began)
            finally:
                self.under_way -= 1
        self.metrics.answered(protocol, answer.status, time.perf_counter() - began)
        await self._send(send, answer if protocol == VERTEX else answers.in_words(answer))

    async def _vertex(self, body: bytes, scope: Scope, began: float) -> Answer:
        """`{"instances": [...]}` becomes `{"predictions": [...]}`."""
        chosen_before = self._ready()
        question = self._reader.read(body)
        if isinstance(question, Unresolved):
            question = await self._look_up(question)
        chosen = self._chosen(question, scope) or chosen_before
        predicted = await self._scored(chosen, question, began)
        document = {"predictions": chosen.model.answers(predicted)}
        return Answer(200, msgspec.json.encode(document))

    async def _open(
        self, body: bytes, scope: Scope, began: float, version: str | None = None
    ) -> Answer:
        """Tensors in, tensors out; by one version, if it is named, whosever key comes along."""
        for name, _ in scope["headers"]:
            if name == b"inference-header-content-length":
                allowed = "tensors in JSON: the binary extension is not spoken"
                raise whole("Inference-Header-Content-Length", "a header", allowed)
        chosen_before = self._ready()
        named = None
        if version is not None:
            named = self._health.find(version)
            if named is None:
                raise _Stopped(self._health.not_served(version))
        infer, question = v2.read(body, self._contract, self._max_rows, self._entity)
        v2.outputs_known(infer, chosen_before.model.manifest)
        if isinstance(question, Unresolved):
            question = await self._look_up(question)
        chosen = self._chosen(question, scope) or chosen_before
        if named is not None:
            chosen = named
        predicted = await self._scored(chosen, question, began)
        model = chosen.model
        document = v2.answer(infer, model.manifest, self.product.name, model.version, predicted)
        return Answer(200, msgspec.json.encode(document))

    def _ready(self) -> Chosen:
        """The model that answers those without a key, if any answers."""
        chosen = self.models.choose(None)
        if chosen is None:
            raise _Stopped(self._health.no_model())
        return chosen

    def _chosen(self, question: Question, scope: Scope) -> Chosen | None:
        """The model that answers whoever asks."""
        key = None if question.parameters is None else question.parameters.key
        if key is None:
            for name, value in scope["headers"]:
                if name == KEY_HEADER:
                    key = value.decode("latin-1")[:1024]
                    given = question.parameters or Parameters()
                    question.parameters = msgspec.structs.replace(given, key=key)
                    break
        return None if key is None else self.models.choose(key)

    async def _scored(self, chosen: Chosen, question: Question, began: float) -> Predicted:
        """What the model says of the rows; logged, whether it says anything or not."""
        try:
            predicted = await self.batcher.submit(chosen.model, question.rows)
        except Full:
            raise _Stopped(
                answers.busy(f"{self.batcher.waiting} rows wait for the model")
            ) from None
        except ScoringFailed:
            self._recorder.answered(chosen, question, None, 500, began)
            raise _Stopped(answers.failed(), recorded=True) from None
        self._recorder.answered(chosen, question, predicted, 200, began)
        return predicted

    async def _look_up(self, unresolved: Unresolved) -> Question:
        """The rows of a request some of which name an entity only."""
        lookup, entity = self.lookup, self._entity
        if lookup is None or entity is None:
            raise RuntimeError("an entity is to be looked up, and there is nothing to look in")
        positions = list(unresolved.entities)
        try:
            # It asks a database: nobody else should wait for that.
            found = await asyncio.to_thread(lookup, [unresolved.entities[one] for one in positions])
        except Exception:
            log.exception("features cannot be looked up")
            message = "features cannot be looked up now; ask again, or send them"
            raise _Stopped(
                answers.error(503, "UNAVAILABLE", message, ((b"retry-after", b"1"),))
            ) from None
        features = dict(zip(positions, found, strict=True))
        return resolved(unresolved, features, self._contract, entity)

    def _refusal(self, error: Exception, protocol: str) -> Answer:
        settings = self.settings
        match error:
            case TooLarge():
                return answers.too_large(settings.max_body_bytes)
            case TooSlow():
                return answers.too_slow(settings.body_seconds)
            case Busy():
                return answers.busy(f"{self._bodies.arriving} bytes are arriving")
            case _Stopped():
                return error.answer
            case BadRequest() if protocol == OPEN:
                # The protocol's own form of an error, and the faults beside it.
                document = {"error": error.message, "details": msgspec.to_builtins(error.faults)}
                return Answer(422, msgspec.json.encode(document))
            case BadRequest():
                return Answer(422, msgspec.json.encode(error.document()))
            case _:
                raise error

    async def _send(self, send: Send, answer: Answer) -> None:
        headers = [
            (b"content-type", answer.kind),
            (b"content-length", str(len(answer.body)).encode()),
            *answer.headers,
        ]
        if self._health.ending:
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})

    def _metrics(self) -> Answer:
        return Answer(200, self.metrics.text().encode(), CONTENT_TYPE.encode())

    async def _framework(self, scope: Scope, receive: Receive, send: Send) -> None:
        """What FastAPI answers: documents, and that there is nothing."""
        if self._documents is None:
            # Seconds on a small machine, which those who ask for predictions should not wait for.
            self._documents = await asyncio.to_thread(self._load_documents)
        await self._documents(scope, receive, send)

    def _load_documents(self) -> Any:
        from workloads.serving.documents import build as documents

        return documents(self.settings, self.product)

    def _answering(self) -> list[Labels]:
        return [
            {
                "product": self.product.name,
                "version": one.model.version,
                "run": one.model.manifest.run,
                "variant": one.variant,
                "deployed_model_id": deployed(
                    self.settings.aip_deployed_model_id,
                    self.settings.k_revision,
                    one.model.version,
                ),
            }
            for one in self.models.all()
        ]


def build(
    settings: ServingSettings,
    models: Models | Chooser,
    publisher: Publisher | None = None,
    lookup: Lookup | None = None,
) -> App:
    """The application of a server; see `App`."""
    return App(settings, models, publisher, lookup)


def _got(get: Callable[[], Answer], method: str) -> Answer:
    """What a route says that is only read."""
    return get() if method in ("GET", "HEAD") else answers.wrong_method(method, "GET")


async def _lifespan(scope: Scope, receive: Receive, send: Send) -> None:
    """Say yes to whoever asks to start and to end; refuse WebSockets."""
    if scope["type"] != "lifespan":
        await send({"type": "websocket.close", "code": 1003})
        return
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return

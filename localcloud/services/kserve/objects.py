"""The Kubernetes API of InferenceServices, over HTTP."""

from __future__ import annotations

import re
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from localcloud.rest.operations import now
from localcloud.rest.store import Documents
from localcloud.services.kserve.predictors import CANARY, Predictors

GROUP: Final = "serving.kserve.io"
VERSION: Final = f"{GROUP}/v1beta1"
KIND: Final = "InferenceService"
PLURAL: Final = "inferenceservices"
_PREFIX: Final = f"/apis/{VERSION}/namespaces/{{namespace}}/{PLURAL}"
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_PREDICTOR: Final = frozenset(
    {
        "annotations", "canaryTrafficPercent", "containerConcurrency", "containers", "labels",
        "maxReplicas", "minReplicas", "scaleMetric", "scaleTarget", "serviceAccountName", "timeout",
    }
)  # fmt: skip

type Document = dict[str, Any]
type Handler = Callable[[Request], Awaitable[Response]]


class Refused(Exception):
    """An answer of the API server that is an error."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason

    def status(self) -> Document:
        """As Kubernetes writes it."""
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": str(self),
            "reason": self.reason,
            "code": self.code,
        }


class Objects:
    """Reads and writes of InferenceServices."""

    def __init__(self, documents: Documents, predictors: Predictors) -> None:
        self._documents = documents
        self._predictors = predictors

    def routes(self) -> list[BaseRoute]:
        """For the application of all services."""
        one = f"{_PREFIX}/{{name}}"
        table: list[tuple[str, str, Handler]] = [
            (_PREFIX, "GET", self._list),
            (_PREFIX, "POST", self._create),
            (one, "GET", self._get),
            (one, "PUT", self._replace),
            (one, "PATCH", self._patch),
            (one, "DELETE", self._delete),
        ]
        return [Route(path, _answered(handler), methods=[verb]) for path, verb, handler in table]

    async def _list(self, request: Request) -> Response:
        prefix = f"{request.path_params['namespace']}/"
        items = [self._shown(stored.key) for stored in self._documents.list(prefix)]
        return _json({"apiVersion": VERSION, "kind": f"{KIND}List", "metadata": {}, "items": items})

    async def _create(self, request: Request) -> Response:
        body = await _body(request)
        namespace = request.path_params["namespace"]
        name = body.get("metadata", {}).get("name", "")
        if not _NAME.fullmatch(str(name)):
            raise _invalid(f"metadata.name: {name!r} is no DNS label")
        _check(body, namespace, name)
        key = f"{namespace}/{name}"
        if self._documents.get(key) is not None:
            raise Refused(409, "AlreadyExists", f'{PLURAL}.{GROUP} "{name}" already exists')
        document = {
            **body,
            "metadata": {
                **body["metadata"],
                "namespace": namespace,
                "uid": str(uuid.uuid4()),
                "generation": 1,
                "creationTimestamp": now(),
            },
        }
        document.pop("status", None)
        self._documents.put(key, document)
        self._predictors.reconcile(key)
        return _json(self._shown(key), 201)

    async def _get(self, request: Request) -> Response:
        return _json(self._shown(_key(request)))

    async def _replace(self, request: Request) -> Response:
        key = _key(request)
        body = await _body(request)
        given = body.get("metadata", {}).get("resourceVersion")
        if not given:
            raise _invalid("metadata.resourceVersion: must be specified for an update")
        return self._change(key, body, given)

    async def _patch(self, request: Request) -> Response:
        kind = request.headers.get("content-type", "").partition(";")[0]
        if kind != "application/merge-patch+json":
            raise Refused(
                415,
                "UnsupportedMediaType",
                f"the local cloud patches with application/merge-patch+json, not {kind!r}",
            )
        key = _key(request)
        patch = await _body(request)
        given = patch.get("metadata", {}).get("resourceVersion")
        return self._change(key, _merged(self._shown(key), patch), given)

    def _change(self, key: str, wanted: Document, resource_version: str | None) -> Response:
        namespace, _, name = key.partition("/")
        _check(wanted, namespace, name)
        with self._documents.transaction():
            stored = self._existing(key)
            if resource_version not in (None, stored["metadata"]["resourceVersion"]):
                raise Refused(
                    409,
                    "Conflict",
                    f'Operation cannot be fulfilled on {PLURAL}.{GROUP} "{name}": the object has '
                    "been modified; please apply your changes to the latest version and try again",
                )
            kept = ("uid", "creationTimestamp", "namespace", "name", "generation")
            metadata = {**wanted["metadata"], **{one: stored["metadata"][one] for one in kept}}
            if wanted["spec"] != stored["spec"]:
                metadata["generation"] += 1
            # The status is a resource of its own, which only the controller writes.
            self._documents.put(key, {**stored, "spec": wanted["spec"], "metadata": metadata})
        self._predictors.reconcile(key)
        return _json(self._shown(key))

    async def _delete(self, request: Request) -> Response:
        key = _key(request)
        service = self._existing(key)
        self._documents.delete(key)
        self._predictors.forget(key, service)
        return _json({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"})

    def _existing(self, key: str) -> Document:
        stored = self._documents.find(key)
        if stored is None:
            name = key.partition("/")[2]
            raise Refused(404, "NotFound", f'{PLURAL}.{GROUP} "{name}" not found')
        # Of the whole object, so that a change of its status is one too, as in Kubernetes.
        stored.value["metadata"]["resourceVersion"] = str(int(stored.etag[-10:], 16))
        return stored.value

    def _shown(self, key: str) -> Document:
        return _public(self._existing(key))


def _answered(handler: Handler) -> Handler:
    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except Refused as refused:
            return _json(refused.status(), refused.code)

    return answer


async def _body(request: Request) -> Document:
    try:
        body = msgspec.json.decode(await request.body())
    except msgspec.DecodeError as error:
        raise Refused(400, "BadRequest", f"the body is no JSON: {error}") from None
    if not isinstance(body, dict):
        raise Refused(400, "BadRequest", "the body is no object")
    return body


def _check(body: Mapping[str, Any], namespace: str, name: str) -> None:
    if (body.get("apiVersion"), body.get("kind")) != (VERSION, KIND):
        raise _invalid(f"apiVersion and kind must be {VERSION} and {KIND}")
    metadata = body.get("metadata", {})
    if metadata.get("namespace", namespace) != namespace or metadata.get("name") != name:
        raise _invalid(f"metadata must name {namespace}/{name}, as the address does")
    spec = body.get("spec", {})
    if others := sorted(set(spec) - {"predictor"}):
        raise _invalid(f"spec.{others[0]} is not supported by the local cloud; give `predictor`")
    predictor = spec.get("predictor") or {}
    if others := sorted(set(predictor) - _PREDICTOR):
        raise _invalid(
            f"spec.predictor.{others[0]} is not supported by the local cloud; it has "
            f"{', '.join(sorted(_PREDICTOR))}"
        )
    containers = predictor.get("containers") or []
    if len(containers) != 1 or not containers[0].get("image"):
        raise _invalid("spec.predictor.containers: exactly one, with an image, is needed")
    share = predictor.get(CANARY)
    if share is not None and not (isinstance(share, int) and 0 <= share <= 100):
        raise _invalid(f"spec.predictor.{CANARY}: {share} is not a whole number from 0 to 100")


def _invalid(message: str) -> Refused:
    return Refused(422, "Invalid", f"{KIND} is invalid: {message}")


def _merged(old: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merged(merged.get(key), value)
    return merged


def _key(request: Request) -> str:
    return f"{request.path_params['namespace']}/{request.path_params['name']}"


def _public(document: Mapping[str, Any]) -> Document:
    return {key: value for key, value in document.items() if not key.startswith("_")}


def _json(body: Any, code: int = 200) -> Response:
    return Response(msgspec.json.encode(body), code, media_type="application/json")

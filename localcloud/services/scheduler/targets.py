"""What a Cloud Scheduler job calls: an HTTP address or a Pub/Sub topic."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import httpx

from localcloud.home import Home
from localcloud.rest.errors import RPC_CODES, InvalidArgument, Unimplemented
from localcloud.rest.operations import seconds

_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})
# The APIs that the local cloud answers on its own REST port.
_HERE: Final = re.compile(
    r"(?:[a-z0-9-]+-)?(?:run|aiplatform|dataflow|cloudscheduler)\.googleapis\.com"
)
# The address that Google's guides give for "run this job on a schedule" is of the older API.
_RUN_V1: Final = re.compile(
    r"/apis/run\.googleapis\.com/v1/namespaces/(?P<project>[^/]+)/jobs/(?P<job>[^/:]+):run"
)
_TOPIC: Final = re.compile(r"projects/(?P<project>[^/]+)/topics/[^/]+")
# As Google maps the answers of targets to the codes of google.rpc.
_CODES: Final = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_SHOWN: Final = 500


def check_target(job: Mapping[str, Any]) -> dict[str, Any]:
    """The job's target, completed with Google's defaults.

    Raises:
        InvalidArgument: there is not exactly one, or it is wrong.
        Unimplemented: it is one that nothing here answers.
    """
    kinds = [kind for kind in ("httpTarget", "pubsubTarget", "appEngineHttpTarget") if kind in job]
    if len(kinds) != 1:
        raise InvalidArgument(
            "Job.target: exactly one of http_target, pubsub_target and app_engine_http_target is "
            f"required, got {len(kinds)}."
        )
    if kinds == ["appEngineHttpTarget"]:
        raise Unimplemented("Job.app_engine_http_target: the local cloud has no App Engine.")
    if kinds == ["pubsubTarget"]:
        return {"pubsubTarget": _check_pubsub(job["pubsubTarget"], job["name"])}
    return {"httpTarget": _check_http(job["httpTarget"])}


def _check_http(given: Mapping[str, Any]) -> dict[str, Any]:
    target = {"httpMethod": "POST", **given}
    uri = target.get("uri", "")
    parts = urlsplit(uri)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise InvalidArgument(
            f"HttpTarget.uri: '{uri}' must begin with http:// or https:// and name a host."
        )
    if parts.hostname.endswith(".googleapis.com") and not _HERE.fullmatch(parts.hostname):
        raise Unimplemented(
            f"HttpTarget.uri: the local cloud does not answer for {parts.hostname} on a schedule, "
            "and sends nothing to Google."
        )
    if target["httpMethod"] == "HTTP_METHOD_UNSPECIFIED":
        target["httpMethod"] = "POST"
    if target.get("body") and target["httpMethod"] not in _WITH_BODY:
        raise InvalidArgument(
            f"HttpTarget.body: a body is allowed with {', '.join(sorted(_WITH_BODY))} only, not "
            f"with {target['httpMethod']}."
        )
    if target.get("oauthToken") and target.get("oidcToken"):
        raise InvalidArgument("HttpTarget: oauth_token and oidc_token exclude each other.")
    for token in ("oauthToken", "oidcToken"):
        if token in target and not target[token].get("serviceAccountEmail"):
            raise InvalidArgument(f"HttpTarget.{token}.service_account_email is required.")
    return target


def _check_pubsub(target: Mapping[str, Any], job: str) -> dict[str, Any]:
    topic = target.get("topicName", "")
    match = _TOPIC.fullmatch(topic)
    if match is None:
        raise InvalidArgument(
            f"PubsubTarget.topic_name: '{topic}' must be projects/PROJECT/topics/TOPIC."
        )
    if match["project"] != job.split("/")[1]:
        raise InvalidArgument(
            f"PubsubTarget.topic_name: '{topic}' must be in the job's project, {job.split('/')[1]}."
        )
    if not target.get("data") and not target.get("attributes"):
        raise InvalidArgument("PubsubTarget: data or at least one attribute is required.")
    return dict(target)


def local_uri(uri: str, rest: str) -> str:
    """Where a request goes: Google's REST APIs are answered by the local cloud.

    Args:
        uri: the target's address.
        rest: `http://127.0.0.1:port` of the REST APIs.
    """
    parts = urlsplit(uri)
    if not _HERE.fullmatch(parts.hostname or ""):
        return uri
    path = parts.path
    if match := _RUN_V1.fullmatch(path):
        region = (parts.hostname or "").removesuffix("-run.googleapis.com")
        path = f"/v2/projects/{match['project']}/locations/{region}/jobs/{match['job']}:run"
    here = urlsplit(rest)
    return urlunsplit((here.scheme, here.netloc, path, parts.query, ""))


class Targets:
    """Calls targets."""

    def __init__(self, home: Home) -> None:
        self._endpoints = home.endpoints()
        self._http = httpx.AsyncClient(trust_env=False, follow_redirects=False)

    async def call(self, job: Mapping[str, Any], scheduled: str) -> dict[str, Any]:
        """One attempt. The answer as a `google.rpc.Status`: empty when it succeeded.

        Args:
            job: the job.
            scheduled: the time for which it was due, RFC 3339.
        """
        deadline = seconds(job["attemptDeadline"])
        try:
            async with asyncio.timeout(deadline):
                if "httpTarget" in job:
                    return await self._request(job, scheduled)
                return await self._publish(job, deadline)
        except TimeoutError:
            return _status(
                "DEADLINE_EXCEEDED", f"no answer within {job['attemptDeadline']} (attemptDeadline)"
            )

    async def close(self) -> None:
        """Give the connections back."""
        await self._http.aclose()

    async def _request(self, job: Mapping[str, Any], scheduled: str) -> dict[str, Any]:
        target = job["httpTarget"]
        body = base64.b64decode(target.get("body", ""))
        headers = {
            "User-Agent": "Google-Cloud-Scheduler",
            **({"Content-Type": "application/octet-stream"} if body else {}),
            **target.get("headers", {}),
            "X-CloudScheduler": "true",
            "X-CloudScheduler-JobName": job["name"].rpartition("/")[2],
            "X-CloudScheduler-ScheduleTime": scheduled,
        }
        uri = local_uri(target["uri"], self._endpoints.url("rest"))
        try:
            answer = await self._http.request(
                target["httpMethod"], uri, content=body or None, headers=headers, timeout=None
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return _status("UNAVAILABLE", f"{target['httpMethod']} {uri}: {error}")
        if answer.is_success:
            return {}
        said = f"{target['httpMethod']} {uri} answered {answer.status_code}: {answer.text}"
        return _status(_CODES.get(answer.status_code, "UNKNOWN"), said)

    async def _publish(self, job: Mapping[str, Any], deadline: float) -> dict[str, Any]:
        target = job["pubsubTarget"]
        return await asyncio.to_thread(self._publish_now, target, deadline)

    def _publish_now(self, target: Mapping[str, Any], deadline: float) -> dict[str, Any]:
        from google.api_core.exceptions import GoogleAPICallError

        message = {
            "data": base64.b64decode(target.get("data", "")),
            "attributes": target.get("attributes", {}),
        }
        try:
            self._publisher.publish(
                topic=target["topicName"], messages=[message], timeout=deadline, retry=None
            )
        except GoogleAPICallError as error:
            code = error.grpc_status_code
            return _status(code.name if code else "UNKNOWN", error.message)
        return {}

    @cached_property
    def _publisher(self) -> Any:
        # Imported when first needed: it takes a second, and few jobs publish.
        import grpc
        from google.pubsub_v1.services.publisher import PublisherClient
        from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport

        channel = grpc.insecure_channel(self._endpoints.address("pubsub"))
        return PublisherClient(transport=PublisherGrpcTransport(channel=channel))


def _status(name: str, message: str) -> dict[str, Any]:
    return {"code": RPC_CODES.get(name, 2), "message": message[:_SHOWN]}

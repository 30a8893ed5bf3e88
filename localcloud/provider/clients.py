"""Google's own clients, pointed at the services of one local cloud.

Each is built when first used: their imports cost a second each, and validating needs none of them.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import grpc
import httpx

from localcloud.home import Home
from localcloud.provider.errors import ServiceError

if TYPE_CHECKING:
    from google.cloud import storage
    from google.pubsub_v1 import PublisherClient, SchemaServiceClient, SubscriberClient

TIMEOUT: Final = 60.0
"""Seconds for one call to a service of the local cloud."""

OPERATION_SECONDS: Final = 600.0
"""How long one long-running operation may take, in seconds; pulumi-gcp waits 20 minutes."""

FIRST_PAUSE: Final = 0.05
LONGEST_PAUSE: Final = 1.0
"""Seconds between two looks at an operation, growing from the first to the second."""

# google.rpc.Code to HTTP status.
_HTTP: Final = {3: 400, 5: 404, 6: 409, 7: 403, 8: 429, 9: 400, 10: 409, 12: 501, 14: 503}
_PROJECT: Final = "unset"
"""Clients insist on a project; every call here names its own."""


class Clients:
    """Clients for one home."""

    def __init__(self, home: Home) -> None:
        self.home = home

    @property
    def roots(self) -> tuple[Path, ...]:
        """Where a relative path in a program may start: here, or the checkout of the home."""
        return (Path.cwd(), *self.home.path.resolve().parents[:2])

    @functools.cached_property
    def publisher(self) -> PublisherClient:
        """Topics."""
        from google.pubsub_v1 import PublisherClient
        from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport

        return PublisherClient(transport=PublisherGrpcTransport(channel=self._pubsub))

    @functools.cached_property
    def subscriber(self) -> SubscriberClient:
        """Subscriptions."""
        from google.pubsub_v1 import SubscriberClient
        from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

        return SubscriberClient(transport=SubscriberGrpcTransport(channel=self._pubsub))

    @functools.cached_property
    def schemas(self) -> SchemaServiceClient:
        """Schemas of topics."""
        from google.pubsub_v1 import SchemaServiceClient
        from google.pubsub_v1.services.schema_service.transports import SchemaServiceGrpcTransport

        return SchemaServiceClient(transport=SchemaServiceGrpcTransport(channel=self._pubsub))

    @functools.cached_property
    def _pubsub(self) -> grpc.Channel:
        return grpc.insecure_channel(self.home.endpoints().address("pubsub"))

    @functools.cached_property
    def storage(self) -> storage.Client:
        """Buckets and objects."""
        from google.auth.credentials import AnonymousCredentials
        from google.cloud import storage

        return storage.Client(
            project=_PROJECT,
            credentials=AnonymousCredentials(),
            client_options={"api_endpoint": self.home.endpoints().url("storage")},
        )

    @functools.cached_property
    def storage_rest(self) -> Rest:
        """Cloud Storage's JSON API, for what its client hides (notifications, every setting)."""
        return Rest(self.home.endpoints().url("storage"))

    @functools.cached_property
    def bigquery(self) -> Rest:
        """BigQuery's REST API, whose resources have Pulumi's names."""
        return Rest(self.home.endpoints().url("bigquery") + "/bigquery/v2")

    @functools.cached_property
    def rest(self) -> Rest:
        """Vertex AI, Cloud Run, Cloud Scheduler, Dataflow and Cloud Monitoring."""
        return Rest(self.home.endpoints().url("rest"))


class Rest:
    """Google's REST APIs as JSON over HTTP."""

    def __init__(self, address: str) -> None:
        self._http = httpx.Client(base_url=address, timeout=TIMEOUT, trust_env=False)

    def get(self, path: str, **query: Any) -> dict[str, Any]:
        """GET; query parameters as given."""
        return self.call("GET", path, query)

    def find(self, path: str, **query: Any) -> dict[str, Any] | None:
        """GET, None where there is nothing; query parameters as given, none in the path."""
        try:
            return self.get(path, **query)
        except ServiceError as error:
            if error.code == 404:
                return None
            raise

    def finished(
        self, operation: Mapping[str, Any], version: str, seconds: float = OPERATION_SECONDS
    ) -> dict[str, Any]:
        """The response of a long-running operation, waited for.

        Raises:
            ServiceError: it ended with an error, or not within the time (504).
        """
        deadline, pause = time.monotonic() + seconds, FIRST_PAUSE
        while not operation.get("done"):
            if time.monotonic() > deadline:
                raise ServiceError(operation["name"], 504, f"not done after {seconds:.0f} s")
            time.sleep(pause)
            pause = min(pause * 1.5, LONGEST_PAUSE)
            operation = self.get(f"/{version}/{operation['name']}")
        error = operation.get("error")
        if error:
            code = _HTTP.get(int(error.get("code", 2)), 500)
            raise ServiceError(operation["name"], code, f"{code} {error.get('message', '')}")
        return dict(operation.get("response", {}))

    def call(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """One request.

        Raises:
            ServiceError: the service answered with an error, or not at all (503).
        """
        try:
            answer = self._http.request(
                method,
                path,
                # An empty one would take away what the path itself asks.
                params=dict(query) if query else None,
                json=None if body is None else dict(body),
            )
        except httpx.HTTPError as error:
            raise ServiceError(
                f"{method} {self._http.base_url}{path}",
                503,
                f"no answer ({error or type(error).__name__}); is the local cloud running? "
                "See `esteira local status`",
            ) from error
        if answer.is_success:
            return answer.json() if answer.content else {}
        raise ServiceError(f"{method} {path}", answer.status_code, _reason(answer))


def _reason(answer: httpx.Response) -> str:
    try:
        error = answer.json()["error"]
        return f"{answer.status_code} {error.get('status', '')}: {error.get('message', '')}"
    except (ValueError, KeyError, TypeError):
        return f"{answer.status_code}: {answer.text[:500]}"


@contextmanager
def worded(what: str) -> Iterator[None]:
    """Turn any client's error into one that names the resource.

    Raises:
        ServiceError: what a service answered, with its HTTP status.
    """
    from google.api_core.exceptions import GoogleAPICallError, RetryError

    try:
        yield
    except ServiceError as error:
        raise ServiceError(what, error.code, error.message) from error
    except GoogleAPICallError as error:
        code = int(error.code or 500)
        raise ServiceError(what, code, f"{code} {error.message}") from error
    except (RetryError, ConnectionError, grpc.RpcError) as error:
        raise ServiceError(
            what, 503, f"the service does not answer ({error}); see `esteira local status`"
        ) from error

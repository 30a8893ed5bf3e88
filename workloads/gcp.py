"""The only place that builds Google's clients, and the only one that knows an emulator may answer.

Each function returns one of Google's own clients. Where the variable that names an emulator is set
(`esteira local env` prints them all), the client is pointed there without credentials; otherwise it
is built as Google's documents say, with application-default credentials.

Clients are imported when first asked for: a container carries only those that its workload uses.
"""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import requests
    from google.cloud import bigquery, bigquery_storage, pubsub_v1, storage
    from google.cloud.aiplatform_v1 import (
        FeatureOnlineStoreAdminServiceClient,
        FeatureOnlineStoreServiceClient,
    )
    from kfp import client

_SQL_LOCK: Final = threading.Lock()
# Vertex AI's modules import each other in circles: of two threads that import them at once, one may
# find a module that is only half there.
_IMPORTING: Final = threading.Lock()
_POD: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where Kubernetes gives a pod its own account's token."""


class NoProject(RuntimeError):
    """No project is configured."""


class NoCluster(RuntimeError):
    """No Kubernetes API is known."""


class NoKubeflow(RuntimeError):
    """No Kubeflow Pipelines is known, or it does not answer."""


def project() -> str:
    """The project that workloads belong to.

    Raises:
        NoProject: neither the environment nor the credentials name one.
    """
    if name := os.environ.get("GOOGLE_CLOUD_PROJECT"):
        return name
    import google.auth
    import google.auth.exceptions

    try:
        _, found = google.auth.default()
    except google.auth.exceptions.DefaultCredentialsError as error:
        raise NoProject(
            f"set GOOGLE_CLOUD_PROJECT, or `eval $(esteira local env)` ({error})"
        ) from error
    if not found:
        raise NoProject("set GOOGLE_CLOUD_PROJECT: the credentials name no project")
    return found


def location() -> str:
    """The region of the workloads: GOOGLE_CLOUD_LOCATION, else `us-central1`."""
    return os.environ.get("GOOGLE_CLOUD_LOCATION", "us-central1")


def emulated(service: str) -> bool:
    """Whether an emulator answers for a service: `PUBSUB`, `BIGQUERY` or `STORAGE`."""
    return bool(os.environ.get(f"{service}_EMULATOR_HOST"))


def _anonymous() -> Any:
    from google.auth.credentials import AnonymousCredentials

    return AnonymousCredentials()


@cache
def bigquery_client() -> bigquery.Client:
    """BigQuery over REST."""
    from google.cloud import bigquery

    if os.environ.get("BIGQUERY_EMULATOR_HOST"):
        return bigquery.Client(project=project(), credentials=_anonymous(), location=location())
    return bigquery.Client(project=project(), location=location())


def point_beam_at_emulators() -> None:
    """Have Beam's BigQuery sink use the client above where an emulator answers.

    Beam offers no option for it: its wrapper takes a client for tests only.
    """
    endpoint = os.environ.get("BIGQUERY_EMULATOR_HOST")
    if not endpoint:
        return
    import httplib2
    from apache_beam.io.gcp.bigquery_tools import BigQueryWrapper
    from apache_beam.io.gcp.internal.clients.bigquery import BigqueryV2

    if getattr(BigQueryWrapper, "_points_at", None) == endpoint:
        return
    original = BigQueryWrapper.__init__

    def build(self: Any, client: Any = None, *args: Any, **kwargs: Any) -> None:
        if client is not None:
            original(self, client, *args, **kwargs)
            return
        rest = BigqueryV2(
            url=f"{endpoint}/bigquery/v2/", http=httplib2.Http(), get_credentials=False
        )
        original(self, rest, *args, **kwargs)
        self.gcp_bq_client = bigquery_client()
        # With a client given, Beam numbers its insert ids from 1 in every process.
        self._row_id_prefix = uuid.uuid4()

    BigQueryWrapper.__init__ = build
    BigQueryWrapper._points_at = endpoint  # pyright: ignore[reportAttributeAccessIssue]


@cache
def bigquery_read_client() -> bigquery_storage.BigQueryReadClient:
    """The BigQuery Storage Read API over gRPC."""
    from google.cloud import bigquery_storage

    if target := os.environ.get("BIGQUERY_STORAGE_EMULATOR_HOST"):
        from google.cloud.bigquery_storage_v1.services.big_query_read.transports import (
            BigQueryReadGrpcTransport,
        )

        return bigquery_storage.BigQueryReadClient(
            transport=BigQueryReadGrpcTransport(channel=_channel(target))
        )
    return bigquery_storage.BigQueryReadClient()


@cache
def bigquery_write_client() -> bigquery_storage.BigQueryWriteClient:
    """The BigQuery Storage Write API over gRPC."""
    from google.cloud import bigquery_storage

    if target := os.environ.get("BIGQUERY_STORAGE_EMULATOR_HOST"):
        from google.cloud.bigquery_storage_v1.services.big_query_write.transports import (
            BigQueryWriteGrpcTransport,
        )

        return bigquery_storage.BigQueryWriteClient(
            transport=BigQueryWriteGrpcTransport(channel=_channel(target))
        )
    return bigquery_storage.BigQueryWriteClient()


@cache
def storage_client() -> storage.Client:
    """Cloud Storage. The library itself reads STORAGE_EMULATOR_HOST."""
    from google.cloud import storage

    if os.environ.get("STORAGE_EMULATOR_HOST"):
        return storage.Client(project=project(), credentials=_anonymous())
    return storage.Client(project=project())


def publisher(**options: Any) -> pubsub_v1.PublisherClient:
    """A Pub/Sub publisher. The library reads PUBSUB_EMULATOR_HOST. Not cached: it batches."""
    from google.cloud import pubsub_v1

    return pubsub_v1.PublisherClient(**options)


def publish(
    client: pubsub_v1.PublisherClient,
    topic: str,
    messages: Sequence[Mapping[str, Any]],
    **options: Any,
) -> list[str]:
    """Publish in one request, which the topic takes whole or refuses whole.

    The client's own `publish` gathers messages in the background, so that one message that the
    topic's schema refuses takes others with it.

    Args:
        topic: full name.
        messages: each with `data` and perhaps `attributes`; together under 10 MB and at most 1,000.
        options: `retry` and `timeout` of the call, where the client's own do not fit.

    Returns:
        The message ids, in order.

    Raises:
        google.api_core.exceptions.InvalidArgument: the topic's schema refuses one of them.
    """
    from google.pubsub_v1 import PublisherClient

    # The method of the generated client, which the batching one overrides.
    request: Any = {"topic": topic, "messages": list(messages)}
    return list(PublisherClient.publish(client, request=request, **options).message_ids)


def subscriber() -> pubsub_v1.SubscriberClient:
    """A Pub/Sub subscriber."""
    from google.cloud import pubsub_v1

    return pubsub_v1.SubscriberClient()


def vertex() -> Any:
    """The Vertex AI SDK (`google.cloud.aiplatform`), initialised for this project and location."""
    with _IMPORTING:
        from google.cloud import aiplatform

    _let_loggers_propagate("google.cloud.aiplatform")
    if endpoint := os.environ.get("VERTEX_API_ENDPOINT"):
        aiplatform.init(
            project=project(),
            location=location(),
            credentials=_anonymous(),
            api_endpoint=endpoint,
            api_transport="rest",
        )
        _resolve_projects_at(endpoint)
    else:
        aiplatform.init(project=project(), location=location())
    return aiplatform


@cache
def feature_store_client() -> FeatureOnlineStoreServiceClient:
    """What answers with features of an entity. Importing it takes seconds; a channel is kept."""
    with _IMPORTING:
        from google.cloud.aiplatform_v1.services import feature_online_store_service as service

    return service.FeatureOnlineStoreServiceClient(**_vertex_options())


@cache
def feature_store_admin_client() -> FeatureOnlineStoreAdminServiceClient:
    """What syncs feature views, and tells of their syncs."""
    with _IMPORTING:
        from google.cloud.aiplatform_v1.services import (
            feature_online_store_admin_service as service,
        )

    return service.FeatureOnlineStoreAdminServiceClient(**_vertex_options())


def _vertex_options() -> dict[str, Any]:
    """How a generated client of Vertex AI reaches this location, or the emulator."""
    if endpoint := os.environ.get("VERTEX_API_ENDPOINT"):
        return {
            "credentials": _anonymous(),
            "transport": "rest",
            "client_options": {"api_endpoint": endpoint},
        }
    return {"client_options": {"api_endpoint": f"{location()}-aiplatform.googleapis.com"}}


def _let_loggers_propagate(package: str) -> None:
    """Take a library's own handlers away, so that whoever configures logging decides.

    The Vertex AI SDK writes its progress to the output stream, amid what a program reads there.
    """
    import logging

    for name in list(logging.root.manager.loggerDict):
        if not name.startswith(package):
            continue
        logger = logging.getLogger(name)
        logger.handlers.clear()
        # Each level that is set forgets what all loggers have worked out; there are hundreds.
        if logger.level != logging.NOTSET:
            logger.setLevel(logging.NOTSET)


def _resolve_projects_at(endpoint: str) -> None:
    """Let the Vertex AI SDK ask the emulator for project numbers.

    Before it submits a pipeline it compares the owner of the bucket with the project, and asks
    Resource Manager over gRPC, which takes no other address: it would wait a minute for Google.
    """
    from google.cloud.aiplatform.utils import resource_manager_utils

    def number(project_id: str, credentials: object = None) -> str:
        del credentials
        import requests

        # The training image has `requests` through Google's clients, but no discovery client.
        answer = requests.get(f"{endpoint}/v3/projects/{project_id}", timeout=10)
        answer.raise_for_status()
        return str(answer.json()["name"]).partition("/")[2]

    resource_manager_utils.get_project_number = number


def run() -> Any:
    """The Cloud Run Admin API, v2."""
    return _discovered("run", "v2", os.environ.get("RUN_API_ENDPOINT"))


def scheduler() -> Any:
    """The Cloud Scheduler API, v1."""
    return _discovered("cloudscheduler", "v1", os.environ.get("SCHEDULER_API_ENDPOINT"))


def alert_inbox() -> str | None:
    """Where the local cloud keeps messages that would leave this machine; None on Google Cloud."""
    endpoint = os.environ.get("MONITORING_API_ENDPOINT")
    return f"{endpoint.rstrip('/')}/inbox" if endpoint else None


def dataflow() -> Any:
    """The Dataflow API, v1b3."""
    return _discovered("dataflow", "v1b3", os.environ.get("DATAFLOW_API_ENDPOINT"))


def vertex_emulated() -> bool:
    """Whether an emulator answers for Vertex AI."""
    return bool(os.environ.get("VERTEX_API_ENDPOINT"))


def vertex_beta() -> Any:
    """Vertex AI over REST, v1beta1: for what is not in v1 yet."""
    if endpoint := os.environ.get("VERTEX_API_ENDPOINT"):
        return _discovered("aiplatform", "v1beta1", endpoint)
    from googleapiclient import discovery

    return discovery.build(
        "aiplatform",
        "v1beta1",
        static_discovery=True,
        cache_discovery=False,
        client_options={"api_endpoint": f"https://{location()}-aiplatform.googleapis.com"},
    )


def monitoring() -> Any:
    """The Cloud Monitoring API, v3."""
    return _discovered("monitoring", "v3", os.environ.get("MONITORING_API_ENDPOINT"))


def sql_emulator() -> tuple[str, int] | None:
    """Host and port of the PostgreSQL that stands in for Cloud SQL, if one does."""
    address = os.environ.get("CLOUD_SQL_EMULATOR_HOST")
    if not address:
        return None
    host, _, port = address.rpartition(":")
    return host, int(port)


def sql_token() -> str:
    """An access token that Cloud SQL takes for a password; valid for minutes, at most an hour."""
    from google.auth.transport.requests import Request

    credentials = _sql_credentials()
    with _SQL_LOCK:
        if not credentials.valid:
            credentials.refresh(Request())
        return str(credentials.token)


@cache
def _sql_credentials() -> Any:
    import google.auth

    # Good for logging in to a database and for nothing else.
    scope = "https://www.googleapis.com/auth/sqlservice.login"
    credentials, _ = google.auth.default(scopes=[scope])
    return credentials


def tracking_address() -> str:
    """Where MLflow answers, by the variable that MLflow itself reads; empty: nothing is tracked."""
    return os.environ.get("MLFLOW_TRACKING_URI", "").rstrip("/")


def tracking_session(address: str) -> requests.Session:
    """HTTP to MLflow's service; over TLS each request shows an ID token that Cloud Run asks for.

    Args:
        address: `https://...`, or `http://` on this machine, where nobody asks for a token.

    Raises:
        google.auth.exceptions.GoogleAuthError: the credentials here cannot make an ID token.
    """
    import requests
    from google.auth.transport.requests import AuthorizedSession

    if address.startswith("http://"):
        return requests.Session()
    return AuthorizedSession(_id_token_credentials(address))


@cache
def _id_token_credentials(audience: str) -> Any:
    import google.auth
    from google.auth import exceptions, impersonated_credentials
    from google.oauth2 import id_token

    try:
        return id_token.fetch_id_token_credentials(audience)
    except exceptions.DefaultCredentialsError:
        # A workload identity federation, or a person who impersonates: the account behind either
        # is asked for the token. A person's own credentials cannot make one for Cloud Run.
        source, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
        account = getattr(source, "service_account_email", None)
        if not account:
            raise
        if not isinstance(source, impersonated_credentials.Credentials):
            source = impersonated_credentials.Credentials(
                source_credentials=source, target_principal=account, target_scopes=[]
            )
        return impersonated_credentials.IDTokenCredentials(
            source, target_audience=audience, include_email=True
        )


def service_session(address: str) -> requests.Session:
    """HTTP to a Cloud Run service; over TLS each request shows an ID token for that address."""
    return tracking_session(address)


def kubeflow() -> client.Client:
    """Kubeflow Pipelines at KFP_API_ENDPOINT.

    The client shows this process's own Google credentials where the address is one of Google's
    proxy (`*.pipelines.googleusercontent.com`); behind Identity-Aware Proxy it reads the variables
    that are its own (`KF_PIPELINES_IAP_OAUTH2_CLIENT_ID` and so on). What it says of its pages goes
    to the error stream: the output stream is a program's.

    Raises:
        NoKubeflow: the variable is not set, or nothing answers.
    """
    address = os.environ.get("KFP_API_ENDPOINT", "").rstrip("/")
    if not address:
        raise NoKubeflow(
            "no Kubeflow Pipelines is known here: set KFP_API_ENDPOINT to the address of its API, "
            "or train with the runner `vertex`"
        )
    import contextlib
    import sys
    import warnings

    import kfp_server_api
    import urllib3
    from kfp import client

    class Client(client.Client):
        def create_experiment(self, *args: Any, **kwargs: Any) -> Any:
            with contextlib.redirect_stdout(sys.stderr):
                return super().create_experiment(*args, **kwargs)

        def run_pipeline(self, *args: Any, **kwargs: Any) -> Any:
            with contextlib.redirect_stdout(sys.stderr):
                return super().run_pipeline(*args, **kwargs)

    try:
        with warnings.catch_warnings():
            # That it speaks to no server of before 2023.
            warnings.simplefilter("ignore", FutureWarning)
            # It asks how the server is; where it is asked to log in, five times in 20 s.
            return Client(host=address)
    except (kfp_server_api.ApiException, urllib3.exceptions.HTTPError, TimeoutError) as error:
        raise NoKubeflow(f"Kubeflow Pipelines at {address} does not answer: {error}") from None


def kubernetes_session() -> tuple[str, requests.Session]:
    """The address of the Kubernetes API, and HTTP to it as this pod's own account.

    Raises:
        NoCluster: this is no pod, and no emulator answers.
    """
    import requests

    session = requests.Session()
    if address := os.environ.get("KUBERNETES_API_ENDPOINT"):
        return address.rstrip("/"), session
    host = os.environ.get("KUBERNETES_SERVICE_HOST")
    if not host or not _POD.exists():
        raise NoCluster(
            "no Kubernetes API is known here: run in a pod of the cluster, or set "
            "KUBERNETES_API_ENDPOINT to one that needs no token"
        )
    # Read anew for each session: the token is replaced every hour.
    session.headers["Authorization"] = f"Bearer {(_POD / 'token').read_text()}"
    session.verify = str(_POD / "ca.crt")
    return f"https://{host}:{os.environ.get('KUBERNETES_SERVICE_PORT', '443')}", session


def _discovered(name: str, version: str, endpoint: str | None) -> Any:
    from googleapiclient import discovery

    options: dict[str, Any] = {}
    if endpoint:
        options = {"client_options": {"api_endpoint": endpoint}, "credentials": _anonymous()}
    # The discovery documents ship with the library: no request is made to build a client.
    return discovery.build(name, version, static_discovery=True, cache_discovery=False, **options)


def _channel(target: str) -> Any:
    import grpc

    # Google's own channel options for these APIs: rows come in blocks larger than gRPC's 4 MiB.
    sizes = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    return grpc.insecure_channel(target, options=sizes)

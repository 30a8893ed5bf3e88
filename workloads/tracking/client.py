"""MLflow's REST API, as much of it as training and the registry write.

MLflow's own client takes seconds to import and brings loaders of pickles with it. Whoever trains,
releases or serves needs a dozen calls over HTTP, so no workload but the server itself carries it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote

from workloads import gcp

ADDRESS: Final = r"(https://[^/\s]+|http://(127\.0\.0\.1|localhost)(:\d+)?)?"
"""Of a tracking server: TLS, since a token travels with each request, or this machine."""
PROXIED: Final = "mlflow-artifacts:/"
_CONNECT_SECONDS: Final = 5
# A service that has scaled to zero starts first, which takes MLflow some 10 s.
_ANSWER_SECONDS: Final = 60
_RETRIED: Final = (429, 502, 503, 504)
_PAGE: Final = 200
# MLflow takes no more in one request.
_PARAMETERS: Final = 100
_METRICS: Final = 1000

type Document = dict[str, Any]


class InvalidAddress(ValueError):
    """What should be the tracking server's address is none."""


class TrackingFailed(Exception):
    """MLflow did not do what it was asked."""


class TrackingDown(TrackingFailed):
    """It does not answer, or lets nobody in. What was asked may or may not have been done."""


class TrackingRefused(TrackingFailed):
    """It answered that it will not; `code` is MLflow's own."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


def checked(address: str) -> str:
    """The address of a tracking server, or nothing.

    Raises:
        InvalidAddress: a token would travel in the clear, or it is no address.
    """
    if not re.fullmatch(ADDRESS, address):
        raise InvalidAddress(
            f"MLFLOW_TRACKING_URI is {address!r}; allowed: `https://HOST`, "
            "`http://127.0.0.1:PORT`, or nothing, which tracks nothing. `esteira outputs STACK` "
            "shows it as `tracking.url`"
        )
    return address


class Mlflow:
    """A tracking server.

    Every method raises `TrackingDown` where it does not answer, `TrackingRefused` where it says no.

    Args:
        address: as `ADDRESS` has it, not empty.
    """

    def __init__(self, address: str) -> None:
        self.address = checked(address)
        self._session: Any = None

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Document:
        """One call of the REST API 2.0; `path` is what follows `mlflow/`."""
        options = {"params": body} if method == "GET" else {"json": body}
        answer = self._send(method, f"/api/2.0/mlflow/{path}", **options)
        return answer.json() if answer.content else {}

    def find(self, path: str, body: Mapping[str, Any]) -> Document | None:
        """A GET of what may not exist."""
        try:
            return self.call("GET", path, body)
        except TrackingRefused as refused:
            if refused.code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise

    def pages(
        self, method: str, path: str, body: Mapping[str, Any], key: str
    ) -> Iterator[Document]:
        """All items of a list, however many pages it has."""
        token: str | None = None
        while True:
            asked = {"max_results": _PAGE, **body, **({"page_token": token} if token else {})}
            answer = self.call(method, path, asked)
            yield from answer.get(key, [])
            token = answer.get("next_page_token")
            if not token:
                return

    def log(
        self,
        run: str,
        *,
        parameters: Mapping[str, str],
        metrics: Mapping[str, float],
        tags: Mapping[str, str],
        at: int,
    ) -> None:
        """Parameters, metrics and tags of a run. Repeatable: the same twice is once.

        Args:
            run: its id.
            at: when the metrics were found, milliseconds since 1970; the same at a repetition.
        """
        named = [{"key": key, "value": value[:6000]} for key, value in parameters.items()]
        found = [
            {"key": key, "value": value, "timestamp": at, "step": 0}
            for key, value in metrics.items()
        ]
        notes = [{"key": key, "value": value[:8000]} for key, value in tags.items()]
        while named or found or notes:
            batch = {
                "run_id": run,
                "params": named[:_PARAMETERS],
                "tags": notes[:_PARAMETERS],
                "metrics": found[: _METRICS - 2 * _PARAMETERS],
            }
            self.call("POST", "runs/log-batch", batch)
            named, notes = named[_PARAMETERS:], notes[_PARAMETERS:]
            found = found[_METRICS - 2 * _PARAMETERS :]

    def upload(self, place: str, name: str, content: bytes) -> None:
        """Keep a file; `place` is a run's `mlflow-artifacts:/...`."""
        self._send("PUT", self._file(place, name), data=content)

    def download(self, place: str, name: str) -> bytes | None:
        """The content of a file, or none if there is no such file."""
        try:
            return self._send("GET", self._file(place, name)).content
        except TrackingRefused:
            return None

    @staticmethod
    def _file(place: str, name: str) -> str:
        if not place.startswith(PROXIED):
            raise TrackingRefused(
                f"files lie in {place!r}; allowed: `{PROXIED}...`, a place of the server's own",
                "INVALID_STATE",
            )
        path = f"{place.removeprefix(PROXIED).strip('/')}/{name}"
        return f"/api/2.0/mlflow-artifacts/artifacts/{quote(path)}"

    def _send(self, method: str, path: str, **options: Any) -> Any:
        import requests
        from google.auth.exceptions import GoogleAuthError

        try:
            answer = self._open().request(
                method,
                f"{self.address}{path}",
                timeout=(_CONNECT_SECONDS, _ANSWER_SECONDS),
                allow_redirects=False,
                **options,
            )
        except GoogleAuthError as error:
            raise TrackingDown(
                f"no ID token for {self.address} can be made here: {error}. Run as a service "
                "account, or impersonate one"
            ) from error
        except requests.RequestException as error:
            raise TrackingDown(f"{self.address} does not answer: {_cause(error)}") from error
        if answer.ok and not answer.is_redirect:
            return answer
        try:
            told = answer.json()
            code, message = str(told.get("error_code", "")), str(told.get("message", ""))
        except (ValueError, AttributeError):
            code, message = "", answer.text[:300]
        said = f"{method} {self.address}{path}: {answer.status_code} {code} {message}".rstrip()
        # 401 and 403 are Cloud Run's own: the request never reached MLflow.
        if answer.status_code in {401, 403} or answer.status_code >= 500 or answer.is_redirect:
            raise TrackingDown(said)
        raise TrackingRefused(said, code)

    def _open(self) -> Any:
        if self._session is None:
            from requests.adapters import HTTPAdapter
            from urllib3.util.retry import Retry

            session = gcp.tracking_session(self.address)
            # Cloud Run answers these itself while an instance starts. Who is not there at all is
            # not asked again: training must not wait for it.
            retries = Retry(
                total=3,
                connect=0,
                read=0,
                status_forcelist=_RETRIED,
                allowed_methods=None,
                backoff_factor=0.5,
                raise_on_status=False,
            )
            session.mount(self.address, HTTPAdapter(max_retries=retries))
            self._session = session
        return self._session


def _cause(error: BaseException) -> str:
    """The innermost reason: those around it repeat addresses and object ids."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return re.sub(r"<[^>]*>: ", "", str(error)) or type(error).__name__

"""Google's own clients for the APIs of a project; the only place that builds them.

Credentials are application-default ones. Where PROJECT_API_ENDPOINT is set, as
`esteira local env` prints it, the local cloud answers instead, and STORAGE_EMULATOR_HOST for
Cloud Storage.
"""

from __future__ import annotations

import os
import threading
from typing import Any, Final

SCOPES: Final = (
    "https://www.googleapis.com/auth/cloud-platform",
    "https://www.googleapis.com/auth/userinfo.email",
)
_TIMEOUT: Final = 60
"""Seconds for one answer; the slowest read, quotas of Compute Engine, takes some ten."""


class NoCredentials(RuntimeError):
    """There are no application-default credentials, or they cannot be used any more."""


class NoClient(RuntimeError):
    """Google's client library is not installed."""


class Google:
    """The clients of one caller.

    Args:
        project: id of the project, which is charged for calls made with a person's credentials.
        credentials: whose calls they are.
        endpoint: where all APIs but Cloud Storage answer; empty for Google itself.
        storage: where Cloud Storage answers; empty for Google itself.
    """

    def __init__(
        self, project: str, credentials: Any, *, endpoint: str = "", storage: str = ""
    ) -> None:
        self.project = project
        self.credentials = credentials
        self.endpoint = endpoint.rstrip("/")
        self._storage = storage.rstrip("/")
        self._apis: dict[tuple[str, str], Any] = {}
        self._lock = threading.Lock()
        self._local = threading.local()

    @classmethod
    def connect(cls, project: str) -> Google:
        """Clients as this process's environment says.

        Raises:
            NoCredentials: there are none.
            NoClient: the library is missing.
        """
        try:
            import google_auth_httplib2  # noqa: F401 (comes with the client, and is needed below)
            import googleapiclient.discovery  # noqa: F401
        except ImportError as error:
            raise NoClient(
                f"google-api-python-client is not installed ({error}); run `make setup`"
            ) from error
        import google.auth
        import google.auth.exceptions
        from google.auth.credentials import AnonymousCredentials
        from google.oauth2.credentials import Credentials

        if endpoint := os.environ.get("PROJECT_API_ENDPOINT"):
            storage = os.environ.get("STORAGE_EMULATOR_HOST", "")
            return cls(project, AnonymousCredentials(), endpoint=endpoint, storage=storage)
        try:
            credentials, _ = google.auth.default(scopes=SCOPES)
        except google.auth.exceptions.DefaultCredentialsError as error:
            raise NoCredentials(
                "no application-default credentials; run `gcloud auth application-default login`"
            ) from error
        if isinstance(credentials, Credentials):
            # Most of these APIs refuse a person's call that names no project to charge.
            credentials = credentials.with_quota_project(project)
        return cls(project, credentials)

    @property
    def local(self) -> bool:
        """Whether the local cloud answers."""
        return bool(self.endpoint)

    def api(self, name: str, version: str) -> Any:
        """The client of one API. Built from the library's own documents: no call is made."""
        from googleapiclient import discovery

        with self._lock:
            if (name, version) not in self._apis:
                options: dict[str, Any] = {}
                if self.local:
                    options = {"client_options": {"api_endpoint": self._address(name, version)}}
                self._apis[name, version] = discovery.build(
                    name,
                    version,
                    static_discovery=True,
                    cache_discovery=False,
                    credentials=self.credentials,
                    **options,
                )
            return self._apis[name, version]

    def http(self) -> Any:
        """The transport of this thread: httplib2 cannot be shared between threads."""
        import google_auth_httplib2
        import httplib2

        if not hasattr(self._local, "http"):
            self._local.http = google_auth_httplib2.AuthorizedHttp(
                self.credentials, http=httplib2.Http(timeout=_TIMEOUT)
            )
        return self._local.http

    def _address(self, name: str, version: str) -> str:
        if name == "storage":
            return f"{self._storage}/storage/v1/"
        path = f"compute/{version}/" if name == "compute" else ""
        return f"{self.endpoint}/{name}.googleapis.com/{path}"

    def principal(self) -> str:
        """Who calls, as IAM writes it; empty when the credentials do not tell.

        Raises:
            NoCredentials: they have expired or were revoked.
        """
        if self.local:
            return ""
        if account := getattr(self.credentials, "service_account_email", None):
            if account == "default":
                self._refresh()
                account = self.credentials.service_account_email
            return f"serviceAccount:{account}"
        self._refresh()
        # Not through `api`: a person's e-mail belongs to no project.
        from googleapiclient import discovery

        about = discovery.build(
            "oauth2", "v2", static_discovery=True, cache_discovery=False, http=self.http()
        )
        try:
            email = about.userinfo().get().execute(http=self.http()).get("email", "")
        except Exception as error:  # noqa: BLE001 (whose they are only decorates messages)
            del error
            return ""
        kind = "serviceAccount" if email.endswith(".gserviceaccount.com") else "user"
        return f"{kind}:{email}" if email else ""

    def _refresh(self) -> None:
        import google.auth.exceptions
        import google.auth.transport.requests

        try:
            self.credentials.refresh(google.auth.transport.requests.Request())
        except google.auth.exceptions.GoogleAuthError as error:
            raise NoCredentials(
                f"the credentials cannot be used ({error}); run "
                "`gcloud auth application-default login`"
            ) from error

"""MLflow's application, set up without its command line.

The command line takes the database's password as part of an address, for ever; ours changes every
hour. What it would set is set here instead, and a test holds the names to those of MLflow.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote, urlencode

from workloads import database
from workloads.tracking.guard import App, Guard
from workloads.tracking.settings import TrackingSettings

PROXIED: Final = "mlflow-artifacts:/"
"""Clients are told this place for their files: they hand them to the server."""


def address(settings: TrackingSettings) -> str:
    """The database as SQLAlchemy spells it, without a password.

    Raises:
        NoCertificates: see `workloads.database`.
    """
    known = database.parameters(settings)
    options = {key: known[key] for key in ("sslmode", "sslrootcert") if key in known}
    tail = f"?{urlencode(options)}" if options else ""
    user = quote(known["user"], safe="")
    return f"postgresql+psycopg://{user}@{known['host']}:{known['port']}/{known['dbname']}{tail}"


def environment(settings: TrackingSettings) -> dict[str, str]:
    """The variables that MLflow reads when its server is imported."""
    store = address(settings)
    return {
        "_MLFLOW_SERVER_FILE_STORE": store,
        "_MLFLOW_SERVER_REGISTRY_STORE": store,
        "_MLFLOW_SERVER_ARTIFACT_ROOT": PROXIED,
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": settings.artifacts,
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
        "_MLFLOW_SGI_NAME": "uvicorn",
        "_MLFLOW_IN_JOB_EXECUTOR": "false",
        "MLFLOW_SERVER_ALLOWED_HOSTS": settings.allowed_hosts,
        "MLFLOW_SERVER_X_FRAME_OPTIONS": "DENY",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_ENABLE_REMOTE_ASSISTANT": "false",
        # Connections that Cloud SQL closes while nobody uses them are not handed out.
        "MLFLOW_SQLALCHEMYSTORE_POOL_RECYCLE": "1800",
        "MLFLOW_SQLALCHEMYSTORE_POOL_SIZE": "5",
        "MLFLOW_SQLALCHEMYSTORE_MAX_OVERFLOW": "5",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
    }


def show_tokens() -> None:
    """Give every connection that SQLAlchemy opens in this process a token of its own."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    def show(dialect: Any, record: Any, arguments: Any, named: dict[str, Any]) -> None:
        del dialect, record, arguments
        token = database.password()
        if token is not None:
            named["password"] = token

    event.listen(Engine, "do_connect", show)


def build() -> App:
    """The application; `environment` has to be in place before."""
    from mlflow.server.fastapi_app import app

    return Guard(app)

"""What the tracking server makes of its environment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from workloads import database, gcp
from workloads.tracking import server
from workloads.tracking.settings import TrackingSettings

PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"


def settings(**change: Any) -> TrackingSettings:
    return TrackingSettings(
        **{
            "database_host": "10.65.0.3",
            "database_name": "mlflow",
            "database_user": "tracking@p.iam",
            "database_certificates": PEM,
            "artifacts": "gs://p-mlflow/artifacts",
            "allowed_hosts": "tracking-*.run.app",
            **change,
        }
    )


@pytest.fixture(autouse=True)
def outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Google Cloud: no emulator anywhere."""
    monkeypatch.delenv("CLOUD_SQL_EMULATOR_HOST", raising=False)


def test_the_server_of_the_database_is_checked_against_its_authority() -> None:
    known = database.parameters(settings())
    assert (known["host"], known["port"], known["sslmode"]) == ("10.65.0.3", 5432, "verify-ca")
    assert Path(known["sslrootcert"]).read_text() == PEM
    address = server.address(settings())
    assert address.startswith("postgresql+psycopg://tracking%40p.iam@10.65.0.3:5432/mlflow?")
    assert "sslmode=verify-ca" in address


def test_a_database_that_could_be_anybody_is_not_called() -> None:
    with pytest.raises(database.NoCertificates, match="DATABASE_CERTIFICATES is empty"):
        database.parameters(settings(database_certificates=""))


def test_an_emulator_stands_in_and_asks_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUD_SQL_EMULATOR_HOST", "127.0.0.1:6000")
    assert database.parameters(settings(database_certificates="")) == {
        "host": "127.0.0.1",
        "port": 6000,
        "user": "tracking@p.iam",
        "dbname": "mlflow",
    }
    assert database.password() is None


def test_a_connection_shows_a_token_and_asks_for_a_new_one_when_it_is_old(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import google.auth

    class Credentials:
        valid = False
        token = ""
        asked = 0

        def refresh(self, request: object) -> None:
            del request
            self.asked += 1
            self.token, self.valid = f"token-{self.asked}", True

    credentials = Credentials()

    def default(scopes: list[str]) -> tuple[Credentials, str]:
        assert scopes == ["https://www.googleapis.com/auth/sqlservice.login"]
        return credentials, "p"

    monkeypatch.setattr(google.auth, "default", default)
    gcp._sql_credentials.cache_clear()
    try:
        assert [database.password(), database.password()] == ["token-1", "token-1"]
        credentials.valid = False
        assert database.password() == "token-2"
    finally:
        gcp._sql_credentials.cache_clear()


def test_mlflow_knows_every_variable_that_is_set() -> None:
    from mlflow import environment_variables as known
    from mlflow.server import constants

    names = {getattr(known, one).name for one in dir(known) if one.isupper() and "MLFLOW" in one}
    names |= {value for value in vars(constants).values() if isinstance(value, str)}
    set_ = server.environment(settings())
    assert set(set_) - names <= {"DO_NOT_TRACK"}
    assert not [value for value in set_.values() if "token" in value]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"artifacts": "s3://b/a"}, "artifacts"),
        ({"artifacts": "gs://b"}, "artifacts"),
        ({"database_user": "tracking@p.iam.gserviceaccount.com"}, "database_user"),
        ({"database_certificates": "no PEM"}, "database_certificates"),
        ({"allowed_hosts": ""}, "allowed_hosts"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(change: dict[str, str], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        settings(**change)

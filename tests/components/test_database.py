"""The database: private, encrypted, recoverable, and without a password."""

from __future__ import annotations

import re
from typing import Any

import pytest

from components.checks import InvalidArgs
from components.database import Database, DatabaseArgs, login
from components.database_user import DatabaseUser, DatabaseUserArgs

NETWORK = "projects/p/global/networks/n"
KEY = "projects/p/locations/us-central1/keyRings/r/cryptoKeys/k"


def args(**change: Any) -> DatabaseArgs:
    return DatabaseArgs(
        **{
            "location": "us-central1",
            "network": NETWORK,
            "databases": ["mlflow", "esteira"],
            "owners": {"tracking": "tracking@p.iam.gserviceaccount.com"},
            "labels": {"product": "platform"},
            **change,
        }
    )


def declared(declare: Any, **change: Any) -> Any:
    return declare(lambda opts: Database("records", args=args(**change), opts=opts))


def instance(declare: Any, **change: Any) -> dict[str, Any]:
    return declared(declare, **change).inputs("DatabaseInstance")


class TestReach:
    def test_it_has_a_private_address_only_and_takes_encrypted_connections(
        self, declare: Any
    ) -> None:
        found = instance(declare)["settings"]["ipConfiguration"]
        assert found["ipv4Enabled"] is False
        assert found["privateNetwork"] == NETWORK
        assert found["sslMode"] == "ENCRYPTED_ONLY"
        assert "authorizedNetworks" not in found

    def test_who_connects_is_an_identity_and_there_is_no_password(self, declare: Any) -> None:
        made = declared(declare)
        user = made.inputs("gcp:sql/user:User")
        assert user["name"] == "tracking@p.iam"
        assert user["type"] == "CLOUD_IAM_SERVICE_ACCOUNT"
        assert "password" not in user
        assert "rootPassword" not in made.inputs("DatabaseInstance")
        flags = {
            one["name"]: one["value"]
            for one in made.inputs("DatabaseInstance")["settings"]["databaseFlags"]
        }
        assert flags["cloudsql.iam_authentication"] == "on"
        for audited in ("log_connections", "log_disconnections", "cloudsql.enable_pgaudit"):
            assert flags[audited] == "on"

    def test_its_address_is_known_once_databases_and_users_are_there(self, declare: Any) -> None:
        made = declared(declare)
        promised = made.promised["esteira:database:Database::records"]
        assert promised == {"address", "connection_name"}
        assert {one.inputs["name"] for one in made.mocks.find("gcp:sql/database:Database")} == {
            "mlflow",
            "esteira",
        }


class TestName:
    """Google keeps the name of a deleted instance for a week."""

    def test_it_gets_a_new_one_whenever_it_is_made_anew(self, declare: Any) -> None:
        assert re.fullmatch(r"records-[0-9a-f]{7}", instance(declare)["name"])

    def test_it_may_have_one_of_its_own(self, declare: Any) -> None:
        assert instance(declare, name="ledger")["name"] == "ledger"

    def test_which_has_to_be_one_that_google_takes(self) -> None:
        with pytest.raises(InvalidArgs, match="`name` is 'Ledger'"):
            args(name="Ledger")


def test_it_runs_unless_it_rests(declare: Any) -> None:
    assert instance(declare)["settings"]["activationPolicy"] == "ALWAYS"
    assert instance(declare, running=False)["settings"]["activationPolicy"] == "NEVER"


class TestKeeping:
    def test_it_is_backed_up_and_recovers_to_any_moment(self, declare: Any) -> None:
        backups = instance(declare, recovery_days=5)["settings"]["backupConfiguration"]
        assert backups["enabled"] is True
        assert backups["pointInTimeRecoveryEnabled"] is True
        assert backups["transactionLogRetentionDays"] == 5
        assert backups["backupRetentionSettings"] == {
            "retainedBackups": 14,
            "retentionUnit": "COUNT",
        }

    @pytest.mark.parametrize(("available", "kind"), [(True, "REGIONAL"), (False, "ZONAL")])
    def test_a_standby_takes_over_where_asked(
        self, declare: Any, available: bool, kind: str
    ) -> None:
        assert instance(declare, highly_available=available)["settings"]["availabilityType"] == kind

    def test_it_is_labelled_encrypted_and_kept_as_asked(self, declare: Any) -> None:
        found = instance(declare, kms_key=KEY, deletion_protection=True)
        assert found["encryptionKeyName"] == KEY
        assert found["deletionProtection"] is True
        assert found["settings"]["deletionProtectionEnabled"] is True
        assert found["settings"]["userLabels"] == {"product": "platform"}

    def test_the_disk_grows_but_not_without_end(self, declare: Any) -> None:
        found = instance(declare, disk_gb=20)["settings"]
        assert (found["diskSize"], found["diskAutoresize"]) == (20, True)
        assert found["diskAutoresizeLimit"] == 500


def test_a_login_is_the_account_without_its_domain() -> None:
    assert login("a@p.iam.gserviceaccount.com") == "a@p.iam"
    assert len(login(f"{'a' * 30}@{'p' * 28}.iam.gserviceaccount.com")) <= 63


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"databases": ["Mlflow"]}, "`databases` is 'Mlflow'"),
        ({"disk_gb": 5}, "`disk_gb` is 5; allowed: 10 to 65536 GB"),
        ({"disk_gb": 600}, "`disk_limit_gb` is 500; allowed: 600"),
        ({"backup_hour": "2am"}, "a full hour UTC"),
        ({"recovery_days": 8}, "`recovery_days` is 8; allowed: 1 to 7 days (ENTERPRISE)"),
        ({"edition": "ENTERPRISE_PLUS"}, "`db-perf-optimized-N-...`"),
        ({"highly_available": True, "backups": False}, "the standby is fed"),
        ({"highly_available": True, "tier": "db-f1-micro"}, "a `db-custom-...` tier"),
    ],
)
def test_what_cloud_sql_would_refuse_is_refused(change: dict[str, Any], expected: str) -> None:
    with pytest.raises(InvalidArgs) as refused:
        args(**change)
    assert expected in str(refused.value)


class TestAccount:
    def test_a_workload_logs_in_as_itself_without_a_password(self, declare: Any) -> None:
        args = DatabaseUserArgs(instance="records", email="batch@p.iam.gserviceaccount.com")
        made = declare(lambda opts: DatabaseUser("batch", args=args, opts=opts))
        user = made.inputs("gcp:sql/user:User")
        assert (user["name"], user["instance"]) == ("batch@p.iam", "records")
        assert (user["type"], user["databaseRoles"]) == (
            "CLOUD_IAM_SERVICE_ACCOUNT",
            ["cloudsqlsuperuser"],
        )
        assert "password" not in user

"""MLflow's tables: made, and brought up to this version of MLflow, by one instance at a time."""

from __future__ import annotations

import logging
from typing import Any, Final

log = logging.getLogger(__name__)

LOCK: Final = 0x4D4C666C6F77
"""`MLflow` as a number: the advisory lock that instances of the server agree on."""


class SchemaTooNew(RuntimeError):
    """The tables were made by a later MLflow than this one."""


def migrate(uri: str) -> None:
    """Make or upgrade the tables in the database; nothing happens where they are as they should be.

    Instances that start at once wait for each other: MLflow's own lock is a file, which two
    containers do not share. Killed midway, what was begun is undone by PostgreSQL, and the next
    start begins anew.

    Raises:
        SchemaTooNew: an older server would misread the tables.
        sqlalchemy.exc.OperationalError: the database does not answer.
    """
    import sqlalchemy
    from mlflow.store.db import utils

    engine = utils.create_sqlalchemy_engine_with_retry(uri)
    try:
        with engine.connect() as plain:
            # No transaction stays open while others wait, and the lock goes with the connection.
            connection = plain.execution_options(isolation_level="AUTOCOMMIT")
            connection.execute(sqlalchemy.text("SELECT pg_advisory_lock(:key)"), {"key": LOCK})
            try:
                _migrate(engine, utils)
            finally:
                connection.execute(
                    sqlalchemy.text("SELECT pg_advisory_unlock(:key)"), {"key": LOCK}
                )
    finally:
        engine.dispose()


def _migrate(engine: Any, utils: Any) -> None:
    wanted = utils._get_latest_schema_revision()
    found = utils._get_schema_version(engine)
    if found == wanted:
        return
    if found is None:
        log.info("making MLflow's tables, revision %s", wanted)
        utils._initialize_tables(engine)
        return
    if not _known(found, utils):
        raise SchemaTooNew(
            f"the tables are of revision {found}, which this MLflow does not know: a later version "
            "made them; deploy that version again"
        )
    log.info("upgrading MLflow's tables from revision %s to %s", found, wanted)
    utils._upgrade_db(engine)


def _known(revision: str, utils: Any) -> bool:
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError

    try:
        script = ScriptDirectory.from_config(utils._get_alembic_config(db_url=""))
        return script.get_revision(revision) is not None
    except CommandError:
        return False

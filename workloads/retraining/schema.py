"""The tables of retraining in PostgreSQL, schema `retraining`: what was asked, and what came of it.

`requests` and `runs` say how things stand; `decisions` says why, and can only be added to.
`leases` says which runs somebody else trains, and until when the controller leaves those alone.
"""

from __future__ import annotations

from typing import Any, Final

from workloads.database import make_tables

LOCK: Final = 0x52657472616E3031
"""Instances that start at once make the tables one after the other."""
_TABLES: Final = """
CREATE SCHEMA IF NOT EXISTS retraining;
CREATE TABLE IF NOT EXISTS retraining.runs (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    product text NOT NULL,
    name text NOT NULL UNIQUE,
    state text NOT NULL CHECK (state IN
        ('started', 'training', 'trained', 'approved', 'releasing', 'released', 'rejected',
         'failed')),
    reasons text[] NOT NULL,
    as_of timestamptz NOT NULL,
    learn_from timestamptz NOT NULL,
    hold_out_from timestamptz NOT NULL,
    read_until timestamptz NOT NULL,
    strategy text NOT NULL,
    why text NOT NULL,
    version text,
    opened_by text NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    revision integer NOT NULL DEFAULT 0,
    started_at timestamptz NOT NULL,
    entered_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE UNIQUE INDEX IF NOT EXISTS one_run_under_way ON retraining.runs (product)
    WHERE state IN ('started', 'training', 'trained', 'approved', 'releasing');
CREATE INDEX IF NOT EXISTS runs_of_a_product ON retraining.runs (product, id);
CREATE TABLE IF NOT EXISTS retraining.requests (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    product text NOT NULL,
    reason text NOT NULL CHECK (reason IN
        ('drift', 'performance', 'schedule', 'rows', 'file', 'person', 'commit')),
    key text NOT NULL,
    evidence jsonb NOT NULL,
    asked_by text NOT NULL,
    asked_at timestamptz NOT NULL,
    as_of timestamptz,
    state text NOT NULL DEFAULT 'asked' CHECK (state IN
        ('asked', 'started', 'coalesced', 'refused')),
    waits_until timestamptz,
    why text NOT NULL DEFAULT '',
    run bigint REFERENCES retraining.runs (id),
    UNIQUE (product, reason, key)
);
CREATE INDEX IF NOT EXISTS requests_that_wait ON retraining.requests (product, id)
    WHERE state = 'asked';
CREATE TABLE IF NOT EXISTS retraining.decisions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    product text NOT NULL,
    request bigint REFERENCES retraining.requests (id),
    run bigint REFERENCES retraining.runs (id),
    decision text NOT NULL,
    why text NOT NULL,
    evidence jsonb NOT NULL,
    actor text NOT NULL,
    at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX IF NOT EXISTS decisions_of_a_product ON retraining.decisions (product, id);
CREATE TABLE IF NOT EXISTS retraining.leases (
    run bigint PRIMARY KEY REFERENCES retraining.runs (id),
    holder text NOT NULL,
    until timestamptz NOT NULL
);
CREATE OR REPLACE FUNCTION retraining.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'retraining.decisions is append-only: % is refused', TG_OP;
END $$;
CREATE OR REPLACE TRIGGER decisions_are_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON retraining.decisions
    FOR EACH STATEMENT EXECUTE FUNCTION retraining.refuse_change();
"""


def migrate(connection: Any) -> None:
    """Make the tables, unless they are there. Killed midway, PostgreSQL undoes what was begun.

    Args:
        connection: psycopg's, with autocommit.
    """
    make_tables(connection, "retraining.leases", _TABLES, LOCK)

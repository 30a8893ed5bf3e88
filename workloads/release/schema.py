"""The tables of releases in PostgreSQL, schema `release`: what is, and all that ever happened."""

from __future__ import annotations

from typing import Any, Final

from workloads.database import make_tables

LOCK: Final = 0x52656C6561736531
"""Instances that start at once make the tables one after the other."""
_TABLES: Final = """
CREATE SCHEMA IF NOT EXISTS release;
CREATE TABLE IF NOT EXISTS release.releases (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    product text NOT NULL,
    version text NOT NULL,
    champion text,
    target text NOT NULL,
    strategy text NOT NULL,
    state text NOT NULL CHECK (state IN
        ('registered', 'shadow', 'canary', 'full', 'retired', 'aborted', 'rolled_back')),
    step integer NOT NULL DEFAULT 0 CHECK (step >= 0),
    share integer NOT NULL DEFAULT 0 CHECK (share BETWEEN 0 AND 100),
    intent jsonb,
    verdicts jsonb NOT NULL DEFAULT '[]',
    reason text NOT NULL DEFAULT '',
    opened_by text NOT NULL,
    revision integer NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL,
    entered_at timestamptz NOT NULL,
    looked_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE UNIQUE INDEX IF NOT EXISTS one_release_under_way ON release.releases (product)
    WHERE state IN ('registered', 'shadow', 'canary') OR intent IS NOT NULL;
CREATE INDEX IF NOT EXISTS releases_of_a_product ON release.releases (product, id);
CREATE TABLE IF NOT EXISTS release.transitions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    release bigint NOT NULL REFERENCES release.releases (id),
    product text NOT NULL,
    version text NOT NULL,
    state text NOT NULL,
    "to" text NOT NULL,
    step integer NOT NULL,
    share integer NOT NULL,
    phase text NOT NULL CHECK (phase IN ('intent', 'done', 'failed')),
    reason text NOT NULL,
    evidence jsonb NOT NULL,
    actor text NOT NULL,
    at timestamptz NOT NULL
);
CREATE INDEX IF NOT EXISTS transitions_of_a_product ON release.transitions (product, id);
CREATE OR REPLACE FUNCTION release.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'release.transitions is append-only: % is refused', TG_OP;
END $$;
CREATE OR REPLACE TRIGGER transitions_are_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON release.transitions
    FOR EACH STATEMENT EXECUTE FUNCTION release.refuse_change();
"""


def migrate(connection: Any) -> None:
    """Make the tables, unless they are there. Killed midway, PostgreSQL undoes what was begun.

    Args:
        connection: psycopg's, with autocommit.
    """
    make_tables(connection, "release.transitions", _TABLES, LOCK)

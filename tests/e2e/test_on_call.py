"""Who is woken at night runs the steps of a runbook: here they are run on a platform that stands.

Each command line of the runbooks is in one of two lists: it is run here as it is written, or it is
named with the test that runs it. Queries are all run.
What gcloud is asked is held to Google's own description by tests/stacks/test_runbooks.py.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

from tests.e2e.driver import CHECKOUT, Platform

pytestmark = [pytest.mark.timeout(900), pytest.mark.e2e]

RUNBOOKS: Final = CHECKOUT / "docs" / "runbooks"
RUN: Final = (
    "accounting",
    "alerts",
    "alerts resend",
    "alerts test",
    "dead-letters list",
    "dead-letters replay",
    "features parity",
    "features sync",
    "monitor report",
    "monitor status",
    "outputs",
    "release history",
    "release status",
    "retrain",
    "retraining history",
    "retraining status",
)
"""Commands that only look, or that a platform which is well can bear."""
ELSEWHERE: Final = {
    "destroy": "tests/e2e/test_platform.py",
    "drift": "tests/esteira/test_drift.py",
    "predict": "tests/e2e/test_platform.py",
    "preview": "tests/e2e/test_platform.py",
    "refresh": "tests/e2e/test_platform.py",
    # Whose every step tests/workflows/test_train_run.py runs.
    "release judge": ".github/workflows/train.yml",
    "release promote": "tests/e2e/test_platform.py",
    "release rollback": "tests/e2e/test_platform.py",
    "send": "tests/e2e/test_platform.py",
    "train": ".github/workflows/train.yml",
    "up": "tests/e2e/test_platform.py",
}
"""Commands that cost much or change what other tests look at; and where each is run."""
BEFORE: Final = (
    ("monitor", "run", "flight-delay", "--window", "2013-03-25", "2013-04-01"),
    ("features", "sync", "flight-delay"),
)
"""What has happened on a platform on which an alert is raised."""
ALL_AT_ONCE: Final = """
import contextlib, io, json, sys
from esteira import cli

for line in sys.stdin:
    sys.argv = ["esteira", *json.loads(line)]
    said, status = io.StringIO(), 0
    with contextlib.redirect_stdout(said):
        try:
            cli.main()
        except SystemExit as ended:
            status = ended.code or 0
    print(json.dumps([status, said.getvalue()]), flush=True)
"""
"""The command line, again and again in one process: its imports are most of what it costs."""


def blocks(kind: str) -> Iterator[tuple[str, str]]:
    """The blocks of a kind in all runbooks, each with the name of its page."""
    for page in sorted(RUNBOOKS.glob("*.md")):
        for block in re.findall(rf"```{kind}\n(.*?)```", page.read_text(), re.DOTALL):
            yield page.stem, block


def steps() -> dict[str, list[str]]:
    """Every command line, as words without the program; each with the pages that have it."""
    found: dict[str, list[str]] = {}
    for page, block in blocks("sh"):
        for line in block.splitlines():
            assert line.startswith("esteira "), f"{page}: who runs `{line}`?"
            found.setdefault(line.removeprefix("esteira "), []).append(page)
    return found


def command(line: str) -> str:
    """Which of the commands a line is of."""
    known = sorted([*RUN, *ELSEWHERE], key=len, reverse=True)
    found = next((one for one in known if f"{line} ".startswith(f"{one} ")), None)
    assert found is not None, f"`esteira {line}` is neither run here nor named with who runs it"
    return found


def test_each_step_is_run_here_or_where_it_says() -> None:
    named = {command(line) for line in steps()}
    for one in named & set(ELSEWHERE):
        source = (CHECKOUT / ELSEWHERE[one]).read_text()
        words = one.split()
        listed = r",\s*".join(rf'"{word}"' for word in words)
        assert re.search(rf"{listed}|esteira {' '.join(words)} ", source), (
            f"{ELSEWHERE[one]} does not run {one}"
        )


@pytest.mark.long
def test_each_step_does_what_it_says(platform: Platform, tmp_path: Path) -> None:
    lines = [line for line in steps() if command(line) in RUN]
    # The runbooks are written for prod.
    local = [["local" if one == "prod" else one for one in shlex.split(line)] for line in lines]
    ended = subprocess.run(
        [sys.executable, "-c", ALL_AT_ONCE],
        input="".join(f"{json.dumps(words)}\n" for words in [*BEFORE, *local]),
        env={**platform.env, "PYTHONPATH": str(CHECKOUT)},
        # A report is saved where one stands.
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )
    answers: list[Any] = [json.loads(line) for line in ended.stdout.splitlines()]
    assert len(answers) == len(BEFORE) + len(lines), ended.stderr[-4000:]
    names = [*map(" ".join, BEFORE), *lines]
    failed = [name for name, (status, _) in zip(names, answers, strict=True) if status]
    assert failed == [], ended.stderr[-4000:]
    assert "Traceback" not in ended.stderr


def test_each_query_of_the_warehouse_is_answered(platform: Platform) -> None:
    client = bigquery.Client(
        project=platform.endpoints.project,
        credentials=AnonymousCredentials(),
        client_options={"api_endpoint": platform.endpoints.url("bigquery")},
    )
    asked = 0
    for page, query in blocks("sql"):
        if "esteira-prod." not in query:
            continue
        asked += 1
        named = re.findall(r"SELECT|\bAS (\w+)", query)
        result = client.query_and_wait(query.replace("esteira-prod.", "esteira-local."))
        columns = {one.name for one in result.schema}
        assert {one for one in named if one} <= columns, page
        list(result)
    assert asked >= 4


def test_each_query_of_the_database_is_answered(platform: Platform) -> None:
    host, _, port = platform.endpoints.environment()["CLOUD_SQL_EMULATOR_HOST"].partition(":")
    user = f"flight-delay-log@{platform.endpoints.project}.iam"
    asked = 0
    with psycopg.connect(host=host, port=port, dbname="esteira", user=user) as connection:
        for page, query in blocks("sql"):
            if "pg_" not in query:
                continue
            asked += 1
            rows = connection.execute(query.encode()).fetchall()
            # Whoever asks is connected, and the tables of the platform are there.
            assert rows, page
    assert asked >= 3

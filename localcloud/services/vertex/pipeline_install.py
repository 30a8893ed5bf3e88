"""What a compiled step installs before it runs, and whether that is there already.

kfp compiles `pip install 'kfp==2.17.0' ...` into each step of whoever does not forbid it. Steps
run here with the interpreter that compiled or at least checked the pipeline, which mostly has all
of it, so that pip would look around for two seconds and leave things as they are.
"""

from __future__ import annotations

import importlib.metadata
import shlex
from collections.abc import Sequence
from itertools import groupby
from typing import Final

from packaging.requirements import InvalidRequirement, Requirement

_INSTALL: Final = ("-m", "pip", "install")
# Those that name what is installed by something else than a requirement, or from elsewhere, have a
# value of their own; they are not among these, and are left to pip.
_HARMLESS: Final = frozenset({"--quiet", "--no-warn-script-location", "--no-deps"})
_RUN: Final = ["$0", "$@"]


def without_needless_install(command: Sequence[str]) -> list[str]:
    """The command without its first part, if that installs nothing that is missing.

    Args:
        command: as kfp compiles it: `sh -c SCRIPT` and then what SCRIPT runs when it is done.
    """
    if len(command) < 4 or list(command[:2]) != ["sh", "-c"]:
        return list(command)
    # What comes before makes sure that there is a pip.
    last = command[2].strip().rpartition("\n")[2]
    try:
        words = shlex.split(last)
    except ValueError:
        return list(command)
    parts = [list(part) for is_and, part in groupby(words, "&&".__eq__) if not is_and]
    if len(parts) < 2 or parts[-1] != _RUN or not all(map(_needless, parts[:-1])):
        return list(command)
    return list(command[3:])


def _needless(words: list[str]) -> bool:
    """Whether it is `[NAME=VALUE ...] python3 -m pip install ...` of what is installed."""
    while words and "=" in words[0]:
        words = words[1:]
    if tuple(words[1:4]) != _INSTALL:
        return False
    return all(one in _HARMLESS or _satisfied(one) for one in words[4:])


def _satisfied(text: str) -> bool:
    try:
        wanted = Requirement(text)
    except InvalidRequirement:
        return False
    if wanted.marker and not wanted.marker.evaluate():
        return True
    if wanted.url or wanted.extras:
        return False
    try:
        found = importlib.metadata.version(wanted.name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return wanted.specifier.contains(found, prereleases=True)

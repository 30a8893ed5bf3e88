"""The files that a Dockerfile may copy: the build context less its `.dockerignore`."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from localcloud.dockerfile import DockerfileError


class Ignore:
    """The patterns of a `.dockerignore`: the last one that matches decides, `!` readmits."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self._rules: list[tuple[re.Pattern[str], bool]] = []
        for line in patterns:
            text = line.strip()
            if not text or text.startswith("#"):
                continue
            keep = text.startswith("!")
            cleaned = text.removeprefix("!").strip().strip("/")
            cleaned = cleaned.removeprefix("./")
            if cleaned and cleaned != ".":
                self._rules.append((re.compile(_glob(cleaned) + r"(?:/.*)?$"), keep))
        self._readmits = any(keep for _, keep in self._rules)

    @classmethod
    def read(cls, context: Path, dockerfile: Path) -> Ignore:
        """`<Dockerfile>.dockerignore` if there is one, else the context's `.dockerignore`."""
        for file in (
            dockerfile.with_name(f"{dockerfile.name}.dockerignore"),
            context / ".dockerignore",
        ):
            if file.is_file():
                return cls(file.read_text().splitlines())
        return cls(())

    def __call__(self, relative: str) -> bool:
        """Whether a path of the context stays out of the build."""
        out = False
        for pattern, keep in self._rules:
            if pattern.match(relative):
                out = not keep
        return out

    def skips_folder(self, relative: str) -> bool:
        """Whether nothing below a folder can enter, so that it need not be walked."""
        return not self._readmits and self(relative)


def _glob(pattern: str) -> str:
    """A Docker pattern as a regular expression: `**` crosses folders, `*` and `?` do not."""
    out: list[str] = []
    i = 0
    while i < len(pattern):
        if pattern.startswith("**/", i):
            out.append("(?:.*/)?")
            i += 3
        elif pattern.startswith("**", i):
            out.append(".*")
            i += 2
        elif pattern[i] == "*":
            out.append("[^/]*")
            i += 1
        elif pattern[i] == "?":
            out.append("[^/]")
            i += 1
        elif pattern[i] == "[" and (end := pattern.find("]", i + 1)) > 0:
            out.append(pattern[i : end + 1])
            i = end + 1
        else:
            out.append(re.escape(pattern[i]))
            i += 1
    return "".join(out)


def found_in(source: str, root: Path) -> list[Path]:
    """The paths that the source of a COPY names, wildcards resolved; none if there are none."""
    relative = source.lstrip("/")
    if ".." in PurePosixPath(relative).parts:
        raise DockerfileError(f"COPY {source}: the path leaves the build context {root}")
    if not any(mark in relative for mark in "*?["):
        path = root / relative
        return [path] if path.exists() else []
    return sorted(root.glob(relative))


def files_of(path: Path, root: Path, ignored: Ignore) -> list[Path]:
    """A file, or every file under a folder, in a stable order, less what is ignored."""
    if path.is_file() or path.is_symlink():
        return [] if ignored(path.relative_to(root).as_posix()) else [path]
    found: list[Path] = []
    for folder, folders, names in os.walk(path):
        here = Path(folder)
        folders[:] = sorted(
            name
            for name in folders
            # Bytecode is a trace of running, not part of what was written.
            if name != "__pycache__"
            and not ignored.skips_folder((here / name).relative_to(root).as_posix())
        )
        found += [
            here / name
            for name in sorted(names)
            if not ignored((here / name).relative_to(root).as_posix())
        ]
    return found

"""The bytes of objects, one file each.

A content file is written under its final, random name and belongs to nothing until a row of the
database names it, so an object is whole or absent whenever the process is killed. Files that no
row names are swept away at the next start. Contents never change once a row names them, so copies
share one file. Nothing is forced to the disk: a killed process loses nothing by that, a power cut
may lose the last seconds.
"""

from __future__ import annotations

import base64
import hashlib
import sqlite3
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import google_crc32c

BLOCK: Final = 1 << 20
"""How much is read, hashed or written at once, in bytes."""


@dataclass(frozen=True)
class Stored:
    """A finished content: which, how long, and its checksums in base64."""

    id: str
    size: int
    crc32c: str
    md5: str | None


class Draft:
    """A content that is being written, hashed as it grows. Blocking; not for two threads at once.

    Args:
        id: the content's id.
        path: its file.
        size: how many bytes of the file to keep, when it is there already.
    """

    def __init__(self, key: str, path: Path, size: int = 0) -> None:
        self.id = key
        self.path = path
        self.size = 0
        self._crc32c = 0
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._file: BinaryIO = self._open("r+b" if size else "wb")
        # Checksums of a content that a killed process began are not known: read it again.
        while self.size < size:
            block = self._file.read(min(BLOCK, size - self.size))
            if not block:
                break
            self._hash(block)
        self._file.truncate(self.size)

    def _open(self, mode: str) -> BinaryIO:
        try:
            return self.path.open(mode, buffering=0)  # pyright: ignore[reportReturnType]
        except FileNotFoundError:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            return self.path.open("wb", buffering=0)

    def _hash(self, data: bytes) -> None:
        self._crc32c = google_crc32c.extend(self._crc32c, data)
        self._md5.update(data)
        self.size += len(data)

    def write(self, data: bytes) -> None:
        """Append."""
        rest = memoryview(data)
        while rest:
            rest = rest[self._file.write(rest) :]
        self._hash(data)

    def stored(self, *, md5: bool = True) -> Stored:
        """Close the file and tell what it holds.

        Args:
            md5: composed objects have none in Cloud Storage.
        """
        self._file.close()
        return Stored(
            id=self.id,
            size=self.size,
            crc32c=base64.b64encode(self._crc32c.to_bytes(4, "big")).decode(),
            md5=base64.b64encode(self._md5.digest()).decode() if md5 else None,
        )

    def close(self) -> None:
        """Release the file, leaving it as it is."""
        self._file.close()


class Contents:
    """All contents of one home."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def path(self, key: str) -> Path:
        """The file of a content."""
        return self._folder / key[:2] / key

    def draft(self, key: str | None = None) -> Draft:
        """A new, empty content."""
        key = key or uuid.uuid4().hex
        return Draft(key, self.path(key))

    def resume(self, key: str, size: int) -> Draft:
        """A content that was begun earlier, cut to `size` bytes and hashed again."""
        return Draft(key, self.path(key), size)

    def size(self, key: str) -> int:
        """How many bytes a content has so far; 0 when there is none."""
        try:
            return self.path(key).stat().st_size
        except FileNotFoundError:
            return 0

    def open(self, key: str) -> BinaryIO:
        """A content for reading. An open one stays readable when it is released meanwhile."""
        return self.path(key).open("rb", buffering=0)

    def compose(self, sources: Iterable[BinaryIO]) -> Stored:
        """A new content made of open ones, one after the other. Blocking."""
        draft = self.draft()
        try:
            for source in sources:
                while block := source.read(BLOCK):
                    draft.write(block)
        except BaseException:
            self.discard(draft)
            raise
        return draft.stored(md5=False)

    def discard(self, draft: Draft) -> None:
        """Give up a content that no row names."""
        draft.close()
        draft.path.unlink(missing_ok=True)

    def release(self, connection: sqlite3.Connection, ids: Iterable[str]) -> None:
        """Remove those contents that no row names any more. Call it after the commit."""
        for key in ids:
            used = connection.execute(
                "SELECT 1 FROM objects WHERE content = ? LIMIT 1", (key,)
            ).fetchone()
            if not used:
                # A download under way keeps its open file.
                self.path(key).unlink(missing_ok=True)

    def sweep(self, connection: sqlite3.Connection) -> int:
        """Remove what a killed process left: contents that neither objects nor uploads name.

        Returns:
            How many were removed.
        """
        named = {row[0] for row in connection.execute("SELECT content FROM objects")}
        unfinished = "SELECT id FROM uploads WHERE finished IS NULL"
        named |= {row[0] for row in connection.execute(unfinished)}
        strays = [file for file in self._folder.glob("*/*") if file.name not in named]
        for file in strays:
            file.unlink(missing_ok=True)
        return len(strays)

"""Files, texts and archives that a program hands over as inputs."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pulumi

from localcloud.provider.errors import ProviderError
from localcloud.provider.values import Asset


def asset(value: pulumi.Asset | pulumi.Archive) -> Asset:
    """The provider's form of one of Pulumi's objects, with the hash that the engine would add."""
    match value:
        case pulumi.StringAsset(text=text):
            return Asset(False, {"text": text, "hash": _hash(text.encode())})
        case pulumi.FileAsset(path=path):
            place = Path(path)
            return Asset(False, {"path": str(path), "hash": _hash(place.read_bytes())})
        case pulumi.FileArchive(path=path):
            return Asset(True, {"path": str(path), "hash": _hash(str(path).encode())})
        case pulumi.AssetArchive(assets=parts):
            held: dict[str, Any] = {name: asset(part) for name, part in parts.items()}
            names = "".join(f"{name}{part.hash}" for name, part in sorted(held.items()))
            return Asset(True, {"assets": held, "hash": _hash(names.encode())})
        case _:
            raise ProviderError(f"the local cloud takes no {type(value).__name__}; give a file")


def content(value: Asset, roots: tuple[Path, ...]) -> bytes:
    """The bytes of an asset.

    Args:
        value: a file or a text.
        roots: where a relative path may start, tried in turn.

    Raises:
        ProviderError: it is an archive, a remote file, or a path that is nowhere.
    """
    if value.archive:
        raise ProviderError("an archive cannot be an object's content; give a file or a text")
    if "text" in value.form:
        return str(value.form["text"]).encode()
    if "path" not in value.form:
        raise ProviderError("the local cloud fetches no remote asset; give a file or a text")
    return locate(str(value.form["path"]), roots).read_bytes()


def locate(path: str, roots: tuple[Path, ...]) -> Path:
    """Where a path given in the program is: as it stands, or under one of the roots.

    Raises:
        ProviderError: nowhere.
    """
    for candidate in (Path(path), *(root / path for root in roots)):
        if candidate.is_absolute() and candidate.exists():
            return candidate
    searched = ", ".join(map(str, roots))
    raise ProviderError(f"there is no {path!r} under {searched}; give an absolute path")


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()

"""Partial responses: the `fields` parameter, such as `items(name,size),nextPageToken`.

https://cloud.google.com/storage/docs/json_api#partial-response
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final

from localcloud.services.storage.errors import invalid

Mask = dict[str, "Mask"]
"""Field -> what to keep of it; empty for all of it. `*` stands for every field."""

_TOKEN: Final = re.compile(r"[^(),/\s]+|[(),/]")


@lru_cache(maxsize=256)
def parse(fields: str) -> Mask:
    """The mask that a `fields` parameter describes.

    Raises:
        StorageError: 400 when it is malformed.
    """
    tokens = _TOKEN.findall(fields)
    mask, rest = _fields(tokens, 0, fields)
    if rest != len(tokens) or not mask:
        raise _malformed(fields)
    return mask


def apply(mask: Mask, value: Any) -> Any:
    """What a mask keeps of a JSON value."""
    if not mask:
        return value
    if isinstance(value, list):
        return [apply(mask, item) for item in value]
    if not isinstance(value, dict):
        return value
    if "*" in mask:
        return {key: apply(mask.get(key, mask["*"]), item) for key, item in value.items()}
    return {key: apply(mask[key], item) for key, item in value.items() if key in mask}


def _fields(tokens: list[str], position: int, text: str) -> tuple[Mask, int]:
    mask: Mask = {}
    while True:
        position = _field(tokens, position, mask, text)
        if position < len(tokens) and tokens[position] == ",":
            position += 1
            continue
        return mask, position


def _field(tokens: list[str], position: int, mask: Mask, text: str) -> int:
    if position >= len(tokens) or tokens[position] in "(),/":
        raise _malformed(text)
    inner: Mask = {}
    name = tokens[position]
    position += 1
    if position < len(tokens) and tokens[position] == "/":
        position = _field(tokens, position + 1, inner, text)
    elif position < len(tokens) and tokens[position] == "(":
        inner, position = _fields(tokens, position + 1, text)
        if position >= len(tokens) or tokens[position] != ")":
            raise _malformed(text)
        position += 1
    if name in mask and inner and mask[name]:
        mask[name].update(inner)
    elif name not in mask or mask[name]:
        mask[name] = inner
    return position


def _malformed(text: str) -> Exception:
    return invalid(f"Invalid field selection {text!r}: write it as items(name,size).", "fields")

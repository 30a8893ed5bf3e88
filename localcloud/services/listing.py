"""Pages and field masks, which Google's REST APIs have in common."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any, Final

from localcloud.rest.discovery import Api
from localcloud.rest.errors import InvalidArgument
from localcloud.rest.schema import camel_case
from localcloud.rest.store import Documents

_DEFAULT_PAGE: Final = 100
_MAX_PAGE: Final = 1000


def page[T](
    items: Sequence[tuple[str, T]], query: Mapping[str, Any], default: int = _DEFAULT_PAGE
) -> tuple[list[T], str | None]:
    """One page of items sorted by their key, and the token of the next.

    Args:
        items: pairs of key and item, in the order of the keys.
        query: the request's `pageSize` and `pageToken`.
        default: the size when none is asked for.

    Raises:
        InvalidArgument: the size is negative or the token is not one of ours.
    """
    size = int(query.get("pageSize") or default)
    if size < 0:
        raise InvalidArgument(f"Page size {size} is negative; the maximum is {_MAX_PAGE}.")
    after = ""
    if token := query.get("pageToken"):
        try:
            after = base64.urlsafe_b64decode(token.encode()).decode()
        except (binascii.Error, UnicodeError):
            raise InvalidArgument(f"Invalid page token: '{token}'.") from None
    rest = [pair for pair in items if pair[0] > after]
    chosen = rest[: min(size, _MAX_PAGE)]
    more = len(rest) > len(chosen)
    following = base64.urlsafe_b64encode(chosen[-1][0].encode()).decode() if more else None
    return [item for _, item in chosen], following


def page_answer(field: str, found: tuple[list[dict[str, Any]], str | None]) -> dict[str, Any]:
    """A list response: the items under their field, and the next token where there is one."""
    items, token = found
    answer: dict[str, Any] = {field: items} if items else {}
    return {**answer, "nextPageToken": token} if token else answer


def children(
    documents: Documents, kind: str, parent: str, collection: str
) -> list[tuple[str, dict[str, Any]]]:
    """The documents below a parent, whose segments may be the wildcard `-`.

    Args:
        documents: the store, with keys `kind:resource name`.
        kind: such as `revision`.
        parent: such as `projects/p/locations/l/services/-`.
        collection: such as `revisions`.
    """
    wanted = [*parent.split("/"), collection]
    literal = parent.partition("/-")[0] if "-" in wanted else f"{parent}/{collection}/"
    found: list[tuple[str, dict[str, Any]]] = []
    for stored in documents.list(f"{kind}:{literal}"):
        name = stored.key.removeprefix(f"{kind}:")
        segments = name.split("/")
        if len(segments) == len(wanted) + 1 and all(
            want in ("-", have) for want, have in zip(wanted, segments, strict=False)
        ):
            found.append((name, stored.value))
    return found


def mask_paths(api: Api, schema: str, mask: str) -> list[list[str]]:
    """The paths of a field mask, in camel case.

    Raises:
        InvalidArgument: a path names no field of the schema.
    """
    paths = [
        [camel_case(segment) for segment in path.strip().split(".")]
        for path in mask.split(",")
        if path.strip()
    ]
    for path in paths:
        if path == ["*"]:
            continue
        nested: Any = None
        for segment in reversed(path):
            nested = {segment: nested}
        try:
            api.validate_body(schema, nested)
        except InvalidArgument:
            raise InvalidArgument(
                f"Invalid update mask: '{'.'.join(path)}' is not a field of the resource."
            ) from None
    return paths


def apply_mask(
    old: Mapping[str, Any], new: Mapping[str, Any], paths: Sequence[Sequence[str]]
) -> dict[str, Any]:
    """`old` with the fields of the mask taken from `new`; a field absent there is cleared."""
    result = dict(old)
    for path in paths:
        if list(path) == ["*"]:
            return dict(new)
        result = _taken(result, new, path)
    return result


def _taken(old: Mapping[str, Any], new: Mapping[str, Any], path: Sequence[str]) -> dict[str, Any]:
    head, *rest = path
    result = dict(old)
    if not rest:
        if new.get(head) is None:
            result.pop(head, None)
        else:
            result[head] = new[head]
        return result
    inner_old, inner_new = old.get(head) or {}, new.get(head) or {}
    if not isinstance(inner_old, Mapping) or not isinstance(inner_new, Mapping):
        raise InvalidArgument(f"Invalid update mask: '{head}' is a list; name it as a whole.")
    inner = _taken(inner_old, inner_new, rest)
    if inner:
        result[head] = inner
    else:
        result.pop(head, None)
    return result

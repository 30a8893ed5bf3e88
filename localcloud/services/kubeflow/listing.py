"""Lists as Kubeflow Pipelines answers them: a filter of predicates, an order, pages."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import unquote

import msgspec

from localcloud.rest.errors import InvalidArgument, Unimplemented

DEFAULT_PAGE: Final = 20
MAX_PAGE: Final = 200
FIELDS: Final = ("display_name", "name", "description", "created_at", "state", "storage_state")
"""What can be filtered and ordered by, where the items have it."""
_NUMBERS: Final = {
    1: "EQUALS",
    2: "NOT_EQUALS",
    3: "GREATER_THAN",
    5: "GREATER_THAN_EQUALS",
    6: "LESS_THAN",
    7: "LESS_THAN_EQUALS",
    8: "IN",
    9: "IS_SUBSTRING",
}
"""Of the enum; `kfp.Client` writes numbers, the documents names."""
_COMPARE: Final[Mapping[str, Callable[[str, Any], bool]]] = {
    "EQUALS": lambda left, right: left == right,
    "NOT_EQUALS": lambda left, right: left != right,
    "GREATER_THAN": lambda left, right: left > right,
    "GREATER_THAN_EQUALS": lambda left, right: left >= right,
    "LESS_THAN": lambda left, right: left < right,
    "LESS_THAN_EQUALS": lambda left, right: left <= right,
    "IS_SUBSTRING": lambda left, right: right in left,
    "IN": lambda left, right: left in right,
}


def page(items: Iterable[dict[str, Any]], query: Mapping[str, str], key: str) -> dict[str, Any]:
    """`{key: [...], "total_size": n, "next_page_token": ...}`; an empty list is absent, as there.

    Args:
        items: all there are.
        query: the request's `filter`, `sort_by`, `page_size`, `page_token`.
        key: the response's field.

    Raises:
        InvalidArgument: one of them is wrong.
    """
    found = [one for one in items if all(keep(one) for keep in _predicates(query.get("filter")))]
    _sort(found, query.get("sort_by", ""))
    start = _start(query.get("page_token", ""))
    size = _size(query.get("page_size", ""))
    chosen = found[start : start + size]
    result: dict[str, Any] = {key: chosen} if chosen else {}
    result["total_size"] = len(found)
    if start + size < len(found):
        result["next_page_token"] = base64.urlsafe_b64encode(str(start + size).encode()).decode()
    return result


def _predicates(given: str | None) -> Sequence[Callable[[Mapping[str, Any]], bool]]:
    if not given:
        return []
    try:
        # Documented as URL-encoded, beyond what the query itself is.
        document = msgspec.json.decode(unquote(given))
        return [_predicate(one) for one in document["predicates"]]
    except (msgspec.DecodeError, KeyError, TypeError) as error:
        raise InvalidArgument(f"Invalid filter {given!r}: {error}") from None


def _predicate(given: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], bool]:
    operation = given["operation"]
    name = _NUMBERS.get(operation, operation)
    compare = _COMPARE.get(str(name))
    if compare is None:
        raise InvalidArgument(f"Invalid filter: operation {name!r} is none of {list(_COMPARE)}")
    key = given["key"]
    _known(key, "filter")
    for spelling in ("stringValue", "string_value"):
        if spelling in given:
            value: Any = str(given[spelling])
            break
    else:
        values = given.get("stringValues", given.get("string_values"))
        if values is None:
            raise Unimplemented(
                f"The local cloud filters by string_value and string_values, got {sorted(given)}."
            )
        value = list(values["values"])
    return lambda item: compare(str(item.get(key, "")), value)


def _sort(items: list[dict[str, Any]], order: str) -> None:
    field, _, direction = (order or "created_at").strip().partition(" ")
    direction = direction.strip().lower()
    _known(field, "sort_by")
    if direction not in ("", "asc", "desc"):
        raise InvalidArgument(f"Invalid sort_by {order!r}: write a field, then nothing or desc")
    items.sort(key=lambda one: str(one.get(field, "")), reverse=direction == "desc")


def _known(field: str, what: str) -> None:
    if field not in FIELDS:
        raise InvalidArgument(f"Invalid {what}: field {field!r} is none of {', '.join(FIELDS)}")


def _size(given: str) -> int:
    try:
        size = int(given or 0)
    except ValueError:
        size = -1
    if size < 0:
        raise InvalidArgument(f"page_size is {given!r}; allowed: 0 or more")
    return min(size or DEFAULT_PAGE, MAX_PAGE)


def _start(token: str) -> int:
    if not token:
        return 0
    try:
        return int(base64.urlsafe_b64decode(token.encode()))
    except ValueError:
        raise InvalidArgument(
            f"Invalid page_token {token!r}: use the next_page_token of the previous page"
        ) from None

"""Lists as Google's APIs answer them: filter (AIP-160), order and pages."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Final, final

from localcloud.rest.errors import InvalidArgument
from localcloud.rest.schema import camel_case, snake_case

Item = Mapping[str, Any]
Predicate = Callable[[Item], bool]
# A field that is not simply a property: computed from the item.
Fields = Mapping[str, Callable[[Item], Any]]

MAX_PAGE: Final = 100
_TOKEN: Final = re.compile(
    r"""\s*(?:(?P<quoted>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')"""
    r"""|(?P<op><=|>=|!=|=|<|>|:|\(|\)|,)|(?P<word>[^\s<>=!:(),"']+))"""
)
_COMPARE: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "<": lambda left, right: left < right,
    ">": lambda left, right: left > right,
    "<=": lambda left, right: left <= right,
    ">=": lambda left, right: left >= right,
}


def page(
    items: Iterable[dict[str, Any]],
    query: Mapping[str, Any],
    fields: Fields,
    *,
    key: str,
    default_order: str = "",
    max_page: int = MAX_PAGE,
) -> dict[str, Any]:
    """The list response: `{key: [...], "nextPageToken": ...}`.

    Args:
        items: all there are.
        query: the request's `filter`, `orderBy`, `pageSize`, `pageToken`.
        fields: what can be filtered and ordered by, in snake case; a name ending in `.` takes keys.
        key: the response's field.
        default_order: used when the request has no `orderBy`.
        max_page: larger pages are cut to this, as Google does.

    Raises:
        InvalidArgument: the filter, the order or the page token is wrong.
    """
    wanted = parse_filter(query.get("filter", ""), fields)
    found = [item for item in items if wanted(item)]
    _sort(found, query.get("orderBy") or default_order, fields)
    size = query.get("pageSize", 0)
    if size < 0:
        raise InvalidArgument(f"page_size must not be negative, got {size}.")
    size = min(size or max_page, max_page)
    start = _decode_token(query.get("pageToken", ""))
    chosen = found[start : start + size]
    if query.get("readMask"):
        paths = [one.strip() for one in query["readMask"].split(",") if one.strip()]
        chosen = [read(item, paths) for item in chosen]
    result: dict[str, Any] = {key: chosen}
    if start + size < len(found):
        result["nextPageToken"] = base64.urlsafe_b64encode(str(start + size).encode()).decode()
    return result


def read(item: Item, paths: Iterable[str]) -> dict[str, Any]:
    """The parts of an item that a read mask names, always with its name."""
    result: dict[str, Any] = {"name": item["name"]} if "name" in item else {}
    for path in paths:
        source: Any = item
        target = result
        *parents, leaf = [camel_case(part) for part in path.split(".")]
        if path == "*":
            return dict(item)
        for parent in parents:
            source = source.get(parent) if isinstance(source, Mapping) else None
            if not isinstance(source, Mapping):
                break
            target = target.setdefault(parent, {})
        if isinstance(source, Mapping) and leaf in source:
            target[leaf] = source[leaf]
    return result


def parse_filter(text: str, fields: Fields) -> Predicate:
    """A predicate from a filter: `display_name="x" AND NOT labels.env=dev OR labels.env:*`.

    Raises:
        InvalidArgument: a syntax error or a field that cannot be filtered by.
    """
    if not text.strip():
        return lambda item: True
    return _Parser(text, fields).parse()


@final
class _Parser:
    def __init__(self, text: str, fields: Fields) -> None:
        self._text = text
        self._fields = fields
        self._tokens: list[tuple[str, str]] = []
        position = 0
        end = len(text.rstrip())
        while position < end:
            found = _TOKEN.match(text, position)
            if found is None:
                raise self._error(f"unexpected {text[position:].strip()[:10]!r}")
            kind = found.lastgroup or ""
            self._tokens.append((kind, found.group(kind)))
            position = found.end()

    def parse(self) -> Predicate:
        predicate = self._all()
        if self._tokens:
            raise self._error(f"unexpected {self._tokens[0][1]!r}")
        return predicate

    # AIP-160: OR binds tighter than AND, and a blank between terms is an AND.
    def _all(self) -> Predicate:
        terms = [self._any()]
        while self._tokens and self._tokens[0] != ("op", ")"):
            if self._tokens[0] == ("word", "AND"):
                self._tokens.pop(0)
            terms.append(self._any())
        return lambda item: all(term(item) for term in terms)

    def _any(self) -> Predicate:
        terms = [self._not()]
        while self._tokens and self._tokens[0] == ("word", "OR"):
            self._tokens.pop(0)
            terms.append(self._not())
        return lambda item: any(term(item) for term in terms)

    def _not(self) -> Predicate:
        if self._tokens and self._tokens[0] == ("word", "NOT"):
            self._tokens.pop(0)
            term = self._not()
            return lambda item: not term(item)
        if self._tokens and self._tokens[0] == ("op", "("):
            self._tokens.pop(0)
            inner = self._all()
            self._expect(")")
            return inner
        if self._tokens and self._tokens[0][0] == "word" and self._tokens[0][1].startswith("-"):
            _, word = self._tokens.pop(0)
            self._tokens.insert(0, ("word", word[1:]))
            term = self._comparison()
            return lambda item: not term(item)
        return self._comparison()

    def _comparison(self) -> Predicate:
        name = self._value("a field name")
        # `labels."a key"` arrives as a word that ends in a dot and a quoted word.
        if name.endswith(".") and self._tokens and self._tokens[0][0] == "quoted":
            name += self._value("a key")
        read = self._field(name)
        if not self._tokens or self._tokens[0][0] != "op":
            raise self._error(f"an operator is missing after {name!r}")
        _, operator = self._tokens.pop(0)
        expected = self._value(f"a value after {name}{operator}")
        if operator == ":":
            return _has(read, expected)
        if operator == "=":
            return lambda item: _equal(read(item), expected)
        if operator == "!=":
            return lambda item: not _equal(read(item), expected)
        compare = _COMPARE.get(operator)
        if compare is None:
            raise self._error(f"operator {operator!r} is not one of = != < > <= >= :")

        def ordered(item: Item) -> bool:
            left = read(item)
            if left is None:
                return False
            try:
                return compare(_comparable(left), _comparable(expected))
            except TypeError:
                return compare(str(left), expected)

        return ordered

    def _field(self, name: str) -> Callable[[Item], Any]:
        head, dot, key = name.partition(".")
        snake = snake_case(head)
        if dot and f"{snake}." in self._fields:
            mapping = self._fields[f"{snake}."]
            return lambda item: (mapping(item) or {}).get(key)
        whole = snake_case(name)
        if whole in self._fields:
            return self._fields[whole]
        if not dot and f"{snake}." in self._fields:
            return self._fields[f"{snake}."]
        allowed = ", ".join(
            f"{one}<key>" if one.endswith(".") else one for one in sorted(self._fields)
        )
        raise self._error(f"field {name!r} is not one of {allowed}")

    def _value(self, what: str) -> str:
        if not self._tokens or self._tokens[0][0] == "op":
            raise self._error(f"{what} is missing")
        kind, text = self._tokens.pop(0)
        return re.sub(r"\\(.)", r"\1", text[1:-1]) if kind == "quoted" else text

    def _expect(self, operator: str) -> None:
        if not self._tokens or self._tokens[0] != ("op", operator):
            raise self._error(f"{operator!r} is missing")
        self._tokens.pop(0)

    def _error(self, reason: str) -> InvalidArgument:
        return InvalidArgument(f"Invalid filter {self._text!r}: {reason}.")


def _has(read: Callable[[Item], Any], expected: str) -> Predicate:
    def has(item: Item) -> bool:
        value = read(item)
        if expected == "*":
            return value is not None
        if isinstance(value, Mapping | list | tuple):
            return expected in value
        if value is None:
            return False
        if "*" in expected:
            pattern = ".*".join(re.escape(part) for part in expected.split("*"))
            return re.fullmatch(pattern, str(value), re.S) is not None
        return expected in str(value)

    return has


def _equal(value: Any, expected: str) -> bool:
    if value is None:
        return expected == ""
    if isinstance(value, bool):
        return expected.lower() == str(value).lower()
    if isinstance(value, list | tuple):
        return expected in value
    if isinstance(value, str) and "*" in expected:
        return _has(lambda _: value, expected)({})
    return str(value) == expected


def _comparable(value: Any) -> Any:
    if isinstance(value, int | float):
        return value
    try:
        return datetime.fromisoformat(str(value)).timestamp()
    except ValueError:
        pass
    try:
        return float(value)
    except ValueError:
        return str(value)


def _sort(items: list[dict[str, Any]], order: str, fields: Fields) -> None:
    for part in reversed([one.strip() for one in order.split(",") if one.strip()]):
        name, _, direction = part.partition(" ")
        direction = direction.strip().lower()
        read = fields.get(snake_case(name))
        if read is None or direction not in ("", "asc", "desc"):
            allowed = ", ".join(sorted(one for one in fields if not one.endswith(".")))
            raise InvalidArgument(
                f"Invalid order_by {order!r}: write a field of {allowed}, then nothing or desc."
            )
        items.sort(key=lambda item, read=read: str(read(item) or ""), reverse=direction == "desc")


def _decode_token(token: str) -> int:
    if not token:
        return 0
    try:
        return int(base64.urlsafe_b64decode(token.encode()))
    except ValueError:
        raise InvalidArgument(
            f"Invalid page token {token!r}: use the next_page_token of the previous page."
        ) from None


def property_fields(*names: str) -> dict[str, Callable[[Item], Any]]:
    """Fields that are plain properties of the item, named in snake case.

    A name that ends in `.` is a map whose keys can be named: `labels.`.
    """

    def read(name: str) -> Callable[[Item], Any]:
        path = [camel_case(part) for part in name.rstrip(".").split(".")]

        def value(item: Item) -> Any:
            found: Any = item
            for part in path:
                found = found.get(part) if isinstance(found, Mapping) else None
            return found

        return value

    return {name: read(name) for name in names}


def mask_fields(mask: str, allowed: Iterable[str], *, what: str) -> list[str]:
    """The top-level camel-case fields of an update mask.

    Raises:
        InvalidArgument: the mask is empty or names a field that cannot be changed.
    """
    known = {snake_case(one): one for one in allowed}
    parts = [part.strip() for part in mask.split(",") if part.strip()]
    if not parts:
        raise InvalidArgument(
            f"update_mask is required: name the fields of the {what} to change, "
            f"of {', '.join(sorted(known))}."
        )
    fields: list[str] = []
    for part in parts:
        head = snake_case(part.partition(".")[0])
        if head not in known:
            raise InvalidArgument(
                f"Field '{part}' in update_mask cannot be updated on a {what}; "
                f"allowed: {', '.join(sorted(known))}."
            )
        if known[head] not in fields:
            fields.append(known[head])
    return fields

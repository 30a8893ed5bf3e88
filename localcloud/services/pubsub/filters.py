"""The filter language of subscriptions, over message attributes.

    attributes:key                      the attribute exists
    attributes.key = "value"            and has this value
    attributes.key != "value"           is missing or has another value
    hasPrefix(attributes.key, "pre")    exists and starts so
    NOT x, -x, x AND y, x OR y, ( x )

AND and OR may not be mixed without parentheses; operators are upper case; the language is as
described in https://cloud.google.com/pubsub/docs/subscription-message-filter.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from localcloud.services.pubsub.errors import invalid

type Attributes = Mapping[str, str]
type Predicate = Callable[[Attributes], bool]

MAX_BYTES: Final = 256

_TOKEN: Final = re.compile(
    r"""\s*(?:
        (?P<string>"(?:[^"\\]|\\.)*")
      | (?P<word>[A-Za-z_][A-Za-z0-9_\-]*)
      | (?P<mark>!=|[=:.,()\-])
    )""",
    re.VERBOSE,
)
_ESCAPE: Final = re.compile(r"\\(u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|x[0-9A-Fa-f]{2}|[0-7]{3}|.)")
_PLAIN_ESCAPES: Final = dict(zip("ntrabfv", "\n\t\r\a\b\f\v", strict=True))


def compile_filter(text: str) -> Predicate | None:
    """A predicate over a message's attributes; none for the empty filter, which lets all pass.

    Raises:
        Fault: INVALID_ARGUMENT with the place where the filter stops making sense.
    """
    if not text.strip():
        return None
    size = len(text.encode())
    if size > MAX_BYTES:
        raise invalid(f"filter has {size} bytes; at most {MAX_BYTES} are allowed.")
    return _Parser(text).parse()


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens: list[tuple[str, str, int]] = []
        self._next = 0
        at = 0
        while text[at:].strip():
            match = _TOKEN.match(text, at)
            if match is None:
                at += len(text[at:]) - len(text[at:].lstrip())
                raise self._fault(at, "a word, a string in double quotes or an operator")
            kind = match.lastgroup or ""
            self._tokens.append((kind, match.group(kind), match.start(kind)))
            at = match.end()

    def parse(self) -> Predicate:
        result = self._expression()
        if self._next < len(self._tokens):
            raise self._fault(self._place(), "AND, OR or the end")
        return result

    def _expression(self) -> Predicate:
        terms = [self._term()]
        joined = ""
        while (word := self._peek()) in ("AND", "OR"):
            if joined and word != joined:
                raise self._fault(
                    self._place(), "parentheses: AND and OR may not be mixed without them"
                )
            joined = word
            self._next += 1
            terms.append(self._term())
        if len(terms) == 1:
            return terms[0]
        if joined == "AND":
            return lambda attributes: all(term(attributes) for term in terms)
        return lambda attributes: any(term(attributes) for term in terms)

    def _term(self) -> Predicate:
        if self._peek() in ("NOT", "-"):
            self._next += 1
            inner = self._term()
            return lambda attributes: not inner(attributes)
        if self._peek() == "(":
            self._next += 1
            inner = self._expression()
            self._expect(")")
            return inner
        if self._peek() == "hasPrefix":
            self._next += 1
            self._expect("(")
            self._expect("attributes")
            self._expect(".")
            key = self._key()
            self._expect(",")
            prefix = self._string()
            self._expect(")")
            return lambda attributes: (
                attributes.get(key, "").startswith(prefix) and (key in attributes)
            )
        self._expect("attributes")
        if self._peek() == ":":
            self._next += 1
            key = self._key()
            return lambda attributes: key in attributes
        self._expect(".")
        key = self._key()
        operator = self._peek()
        if operator not in ("=", "!="):
            raise self._fault(self._place(), "= or !=")
        self._next += 1
        value = self._string()
        if operator == "=":
            return lambda attributes: attributes.get(key) == value
        return lambda attributes: attributes.get(key) != value

    def _key(self) -> str:
        kind, token = self._take()
        if kind == "word":
            return token
        if kind == "string":
            return _unquote(token)
        self._next -= 1
        raise self._fault(self._place(), "an attribute key")

    def _string(self) -> str:
        kind, token = self._take()
        if kind != "string":
            self._next -= 1
            raise self._fault(self._place(), "a string in double quotes")
        return _unquote(token)

    def _expect(self, wanted: str) -> None:
        if self._peek() != wanted:
            raise self._fault(self._place(), wanted)
        self._next += 1

    def _peek(self) -> str:
        """The next word or mark; a quoted string never stands for one."""
        if self._next >= len(self._tokens):
            return ""
        kind, token, _ = self._tokens[self._next]
        return "" if kind == "string" else token

    def _take(self) -> tuple[str, str]:
        if self._next >= len(self._tokens):
            self._next += 1
            return "", ""
        kind, token, _ = self._tokens[self._next]
        self._next += 1
        return kind, token

    def _place(self) -> int:
        if self._next >= len(self._tokens):
            return len(self._text)
        return self._tokens[self._next][2]

    def _fault(self, at: int, wanted: str) -> Exception:
        found = self._text[at:].strip()[:20] or "the end"
        return invalid(
            f"filter {self._text!r} cannot be understood at character {at + 1}: "
            f"expected {wanted}, found {found}."
        )


def _unquote(token: str) -> str:
    def replace(match: re.Match[str]) -> str:
        code = match.group(1)
        if code[0] in "uUx" and len(code) > 1:
            return chr(int(code[1:], 16))
        if len(code) == 3:
            return chr(int(code, 8))
        return _PLAIN_ESCAPES.get(code, code)

    return _ESCAPE.sub(replace, token[1:-1])

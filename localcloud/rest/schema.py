"""Checks of JSON bodies against the schemas of a discovery document, compiled once and lazily.

A check follows proto3's JSON mapping: lowerCamelCase or the original snake_case names, null for
unset, 64-bit integers as strings or numbers, enum values by name or number. It returns the body
normalised (camel case names, enum names, output-only fields dropped) and collects every violation
in Google's own words.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

Violations = list[tuple[str, str]]
# (value, path, violations) -> normalised value
Check = Callable[[Any, str, Violations], Any]
# (schema name, property name, enum names) -> {number: name}
EnumNumbers = Callable[[str, tuple[str, ...]], Mapping[int, str]]

_INT_RANGES: Final = {
    "int32": (-(2**31), 2**31 - 1),
    "uint32": (0, 2**32 - 1),
    "int64": (-(2**63), 2**63 - 1),
    "uint64": (0, 2**64 - 1),
}
_TIMESTAMP: Final = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII
)
_DURATION: Final = re.compile(r"-?\d+(\.\d{1,9})?s", re.ASCII)
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])([A-Z])")
_PREFIX: Final = re.compile(r"^Google(?:Cloud)?[A-Z][A-Za-z]*?V\d+(?:(?:alpha|beta)\d*)?(?=[A-Z])")


def snake_case(name: str) -> str:
    """`displayName` -> `display_name`: Google names fields by their proto name in errors."""
    return _CAMEL.sub(lambda found: "_" + found.group(1).lower(), name)


def camel_case(name: str) -> str:
    """`display_name` -> `displayName`."""
    head, *rest = name.split("_")
    return head + "".join(part[:1].upper() + part[1:] for part in rest)


def root_path(schema: str) -> str:
    """Where Google says the fields of this body are: nowhere for a request message, else the
    name of the field that holds the resource (`GoogleCloudAiplatformV1Endpoint` -> `endpoint`)."""
    short = _PREFIX.sub("", schema)
    if short.endswith("Request"):
        return ""
    return snake_case(short[:1].lower() + short[1:])


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _unknown(path: str, key: str, reason: str = "Cannot find field.") -> tuple[str, str]:
    where = f" at '{path}'" if path else ""
    return path, f'Invalid JSON payload received. Unknown name "{key}"{where}: {reason}'


def _invalid(path: str, kind: str, value: Any) -> tuple[str, str]:
    if not path:
        return _unknown("", "", "Root element must be a message.")
    if isinstance(value, dict | list):
        parent, _, field = path.rpartition(".")
        reason = (
            "Proto field is not repeating, cannot start list."
            if isinstance(value, list)
            else "Starting an object on a scalar field."
        )
        return _unknown(parent, field, reason)
    return path, f"Invalid value at '{path}' ({kind}), {_shown(value)}"


class Schemas:
    """The schemas of one discovery document.

    Args:
        schemas: the document's `schemas`.
        enum_numbers: finds the numbers of an enum's names, for clients that send numbers.
        strip_read_only: drop output-only fields, which Google ignores in requests.
    """

    def __init__(
        self,
        schemas: Mapping[str, Mapping[str, Any]],
        enum_numbers: EnumNumbers | None = None,
        *,
        strip_read_only: bool = True,
    ) -> None:
        self._schemas = schemas
        self._enum_numbers = enum_numbers
        self._strip_read_only = strip_read_only
        self._compiled: dict[str, Check] = {}

    def has(self, name: str) -> bool:
        """Whether there is a schema of this name."""
        return name in self._schemas

    def check(self, name: str) -> Check:
        """The check of a named schema.

        Raises:
            KeyError: the document has no such schema.
        """
        compiled = self._compiled.get(name)
        if compiled is None:
            schema = self._schemas[name]

            # Schemas may refer to themselves, so the slot has to exist before it is filled.
            def forward(value: Any, path: str, violations: Violations) -> Any:
                return self._compiled[name](value, path, violations)

            self._compiled[name] = forward
            compiled = self._compiled[name] = self.compile(schema, name)
        return compiled

    def compile(self, schema: Mapping[str, Any], owner: str = "") -> Check:
        """The check of an inline schema or of a query parameter's description."""
        if "$ref" in schema:
            name = schema["$ref"]

            def reference(value: Any, path: str, violations: Violations) -> Any:
                # Looked up at each call: schemas refer to themselves, and most are never needed.
                return self.check(name)(value, path, violations)

            return reference
        kind = schema.get("type", "any")
        if kind == "any":
            return _any
        if kind == "array":
            return _array(self.compile(schema["items"], owner))
        if kind == "object":
            if "additionalProperties" in schema:
                return _map(self.compile(schema["additionalProperties"], owner))
            return self._message(schema, owner)
        if kind == "string":
            if "enum" in schema:
                return self._enum(owner, schema)
            return _STRINGS.get(schema.get("format", ""), _string)
        if kind == "boolean":
            return _boolean
        if kind == "integer":
            return _integer(schema.get("format", "int32"))
        if kind == "number":
            return _number(schema.get("format", "double"))
        raise ValueError(f"discovery schema of unknown type {kind!r}")

    def _message(self, schema: Mapping[str, Any], owner: str) -> Check:
        properties: dict[str, Mapping[str, Any]] = dict(schema.get("properties", {}))
        if not properties and "id" not in schema:
            # Inline and without properties: google.protobuf.Struct, as `pipelineSpec`. A named
            # message without fields accepts none.
            return _struct
        names = {name: name for name in properties}
        for name in properties:
            names.setdefault(snake_case(name), name)
        checks: dict[str, Check] = {}
        dropped = (
            {name for name, one in properties.items() if one.get("readOnly")}
            if self._strip_read_only
            else set[str]()
        )

        def message(value: Any, path: str, violations: Violations) -> Any:
            if not isinstance(value, dict):
                violations.append(_invalid(path, "an object is expected", value))
                return value
            result: dict[str, Any] = {}
            for key, item in value.items():
                name = names.get(key)
                if name is None:
                    violations.append(_unknown(path, key))
                    continue
                check = checks.get(name)
                if check is None:
                    check = checks[name] = self.compile(properties[name], f"{owner}.{name}")
                if item is None and check is not _any:
                    continue
                proto = snake_case(name)
                checked = check(item, f"{path}.{proto}" if path else proto, violations)
                if name not in dropped:
                    result[name] = checked
            return result

        return message

    def _enum(self, owner: str, schema: Mapping[str, Any]) -> Check:
        names = tuple(schema["enum"])
        known = frozenset(names)
        numbers = self._enum_numbers
        kind = f"type.googleapis.com/{owner.rpartition('.')[2] or 'enum'}"

        def enum(value: Any, path: str, violations: Violations) -> Any:
            if isinstance(value, str) and value in known:
                return value
            if isinstance(value, int) and not isinstance(value, bool) and numbers is not None:
                name = numbers(owner, names).get(value)
                if name is not None:
                    return name
            where, description = _invalid(path, kind, value)
            violations.append((where, f"{description}. Allowed: {', '.join(names)}."))
            return value

        return enum


def _any(value: Any, path: str, violations: Violations) -> Any:
    return value


def _struct(value: Any, path: str, violations: Violations) -> Any:
    if not isinstance(value, dict):
        violations.append(_invalid(path, "an object is expected", value))
    return value


def _array(item_check: Check) -> Check:
    if item_check is _any:

        def untyped(value: Any, path: str, violations: Violations) -> Any:
            if not isinstance(value, list):
                violations.append(_invalid(path, "a list is expected", value))
            return value

        return untyped

    def array(value: Any, path: str, violations: Violations) -> Any:
        if not isinstance(value, list):
            # Google's parser takes a single value for a repeated field.
            return [item_check(value, f"{path}[0]", violations)]
        return [
            item_check(item, f"{path}[{index}]", violations) for index, item in enumerate(value)
        ]

    return array


def _map(item_check: Check) -> Check:
    if item_check is _any:
        return _struct

    def mapping(value: Any, path: str, violations: Violations) -> Any:
        if not isinstance(value, dict):
            violations.append(_invalid(path, "an object is expected", value))
            return value
        return {
            key: item_check(item, f"{path}[{index}].value", violations)
            for index, (key, item) in enumerate(value.items())
        }

    return mapping


def _string(value: Any, path: str, violations: Violations) -> Any:
    if not isinstance(value, str):
        violations.append(_invalid(path, "TYPE_STRING", value))
    return value


def _boolean(value: Any, path: str, violations: Violations) -> Any:
    if value in ("true", "false") and isinstance(value, str):
        return value == "true"
    if not isinstance(value, bool):
        violations.append(_invalid(path, "TYPE_BOOL", value))
    return value


def _whole(value: Any, low: int, high: int) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        if not re.fullmatch(r"[+-]?\d{1,20}", value, re.ASCII):
            return None
        value = int(value)
    if isinstance(value, float):
        if not value.is_integer():
            return None
        value = int(value)
    if not isinstance(value, int) or not low <= value <= high:
        return None
    return value


def _integer(kind: str) -> Check:
    low, high = _INT_RANGES[kind]

    def integer(value: Any, path: str, violations: Violations) -> Any:
        whole = _whole(value, low, high)
        if whole is None:
            violations.append(_invalid(path, f"TYPE_{kind.upper()}", value))
            return value
        return whole

    return integer


def _integer_string(kind: str) -> Check:
    low, high = _INT_RANGES[kind]

    def integer_string(value: Any, path: str, violations: Violations) -> Any:
        whole = _whole(value, low, high)
        if whole is None:
            violations.append(_invalid(path, f"TYPE_{kind.upper()}", value))
            return value
        return str(whole)

    return integer_string


def _number(kind: str) -> Check:
    def number(value: Any, path: str, violations: Violations) -> Any:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return value
        if isinstance(value, str):
            if value in ("NaN", "Infinity", "-Infinity"):
                return value
            try:
                parsed = float(value)
            except ValueError:
                parsed = math.nan
            if math.isfinite(parsed):
                return parsed
        violations.append(_invalid(path, f"TYPE_{kind.upper()}", value))
        return value

    return number


def _pattern(pattern: re.Pattern[str], kind: str) -> Check:
    def matching(value: Any, path: str, violations: Violations) -> Any:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            violations.append(_invalid(path, f"type.googleapis.com/google.protobuf.{kind}", value))
        return value

    return matching


def _bytes(value: Any, path: str, violations: Violations) -> Any:
    if isinstance(value, str):
        standard = value.replace("-", "+").replace("_", "/")
        try:
            base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)
        except (binascii.Error, ValueError):
            pass
        else:
            return value
    violations.append(_invalid(path, "TYPE_BYTES", value))
    return value


_STRINGS: Final[dict[str, Check]] = {
    "int64": _integer_string("int64"),
    "uint64": _integer_string("uint64"),
    "google-datetime": _pattern(_TIMESTAMP, "Timestamp"),
    "google-duration": _pattern(_DURATION, "Duration"),
    "date-time": _pattern(_TIMESTAMP, "Timestamp"),
    "byte": _bytes,
}

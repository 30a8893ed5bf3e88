"""Google's discovery documents: which paths, parameters, fields and enums an API has.

They ship offline inside `google-api-python-client`. Loading one takes 2 to 50 ms.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

import msgspec

from localcloud.rest.enums import EnumNumbers
from localcloud.rest.errors import InvalidArgument, bad_request
from localcloud.rest.schema import (
    Check,
    Schemas,
    Violations,
    camel_case,
    root_path,
    snake_case,
)

_VARIABLE: Final = re.compile(r"\{(\+?)([^}]+)\}")
# A literal verb at the end of a path, as in `{+name}:cancel`.
_VERB: Final = re.compile(r":([A-Za-z0-9]+)$")
_ANY_LENGTH: Final = -1


@dataclass(frozen=True)
class Method:
    """One method of an API."""

    id: str
    http_method: str
    template: str
    regex: re.Pattern[str]
    names: tuple[str, ...]
    """The path parameters, in the order of the regex's groups."""
    segments: int
    """How many `/` a path has, or -1 when any number will do."""
    literal: int
    """How many characters of the template are literal; the most literal template wins."""
    request: str | None
    """Name of the request body's schema."""
    response: str | None
    query: Mapping[str, Mapping[str, Any]]


@dataclass
class Api:
    """One API at one version.

    `match` finds the method of a request; `validate_body` and `validate_query` check what it
    carries and return it normalised.
    """

    name: str
    version: str
    schemas: Schemas = field(repr=False)
    responses: Schemas = field(repr=False)
    methods: Mapping[str, Method] = field(repr=False)
    routes: Mapping[tuple[str, str, int], Sequence[Method]] = field(repr=False)
    global_query: Mapping[str, Mapping[str, Any]] = field(repr=False)
    aliases: Mapping[str, str] = field(default_factory=dict)
    _query_checks: dict[tuple[str, str], Check] = field(default_factory=dict, repr=False)

    @classmethod
    def load(
        cls,
        name: str,
        version: str,
        *,
        types: str | None = None,
        aliases: Mapping[str, str] | None = None,
    ) -> Api:
        """The API as its document describes it.

        Args:
            name: the API's name, such as `aiplatform`.
            version: such as `v1`.
            types: the generated Python package that knows the API's enum numbers, where a client
                that sends numbers is expected.
            aliases: path prefixes and what they stand for, such as `{"/ui/": "/v1/"}`.

        Raises:
            FileNotFoundError: the installed client package has no such document.
        """
        document = msgspec.json.decode((folder() / f"{name}.{version}.json").read_bytes())
        numbers = EnumNumbers(types) if types else None
        methods = {method.id: method for method in _methods(document)}
        routes: dict[tuple[str, str, int], list[Method]] = {}
        for method in methods.values():
            verb = _VERB.search(method.template)
            key = (method.http_method, verb.group(1) if verb else "", method.segments)
            routes.setdefault(key, []).append(method)
        for candidates in routes.values():
            candidates.sort(key=lambda one: -one.literal)
        return cls(
            name=name,
            version=version,
            schemas=Schemas(document["schemas"], numbers),
            responses=Schemas(document["schemas"], numbers, strip_read_only=False),
            methods=methods,
            routes=routes,
            global_query=document.get("parameters", {}),
            aliases=aliases or {},
        )

    def match(self, http_method: str, path: str) -> tuple[str, dict[str, str]] | None:
        """The method that a request names and its path parameters, or None.

        Args:
            http_method: `GET`, `POST`, ...
            path: the request's path, still percent-encoded, with its leading slash.
        """
        for alias, target in self.aliases.items():
            if path.startswith(alias):
                path = target + path[len(alias) :]
        verb = _VERB.search(path)
        keys = [(verb.group(1), path)] if verb else []
        keys.append(("", path))
        slashes = path.count("/")
        for name, candidate in keys:
            for segments in (slashes, _ANY_LENGTH):
                for method in self.routes.get((http_method, name, segments), ()):
                    found = method.regex.fullmatch(candidate)
                    if found:
                        values = (unquote(group) for group in found.groups())
                        return method.id, dict(zip(method.names, values, strict=True))
        return None

    def validate_body(self, schema: str, body: Any) -> Any:
        """The body, normalised.

        Args:
            schema: the schema's name.
            body: decoded JSON.

        Raises:
            InvalidArgument: unknown fields, wrong types, unknown enum values, all of them listed.
        """
        violations: Violations = []
        checked = self.schemas.check(schema)(body, root_path(schema), violations)
        if violations:
            raise bad_request(violations)
        return checked

    def validate_query(self, method_id: str, pairs: Sequence[tuple[str, str]]) -> dict[str, Any]:
        """The query parameters by camel-case name, typed.

        Raises:
            InvalidArgument: an unknown parameter or a wrong value.
        """
        method = self.methods[method_id]
        violations: Violations = []
        result: dict[str, Any] = {}
        for key, text in pairs:
            name = _parameter(key, method.query)
            if name is None:
                if key.removeprefix("$") not in self.global_query and key not in self.global_query:
                    message = (
                        f'Invalid JSON payload received. Unknown name "{key}": Cannot bind query '
                        f"parameter. Field '{key}' could not be found in request message."
                    )
                    violations.append(("", message))
                continue
            description = method.query[name]
            check = self._query_checks.get((method_id, name))
            if check is None:
                check = self.schemas.compile(description, f"{method_id}.{name}")
                self._query_checks[method_id, name] = check
            value = check(text, snake_case(name), violations)
            if description.get("repeated"):
                result.setdefault(name, []).append(value)
            else:
                result[name] = value
        for name, description in method.query.items():
            if description.get("required") and name not in result:
                violations.append((name, f"Missing required query parameter: {name}."))
        if violations:
            raise bad_request(violations)
        return result

    def violations_of_response(self, method_id: str, response: Any) -> list[str]:
        """What is wrong with a response, for tests: empty when the document allows it."""
        schema = self.methods[method_id].response
        if schema is None:
            return [] if not response else ["the document has no response body here"]
        return self.violations_of(schema, response)

    def has_schema(self, schema: str) -> bool:
        """Whether the document describes a schema of this name."""
        return self.schemas.has(schema)

    def violations_of(self, schema: str, value: Any) -> list[str]:
        """What is wrong with a value of a named schema, output-only fields included."""
        violations: Violations = []
        self.responses.check(schema)(value, "", violations)
        return [description for _, description in violations]


def decode_json(raw: bytes) -> Any:
    """A JSON body.

    Raises:
        InvalidArgument: it is not JSON.
    """
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"Invalid JSON payload received. {error}") from None


def folder() -> Path:
    """Where Google's client package keeps the documents.

    Raises:
        FileNotFoundError: the package is not installed.
    """
    spec = importlib.util.find_spec("googleapiclient")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(
            "google-api-python-client is not installed; the local cloud reads Google's discovery "
            "documents from it: install the `local` extra"
        )
    return Path(spec.submodule_search_locations[0]) / "discovery_cache" / "documents"


def _methods(document: Mapping[str, Any]) -> Iterator[Method]:
    base = "/" + document.get("servicePath", "")

    def walk(resource: Mapping[str, Any]) -> Iterator[Method]:
        for method in resource.get("methods", {}).values():
            yield _method(base, method)
        for child in resource.get("resources", {}).values():
            yield from walk(child)

    yield from walk(document)


def _method(base: str, method: Mapping[str, Any]) -> Method:
    parameters: Mapping[str, Mapping[str, Any]] = method.get("parameters", {})
    template = base + method["path"]
    names: list[str] = []
    regex = ""
    position = slashes = literal = 0
    for variable in _VARIABLE.finditer(template):
        fixed = template[position : variable.start()]
        regex += re.escape(fixed)
        slashes += fixed.count("/")
        literal += len(fixed)
        position = variable.end()
        pattern = parameters.get(variable.group(2), {}).get("pattern", "")
        pattern = pattern.removeprefix("^").removesuffix("$") or "[^/]+"
        if variable.group(1):
            # Resource names hold no colon in their last segment: that would be a verb.
            head, slash, tail = pattern.rpartition("/")
            # The class `[^/]` itself holds a slash.
            if pattern.endswith("[^/]+"):
                head, slash, tail = pattern[: -len("[^/]+")], "", "[^/:]+"
            pattern = head + slash + tail
        names.append(variable.group(2))
        regex += f"({pattern})"
        slashes = (
            _ANY_LENGTH
            if ".*" in pattern or slashes == _ANY_LENGTH
            else slashes + re.sub(r"\[\^/:?\]", "", pattern).count("/")
        )
        # A pattern's own literal parts (`projects/`, `/locations/`) are literal as well.
        literal += len(re.sub(r"\[\^/:?\]\+|\.\*", "", pattern))
    tail = template[position:]
    regex += re.escape(tail)
    if slashes != _ANY_LENGTH:
        slashes += tail.count("/")
    return Method(
        id=method["id"],
        http_method=method["httpMethod"],
        template=template,
        regex=re.compile(regex),
        names=tuple(names),
        segments=slashes,
        literal=literal + len(tail),
        request=method.get("request", {}).get("$ref"),
        response=method.get("response", {}).get("$ref"),
        query={name: one for name, one in parameters.items() if one.get("location") == "query"},
    )


def _parameter(key: str, known: Mapping[str, Any]) -> str | None:
    if key in known:
        return key
    camel = ".".join(camel_case(part) for part in key.split("."))
    return camel if camel in known else None

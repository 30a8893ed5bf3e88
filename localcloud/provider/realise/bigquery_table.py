"""`gcp:bigquery:Table` in the local BigQuery: tables, views, materialized views."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from localcloud.provider.clients import Clients
from localcloud.provider.diff import same
from localcloud.provider.errors import ProviderError, ServiceError
from localcloud.provider.realise.shapes import labels_seen, project_of, short, taken

_SAME: Final = (
    "description",
    "encryptionConfiguration",
    "friendlyName",
    "maxStaleness",
    "requirePartitionFilter",
)
_OBJECTS: Final = ("materializedView", "rangePartitioning", "tableConstraints", "timePartitioning")
_REFUSED: Final = (
    "biglakeConfiguration",
    "externalCatalogTableOptions",
    "externalDataConfiguration",
    "tableReplicationInfo",
)
_COUNTS: Final = ("creationTime", "lastModifiedTime", "numBytes", "numLongTermBytes", "numRows")
_ALIASES: Final = {
    "INT64": "INTEGER",
    "FLOAT64": "FLOAT",
    "BOOL": "BOOLEAN",
    "STRUCT": "RECORD",
}
_WHOLE: Final = {"expirationMs", "refreshIntervalMs", "start", "end", "interval"}


class Table:
    """A table or view; its id is its full name."""

    changing: Final = ("etag", "lastModifiedTime")
    usual: Final[dict[str, Any]] = {"deletionProtection": True}

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    def locate(self, properties: Mapping[str, Any]) -> str | None:
        name = _name(properties)
        return name if self._clients.bigquery.find(f"/{name}") is not None else None

    def create(self, properties: Mapping[str, Any]) -> str:
        for name in _REFUSED:
            if properties.get(name):
                raise ProviderError(
                    f"{name}: the local BigQuery holds no external, replicated or BigLake tables"
                )
        project, dataset, table = _name(properties).split("/")[1::2]
        body = _body(properties)
        body["tableReference"] = {"projectId": project, "datasetId": dataset, "tableId": table}
        # A view is made without a schema; BigQuery derives it from the query.
        schema = body.pop("schema", None) if "view" in body else None
        parent = f"projects/{project}/datasets/{dataset}"
        self._clients.bigquery.call("POST", f"/{parent}/tables", None, body)
        name = f"{parent}/tables/{table}"
        if schema is not None:
            self._clients.bigquery.call("PATCH", f"/{name}", None, {"schema": schema})
        return name

    def read(self, id: str, state: Mapping[str, Any]) -> dict[str, Any] | None:  # noqa: A002
        table = self._clients.bigquery.find(f"/{id}")
        if table is None:
            return None
        seen: dict[str, Any] = {
            "tableId": short(id),
            "datasetId": id.split("/")[3],
            "project": project_of(id),
            **{name: table.get(name) for name in _SAME if name in table or name == "description"},
            **{name: _numbers(table[name]) for name in _OBJECTS if name in table},
            "clusterings": table.get("clustering", {}).get("fields"),
            **taken(table, "etag", "location", "type"),
            **{name: int(table[name]) for name in _COUNTS if name in table},
            **labels_seen(table.get("labels", {}), state),
        }
        if "expirationTime" in table:
            seen["expirationTime"] = int(table["expirationTime"])
        if "view" in table:
            seen["view"] = _view(table["view"], state)
        seen |= _schema_seen(table, state)
        return seen

    def update(self, id: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> str:  # noqa: A002
        before, after = _body(old), _body(new)
        labels = {key: None for key in old.get("effectiveLabels", {}) if key not in after["labels"]}
        patch = {
            name: after.get(name)
            for name in {**before, **after}
            if name != "labels" and not same(before.get(name), after.get(name))
        }
        patch["labels"] = {**labels, **after["labels"]}
        self._clients.bigquery.call("PATCH", f"/{id}", None, patch)
        return id

    def delete(self, id: str, state: Mapping[str, Any]) -> None:  # noqa: A002
        try:
            self._clients.bigquery.call("DELETE", f"/{id}")
        except ServiceError as error:
            if error.code != 404:
                raise


def _name(properties: Mapping[str, Any]) -> str:
    dataset = short(properties["datasetId"])
    return f"projects/{properties['project']}/datasets/{dataset}/tables/{properties['tableId']}"


def _body(properties: Mapping[str, Any]) -> dict[str, Any]:
    body = taken(properties, *_SAME)
    body |= {name: _texts(properties[name]) for name in _OBJECTS if properties.get(name)}
    if properties.get("clusterings"):
        body["clustering"] = {"fields": list(properties["clusterings"])}
    if properties.get("expirationTime"):
        body["expirationTime"] = str(properties["expirationTime"])
    if properties.get("schema"):
        body["schema"] = {"fields": _fields(properties["schema"])}
    if properties.get("view"):
        # terraform-provider-google's default is legacy SQL, which nothing here could run.
        view = dict(properties["view"])
        if view.get("useLegacySql", True):
            raise ProviderError(
                "view.useLegacySql: the local BigQuery has no legacy SQL; set False"
            )
        body["view"] = view
    return {**body, "labels": dict(properties.get("effectiveLabels", {}))}


def _fields(schema: str) -> list[dict[str, Any]]:
    try:
        fields = json.loads(schema)
    except ValueError as error:
        raise ProviderError(f"schema: no JSON ({error})") from error
    if not isinstance(fields, list):
        raise ProviderError("schema: expected a JSON list of columns, each with name and type")
    return [_untagged(column) for column in fields]


def _untagged(column: dict[str, Any]) -> dict[str, Any]:
    """A column without its policy tags: the local BigQuery lets everybody read everything."""
    bare = {name: value for name, value in column.items() if name != "policyTags"}
    if "fields" in bare:
        bare["fields"] = [_untagged(inner) for inner in bare["fields"]]
    return bare


def _schema_seen(table: Mapping[str, Any], state: Mapping[str, Any]) -> dict[str, Any]:
    """The schema as JSON, in the known spelling while it says the same."""
    fields = table.get("schema", {}).get("fields")
    if not fields or ("view" in table and "schema" not in state):
        return {}
    known = state.get("schema")
    if known is not None and _normal(json.loads(known)) == _normal(fields):
        return {"schema": known}
    return {"schema": json.dumps(fields, separators=(",", ":"))}


def _normal(fields: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Columns as they compare: BigQuery's own names for types, modes written out, no blanks."""
    return [
        {
            "name": column.get("name"),
            "type": _ALIASES.get(str(column.get("type")).upper(), str(column.get("type")).upper()),
            "mode": (column.get("mode") or "NULLABLE").upper(),
            "description": column.get("description") or "",
            "fields": _normal(column.get("fields") or []),
        }
        for column in fields
    ]


def _view(view: Mapping[str, Any], state: Mapping[str, Any]) -> dict[str, Any]:
    known = state.get("view") or {}
    return {"query": view.get("query"), **taken({**known, **view}, "useLegacySql")}


def _texts(value: Any) -> Any:
    """Whole numbers as text, which is how the API's JSON writes 64-bit integers."""
    if isinstance(value, Mapping):
        return {key: _texts(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_texts(item) for item in value]
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _numbers(value: Any, name: str = "") -> Any:
    if isinstance(value, Mapping):
        return {key: _numbers(item, key) for key, item in value.items()}
    if isinstance(value, list):
        return [_numbers(item) for item in value]
    return int(value) if name in _WHOLE and isinstance(value, str) else value

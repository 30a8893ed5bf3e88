"""What Pub/Sub, Cloud Storage, BigQuery, Cloud SQL and Dataflow want beyond single values."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from localcloud.provider.check import Failure, dotted
from localcloud.provider.rules.given import Given, possible, present
from localcloud.provider.values import UNKNOWN

# cloud.google.com/bigquery/docs/reference/rest/v2/tables#TableFieldSchema
_COLUMN: Final = re.compile(r"[^\W\d]\w{0,299}")
_TYPES: Final = frozenset({
    "STRING", "BYTES", "INTEGER", "INT64", "FLOAT", "FLOAT64", "BOOLEAN", "BOOL", "TIMESTAMP",
    "DATE", "TIME", "DATETIME", "GEOGRAPHY", "NUMERIC", "BIGNUMERIC", "JSON", "RECORD", "STRUCT",
    "RANGE", "INTERVAL", "FOREIGN",
})  # fmt: skip
_MODES: Final = frozenset({"NULLABLE", "REQUIRED", "REPEATED"})
_PARTITIONS: Final = frozenset({"TIMESTAMP", "DATE", "DATETIME"})
_NEWEST_WITHOUT_PLUS: Final = 15


def _subscription(given: Given) -> Iterator[Failure]:
    """cloud.google.com/pubsub/docs/reference/rest/v1/projects.subscriptions."""
    for where, config in given.at("bigqueryConfig"):
        if (
            isinstance(config, Mapping)
            and present(config, "dropUnknownFields")
            and not any(possible(config, one) for one in ("useTopicSchema", "useTableSchema"))
        ):
            yield Failure(
                dotted((*where, "dropUnknownFields")),
                "only allowed with useTopicSchema or useTableSchema",
            )
    yield from ordered(given, "retryPolicy.minimumBackoff", "retryPolicy.maximumBackoff")
    if present(given.values, "enableExactlyOnceDelivery") and present(given.values, "pushConfig"):
        yield Failure("enableExactlyOnceDelivery", "not supported with 'pushConfig'")


def _schema(given: Given) -> Iterator[Failure]:
    """cloud.google.com/pubsub/docs/schemas."""
    definition = given.one("definition")
    if given.values.get("type") == "AVRO" and isinstance(definition, str):
        try:
            record = json.loads(definition)
        except ValueError as error:
            yield Failure("definition", f"is no Avro schema: it is not JSON ({error})")
            return
        if not isinstance(record, Mapping) or record.get("type") != "record":
            yield Failure("definition", "is no Avro schema of a message; its type must be `record`")
        elif not isinstance(record.get("fields"), list):
            yield Failure("definition", "is no Avro schema: a record needs its `fields`")


def _bucket(given: Given) -> Iterator[Failure]:
    """cloud.google.com/storage/docs/lifecycle, .../hns-overview."""
    for where, rule in given.at("lifecycleRules[]"):
        if not isinstance(rule, Mapping):
            continue
        action, condition = rule.get("action"), rule.get("condition")
        if isinstance(action, Mapping):
            moves = action.get("type") == "SetStorageClass"
            if moves and not possible(action, "storageClass"):
                yield Failure(
                    dotted((*where, "action", "storageClass")), "missing; SetStorageClass needs it"
                )
            if action.get("type") == "Delete" and present(action, "storageClass"):
                yield Failure(
                    dotted((*where, "action", "storageClass")),
                    "only allowed with type 'SetStorageClass'",
                )
        if isinstance(condition, Mapping) and not condition:
            yield Failure(dotted((*where, "condition")), "empty; give at least one condition")
    if given.one("hierarchicalNamespace.enabled") is True and not possible(
        given.values, "uniformBucketLevelAccess"
    ):
        yield Failure("uniformBucketLevelAccess", "missing; hierarchicalNamespace needs it")


def _table(given: Given) -> Iterator[Failure]:
    text = given.one("schema")
    columns: dict[str, str] | None = None
    if isinstance(text, str):
        try:
            read = json.loads(text)
        except ValueError as error:
            yield Failure("schema", f"is no JSON: {error}")
            return
        if not isinstance(read, list):
            yield Failure("schema", "must be a JSON list of columns")
            return
        columns = {}
        yield from _columns(read, "", columns)
    field = given.one("timePartitioning.field")
    if columns and isinstance(field, str) and field:
        kind = columns.get(field.lower())
        if kind is None:
            yield given.refuse(("timePartitioning", "field"), field, "is no column of `schema`")
        elif kind not in _PARTITIONS:
            yield given.refuse(
                ("timePartitioning", "field"), field,
                f"is a {kind}; partition by a DATE, TIMESTAMP or DATETIME column",
            )  # fmt: skip
    ranged = given.one("rangePartitioning.field")
    if columns and isinstance(ranged, str) and columns.get(ranged.lower()) not in (
        "INTEGER", "INT64",
    ):  # fmt: skip
        yield given.refuse(
            ("rangePartitioning", "field"), ranged, "is no INTEGER column of `schema`"
        )
    for where, name in given.at("clusterings[]"):
        if columns and isinstance(name, str) and name.lower() not in columns:
            yield given.refuse(where, name, "is no column of `schema`")
    if present(given.values, "requirePartitionFilter") and not any(
        possible(given.values, name)
        for name in ("timePartitioning", "rangePartitioning", "externalDataConfiguration")
    ):
        yield Failure("requirePartitionFilter", "only allowed on a partitioned table")


def _columns(
    listed: list[Any], above: str, columns: dict[str, str], depth: int = 0
) -> Iterator[Failure]:
    seen: set[str] = set()
    for index, column in enumerate(listed):
        if not isinstance(column, Mapping):
            yield Failure("schema", f"item {index} of {above or 'the list'} is no column")
            continue
        name = str(column.get("name", ""))
        shown = f"{above}{name or index}"
        kind = str(column.get("type", "")).upper()
        if not _COLUMN.fullmatch(name):
            yield Failure(
                "schema", f"column {shown!r} needs a name of letters, digits and underscores"
            )
        if name.lower() in seen:
            yield Failure("schema", f"column {shown!r} is there twice")
        seen.add(name.lower())
        if kind.partition("(")[0].partition("<")[0] not in _TYPES:
            yield Failure("schema", f"column {shown!r} has the type {kind or 'none'!r}; give one "
                          f"of {', '.join(sorted(_TYPES))}")  # fmt: skip
        mode = str(column.get("mode") or "NULLABLE").upper()
        if mode not in _MODES:
            yield Failure("schema", f"column {shown!r} has the mode {mode!r}; give NULLABLE, "
                          "REQUIRED or REPEATED")  # fmt: skip
        if depth == 0:
            columns[name.lower()] = kind
        below = column.get("fields")
        if kind in ("RECORD", "STRUCT"):
            if not isinstance(below, list) or not below:
                yield Failure("schema", f"column {shown!r} is a RECORD and needs its `fields`")
            else:
                yield from _columns(below, f"{shown}.", columns, depth + 1)


def _instance(given: Given) -> Iterator[Failure]:
    """Docstrings of DatabaseInstance; cloud.google.com/sql/docs/editions-intro."""
    settings = given.one("settings")
    if not isinstance(settings, Mapping):
        return
    version = given.values.get("databaseVersion")
    version = version if isinstance(version, str) else ""
    backup = settings.get("backupConfiguration")
    if settings.get("availabilityType") == "REGIONAL" and backup is not UNKNOWN:
        held = backup if isinstance(backup, Mapping) else {}
        needed = ["enabled"]
        needed += ["pointInTimeRecoveryEnabled"] if version.startswith(("POSTGRES", "SQLS")) else []
        needed += ["binaryLogEnabled"] if version.startswith("MYSQL") else []
        for name in needed:
            if held.get(name) in (None, False):
                yield Failure(
                    f"settings.backupConfiguration.{name}",
                    "must be true; availabilityType 'REGIONAL' needs it",
                )
    tier, edition = settings.get("tier"), settings.get("edition")
    if isinstance(tier, str) and re.match(r"db-(?:custom|f1|g1)-", tier):
        number = re.fullmatch(r"POSTGRES_(\d+)", version)
        implied = number is not None and int(number[1]) > _NEWEST_WITHOUT_PLUS
        if edition == "ENTERPRISE_PLUS" or (edition in (None, "") and implied):
            yield given.refuse(
                ("settings", "tier"), tier,
                "needs settings.edition 'ENTERPRISE'; ENTERPRISE_PLUS"
                f"{', the default of ' + version + ',' if edition != 'ENTERPRISE_PLUS' else ''} "
                "takes db-perf-optimized-N-* only",
            )  # fmt: skip
    ip = settings.get("ipConfiguration")
    if (
        isinstance(ip, Mapping)
        and ip.get("ipv4Enabled") is False
        and not any(possible(ip, name) for name in ("privateNetwork", "pscConfigs"))
    ):
        yield Failure(
            "settings.ipConfiguration.privateNetwork",
            "missing; with ipv4Enabled false the instance needs a private network",
        )


def _user(given: Given) -> Iterator[Failure]:
    """cloud.google.com/sql/docs/postgres/add-manage-iam-users."""
    kind = given.values.get("type")
    if isinstance(kind, str) and kind.startswith("CLOUD_IAM") and present(given.values, "password"):
        yield Failure("password", f"not allowed with type {kind!r}; IAM identifies the user")


def _flex_template(given: Given) -> Iterator[Failure]:
    few, many = given.one("numWorkers"), given.one("maxWorkers")
    if isinstance(few, int) and isinstance(many, int) and few > many:
        yield given.refuse(("numWorkers",), few, f"is more than maxWorkers {many}")


def ordered(given: Given, low: str, high: str) -> Iterator[Failure]:
    less, more = given.one(low), given.one(high)
    if isinstance(less, str) and isinstance(more, str):
        try:
            if float(less.removesuffix("s")) > float(more.removesuffix("s")):
                yield given.refuse(tuple(low.split(".")), less, f"is more than {high} {more!r}")
        except ValueError:
            return


JUDGES: Final[dict[str, Callable[[Given], Iterator[Failure]]]] = {
    "gcp:pubsub/subscription:Subscription": _subscription,
    "gcp:pubsub/schema:Schema": _schema,
    "gcp:storage/bucket:Bucket": _bucket,
    "gcp:bigquery/table:Table": _table,
    "gcp:sql/databaseInstance:DatabaseInstance": _instance,
    "gcp:sql/user:User": _user,
    "gcp:dataflow/flexTemplateJob:FlexTemplateJob": _flex_template,
}

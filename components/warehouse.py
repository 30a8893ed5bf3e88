"""The BigQuery datasets of one product: by zone, with their tables and views, and who reads them.

It is told schemas and knows no contract. Views of one dataset may read another whose readers need
no access to it. It leaves alone what workloads may do: those grants belong to their identities.

Tables are the API's own: a dropped column is refused by BigQuery, so a change that is no addition
is a new version of the contract and a new table.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pulumi
import pulumi_gcp as gcp

from components import checks, dataset_access
from components.child_opts import child_opts

DAY_MS: Final = 86_400_000
PARTITIONS: Final = ("HOUR", "DAY", "MONTH", "YEAR")
CLUSTERINGS: Final = 4
"""BigQuery clusters a table by at most four columns."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """One table, or one view when `query` is given.

    Raises:
        InvalidArgs: at construction, when BigQuery would refuse it.
    """

    name: str
    description: str
    schema: Sequence[Mapping[str, Any]] = ()
    """Columns as BigQuery's API writes them: `name`, `type`, `mode`, `description`."""
    partition_by: str | None = None
    """The column that says when; queries that name a span then read only that span."""
    partition_unit: str = "DAY"
    """What one partition holds: an hour, a day, a month or a year."""
    cluster_by: Sequence[str] = ()
    """Up to four columns that queries filter on, most selective first."""
    retention_days: int | None = None
    """Partitions older than this, by the value of `partition_by`, are deleted; kept when not given.
    Mind replays: history that is loaded today is as old as its events are."""
    query: str | None = None
    """GoogleSQL of a view, naming tables as `project.dataset.table`."""
    personal: Sequence[str] = ()
    """Columns that get the warehouse's policy tag: only its readers can read them."""

    def __post_init__(self) -> None:
        who = f"Warehouse table {self.name!r}"
        checks.matches(who, "name", self.name, checks.TABLE)
        if (self.query is None) == (not self.schema):
            raise checks.InvalidArgs(
                who, "query", self.query, "exactly one of `schema` (a table) and `query` (a view)"
            )
        columns = [column["name"] for column in self.schema]
        wanted = [*self.cluster_by, *([self.partition_by] if self.partition_by else [])]
        named = [("partition_by, cluster_by", column) for column in wanted]
        for argument, column in [*named, *(("personal", column) for column in self.personal)]:
            if column not in columns:
                raise checks.InvalidArgs(who, argument, column, f"a column: {', '.join(columns)}")
        if len(self.cluster_by) > CLUSTERINGS:
            raise checks.InvalidArgs(who, "cluster_by", self.cluster_by, "at most four columns")
        checks.one_of(who, "partition_unit", self.partition_unit, PARTITIONS)
        checks.between(who, "retention_days", self.retention_days, 1, 36_500, "days")


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """One dataset with its tables.

    Raises:
        InvalidArgs: at construction, when its name or a table's name does not fit.
    """

    name: str
    description: str
    tables: Sequence[Table] = ()
    """And views, which are made after its tables."""
    views_of: Sequence[str] = ()
    """Roles of other datasets that its views read, for whoever may read the views."""
    readers: Sequence[str] = ()
    """Principals who may read all of it, as IAM writes them."""
    table_expiry_days: int | None = None
    """A table that somebody makes in it is deleted after this long. It would hold for views too, so
    a dataset with this has none."""

    def __post_init__(self) -> None:
        who = f"Warehouse dataset {self.name!r}"
        for reader in self.readers:
            checks.matches(who, "readers", reader, checks.PRINCIPAL)
        checks.between(who, "table_expiry_days", self.table_expiry_days, 1, 36_500, "days")
        if self.table_expiry_days is not None and self.tables:
            raise checks.InvalidArgs(
                who,
                "table_expiry_days",
                self.table_expiry_days,
                "none where the program makes tables or views: they would be deleted too",
            )
        checks.matches(who, "name", self.name, checks.DATASET)
        names = [table.name for table in self.tables]
        if len(set(names)) != len(names):
            raise checks.InvalidArgs(who, "tables", names, "each name once")


@dataclass(frozen=True, kw_only=True)
class WarehouseArgs:
    """What a warehouse needs.

    Raises:
        InvalidArgs: at construction, when there is no dataset.
    """

    datasets: Mapping[str, Dataset]
    """By role: `raw`, `curated`, `features`, `predictions`, `monitoring`."""
    project: str
    """The project, as queries name it."""
    location: str
    kms_key: pulumi.Input[str] | None = None
    """Key that encrypts the tables; Google's own when not given."""
    policy_tag: pulumi.Input[str] | None = None
    """`projects/.../policyTags/...` that personal columns get."""
    deletion_protection: bool = True
    """Whether tables and views refuse to be dropped by a change of the program."""
    force_destroy: bool = False
    """Whether destroying the stack deletes datasets that hold tables made by others."""
    protect: bool = False
    """Whether the datasets refuse to be deleted by a change of the program."""

    def __post_init__(self) -> None:
        if not self.datasets:
            raise checks.InvalidArgs("Warehouse", "datasets", {}, "at least one dataset")
        for role, dataset in self.datasets.items():
            for other in dataset.views_of:
                if other not in self.datasets or other == role:
                    known = ", ".join(one for one in self.datasets if one != role)
                    raise checks.InvalidArgs(
                        f"Warehouse dataset {dataset.name!r}", "views_of", other, f"one of {known}"
                    )
                if self.datasets[other].views_of:
                    raise checks.InvalidArgs(
                        f"Warehouse dataset {dataset.name!r}",
                        "views_of",
                        other,
                        "a dataset whose own views read no other dataset",
                    )
            for table in dataset.tables:
                if table.personal and self.policy_tag is None:
                    raise checks.InvalidArgs(
                        f"Warehouse table {table.name!r}",
                        "personal",
                        list(table.personal),
                        "only with the warehouse's `policy_tag`, which protects them",
                    )


class Warehouse(pulumi.ComponentResource):
    """Datasets by role, tables and views by role and name."""

    datasets: dict[str, gcp.bigquery.Dataset]
    tables: dict[str, dict[str, gcp.bigquery.Table]]
    accesses: dict[str, gcp.bigquery.DatasetAccess]
    """Who and which views may read, by `<role>-<who>`."""

    def __init__(
        self, name: str, *, args: WarehouseArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("esteira:warehouse:Warehouse", name, {}, opts)
        self._args = args
        self.datasets = {
            role: self._dataset(f"{name}-{role}", dataset)
            for role, dataset in args.datasets.items()
        }
        self.tables = {}
        # Views last: theirs and others' tables are there when BigQuery looks at a query.
        for role, dataset in sorted(
            args.datasets.items(), key=lambda one: len(one[1].views_of) > 0
        ):
            made: dict[str, gcp.bigquery.Table] = {}
            for table in sorted(dataset.tables, key=lambda one: one.query is not None):
                after = [
                    *made.values(),
                    *(one for other in dataset.views_of for one in self.tables[other].values()),
                ]
                made[table.name] = self._table(f"{name}-{role}-{table.name}", role, table, after)
            self.tables[role] = made
        self.accesses = {
            label: access
            for role, dataset in args.datasets.items()
            for label, access in self._accesses(name, role, dataset)
        }
        self.register_outputs({role: one.dataset_id for role, one in self.datasets.items()})

    def table_id(self, role: str, table: str) -> str:
        """`project.dataset.table`, as queries name it.

        Raises:
            KeyError: there is no such role or table.
        """
        dataset = self._args.datasets[role]
        _ = self.tables[role][table]
        return f"{self._args.project}.{dataset.name}.{table}"

    def dataset_id(self, role: str) -> str:
        """`project.dataset`.

        Raises:
            KeyError: there is no such role.
        """
        return f"{self._args.project}.{self._args.datasets[role].name}"

    def _dataset(self, name: str, dataset: Dataset) -> gcp.bigquery.Dataset:
        args = self._args
        return gcp.bigquery.Dataset(
            name,
            dataset_id=dataset.name,
            friendly_name=dataset.name,
            description=dataset.description,
            location=args.location,
            # A week in which a table can be read, or copied from, as it was at any moment.
            max_time_travel_hours="168",
            default_table_expiration_ms=None
            if dataset.table_expiry_days is None
            else dataset.table_expiry_days * DAY_MS,
            default_encryption_configuration=None
            if args.kms_key is None
            else gcp.bigquery.DatasetDefaultEncryptionConfigurationArgs(kms_key_name=args.kms_key),
            delete_contents_on_destroy=args.force_destroy,
            opts=child_opts(self, protect=args.protect),
        )

    def _accesses(
        self, name: str, role: str, dataset: Dataset
    ) -> Iterator[tuple[str, gcp.bigquery.DatasetAccess]]:
        for other in dataset.views_of:
            yield (
                f"{other}-{role}",
                dataset_access.views(
                    f"{name}-{other}-views-of-{role}",
                    of=self.datasets[role],
                    on=self.datasets[other],
                    project=self._args.project,
                    opts=child_opts(self),
                ),
            )
        for reader in dataset.readers:
            yield (
                f"{role}-{reader}",
                dataset_access.member(
                    f"{name}-{role}-{reader}",
                    dataset_id=self.datasets[role].dataset_id,
                    role="roles/bigquery.dataViewer",
                    member=reader,
                    opts=child_opts(self),
                ),
            )

    def _schema(self, table: Table) -> pulumi.Input[str]:
        """The columns as the API takes them, those with personal data tagged."""
        columns = [dict(column) for column in table.schema]
        tag = self._args.policy_tag
        if tag is None or not table.personal:
            return json.dumps(columns)
        for column in columns:
            if column["name"] in table.personal:
                column["policyTags"] = {"names": [tag]}
        return pulumi.Output.json_dumps(columns)

    def _table(
        self, name: str, role: str, table: Table, after: Sequence[gcp.bigquery.Table]
    ) -> gcp.bigquery.Table:
        args = self._args
        if table.query is not None:
            return gcp.bigquery.Table(
                name,
                dataset_id=self.datasets[role].dataset_id,
                table_id=table.name,
                description=table.description,
                view=gcp.bigquery.TableViewArgs(query=table.query, use_legacy_sql=False),
                deletion_protection=args.deletion_protection,
                opts=child_opts(self, depends_on=after),
            )
        return gcp.bigquery.Table(
            name,
            dataset_id=self.datasets[role].dataset_id,
            table_id=table.name,
            description=table.description,
            schema=self._schema(table),
            time_partitioning=None
            if table.partition_by is None
            else gcp.bigquery.TableTimePartitioningArgs(
                type=table.partition_unit,
                field=table.partition_by,
                expiration_ms=None
                if table.retention_days is None
                else table.retention_days * DAY_MS,
            ),
            clusterings=list(table.cluster_by) or None,
            encryption_configuration=None
            if args.kms_key is None
            else gcp.bigquery.TableEncryptionConfigurationArgs(kms_key_name=args.kms_key),
            deletion_protection=args.deletion_protection,
            opts=child_opts(self, protect=args.protect),
        )

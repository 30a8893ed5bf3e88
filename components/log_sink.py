"""Log entries kept in BigQuery: for longer than Cloud Logging keeps them, and to be queried.

The writer of the sink, an identity that Google makes for it, may write this one dataset.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import pulumi
import pulumi_gcp as gcp

from components import checks
from components.child_opts import child_opts

DAY_MS: Final = 86_400_000


@dataclass(frozen=True, kw_only=True)
class LogSinkArgs:
    """Which entries are kept, where and for how long.

    Raises:
        InvalidArgs: at construction, when a value is out of range or a filter is empty.
    """

    project: str
    location: str
    dataset: str
    """The dataset that it makes and fills."""
    description: str
    filter: str
    """Entries that are kept, in the language of Cloud Logging."""
    exclusions: Mapping[str, str] = field(default_factory=dict[str, str])
    """By name, entries among them that are not."""
    retention_days: int = 30
    """Partitions older than this are deleted."""
    kms_key: pulumi.Input[str] | None = None
    """Key that encrypts the tables; Google's own when not given."""
    force_destroy: bool = False
    """Whether destroying the stack deletes the dataset with what it holds."""
    protect: bool = False
    """Whether the dataset refuses to be deleted by a change of the program."""

    def __post_init__(self) -> None:
        who = "LogSink"
        checks.matches(who, "dataset", self.dataset, checks.DATASET)
        checks.between(who, "retention_days", self.retention_days, 1, 3650, "days")
        for name, text in {"filter": self.filter, **self.exclusions}.items():
            if not text.strip():
                raise checks.InvalidArgs(who, name, text, "a filter: an empty one takes everything")


class LogSink(pulumi.ComponentResource):
    """Sink `<name>` into a dataset, one partitioned table a log."""

    dataset: gcp.bigquery.Dataset
    sink: gcp.logging.ProjectSink
    writer: gcp.bigquery.DatasetIamMember

    def __init__(
        self, name: str, *, args: LogSinkArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        checks.matches("LogSink", "name", name, checks.SERVICE)
        super().__init__("esteira:log_sink:LogSink", name, {}, opts)
        self.dataset = gcp.bigquery.Dataset(
            name,
            dataset_id=args.dataset,
            friendly_name=args.dataset,
            description=args.description,
            location=args.location,
            default_partition_expiration_ms=args.retention_days * DAY_MS,
            default_encryption_configuration=None
            if args.kms_key is None
            else gcp.bigquery.DatasetDefaultEncryptionConfigurationArgs(kms_key_name=args.kms_key),
            delete_contents_on_destroy=args.force_destroy,
            opts=child_opts(self, protect=args.protect),
        )
        self.sink = gcp.logging.ProjectSink(
            name,
            name=name,
            project=args.project,
            description=args.description,
            destination=pulumi.Output.format(
                "bigquery.googleapis.com/projects/{0}/datasets/{1}",
                args.project,
                self.dataset.dataset_id,
            ),
            filter=args.filter,
            exclusions=[
                gcp.logging.ProjectSinkExclusionArgs(name=key, filter=text)
                for key, text in sorted(args.exclusions.items())
            ],
            bigquery_options=gcp.logging.ProjectSinkBigqueryOptionsArgs(
                use_partitioned_tables=True
            ),
            unique_writer_identity=True,
            opts=child_opts(self),
        )
        self.writer = gcp.bigquery.DatasetIamMember(
            f"{name}-writer",
            dataset_id=self.dataset.dataset_id,
            role="roles/bigquery.dataEditor",
            member=self.sink.writer_identity,
            opts=child_opts(self),
        )
        self.register_outputs({"dataset": self.dataset.dataset_id})

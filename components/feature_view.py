"""The features of one product as an online store serves them: the last row of each entity.

What it serves is a table or view of BigQuery with one row an entity. Served from a feature group
(`components/feature_group.py`), a feature that is null in an entity's last row would be answered
with an older value, and the provider has no option against it: models are trained on rows as they
are, so rows as they are is what they have to be asked with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_gcp as gcp

from components import checks
from components.child_opts import child_opts
from components.feature_group import NAME


@dataclass(frozen=True, kw_only=True)
class FeatureViewArgs:
    """What a view needs.

    Raises:
        InvalidArgs: at construction, when the source or the schedule would be refused.
    """

    location: str
    store: gcp.vertex.AiFeatureOnlineStore
    """Where they are served from."""
    source: str
    """`project.dataset.table` of the table or view; every column but the entity's is a feature."""
    entity: Sequence[str]
    """Columns that name what the features are of; no two rows have the same in them."""
    source_table: pulumi.Resource | None = None
    """The same table, where it is made by this program: it has to be there first."""
    sync: str = "0 * * * *"
    """Cron, UTC, of the copies from BigQuery to the store."""

    def __post_init__(self) -> None:
        who = "FeatureView"
        if self.source.count(".") != 2:
            raise checks.InvalidArgs(who, "source", self.source, "`project.dataset.table`")
        if not self.entity:
            raise checks.InvalidArgs(who, "entity", list(self.entity), "at least one column")
        checks.matches(who, "sync", self.sync, checks.CRON)


class FeatureView(pulumi.ComponentResource):
    """Feature view `<name>` of the store, hyphens become underscores."""

    view: gcp.vertex.AiFeatureOnlineStoreFeatureview

    def __init__(
        self, name: str, *, args: FeatureViewArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        checks.matches("FeatureView", "name", name.replace("-", "_"), NAME)
        super().__init__("esteira:feature_view:FeatureView", name, {}, opts)
        vertex = gcp.vertex
        self.view = vertex.AiFeatureOnlineStoreFeatureview(
            name,
            name=name.replace("-", "_"),
            region=args.location,
            feature_online_store=args.store.name,
            sync_config=vertex.AiFeatureOnlineStoreFeatureviewSyncConfigArgs(cron=args.sync),
            big_query_source=vertex.AiFeatureOnlineStoreFeatureviewBigQuerySourceArgs(
                uri=f"bq://{args.source}", entity_id_columns=list(args.entity)
            ),
            opts=child_opts(
                self, depends_on=None if args.source_table is None else [args.source_table]
            ),
        )
        self.register_outputs({"view": self.view.id})

"""The features of one product in Vertex AI's feature registry.

The registry holds no values: it tells where in BigQuery they are. The source is a table or view
with the entity's columns, a TIMESTAMP `feature_timestamp`, and a column for each feature. What is
served online is another matter: `components/feature_view.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_gcp as gcp

from components import checks
from components.child_opts import child_opts

NAME: Final = (
    re.compile(r"[a-z_][a-z0-9_]{0,127}"),
    "1 to 128 lower-case letters, digits and underscores, not starting with a digit",
)
"""A group, view or feature, by Vertex AI's reference of `FeatureGroup` and `Feature`."""


@dataclass(frozen=True, kw_only=True)
class FeatureGroupArgs:
    """What a group needs.

    Raises:
        InvalidArgs: at construction, when a name or the source would be refused.
    """

    location: str
    description: str
    source: str
    """`project.dataset.table` of the table or view."""
    entity: Sequence[str]
    """Columns that name what the features are of."""
    features: Mapping[str, str]
    """By column, what it means."""
    source_table: pulumi.Resource | None = None
    """The same table, where it is made by this program: it has to be there first."""

    def __post_init__(self) -> None:
        who = "FeatureGroup"
        if self.source.count(".") != 2:
            raise checks.InvalidArgs(who, "source", self.source, "`project.dataset.table`")
        if not self.features or not self.entity:
            raise checks.InvalidArgs(
                who, "features, entity", dict(self.features), "at least one column of each"
            )
        for feature in self.features:
            checks.matches(who, "features", feature, NAME)


class FeatureGroup(pulumi.ComponentResource):
    """Feature group `<name>` with its features, hyphens become underscores."""

    group: gcp.vertex.AiFeatureGroup
    features: dict[str, gcp.vertex.AiFeatureGroupFeature]
    """By column."""

    def __init__(
        self, name: str, *, args: FeatureGroupArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        checks.matches("FeatureGroup", "name", name.replace("-", "_"), NAME)
        super().__init__("esteira:feature_group:FeatureGroup", name, {}, opts)
        vertex = gcp.vertex
        self.group = vertex.AiFeatureGroup(
            name,
            name=name.replace("-", "_"),
            region=args.location,
            description=args.description,
            big_query=vertex.AiFeatureGroupBigQueryArgs(
                big_query_source=vertex.AiFeatureGroupBigQueryBigQuerySourceArgs(
                    input_uri=f"bq://{args.source}"
                ),
                entity_id_columns=list(args.entity),
            ),
            opts=child_opts(
                self, depends_on=None if args.source_table is None else [args.source_table]
            ),
        )
        self.features = {
            column: vertex.AiFeatureGroupFeature(
                f"{name}-{column}",
                name=column,
                feature_group=self.group.name,
                region=args.location,
                description=meaning,
                version_column_name=column,
                opts=child_opts(self),
            )
            for column, meaning in args.features.items()
        }
        self.register_outputs({"group": self.group.id})

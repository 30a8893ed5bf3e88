"""A store that answers with the latest features of an entity, in milliseconds.

One for all products of a stack: its nodes cost by the hour whether they are asked or not. What is
in it are the feature views of products (`components/feature_view.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_gcp as gcp

from components import checks
from components.child_opts import child_opts


@dataclass(frozen=True, kw_only=True)
class FeatureOnlineStoreArgs:
    """What a store needs.

    Raises:
        InvalidArgs: at construction, when the numbers of nodes do not fit.
    """

    location: str
    min_nodes: int = 1
    """Bigtable nodes that always run."""
    max_nodes: int = 1
    """Nodes that it may grow to, at most ten times `min_nodes`."""
    cpu_percent: int = 50
    """Use of the nodes' processors at which it grows, 10 to 80."""
    kms_key: pulumi.Input[str] | None = None
    """Key that encrypts the features; Google's own when not given."""
    force_destroy: bool = False
    """Whether destroying the stack deletes feature views that others made in it."""
    protect: bool = False

    def __post_init__(self) -> None:
        who = "FeatureOnlineStore"
        checks.between(who, "min_nodes", self.min_nodes, 1, 1000)
        # Bounds of Vertex AI's `AutoScaling` of Bigtable stores.
        checks.between(who, "max_nodes", self.max_nodes, self.min_nodes, 10 * self.min_nodes)
        checks.between(who, "cpu_percent", self.cpu_percent, 10, 80, "percent")


class FeatureOnlineStore(pulumi.ComponentResource):
    """Online store `<name>`, hyphens become underscores."""

    store: gcp.vertex.AiFeatureOnlineStore

    def __init__(
        self,
        name: str,
        *,
        args: FeatureOnlineStoreArgs,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        checks.matches("FeatureOnlineStore", "name", name, checks.SERVICE)
        super().__init__("esteira:feature_online_store:FeatureOnlineStore", name, {}, opts)
        vertex = gcp.vertex
        self.store = vertex.AiFeatureOnlineStore(
            name,
            name=name.replace("-", "_"),
            region=args.location,
            bigtable=vertex.AiFeatureOnlineStoreBigtableArgs(
                auto_scaling=vertex.AiFeatureOnlineStoreBigtableAutoScalingArgs(
                    min_node_count=args.min_nodes,
                    max_node_count=args.max_nodes,
                    cpu_utilization_target=args.cpu_percent,
                )
            ),
            encryption_spec=None
            if args.kms_key is None
            else vertex.AiFeatureOnlineStoreEncryptionSpecArgs(kms_key_name=args.kms_key),
            force_destroy=args.force_destroy,
            opts=child_opts(self, protect=args.protect),
        )
        self.register_outputs({"store": self.store.id})

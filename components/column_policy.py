"""Columns that hold personal data: a policy tag that BigQuery enforces, and who may read past it.

Whoever reads a tagged column without the role is refused by BigQuery, through views as well. They
are refused and not shown a mask: a feature that was computed from masked values would be wrong, and
nobody would be told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import pulumi
import pulumi_gcp as gcp

from components import checks
from components.child_opts import child_opts

READER: Final = "roles/datacatalog.categoryFineGrainedReader"
"""Who has it on a policy tag reads the columns that carry the tag."""


@dataclass(frozen=True, kw_only=True)
class ColumnPolicyArgs:
    """What a policy on columns needs.

    Raises:
        InvalidArgs: at construction, when a reader is no principal.
    """

    project: str
    location: str
    """The region of the tables. A tag protects columns of its own region only."""
    description: str
    """What the columns have in common."""
    readers: Sequence[str] = ()
    """Principals who may read the columns, as IAM writes them. Workloads get the role `READER` with
    their identities instead."""
    agents: Mapping[str, pulumi.Input[str]] = field(default_factory=dict[str, pulumi.Input[str]])
    """Google's own service agents that read them, `serviceAccount:...` by a short name."""

    def __post_init__(self) -> None:
        for reader in self.readers:
            checks.matches("ColumnPolicy", "readers", reader, checks.PRINCIPAL)


class ColumnPolicy(pulumi.ComponentResource):
    """Taxonomy `<project> <name>` with one policy tag, `personal`."""

    taxonomy: gcp.datacatalog.Taxonomy
    tag: gcp.datacatalog.PolicyTag
    readers: dict[str, gcp.datacatalog.PolicyTagIamMember]
    """By principal, or by the agent's short name."""

    def __init__(
        self, name: str, *, args: ColumnPolicyArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("esteira:column_policy:ColumnPolicy", name, {}, opts)
        self.taxonomy = gcp.datacatalog.Taxonomy(
            name,
            # Unique in the whole organisation, so it names the project.
            display_name=f"{args.project} {name}",
            description=args.description,
            region=args.location,
            # Without it a tag is a note, and protects nothing.
            activated_policy_types=["FINE_GRAINED_ACCESS_CONTROL"],
            opts=child_opts(self),
        )
        self.tag = gcp.datacatalog.PolicyTag(
            f"{name}-personal",
            taxonomy=self.taxonomy.id,
            display_name="personal",
            description=args.description,
            opts=child_opts(self),
        )
        self.readers = {
            reader: gcp.datacatalog.PolicyTagIamMember(
                f"{name}-{reader}",
                policy_tag=self.tag.name,
                role=READER,
                member=member,
                opts=child_opts(self),
            )
            for reader, member in [*((one, one) for one in args.readers), *args.agents.items()]
        }
        self.register_outputs({"taxonomy": self.taxonomy.id, "tag": self.tag.name})

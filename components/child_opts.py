"""The options that every child of a component shares."""

from __future__ import annotations

from collections.abc import Sequence

import pulumi


def child_opts(
    parent: pulumi.Resource,
    *,
    protect: bool | None = None,
    depends_on: pulumi.Input[Sequence[pulumi.Input[pulumi.Resource]]] | None = None,
    replace_with: list[pulumi.Resource] | None = None,
    ignore_changes: list[str] | None = None,
    delete_before_replace: bool | None = None,
    retain_on_delete: bool | None = None,
    hooks: pulumi.ResourceHookBinding | None = None,
) -> pulumi.ResourceOptions:
    """Options for a child: its parent, from which it inherits the provider, and so its labels.

    Args:
        parent: The component.
        protect: Refuse to delete the child until this is lifted.
        depends_on: What must exist before, beyond what the child's own inputs say. Order belongs
            here and not on a whole component: engine 3.250 cannot refresh a component that depends
            on another in which something is gone ("registration isn't pending").
        replace_with: Whenever one of these is replaced, so is the child.
        ignore_changes: Properties that something other than Pulumi changes.
        delete_before_replace: The child has a fixed name, so old and new cannot stand side by side.
        retain_on_delete: Destroying the stack leaves the child where it is.
        hooks: What runs when the child is made, changed or deleted.
    """
    return pulumi.ResourceOptions(
        parent=parent,
        protect=protect,
        depends_on=depends_on,
        replace_with=replace_with,
        ignore_changes=ignore_changes,
        delete_before_replace=delete_before_replace,
        retain_on_delete=retain_on_delete,
        hooks=hooks,
    )

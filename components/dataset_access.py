"""Access to a BigQuery dataset, one entry of its own list at a time.

`DatasetIamMember` would be shorter. By its documentation it drops the entries through which the
views of one dataset read another, and the platform has such views: so nothing here uses it, and
every grant on a dataset goes through this module.
"""

from __future__ import annotations

from typing import Any, Final

import pulumi
import pulumi_gcp as gcp

BASIC: Final = {
    "roles/bigquery.dataViewer": "READER",
    "roles/bigquery.dataEditor": "WRITER",
    "roles/bigquery.dataOwner": "OWNER",
}
"""BigQuery answers with these names, and the provider asks to be given them: see the
documentation of `bigquery.DatasetAccess`."""
_KINDS: Final = {
    "user": "user_by_email",
    "serviceAccount": "user_by_email",
    "group": "group_by_email",
    "domain": "domain",
}


def member(
    name: str,
    *,
    dataset_id: pulumi.Input[str],
    role: str,
    member: pulumi.Input[str],
    opts: pulumi.ResourceOptions,
) -> gcp.bigquery.DatasetAccess:
    """Let a principal in.

    Args:
        name: Of the entry, in Pulumi.
        dataset_id: Of the dataset.
        role: A predefined role, `roles/...`.
        member: As IAM writes it. One that is not known yet has to be a service account.
        opts: As every child's.
    """
    who: dict[str, Any]
    if isinstance(member, str):
        kind, _, address = member.partition(":")
        who = {_KINDS[kind]: address} if kind in _KINDS else {"iam_member": member}
    else:
        who = {
            "user_by_email": pulumi.Output.from_input(member).apply(
                lambda known: known.removeprefix("serviceAccount:")
            )
        }
    return gcp.bigquery.DatasetAccess(
        name, dataset_id=dataset_id, role=BASIC.get(role, role), opts=opts, **who
    )


def views(
    name: str,
    *,
    of: gcp.bigquery.Dataset,
    on: gcp.bigquery.Dataset,
    project: str,
    opts: pulumi.ResourceOptions,
) -> gcp.bigquery.DatasetAccess:
    """Let all views of one dataset read another, whoever asks them.

    The whole dataset and not each view: a view that is changed would lose what it was granted.

    Args:
        name: Of the entry, in Pulumi.
        of: The dataset that holds the views.
        on: The dataset that they read.
        project: Of both.
        opts: As every child's.
    """
    inner = gcp.bigquery.DatasetAccessAuthorizedDatasetArgs(
        dataset=gcp.bigquery.DatasetAccessAuthorizedDatasetDatasetArgs(
            project_id=project, dataset_id=of.dataset_id
        ),
        target_types=["VIEWS"],
    )
    return gcp.bigquery.DatasetAccess(
        name, dataset_id=on.dataset_id, authorized_dataset=inner, opts=opts
    )

"""Datasets and tables of BigQuery."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from policies.checks import (
    PUBLIC,
    each,
    for_types,
    is_set,
    no_public_member,
    not_false,
    not_true,
)
from policies.rule import HOUSE, Level, Resource, Rule, Severity

DATASET: Final = "gcp:bigquery/dataset:Dataset"
ACCESS: Final = "gcp:bigquery/datasetAccess:DatasetAccess"
TABLE: Final = "gcp:bigquery/table:Table"
GRANTS: Final = (
    "gcp:bigquery/datasetIamMember:DatasetIamMember",
    "gcp:bigquery/datasetIamBinding:DatasetIamBinding",
    "gcp:bigquery/datasetIamPolicy:DatasetIamPolicy",
    "gcp:bigquery/iamMember:IamMember",
    "gcp:bigquery/iamBinding:IamBinding",
)


def _no_public_access(resource: Resource) -> Iterator[str]:
    prefix = "accesses.*." if resource.type == DATASET else ""
    for path in ("specialGroup", "iamMember"):
        for where, value in each(resource.props, f"{prefix}{path}"):
            if value in PUBLIC:
                yield f"`{where}` is `{value}`"


def is_view(resource: Resource) -> bool:
    """Whether it is a table in name only, and stores no rows of its own."""
    kinds = {"view", "materializedView", "externalDataConfiguration"}
    return resource.type == TABLE and bool(kinds & set(resource.props.keys()))


def _not_a_table(resource: Resource) -> str | None:
    return "a view stores no rows" if is_view(resource) else None


RULES: Final = (
    Rule(
        name="dataset-no-public-member",
        description="No dataset is shared with everyone.",
        remedy="Give access to the group or service account that needs it.",
        references=("CIS 7.1", "CKV_GCP_15"),
        level=Level.MANDATORY,
        severity=Severity.CRITICAL,
        types=(DATASET, ACCESS, *GRANTS),
        checks=(
            for_types((DATASET, ACCESS), _no_public_access),
            for_types(GRANTS, no_public_member),
        ),
    ),
    Rule(
        name="dataset-customer-key",
        description="New tables of a dataset are encrypted with a key of our own.",
        remedy="Set `defaultEncryptionConfiguration.kmsKeyName` "
        "(setting `security.customerManagedKeys`).",
        references=("CIS 7.3", "CKV_GCP_81"),
        level=Level.IN_PROD,
        severity=Severity.HIGH,
        types=(DATASET,),
        checks=(is_set("defaultEncryptionConfiguration.kmsKeyName"),),
    ),
    Rule(
        name="table-customer-key",
        description="A table names the key of our own that encrypts it.",
        remedy="Set `encryptionConfiguration.kmsKeyName` (setting `security.customerManagedKeys`).",
        references=("CIS 7.2", "CKV_GCP_80"),
        level=Level.ADVISORY,
        severity=Severity.MEDIUM,
        types=(TABLE,),
        checks=(is_set("encryptionConfiguration.kmsKeyName"),),
        spared=_not_a_table,
    ),
    Rule(
        name="warehouse-deletion-protection",
        description="Tables refuse to be dropped, and datasets to be deleted with their tables.",
        remedy="Leave `deletionProtection` on and `deleteContentsOnDestroy` off "
        "(settings `security.deletionProtection`, `security.forceDestroy`).",
        references=("CKV_GCP_121", HOUSE),
        level=Level.IN_PROD,
        severity=Severity.HIGH,
        types=(TABLE, DATASET),
        checks=(
            for_types((TABLE,), not_false("deletionProtection")),
            for_types((DATASET,), not_true("deleteContentsOnDestroy")),
        ),
        spared=_not_a_table,
    ),
)

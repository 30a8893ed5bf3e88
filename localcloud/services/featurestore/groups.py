"""Feature groups and their features: where in BigQuery features are, and what they mean."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, final

from localcloud.rest.errors import FailedPrecondition, InvalidArgument
from localcloud.services.featurestore.resources import Resources, key

TABLE: Final = re.compile(r"bq://([a-z][a-z0-9:.-]*)\.([A-Za-z0-9_]+)\.([A-Za-z0-9_-]+)")
COLUMN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,299}")


@final
class Groups(Resources):
    """Feature groups."""

    KIND = "FeatureGroup"
    COLLECTION = "featureGroups"
    METHODS = "featureGroups"
    MUTABLE = ("labels", "description", "bigQuery")

    def check(self, parent: str, body: Mapping[str, Any]) -> None:
        """A source in BigQuery."""
        del parent
        source = body.get("bigQuery", {})
        check_table(source.get("bigQuerySource", {}).get("inputUri", ""), "big_query_source")
        check_columns(source.get("entityIdColumns", ["entity_id"]))

    async def gone(self, name: str, query: Mapping[str, Any]) -> None:
        """With its features, if the caller says so."""
        below = self._documents.list(key(Features.KIND, f"{name}/"))
        if below and not query.get("force"):
            raise FailedPrecondition(
                f"The FeatureGroup '{name}' has {len(below)} features; set force to delete them "
                "with it."
            )
        for one in below:
            self._documents.delete(one.key)


@final
class Features(Resources):
    """Features of a group."""

    KIND = "Feature"
    COLLECTION = "features"
    METHODS = "featureGroups.features"
    MUTABLE = ("labels", "description", "pointOfContact", "versionColumnName")
    PARENT = Groups.KIND

    def check(self, parent: str, body: Mapping[str, Any]) -> None:
        """A column of the group's source; its own id where none is named."""
        del parent
        if column := body.get("versionColumnName"):
            check_columns([column])


def check_table(uri: str, field: str) -> tuple[str, str, str]:
    """Project, dataset and table of `bq://project.dataset.table`.

    Raises:
        InvalidArgument: it is not of that form.
    """
    found = TABLE.fullmatch(uri)
    if found is None:
        raise InvalidArgument(f"Invalid {field} '{uri}': write bq://PROJECT.DATASET.TABLE.")
    return found[1], found[2], found[3]


def check_columns(columns: list[str]) -> None:
    """
    Raises:
        InvalidArgument: there is none, or one could be no column of BigQuery.
    """
    wrong = [one for one in columns if not COLUMN.fullmatch(one)]
    if wrong or not columns:
        raise InvalidArgument(
            f"Invalid columns {wrong}: give at least one; letters, digits and underscores, not "
            "beginning with a digit."
        )

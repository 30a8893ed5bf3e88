"""A data team's own stack: a view over the platform's tables, found by its outputs alone."""

from __future__ import annotations

from typing import Any

import pulumi
import pulumi_gcp as gcp

PRODUCT = "flight-delay"
QUERY = """
SELECT f.carrier, COUNT(*) AS flights, AVG(IF(a.arrival_delay > 15, 1, 0)) AS late
FROM `{flight}` AS f JOIN `{arrival}` AS a USING (flight_id)
GROUP BY f.carrier
"""


def program() -> None:
    """Declare the team's dataset and its view."""
    platform = pulumi.StackReference(pulumi.Config("late-flights").require("platform"))
    # The structured output has every product; flat ones, such as `location`, stand beside it.
    product = platform.require_output("esteira").apply(lambda known: known["products"][PRODUCT])
    own = gcp.bigquery.Dataset(
        "late-flights",
        dataset_id="late_flights",
        location=platform.require_output("location"),
        description="How late the flights of each carrier are",
    )
    view = gcp.bigquery.Table(
        "late-by-carrier",
        dataset_id=own.dataset_id,
        table_id="late_by_carrier",
        view=gcp.bigquery.TableViewArgs(query=product.apply(_query), use_legacy_sql=False),
        deletion_protection=False,
    )
    pulumi.export(
        "view", pulumi.Output.concat(view.project, ".", own.dataset_id, ".", view.table_id)
    )


def _query(product: dict[str, Any]) -> str:
    return QUERY.format(**product["tables"]["current"])


if __name__ == "__main__":
    program()

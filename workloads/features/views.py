"""The feature query of a product as views: for data teams, and for the feature store.

`examples` and `features` have all of history, `latest` the last row of each entity.

Plain text, importable by the Pulumi program. A view takes no parameters, so these reach over all
history; whoever reads a day of it reads the raw tables as a whole. Training and batch prediction
use `FeatureQuery` itself, with a range.
"""

from __future__ import annotations

import re
from typing import Final

from workloads import contracts
from workloads.features.query import FeatureQuery
from workloads.product import Product

EXAMPLES: Final = "examples"
FEATURES: Final = "features"
TIMESTAMP: Final = "feature_timestamp"
"""The column that Vertex AI's feature registry looks for, by Google's document on feature groups
over BigQuery; the provider has no option for another."""
LATEST: Final = "latest_features"
EVENT_MICROSECONDS: Final = "event_time_microseconds"
"""The column of the event time, in microseconds since 1970: an online store has no type for it."""

_START: Final = re.compile(r"@start\b")
_END: Final = re.compile(r"@end\b")
# Early enough for every event, and late enough for a query to look some days back from it.
_EVER: Final = "TIMESTAMP '1970-01-01 00:00:00+00'"
_NOW: Final = "CURRENT_TIMESTAMP()"


def examples(product: Product, project: str) -> str:
    """One row for each entity that was asked about: entity, event time, features, label if known.

    Args:
        product: The declaration.
        project: That holds the raw tables.
    """
    query = FeatureQuery(product)
    return f"SELECT {', '.join(query.columns)}\nFROM (\n{_timeless(query, project)}\n)"


def features(product: Product, project: str) -> str:
    """The same without the label, with the time under the name that the feature registry wants.

    Args:
        product: The declaration.
        project: That holds the raw tables.
    """
    declared = product.features
    columns = [
        f"CAST({declared.entity} AS STRING) AS {declared.entity}",
        f"{declared.event_time} AS {TIMESTAMP}",
        *(name for name in names(product)),
    ]
    text = _timeless(FeatureQuery(product), project)
    return f"SELECT {', '.join(columns)}\nFROM (\n{text}\n)"


def latest(product: Product, project: str) -> str:
    """The last row of each entity, as the online store takes it: one row an entity, no instants.

    Of several rows of one entity a feature group would serve, feature by feature, the last value
    that is not null, which is no row that a model was ever trained on.

    Args:
        product: The declaration.
        project: That holds the raw tables.
    """
    declared = product.features
    instants = {one.name for one in contracts.fields(declared.request) if one.kind == "timestamp"}
    columns = [
        f"CAST({declared.entity} AS STRING) AS {declared.entity}",
        f"UNIX_MICROS({declared.event_time}) AS {EVENT_MICROSECONDS}",
        *(
            f"UNIX_MICROS({name}) AS {name}" if name in instants else name
            for name in names(product)
        ),
    ]
    text = _timeless(FeatureQuery(product), project)
    return (
        f"SELECT {', '.join(columns)}\nFROM (\n{text}\n)\nWHERE {declared.entity} IS NOT NULL\n"
        f"QUALIFY ROW_NUMBER() OVER (PARTITION BY {declared.entity} "
        f"ORDER BY {declared.event_time} DESC) = 1"
    )


def names(product: Product) -> tuple[str, ...]:
    """The features by name, in the order of the request."""
    declared = product.features
    taken = (declared.entity, declared.event_time)
    return tuple(one for one in declared.request.__struct_fields__ if one not in taken)


def _timeless(query: FeatureQuery, project: str) -> str:
    return _END.sub(_NOW, _START.sub(_EVER, query.text(project=project)))

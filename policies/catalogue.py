"""All rules, in the order of the page that lists them."""

from __future__ import annotations

from typing import Final

from policies import (
    artifacts,
    bigquery,
    container,
    dataflow,
    iam,
    kms,
    network,
    pubsub,
    run,
    serving,
    sql,
    stack,
    storage,
    vertex,
)
from policies.rule import AnyRule

GROUPS: Final[dict[str, tuple[AnyRule, ...]]] = {
    "Cloud Storage": storage.RULES,
    "BigQuery": bigquery.RULES,
    "Pub/Sub": pubsub.RULES,
    "Cloud SQL": sql.RULES,
    "Google Kubernetes Engine": container.RULES,
    "Cloud Run": run.RULES,
    "Vertex AI": vertex.RULES,
    "Dataflow": dataflow.RULES,
    "Identity": iam.RULES,
    "Cloud KMS": kms.RULES,
    "Artifact Registry": artifacts.RULES,
    "Networks": network.RULES,
    "Every stack": stack.RULES,
    "What runs and serves": serving.RULES,
}
RULES: Final[tuple[AnyRule, ...]] = tuple(rule for rules in GROUPS.values() for rule in rules)
BY_NAME: Final = {rule.name: rule for rule in RULES}

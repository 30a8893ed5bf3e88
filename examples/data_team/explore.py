# %% [markdown]
# # Late flights, from the outputs of a stack alone
#
# What a data team needs of the platform is in the outputs of its stack: names of tables, buckets
# and endpoints, versioned and typed (`stacks/outputs.schema.json`). This notebook takes nothing
# else from it. Run it cell by cell, or whole:
#
#     esteira outputs dev --format json > outputs.json
#     python examples/data_team/explore.py outputs.json

# %%
from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any, Final

import google.auth
import google.auth.transport.requests
from google.auth.credentials import AnonymousCredentials, Credentials
from google.cloud import bigquery

PRODUCT: Final = "flight-delay"
SCHEMA_VERSION: Final = 1
"""The version of the outputs that this notebook reads. Within it fields are only added."""


# %% What the platform team made, and where.
def outputs(text: str) -> dict[str, Any]:
    """The structured output of a stack, out of `esteira outputs STACK --format json`.

    Raises:
        ValueError: the outputs are of a version that this notebook does not know.
    """
    document = json.loads(text)["esteira"]
    if document["version"] != SCHEMA_VERSION:
        raise ValueError(
            f"the outputs have version {document['version']}, this notebook reads version "
            f"{SCHEMA_VERSION}; docs/outputs.md tells what changed"
        )
    return document


def credentials() -> Credentials:
    """Your own on Google Cloud; nobody's where a local cloud answers, which asks for none."""
    if os.environ.get("BIGQUERY_EMULATOR_HOST"):
        return AnonymousCredentials()
    found, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
    return found


# %% How many flights of each carrier were late?
def late_by_carrier(client: bigquery.Client, tables: dict[str, Any]) -> list[dict[str, Any]]:
    """Carriers with flights and the share that landed more than 15 minutes late."""
    query = f"""
        SELECT f.carrier,
               COUNT(*) AS flights,
               AVG(IF(a.arrival_delay > 15, 1, 0)) AS late
        FROM `{tables["current"]["flight"]}` AS f
        JOIN `{tables["current"]["arrival"]}` AS a USING (flight_id)
        GROUP BY f.carrier
        ORDER BY late DESC
    """  # noqa: S608 - names of tables come from the stack's own outputs
    return [dict(row) for row in client.query_and_wait(query)]


# %% What did the model say, day by day?
def predicted(client: bigquery.Client, tables: dict[str, Any]) -> list[dict[str, Any]]:
    """Days with batch predictions: how many, and their mean probability."""
    query = f"""
        SELECT DATE(event_time) AS day, COUNT(*) AS flights, AVG(probability) AS probability
        FROM `{tables["predictions"]["batch"]}`
        GROUP BY day
        ORDER BY day
    """  # noqa: S608
    return [dict(row) for row in client.query_and_wait(query)]


# %% And what does it say of a flight that has not left?
def ask(endpoint: dict[str, Any], rows: list[dict[str, Any]], location: str) -> list[Any]:
    """Predictions of the online endpoint.

    Raises:
        RuntimeError: the endpoint refused; its own words.
    """
    import requests

    host = os.environ.get("VERTEX_API_ENDPOINT") or f"https://{location}-aiplatform.googleapis.com"
    own = credentials()
    headers = {}
    if not isinstance(own, AnonymousCredentials):
        own.refresh(google.auth.transport.requests.Request())
        headers["Authorization"] = f"Bearer {own.token}"
    answer = requests.post(
        f"{host}/v1/{endpoint['name']}:predict",
        json={"instances": rows},
        headers=headers,
        timeout=30,
    )
    if not answer.ok:
        raise RuntimeError(answer.text)
    return answer.json()["predictions"]


FLIGHT: Final = {
    "carrier": "UA",
    "origin": "EWR",
    "destination": "IAH",
    "distance": 1400,
    "departure_minute": 515,
    "weekday": 2,
    "scheduled_arrival_minute": 690,
}


# %%
def main(text: str) -> dict[str, Any]:
    """All of the above, as one report."""
    stack = outputs(text)
    product = stack["products"][PRODUCT]
    client = bigquery.Client(project=stack["project"], credentials=credentials())
    return {
        "carriers": late_by_carrier(client, product["tables"]),
        "predictions": predicted(client, product["tables"]),
        "flight": ask(product["endpoint"], [FLIGHT], stack["location"])[0],
    }


if __name__ == "__main__":
    source = Path(sys.argv[1]).read_text() if len(sys.argv) > 1 else sys.stdin.read()
    sys.stdout.write(json.dumps(main(source), indent=2, default=str) + "\n")

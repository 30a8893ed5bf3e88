"""The raw tables of a product: what each message became, and where to read it.

Plain data, importable by the Pulumi program. Every published message and every line of a file ends
in exactly one of these places, by its `message_id`: the table of its contract, `dead_letters`, or
`discarded` (duplicates and events that came too late).

A worker that was killed may leave a row twice in a raw table, and two messages may carry one event
when a restart fell between them. Readers therefore take the view `<table>_current` of the curated
dataset, one row an identity.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from workloads import contracts
from workloads.contracts import Contract
from workloads.product import Product

DEAD_LETTERS: Final = "dead_letters"
DISCARDED: Final = "discarded"

Column = dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Table:
    """One BigQuery table."""

    name: str
    description: str
    columns: tuple[Column, ...]
    """In BigQuery's own words: name, type, mode, description."""
    partition: str
    """The TIMESTAMP column whose day is the partition."""
    cluster: tuple[str, ...]
    personal: tuple[str, ...] = ()
    """Columns that tell of a person, or may."""


def _column(name: str, kind: str, description: str, *, required: bool = True) -> Column:
    mode = "REQUIRED" if required else "NULLABLE"
    return {"name": name, "type": kind, "mode": mode, "description": description}


_MESSAGE_ID: Final = _column(
    "message_id",
    "STRING",
    "Id of the message: Pub/Sub's, or the publisher's idempotency key, or object and line",
)
_PUBLISH_TIME: Final = _column(
    "publish_time", "TIMESTAMP", "When the message was published, or the object written"
)
_SOURCE: Final = _column("source", "STRING", "`pubsub`, or gs://bucket/object#generation:line")

PROVENANCE: Final = (
    _MESSAGE_ID,
    _PUBLISH_TIME,
    _column("ingested_at", "TIMESTAMP", "When the row was judged and written"),
    _SOURCE,
)
"""What every raw table holds beside the fields of its contract."""


def raw(contract: type[Contract]) -> Table:
    """The table that holds the valid rows of a contract."""
    if contract.EVENT_TIME is None or contract.IDENTITY is None:
        raise TypeError(f"contract {contract.NAME} has no identity or event time, hence no table")
    return Table(
        name=contract.PLURAL,
        description=f"{contract.__doc__ or contract.NAME} Contract version {contract.VERSION}.",
        columns=(*contracts.bigquery_schema(contract), *PROVENANCE),
        partition=contract.EVENT_TIME,
        cluster=(contract.IDENTITY,),
        personal=contracts.personal(contract),
    )


DEAD_LETTERS_TABLE: Final = Table(
    name=DEAD_LETTERS,
    description="What no contract allowed, with the reason. A replay appends a row that says when.",
    columns=(
        _MESSAGE_ID,
        _column("contract", "STRING", "Contract it was held to, if any", required=False),
        _column("contract_version", "INT64", "Its version then", required=False),
        _column("received_at", "TIMESTAMP", "When it was published, or the object written"),
        _SOURCE,
        _column("raw", "BYTES", "The bytes as they came"),
        _column("attributes", "STRING", "The message's attributes, a JSON object"),
        _column("field", "STRING", "The first field that broke the contract; $ is the whole row"),
        _column("value", "STRING", "The value found, shortened"),
        _column("reason", "STRING", "What is wrong and what is allowed"),
        _column("recorded_at", "TIMESTAMP", "When this row was written"),
        _column("replayed_at", "TIMESTAMP", "When it was sent again", required=False),
    ),
    partition="received_at",
    cluster=("contract", "message_id"),
    # What came from outside and fits no contract may be anything, a person's data included.
    personal=("raw", "attributes", "value"),
)
DISCARDED_TABLE: Final = Table(
    name=DISCARDED,
    description="Valid messages that were set aside: duplicates, and events that came too late.",
    columns=(
        _MESSAGE_ID,
        _column("contract", "STRING", "Contract of the message"),
        _column("identity", "STRING", "Identity of the event"),
        _column("outcome", "STRING", "`duplicate` or `late`"),
        _column("event_time", "TIMESTAMP", "Event time on the publisher's clock"),
        _PUBLISH_TIME,
        _SOURCE,
    ),
    partition="publish_time",
    cluster=("contract", "message_id"),
)


def tables(product: Product) -> tuple[Table, ...]:
    """All raw tables of a product: one for each contract, then dead letters and discarded.

    None of a product that takes in nothing itself.
    """
    if not product.own:
        return ()
    return (
        *(raw(source.contract) for source in product.own),
        DEAD_LETTERS_TABLE,
        DISCARDED_TABLE,
    )


def dataset(product: Product) -> str:
    """The id of the dataset that holds them."""
    return f"{product.id}_raw"


def curated_dataset(product: Product) -> str:
    """The id of the dataset of views, which data teams read."""
    return f"{product.id}_curated"


def current_name(table: str) -> str:
    """The name of the view with one row an identity."""
    return f"{table}_current"


def current_view(contract: type[Contract], dataset: str) -> str:
    """The query of that view: of several rows with one identity, the first that was ingested."""
    # Names come from the product's declaration, never from data.
    return f"""SELECT * FROM `{dataset}.{contract.PLURAL}`
QUALIFY ROW_NUMBER() OVER (
  PARTITION BY {contract.IDENTITY} ORDER BY ingested_at, message_id
) = 1"""  # noqa: S608

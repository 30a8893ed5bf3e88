"""Published = ingested + dead letters + duplicates + too late, exactly, for each contract.

Everything is counted by `message_id` and `identity`, never by rows, so that rows written twice by a
worker that was killed change nothing:

- *ingested*: identities in the raw table;
- *late*, *dead letters*: messages whose only outcome that is;
- *duplicates*: messages with a valid event that brought no new identity: those set aside, and those
  that reached the raw table beside the first because a restart fell between them.

A message that was redelivered may have left several outcomes; the best of them counts: raw before
discarded before dead letter. So a dead letter that was replayed counts as what it became.
A line of a file is a message as well; its id is the object's generation and the line.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from workloads import gcp, product
from workloads.ingestion import tables
from workloads.product import Product


@dataclass(frozen=True, kw_only=True)
class Account:
    """Where the messages of one contract ended."""

    contract: str
    """Plural; empty for what could not be held to any contract."""
    received: int
    """Distinct messages that have an outcome."""
    ingested: int
    dead_letters: int
    duplicates: int
    late: int
    replayed: int = 0
    """Messages that were dead letters once and have been sent again. They are among the others."""

    @property
    def accounted(self) -> int:
        """What the equation's right side adds up to."""
        return self.ingested + self.dead_letters + self.duplicates + self.late

    def balances(self, published: int) -> bool:
        """Whether every one of `published` messages ended in exactly one place."""
        return published == self.accounted == self.received


@dataclass(frozen=True, kw_only=True)
class Accounts:
    """All contracts of a product, and their sum."""

    contracts: tuple[Account, ...]

    @property
    def total(self) -> Account:
        """The sum over all contracts."""
        names = ("received", "ingested", "dead_letters", "duplicates", "late", "replayed")
        sums = {name: sum(getattr(one, name) for one in self.contracts) for name in names}
        return Account(contract="all", **sums)

    def of(self, contract: str) -> Account:
        """The account of a contract by its plural; all zero when nothing came."""
        for one in self.contracts:
            if one.contract == contract:
                return one
        return Account(
            contract=contract, received=0, ingested=0, dead_letters=0, duplicates=0, late=0
        )

    def to_dict(self) -> dict[str, Any]:
        """As JSON wants it."""
        return {
            "total": asdict(self.total),
            "contracts": {one.contract or "none": asdict(one) for one in self.contracts},
        }


def query(product: Product, dataset: str = "", source: str = "") -> str:
    """The one SQL query of the accounting.

    Args:
        dataset: of the raw tables, by default the product's own.
        source: count only messages whose source starts with this, e.g. `pubsub` or `gs://bucket/`.
    """
    where = dataset or tables.dataset(product)
    only = f" WHERE STARTS_WITH(source, '{_quoted(source)}')" if source else ""
    # Names come from the product's declaration, and the prefix is quoted.
    raw = "\n  UNION ALL\n  ".join(
        f"SELECT '{one.contract.PLURAL}' AS contract, message_id, "  # noqa: S608
        f"{one.contract.IDENTITY} AS identity "
        f"FROM `{where}.{one.contract.PLURAL}`{only}"
        for one in product.own
    )
    names = "\n    ".join(
        f"WHEN '{one.contract.NAME}' THEN '{one.contract.PLURAL}'" for one in product.own
    )
    return f"""WITH raw AS (
  {raw}
),
discarded AS (
  SELECT CASE contract
    {names}
    ELSE contract END AS contract, message_id, MIN(outcome) AS outcome
  FROM `{where}.{tables.DISCARDED}`{only}
  GROUP BY contract, message_id
),
dead AS (
  SELECT CASE contract
    {names}
    ELSE IFNULL(contract, '') END AS contract, message_id, COUNT(replayed_at) > 0 AS replayed
  FROM `{where}.{tables.DEAD_LETTERS}`{only}
  GROUP BY contract, message_id
),
messages AS (
  SELECT contract, message_id, 'raw' AS outcome, 1 AS preference, FALSE AS replayed
  FROM (SELECT DISTINCT contract, message_id FROM raw)
  UNION ALL
  SELECT contract, message_id, outcome, 2, FALSE FROM discarded
  UNION ALL
  SELECT contract, message_id, 'dead', 3, replayed FROM dead
),
settled AS (
  SELECT contract, message_id, MAX(replayed) OVER (PARTITION BY contract, message_id) AS replayed,
    outcome
  FROM messages
  QUALIFY ROW_NUMBER() OVER (PARTITION BY contract, message_id ORDER BY preference) = 1
),
identities AS (
  SELECT contract, COUNT(DISTINCT identity) AS ingested FROM raw GROUP BY contract
)
SELECT
  settled.contract,
  COUNT(*) AS received,
  IFNULL(MAX(identities.ingested), 0) AS ingested,
  COUNTIF(outcome = 'dead') AS dead_letters,
  COUNTIF(outcome IN ('raw', 'duplicate')) - IFNULL(MAX(identities.ingested), 0) AS duplicates,
  COUNTIF(outcome = 'late') AS late,
  COUNTIF(replayed) AS replayed
FROM settled
LEFT JOIN identities ON identities.contract = settled.contract
GROUP BY settled.contract
ORDER BY settled.contract"""  # noqa: S608


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'")


def account(product_name: str, dataset: str = "", source: str = "") -> Accounts:
    """Where every message of a product ended, as it stands now.

    Args:
        product_name: e.g. `flight-delay`.
        dataset, source: see `query`.

    Raises:
        InvalidProduct: there is no such product.
        google.api_core.exceptions.NotFound: its tables do not exist.
    """
    text = query(product.load(product_name), dataset, source)
    rows = gcp.bigquery_client().query(text).result()
    return Accounts(contracts=tuple(Account(**dict(row.items())) for row in rows))

"""The table of list prices, `prices.yaml`: each figure with its source and date."""

from __future__ import annotations

import datetime
import functools
import re
from pathlib import Path
from typing import Final, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

FILE: Final = Path(__file__).with_name("prices.yaml")


_PAGE: Final = r"^https://\S+$"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Price(_Part):
    """What something costs whether it is used or not."""

    usd: float = Field(gt=0)
    per: str
    source: str = Field(pattern=_PAGE)
    read_in: str | None = Field(default=None, pattern=_PAGE)
    """The page that states it."""
    how: str = ""
    unconfirmed: str = ""
    """What it rests on where no page that states it can be linked."""
    date: datetime.date

    @model_validator(mode="after")
    def _can_be_checked(self) -> Self:
        if (self.read_in is None) != bool(self.unconfirmed):
            raise ValueError(
                "a price has either `read_in`, the address of a page that states it, or "
                "`unconfirmed`, what it rests on instead"
            )
        return self


class UsagePrice(_Part):
    """What something costs by use; nobody knows how much there will be."""

    what: str
    price: str
    source: str = Field(pattern=_PAGE)
    date: datetime.date


class Prices(_Part):
    """The whole table."""

    region: str
    currency: str
    review_date: datetime.date
    hours_per_month: int
    standing: dict[str, Price]
    usage: dict[str, UsagePrice] = Field(description="By type of resource")
    unpriced: dict[str, str] = Field(description="By type of resource, what no figure is known of")
    left_out: str

    @property
    def oldest(self) -> datetime.date:
        """The date of the oldest figure."""
        return min(one.date for one in self.standing.values())

    def doubt(self, key: str) -> str:
        """What to add to a line whose figure no page could be linked for; else nothing."""
        rests = self.standing[key].unconfirmed
        return f"; an unconfirmed price, from {rests}" if rests else ""

    def month(self, key: str) -> float:
        """What one of it costs in a month, whatever its unit of time is."""
        price = self.standing[key]
        if "hour" in price.per:
            return price.usd * self.hours_per_month
        if "second" in price.per:
            return price.usd * self.hours_per_month * 3600
        return price.usd


@functools.cache
def table() -> Prices:
    """The committed table."""
    return Prices.model_validate(yaml.safe_load(FILE.read_text()))


# Memory by vCPU in GB: https://cloud.google.com/compute/docs/general-purpose-machines
_MEMORY: Final = {
    "n1-standard": 3.75,
    "n1-highmem": 6.5,
    "n1-highcpu": 0.9,
    "e2-standard": 4.0,
    "e2-highmem": 8.0,
    "e2-highcpu": 1.0,
    "n2-standard": 4.0,
    "n2-highmem": 8.0,
    "n2-highcpu": 1.0,
    "n2d-standard": 4.0,
    "n2d-highmem": 8.0,
    "n2d-highcpu": 1.0,
}


def size(machine_type: str) -> tuple[int, float] | None:
    """vCPUs and GB of a machine type; None if they do not follow from its name."""
    found = re.fullmatch(r"([a-z0-9]+-[a-z]+)-(\d+)", machine_type)
    if found is None or found[1] not in _MEMORY:
        return None
    cpus = int(found[2])
    return cpus, cpus * _MEMORY[found[1]]

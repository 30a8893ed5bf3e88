"""What a monitor knows of an incident that it has just found: one JSON object a kind in the bucket.

An alert policy sees a number of one metric; the monitor that wrote the number knows which features
moved, where the report is and what the platform will do. It writes that here, newest over older,
before it writes the metric; the relay reads it when the alert arrives, and tells it with the alert.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Final

import msgspec

from workloads.notifications.kinds import BY_NAME

KINDS: Final = tuple(BY_NAME)
"""What a monitor can find. Also the name of the alert that tells of it, and of its runbook."""
SEVERITIES: Final = ("CRITICAL", "ERROR", "WARNING")
TOP: Final = 10
"""The most features that an incident names."""

_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=1_000)]
_PRODUCT: Final = re.compile(r"[a-z][a-z0-9-]{0,62}")


class IncidentWindow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The event times that were looked at: `start` included, `end` not."""

    start: Annotated[datetime, msgspec.Meta(tz=True)]
    end: Annotated[datetime, msgspec.Meta(tz=True)]


class IncidentFeature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One of the features (or slices, or outputs) that made the incident."""

    feature: _Text
    statistic: _Text
    """How the score was computed: `jensen_shannon`, `l_infinity`, `roc_auc`, ..."""
    score: float
    threshold: float


class IncidentRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `latest-KIND.json` holds.

    Raises:
        ValueError: at construction, when a field is not what it says. Names the field.
    """

    product: str
    kind: str
    """One of `KINDS`."""
    severity: str
    """One of `SEVERITIES`."""
    since: Annotated[datetime, msgspec.Meta(tz=True)]
    """When the first of the windows that breached began."""
    window: IncidentWindow
    """The newest of them."""
    score: float
    threshold: float
    top: tuple[IncidentFeature, ...]
    """The worst first; at most `TOP`."""
    report: str
    """`gs://.../report.html`; empty where none was written."""
    action: str
    """What the platform will do about it, one plain sentence; empty where nothing."""

    def __post_init__(self) -> None:
        if not _PRODUCT.fullmatch(self.product):
            raise ValueError(f"incident.product: {self.product!r} is no name of a product")
        for name, value, allowed in (
            ("kind", self.kind, KINDS),
            ("severity", self.severity, SEVERITIES),
        ):
            if value not in allowed:
                raise ValueError(
                    f"incident.{name}: {value!r} is none of {', '.join(allowed)}; "
                    "see workloads/notifications/incident.py"
                )
        if len(self.top) > TOP:
            raise ValueError(
                f"incident.top: {len(self.top)} features; give the {TOP} worst, the worst first"
            )
        if self.report and not self.report.startswith("gs://"):
            raise ValueError(f"incident.report: {self.report!r} does not begin with gs://")


def latest_path(product: str, kind: str) -> str:
    """Where in the models' bucket the product's newest incident of a kind is written."""
    return f"reports/{product}/latest-{kind}.json"


def encode(record: IncidentRecord) -> bytes:
    """The record as it is written: JSON, instants in UTC."""
    return msgspec.json.encode(record)


def decode(data: bytes) -> IncidentRecord:
    """The record as it was written.

    Raises:
        ValueError: it is none. Names the field.
    """
    try:
        return msgspec.json.decode(data, type=IncidentRecord)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"no record of an incident: {error}") from None

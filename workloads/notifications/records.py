"""Finds what the monitor knows of an incident that an alert policy has told of."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from workloads import gcp
from workloads.notifications.incident import KINDS, IncidentRecord, decode, latest_path
from workloads.notifications.message import Incident

log: Final = logging.getLogger("esteira.notifications")

PRODUCT: Final = "{product}"
_OLDEST: Final = timedelta(hours=2)
"""A record that was last written so long before the incident opened is of an earlier one."""


class Records(Protocol):
    """Knows what monitors wrote."""

    def of(self, incident: Incident) -> IncidentRecord | None:
        """The record of the incident; None where there is none, or one of something else."""
        ...


class NoRecords:
    """Where no monitor writes any."""

    def of(self, incident: Incident) -> IncidentRecord | None:
        """None."""
        del incident
        return None


class BucketRecords:
    """In Cloud Storage, the newest of each product. Trouble with it holds up no message."""

    def __init__(self, template: str) -> None:
        """`template` is the bucket of a product's models, `gs://...{product}...`."""
        self._template = template

    def of(self, incident: Incident) -> IncidentRecord | None:
        """The record of the incident; None where there is none, or one of something else."""
        labels = incident.policy_user_labels or {}
        product, kind = labels.get("product", ""), labels.get("alert", "")
        if kind not in KINDS or not product:
            return None
        try:
            found = self._read(product, kind)
        except self._trouble as error:
            log.warning("cannot read the record of %s: %s", product, type(error).__name__)
            return None
        if found is None:
            return None
        record, written = found
        opened = datetime.fromtimestamp(incident.started_at or 0, UTC)
        if (record.product, record.kind) != (product, kind) or written < opened - _OLDEST:
            return None
        return record

    def _read(self, product: str, kind: str) -> tuple[IncidentRecord, datetime] | None:
        name = self._template.replace(PRODUCT, product).removeprefix("gs://")
        bucket = gcp.storage_client().bucket(name)
        blob = bucket.get_blob(latest_path(product, kind), timeout=5)
        if blob is None or blob.updated is None:
            return None
        try:
            return decode(blob.download_as_bytes(timeout=5)), blob.updated
        except ValueError as error:
            log.warning("the record of %s is passed over: %s", product, error)
            return None

    @property
    def _trouble(self) -> tuple[type[Exception], ...]:
        from google.api_core.exceptions import GoogleAPIError
        from google.auth.exceptions import GoogleAuthError

        return (GoogleAPIError, GoogleAuthError, OSError)

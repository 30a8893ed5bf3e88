"""Finds what the monitor knows of an incident that an alert policy has told of."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from workloads import gcp
from workloads.notifications.grouping import kind_of
from workloads.notifications.incident import KINDS, IncidentRecord, decode, latest_path
from workloads.notifications.message import Incident

log: Final = logging.getLogger("esteira.notifications")

PRODUCT: Final = "{product}"
_OLDEST: Final = timedelta(hours=2)
"""A record that was last written so long before the incident opened is of an earlier one."""
_APART: Final = timedelta(minutes=10)
"""A run of the monitors writes all its records within less. One of the same window that is older
says what is no longer so."""


class Records(Protocol):
    """Knows what monitors wrote."""

    def of(self, incident: Incident) -> tuple[IncidentRecord, ...]:
        """The record of the incident and those of what else was found with it, the gravest first.

        None where there is none of the incident itself, or one of something else.
        """
        ...


class NoRecords:
    """Where no monitor writes any."""

    def of(self, incident: Incident) -> tuple[IncidentRecord, ...]:
        """None."""
        del incident
        return ()


class BucketRecords:
    """In Cloud Storage, the newest of each product. Trouble with it holds up no message."""

    def __init__(self, template: str) -> None:
        """`template` is the bucket of a product's models, `gs://...{product}...`."""
        self._template = template

    def of(self, incident: Incident) -> tuple[IncidentRecord, ...]:
        """The record of the incident and those of what else was found with it."""
        product, kind = (incident.policy_user_labels or {}).get("product", ""), kind_of(incident)
        if not kind:
            return ()
        try:
            found = self._read(product)
        except self._trouble as error:
            log.warning("cannot read the record of %s: %s", product, type(error).__name__)
            return ()
        if kind not in found:
            return ()
        record, written = found[kind]
        opened = datetime.fromtimestamp(incident.started_at or 0, UTC)
        if written < opened - _OLDEST:
            return ()
        return tuple(
            one
            for one, moment in (found[name] for name in KINDS if name in found)
            if (one.report, one.window) == (record.report, record.window)
            and abs(moment - written) < _APART
        )

    def _read(self, product: str) -> dict[str, tuple[IncidentRecord, datetime]]:
        """The newest record of each kind, and when it was written."""
        bucket = gcp.storage_client().bucket(
            self._template.replace(PRODUCT, product).removeprefix("gs://")
        )
        paths = {latest_path(product, kind): kind for kind in KINDS}
        found: dict[str, tuple[IncidentRecord, datetime]] = {}
        for blob in bucket.list_blobs(prefix=latest_path(product, "").partition(".")[0], timeout=5):
            kind = paths.get(blob.name)
            if kind is None or blob.updated is None:
                continue
            try:
                record = decode(blob.download_as_bytes(timeout=5))
            except ValueError as error:
                log.warning("the record of %s is passed over: %s", product, error)
                continue
            if (record.product, record.kind) == (product, kind):
                found[kind] = record, blob.updated
        return found

    @property
    def _trouble(self) -> tuple[type[Exception], ...]:
        from google.api_core.exceptions import GoogleAPIError
        from google.auth.exceptions import GoogleAuthError

        return (GoogleAPIError, GoogleAuthError, OSError)

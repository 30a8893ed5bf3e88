"""`gcp:bigquery:DatasetAccess` in the local BigQuery: one entry of a dataset's own access list."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, Final

from localcloud.provider.clients import Clients
from localcloud.provider.errors import ProviderError, ServiceError
from localcloud.provider.realise.shapes import short

_WHO: Final = ("userByEmail", "groupByEmail", "domain", "specialGroup", "iamMember")
_WHAT: Final = ("view", "routine", "authorizedDataset")
# cloud.google.com/bigquery/docs/access-control-basic-roles: a dataset answers with these.
_BASIC: Final = {
    "roles/bigquery.dataViewer": "READER",
    "roles/bigquery.dataEditor": "WRITER",
    "roles/bigquery.dataOwner": "OWNER",
}
_LOCK: Final = threading.Lock()
"""An entry is added by writing the whole list, and entries of one dataset come at once."""


class DatasetAccess:
    """An entry; its id is the dataset's, what is let in, and the role."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    def locate(self, properties: Mapping[str, Any]) -> str | None:
        # An entry that is there already is no conflict with Google: adding it changes nothing.
        return None

    def create(self, properties: Mapping[str, Any]) -> str:
        dataset = _dataset(properties)
        wanted = _entry(properties)
        with _LOCK:
            access = self._access(dataset)
            if access is None:
                raise ServiceError(dataset, 404, "404 NOT_FOUND: the dataset does not exist")
            if wanted not in access:
                self._write(dataset, [*access, wanted])
        return _id(dataset, wanted)

    def read(self, id: str, state: Mapping[str, Any]) -> dict[str, Any] | None:  # noqa: A002
        if not state:
            raise ProviderError(f"{id}: bigquery.DatasetAccess cannot be imported")
        access = self._access(_dataset(state))
        return None if access is None or _entry(state) not in access else {}

    def update(self, id: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> str:  # noqa: A002
        return self.create(new)

    def delete(self, id: str, state: Mapping[str, Any]) -> None:  # noqa: A002
        dataset = _dataset(state)
        gone = _entry(state)
        with _LOCK:
            access = self._access(dataset)
            if access is not None and gone in access:
                self._write(dataset, [one for one in access if one != gone])

    def _access(self, dataset: str) -> list[dict[str, Any]] | None:
        held = self._clients.bigquery.find(f"/{dataset}")
        return None if held is None else list(held.get("access", []))

    def _write(self, dataset: str, access: list[dict[str, Any]]) -> None:
        self._clients.bigquery.call("PATCH", f"/{dataset}", None, {"access": access})


def _dataset(properties: Mapping[str, Any]) -> str:
    return f"projects/{properties['project']}/datasets/{short(properties['datasetId'])}"


def _entry(properties: Mapping[str, Any]) -> dict[str, Any]:
    """The entry as the API writes it; what is authorised has no role of its own."""
    for name in _WHAT:
        if properties.get(name):
            return {"dataset" if name == "authorizedDataset" else name: dict(properties[name])}
    who = {name: properties[name] for name in _WHO if properties.get(name)}
    if len(who) != 1:
        raise ProviderError(
            f"{', '.join(who) or 'nobody'}: an entry lets in exactly one of "
            f"{', '.join((*_WHO, *_WHAT))}"
        )
    role = str(properties.get("role") or "")
    return {"role": _BASIC.get(role, role), **who}


def _id(dataset: str, entry: Mapping[str, Any]) -> str:
    what = next(name for name in entry if name != "role")
    value = entry[what]
    if isinstance(value, Mapping):
        held = value.get("dataset", value)
        value = "/".join(str(held[name]) for name in sorted(held))
    return "/".join([dataset, what, str(value), *([entry["role"]] if "role" in entry else [])])

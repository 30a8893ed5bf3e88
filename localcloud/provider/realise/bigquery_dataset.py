"""`gcp:bigquery:Dataset` in the local BigQuery."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from localcloud.provider.clients import Clients
from localcloud.provider.errors import ServiceError
from localcloud.provider.realise.shapes import labels_seen, project_of, short, taken

_TEXTS: Final = (
    "defaultCollation",
    "defaultEncryptionConfiguration",
    "description",
    "friendlyName",
    "isCaseInsensitive",
    "location",
    "maxTimeTravelHours",
    "storageBillingModel",
)
_NUMBERS: Final = ("defaultTableExpirationMs", "defaultPartitionExpirationMs")


class Dataset:
    """A dataset; its id is its full name."""

    changing: Final = ("etag", "lastModifiedTime")
    usual: Final[dict[str, Any]] = {"location": "US", "maxTimeTravelHours": "168"}

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    def locate(self, properties: Mapping[str, Any]) -> str | None:
        name = f"projects/{properties['project']}/datasets/{properties['datasetId']}"
        return name if self._clients.bigquery.find(f"/{name}") is not None else None

    def create(self, properties: Mapping[str, Any]) -> str:
        project, dataset = properties["project"], properties["datasetId"]
        body = {
            **_body(properties),
            "datasetReference": {"projectId": project, "datasetId": dataset},
        }
        self._clients.bigquery.call("POST", f"/projects/{project}/datasets", None, body)
        return f"projects/{project}/datasets/{dataset}"

    def read(self, id: str, state: Mapping[str, Any]) -> dict[str, Any] | None:  # noqa: A002
        dataset = self._clients.bigquery.find(f"/{id}")
        if dataset is None:
            return None
        return {
            "datasetId": short(id),
            "project": project_of(id),
            **{name: dataset.get(name) for name in ("description", "friendlyName")},
            # What the emulator does not keep is not drift.
            **taken(dataset, *_TEXTS, "etag"),
            **{name: int(dataset[name]) for name in _NUMBERS if name in dataset},
            **{
                name: int(dataset[name])
                for name in ("creationTime", "lastModifiedTime")
                if name in dataset
            },
            **labels_seen(dataset.get("labels", {}), state),
        }

    def update(self, id: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> str:  # noqa: A002
        body = _body(new)
        gone = {name: None for name in _body(old) if name not in body and name != "access"}
        labels = {key: None for key in old.get("effectiveLabels", {}) if key not in body["labels"]}
        patch = {**gone, **body, "labels": {**labels, **body["labels"]}}
        self._clients.bigquery.call("PATCH", f"/{id}", None, patch)
        return id

    def delete(self, id: str, state: Mapping[str, Any]) -> None:  # noqa: A002
        query = {"deleteContents": "true" if state.get("deleteContentsOnDestroy") else "false"}
        try:
            self._clients.bigquery.call("DELETE", f"/{id}", query)
        except ServiceError as error:
            if error.code == 400 and "in use" in error.message:
                raise ServiceError(
                    id,
                    400,
                    f"{error.message} (it holds tables; set deleteContentsOnDestroy=True and run "
                    "`up` before destroying it)",
                ) from error
            if error.code != 404:
                raise


def _body(properties: Mapping[str, Any]) -> dict[str, Any]:
    body = taken(properties, *_TEXTS)
    body |= {name: str(properties[name]) for name in _NUMBERS if properties.get(name) is not None}
    if properties.get("accesses"):
        body["access"] = [dict(one) for one in properties["accesses"]]
    return {**body, "labels": dict(properties.get("effectiveLabels", {}))}

"""`gcp:storage:Bucket` in the local Cloud Storage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from localcloud.provider.clients import Clients, Rest
from localcloud.provider.errors import ServiceError
from localcloud.provider.identity import project_number
from localcloud.provider.realise.shapes import labels_seen

_SAME: Final = ("rpo", "defaultEventBasedHold", "customPlacementConfig", "hierarchicalNamespace")
_PLURAL: Final = {
    "matchesPrefixes": "matchesPrefix",
    "matchesSuffixes": "matchesSuffix",
    "matchesStorageClasses": "matchesStorageClass",
}
_CORS: Final = {
    "methods": "method",
    "origins": "origin",
    "responseHeaders": "responseHeader",
    "maxAgeSeconds": "maxAgeSeconds",
}
_STATES: Final = {"LIVE": True, "ARCHIVED": False}


class Bucket:
    """A bucket; its id is its name."""

    usual: Final[dict[str, Any]] = {
        "storageClass": "STANDARD",
        "publicAccessPrevention": "inherited",
        "softDeletePolicy": {"retentionDurationSeconds": 604800},
        "rpo": "DEFAULT",
    }

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    @property
    def _rest(self) -> Rest:
        return self._clients.storage_rest

    def locate(self, properties: Mapping[str, Any]) -> str | None:
        name = str(properties["name"])
        return name if self._rest.find(f"/storage/v1/b/{name}") is not None else None

    def create(self, properties: Mapping[str, Any]) -> str:
        body = _body(properties) | {"name": properties["name"], "location": properties["location"]}
        self._rest.call("POST", "/storage/v1/b", {"project": properties["project"]}, body)
        return str(properties["name"])

    def read(self, id: str, state: Mapping[str, Any]) -> dict[str, Any] | None:  # noqa: A002
        bucket = self._rest.find(f"/storage/v1/b/{id}")
        if bucket is None:
            return None
        seen = _properties(bucket) | labels_seen(bucket.get("labels", {}), state) | _project(state)
        for asked, rule in zip(
            state.get("lifecycleRules") or [], seen["lifecycleRules"] or [], strict=False
        ):
            # `sendAgeIfZero` and its like tell the provider what to send; no API returns them.
            told = asked.get("condition", {}).items()
            rule["condition"] |= {key: value for key, value in told if key.startswith("send")}
        return seen

    def update(self, id: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> str:  # noqa: A002
        wanted, present = _body(new), _body(old)
        gone = {name: None for name in present if name not in wanted}
        labels = {key: None for key in present.get("labels", {}) if key not in wanted["labels"]}
        wanted["labels"] = {**wanted["labels"], **labels}
        self._rest.call("PATCH", f"/storage/v1/b/{id}", None, wanted | gone)
        return id

    def delete(self, id: str, state: Mapping[str, Any]) -> None:  # noqa: A002
        if state.get("forceDestroy"):
            self._empty(id)
        try:
            self._rest.call("DELETE", f"/storage/v1/b/{id}")
        except ServiceError as error:
            if error.code == 409:
                raise ServiceError(
                    f"bucket {id}",
                    409,
                    f"{error.message} (it holds objects; set forceDestroy=True and run `up` "
                    "before destroying it)",
                ) from error
            if error.code != 404:
                raise

    def _empty(self, name: str) -> None:
        from google.api_core.exceptions import NotFound

        try:
            for blob in self._clients.storage.list_blobs(name, versions=True):
                blob.delete()
        except NotFound:
            return


def _project(state: Mapping[str, Any]) -> dict[str, Any]:
    # The API answers with the project's number only.
    project = state.get("project")
    return {"projectNumber": int(project_number(project))} if project else {}


def _body(properties: Mapping[str, Any]) -> dict[str, Any]:
    get = properties.get
    body: dict[str, Any] = {name: properties[name] for name in _SAME if get(name) is not None}
    body["labels"] = dict(get("effectiveLabels") or {})
    body["storageClass"] = get("storageClass") or "STANDARD"
    access: dict[str, Any] = {}
    if get("uniformBucketLevelAccess") is not None:
        access["uniformBucketLevelAccess"] = {"enabled": get("uniformBucketLevelAccess")}
    if get("publicAccessPrevention"):
        access["publicAccessPrevention"] = get("publicAccessPrevention")
    if access:
        body["iamConfiguration"] = access
    if get("lifecycleRules"):
        body["lifecycle"] = {"rule": [_rule(rule) for rule in properties["lifecycleRules"]]}
    if get("cors"):
        body["cors"] = [
            {theirs: rule[ours] for ours, theirs in _CORS.items() if ours in rule}
            for rule in properties["cors"]
        ]
    if get("requesterPays") is not None:
        body["billing"] = {"requesterPays": get("requesterPays")}
    for name in ("versioning", "website", "logging", "autoclass", "encryption"):
        if get(name):
            body[name] = dict(properties[name])
    if get("retentionPolicy"):
        body["retentionPolicy"] = {
            "retentionPeriod": str(properties["retentionPolicy"]["retentionPeriod"])
        }
    soft = get("softDeletePolicy")
    if soft and soft.get("retentionDurationSeconds") is not None:
        seconds = soft["retentionDurationSeconds"]
        body["softDeletePolicy"] = {"retentionDurationSeconds": str(seconds)}
    return body


def _rule(rule: Mapping[str, Any]) -> dict[str, Any]:
    condition = {_PLURAL.get(key, key): value for key, value in rule["condition"].items()}
    state = condition.pop("withState", None)
    if state in _STATES:
        condition["isLive"] = _STATES[state]
    # Zero days count only where the program says that zero is meant.
    kept = {
        key: value
        for key, value in condition.items()
        if not str(key).startswith("send") and (value not in (0, "", []) or key == "isLive")
    }
    if rule["condition"].get("sendAgeIfZero") and condition.get("age") == 0:
        kept["age"] = 0
    return {"action": dict(rule["action"]), "condition": kept}


def _unruled(rule: Mapping[str, Any]) -> dict[str, Any]:
    back = {theirs: ours for ours, theirs in _PLURAL.items()}
    condition = {back.get(key, key): value for key, value in rule.get("condition", {}).items()}
    live = condition.pop("isLive", None)
    condition["withState"] = "ANY" if live is None else "LIVE" if live else "ARCHIVED"
    return {"action": dict(rule.get("action", {})), "condition": condition}


def _properties(bucket: Mapping[str, Any]) -> dict[str, Any]:
    """The API's resource in Pulumi's names; what a bucket does not have is None."""
    access = bucket.get("iamConfiguration", {})
    seen: dict[str, Any] = {
        "name": bucket["name"],
        "location": bucket.get("location"),
        "storageClass": bucket.get("storageClass"),
        "timeCreated": bucket.get("timeCreated"),
        "updated": bucket.get("updated"),
        "uniformBucketLevelAccess": access.get("uniformBucketLevelAccess", {}).get("enabled"),
        "publicAccessPrevention": access.get("publicAccessPrevention"),
        "lifecycleRules": [_unruled(rule) for rule in bucket.get("lifecycle", {}).get("rule", [])]
        or None,
        "cors": [
            {ours: rule[theirs] for ours, theirs in _CORS.items() if theirs in rule}
            for rule in bucket.get("cors", [])
        ]
        or None,
        "requesterPays": bucket.get("billing", {}).get("requesterPays"),
        **{name: bucket.get(name) for name in _SAME},
        **{
            name: bucket.get(name)
            for name in ("versioning", "website", "logging", "autoclass", "encryption")
        },
    }
    for name, field in (
        ("retentionPolicy", "retentionPeriod"),
        ("softDeletePolicy", "retentionDurationSeconds"),
    ):
        held = bucket.get(name)
        seen[name] = {field: int(held[field])} if held and field in held else None
    return seen

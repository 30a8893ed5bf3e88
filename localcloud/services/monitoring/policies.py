"""Alert policies and notification channels: who is told of what."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from localcloud.rest.app import Handler, Request
from localcloud.rest.discovery import Api
from localcloud.rest.errors import (
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    Unimplemented,
)
from localcloud.rest.store import Documents
from localcloud.services.listing import apply_mask, children, mask_paths, page, page_answer
from localcloud.services.monitoring import conditions
from localcloud.services.monitoring.descriptors import Descriptors
from localcloud.services.monitoring.incidents import Incidents
from localcloud.services.monitoring.names import project_parent

_PREFIX: Final = "monitoring.projects"
KINDS: Final[Mapping[str, str]] = {
    "pubsub": "topic",
    "email": "email_address",
    "slack": "channel_name",
    "webhook_basicauth": "url",
}
"""Kinds of channels, and the label that says where each leads."""


class Policies:
    """Alert policies and notification channels of every project."""

    def __init__(
        self,
        api: Api,
        documents: Documents,
        descriptors: Descriptors,
        incidents: Incidents,
        on_change: Callable[[], None],
    ) -> None:
        """`on_change` is told when something else has to be evaluated."""
        self._api = api
        self._documents = documents
        self._descriptors = descriptors
        self._incidents = incidents
        self._on_change = on_change
        self.handlers: dict[str, Handler] = {
            f"{_PREFIX}.alertPolicies.create": self._create_policy,
            f"{_PREFIX}.alertPolicies.get": self._get_policy,
            f"{_PREFIX}.alertPolicies.list": self._list_policies,
            f"{_PREFIX}.alertPolicies.patch": self._patch_policy,
            f"{_PREFIX}.alertPolicies.delete": self._delete_policy,
            f"{_PREFIX}.notificationChannels.create": self._create_channel,
            f"{_PREFIX}.notificationChannels.get": self._get_channel,
            f"{_PREFIX}.notificationChannels.list": self._list_channels,
            f"{_PREFIX}.notificationChannels.patch": self._patch_channel,
            f"{_PREFIX}.notificationChannels.delete": self._delete_channel,
        }

    def read(self, policy: Mapping[str, Any]) -> list[tuple[str, conditions.Condition]]:
        """The conditions of a stored policy, by name."""
        return [
            (one["name"], conditions.read(one, f"conditions[{index}]"))
            for index, one in enumerate(policy["conditions"])
        ]

    async def _create_policy(self, request: Request) -> dict[str, Any]:
        project = project_parent(request.path["name"])
        name = f"{project}/alertPolicies/{_number()}"
        return self._save(name, request.body)

    async def _patch_policy(self, request: Request) -> dict[str, Any]:
        name = request.path["name"]
        old = self._policy(name)
        mask = request.query.get("updateMask")
        paths = mask_paths(self._api, "AlertPolicy", mask) if mask else [["*"]]
        return self._save(name, apply_mask(old, request.body, paths))

    def _save(self, name: str, body: Mapping[str, Any]) -> dict[str, Any]:
        project = name.partition("/alertPolicies/")[0]
        given: list[Mapping[str, Any]] = body.get("conditions") or []
        if not body.get("displayName"):
            raise InvalidArgument("Field alert_policy.display_name: a name is required.")
        if not 0 < len(given) <= 6:
            raise InvalidArgument(
                f"Field alert_policy.conditions: 1 to 6 are allowed, got {len(given)}."
            )
        if len(given) > 1 and body.get("combiner") != "OR":
            raise Unimplemented(
                "Field alert_policy.combiner: the local cloud evaluates OR, not "
                f"{body.get('combiner')}."
            )
        strategy: Mapping[str, Any] = body.get("alertStrategy") or {}
        for unsupported in ("notificationRateLimit", "notificationChannelStrategy"):
            if strategy.get(unsupported):
                raise Unimplemented(
                    f"Field alert_policy.alert_strategy.{unsupported} is not supported by the "
                    "local cloud: each incident is told of once."
                )
        for channel in body.get("notificationChannels") or ():
            if self._documents.get(f"channel:{channel}") is None:
                raise NotFound(f"Notification channel '{channel}' does not exist.")
        named: list[dict[str, Any]] = []
        for index, one in enumerate(given):
            where = f"alert_policy.conditions[{index}]"
            conditions.read(
                one,
                where,
                lambda metric: self._descriptors.find(project, metric) is not None,
            )
            named.append({**one, "name": one.get("name") or f"{name}/conditions/{_number()}"})
        policy = {**body, "name": name, "conditions": named}
        policy.setdefault("enabled", True)
        with self._documents.transaction():
            kept = {one["name"] for one in named}
            for stored in self._documents.list(f"state:{name}/"):
                if stored.key.removeprefix("state:") not in kept:
                    self._forget(stored.key, policy)
            self._documents.put(f"policy:{name}", policy)
        self._on_change()
        return policy

    def _forget(self, key: str, policy: Mapping[str, Any] | None) -> None:
        """Drop the state of a condition that is gone, and close what it had opened."""
        state = self._documents.get(key) or {}
        for one in state.values():
            if one.get("incident"):
                self._incidents.close(
                    one["incident"], policy, "The condition was taken away.", time.time()
                )
        self._documents.delete(key)

    async def _get_policy(self, request: Request) -> dict[str, Any]:
        return self._policy(request.path["name"])

    async def _list_policies(self, request: Request) -> dict[str, Any]:
        return self._list(request, "policy", "alertPolicies")

    async def _delete_policy(self, request: Request) -> dict[str, Any]:
        name = request.path["name"]
        self._policy(name)
        with self._documents.transaction():
            for incident in self._incidents.opened_by(name):
                self._incidents.close(incident, None, "The policy was deleted.", time.time())
            for stored in self._documents.list(f"state:{name}/"):
                self._documents.delete(stored.key)
            self._documents.delete(f"policy:{name}")
        return {}

    def _policy(self, name: str) -> dict[str, Any]:
        found = self._documents.get(f"policy:{name}")
        if found is None:
            raise NotFound(f"Alert policy '{name}' does not exist.")
        return found

    async def _create_channel(self, request: Request) -> dict[str, Any]:
        project = project_parent(request.path["name"])
        return self._save_channel(f"{project}/notificationChannels/{_number()}", request.body)

    async def _patch_channel(self, request: Request) -> dict[str, Any]:
        name = request.path["name"]
        old = self._channel(name)
        mask = request.query.get("updateMask")
        paths = mask_paths(self._api, "NotificationChannel", mask) if mask else [["*"]]
        return self._save_channel(name, apply_mask(old, request.body, paths))

    def _save_channel(self, name: str, body: Mapping[str, Any]) -> dict[str, Any]:
        kind = body.get("type") or ""
        if kind not in KINDS:
            raise Unimplemented(
                f"NotificationChannel.type: the local cloud has no '{kind}'; it has "
                f"{', '.join(KINDS)}."
            )
        labels: dict[str, str] = dict(body.get("labels") or {})
        if not labels.get(KINDS[kind]):
            raise InvalidArgument(
                f"Field notification_channel.labels: '{KINDS[kind]}' is required for {kind}."
            )
        # Whoever asks never sees a token again; here nothing needs one, so none is kept.
        for secret in ("auth_token", "password", "service_key"):
            labels.pop(secret, None)
        channel = {**body, "name": name, "labels": labels}
        channel.setdefault("enabled", True)
        self._documents.put(f"channel:{name}", channel)
        return channel

    async def _get_channel(self, request: Request) -> dict[str, Any]:
        return self._channel(request.path["name"])

    async def _list_channels(self, request: Request) -> dict[str, Any]:
        return self._list(request, "channel", "notificationChannels")

    async def _delete_channel(self, request: Request) -> dict[str, Any]:
        name = request.path["name"]
        self._channel(name)
        users = [
            stored
            for stored in self._documents.list("policy:")
            if name in (stored.value.get("notificationChannels") or ())
        ]
        if users and not request.query.get("force"):
            raise FailedPrecondition(
                f"Cannot delete notification channel '{name}': it is used by "
                f"{len(users)} alert policies, such as {users[0].value['name']}. Give force=true "
                "to take it out of them."
            )
        with self._documents.transaction():
            for stored in users:
                left = [one for one in stored.value["notificationChannels"] if one != name]
                self._documents.put(stored.key, {**stored.value, "notificationChannels": left})
            self._documents.delete(f"channel:{name}")
        return {}

    def _channel(self, name: str) -> dict[str, Any]:
        found = self._documents.get(f"channel:{name}")
        if found is None:
            raise NotFound(f"Notification channel '{name}' does not exist.")
        return found

    def _list(self, request: Request, kind: str, collection: str) -> dict[str, Any]:
        for unsupported in ("filter", "orderBy"):
            if request.query.get(unsupported):
                raise Unimplemented(
                    f"{collection}.list: {unsupported} is not supported by the local cloud."
                )
        found = children(self._documents, kind, project_parent(request.path["name"]), collection)
        return page_answer(collection, page(found, request.query))


def _number() -> str:
    """As long as Google's, which is how long the provider expects it."""
    return str(secrets.randbelow(9 * 10**18) + 10**18)

"""The JSON API's methods on buckets, their IAM policies and notifications."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import Any

from localcloud.services.storage import bucket_settings, iam, notifications, preconditions
from localcloud.services.storage.bucket_settings import no_acl
from localcloud.services.storage.buckets import Bucket, service_agent
from localcloud.services.storage.errors import StorageError, invalid, required, unsupported
from localcloud.services.storage.service import Call, CloudStorage, Handler

log = logging.getLogger(__name__)

_PAGE = 1000


class BucketMethods:
    """Carries out the methods `storage.buckets.*`, `.notifications.*` and the like."""

    def __init__(self, storage: CloudStorage) -> None:
        self._storage = storage
        self._buckets = storage.buckets

    def handlers(self) -> dict[str, Handler]:
        """Method id -> what carries it out."""
        return {
            "storage.buckets.delete": self.delete,
            "storage.buckets.get": self.get,
            "storage.buckets.getIamPolicy": self.get_policy,
            "storage.buckets.getStorageLayout": self.layout,
            "storage.buckets.insert": self.insert,
            "storage.buckets.list": self.list,
            "storage.buckets.lockRetentionPolicy": self.lock_retention,
            "storage.buckets.patch": self.patch,
            "storage.buckets.setIamPolicy": self.set_policy,
            "storage.buckets.testIamPermissions": self.test_permissions,
            "storage.buckets.update": self.update,
            "storage.notifications.delete": self.delete_notification,
            "storage.notifications.get": self.get_notification,
            "storage.notifications.insert": self.insert_notification,
            "storage.notifications.list": self.list_notifications,
            "storage.projects.serviceAccount.get": self.service_account,
        }

    def _json(self, bucket: Bucket) -> dict[str, Any]:
        return bucket.resource(self._storage.base_url)

    async def insert(self, call: Call) -> dict[str, Any]:
        name = call.body.get("name")
        if not name:
            raise required("name")
        for parameter in ("predefinedAcl", "predefinedDefaultObjectAcl"):
            no_acl(parameter, call.query.get(parameter), call.body)
        wanted = dict(call.body)
        if call.query.get("enableObjectRetention"):
            wanted["objectRetention"] = {"mode": "Enabled"}
        bucket = self._buckets.create(call.query["project"], name, _without_nulls(wanted))
        log.info("bucket %s created in project %s", name, bucket.project)
        return self._json(bucket)

    async def get(self, call: Call) -> dict[str, Any]:
        if call.query.get("softDeleted"):
            raise unsupported("Soft-deleted buckets are")
        bucket = self._buckets.get(call.path["bucket"])
        preconditions.check(call.query, bucket, reading=True)
        preconditions.check_etag(call.headers, bucket.etag, reading=True)
        return self._json(bucket)

    async def list(self, call: Call) -> dict[str, Any]:
        if call.query.get("softDeleted"):
            raise unsupported("Soft-deleted buckets are")
        limit = min(call.query.get("maxResults") or _PAGE, _PAGE)
        buckets = self._buckets.list(
            call.query["project"],
            call.query.get("prefix", ""),
            call.query.get("pageToken", ""),
            limit + 1,
        )
        result: dict[str, Any] = {
            "kind": "storage#buckets",
            "items": [self._json(bucket) for bucket in buckets[:limit]],
        }
        if len(buckets) > limit:
            result["nextPageToken"] = buckets[limit - 1].name
        return result

    async def patch(self, call: Call) -> dict[str, Any]:
        return self._change(
            call, lambda bucket: bucket_settings.merge_patch(bucket.settings, call.body)
        )

    async def update(self, call: Call) -> dict[str, Any]:
        def whole(bucket: Bucket) -> dict[str, Any]:
            # What cannot be changed, or only by a method of its own, stays when it is left out.
            fixed = ("location", "objectRetention", "customPlacementConfig")
            kept = {key: bucket.settings[key] for key in fixed if key in bucket.settings}
            return kept | _without_nulls(call.body)

        return self._change(call, whole)

    def _change(self, call: Call, wanted: Any) -> dict[str, Any]:
        def change(bucket: Bucket) -> Bucket:
            preconditions.check(call.query, bucket)
            for parameter in ("predefinedAcl", "predefinedDefaultObjectAcl"):
                no_acl(parameter, call.query.get(parameter), bucket.settings)
            if call.body.get("name", bucket.name) != bucket.name:
                raise invalid("A bucket cannot be renamed.", "name")
            return self._buckets.settle(bucket, wanted(bucket))

        return self._json(self._buckets.change(call.path["bucket"], change))

    async def delete(self, call: Call) -> None:
        name = call.path["bucket"]
        released = self._buckets.delete(
            name, lambda bucket: preconditions.check(call.query, bucket)
        )
        self._storage.contents.release(self._storage.connection, released)
        log.info("bucket %s deleted", name)

    async def lock_retention(self, call: Call) -> dict[str, Any]:
        def lock(bucket: Bucket) -> Bucket:
            preconditions.check(call.query, bucket)
            return replace(bucket, settings=bucket_settings.lock_retention(bucket.settings))

        return self._json(self._buckets.change(call.path["bucket"], lock))

    async def layout(self, call: Call) -> dict[str, Any]:
        bucket = self._buckets.get(call.path["bucket"])
        return {
            "kind": "storage#storageLayout",
            "bucket": bucket.name,
            "location": bucket.settings["location"],
            "locationType": bucket_settings.location_type(bucket.settings["location"]),
            "hierarchicalNamespace": {"enabled": False},
        }

    async def get_policy(self, call: Call) -> dict[str, Any]:
        policy = iam.policy(self._buckets.get(call.path["bucket"]))
        wanted = call.query.get("optionsRequestedPolicyVersion") or 1
        if wanted < 1:
            raise invalid("optionsRequestedPolicyVersion has to be 1 or more.")
        if policy["version"] == 3 and wanted < 3:
            raise StorageError(
                400,
                "invalid",
                "The policy has conditions; ask for it with optionsRequestedPolicyVersion=3.",
                location="optionsRequestedPolicyVersion",
            )
        return policy

    async def set_policy(self, call: Call) -> dict[str, Any]:
        bucket = self._buckets.change(
            call.path["bucket"], lambda bucket: iam.with_policy(bucket, call.body)
        )
        return iam.policy(bucket)

    async def test_permissions(self, call: Call) -> dict[str, Any]:
        self._buckets.get(call.path["bucket"])
        # Callers have no identity here: whoever reaches the port may do everything.
        result: dict[str, Any] = {"kind": "storage#testIamPermissionsResponse"}
        for permission in call.query["permissions"]:
            if not permission.startswith("storage."):
                raise invalid(f"Invalid permission {permission!r}: not one of storage.*.")
        return result | {"permissions": call.query["permissions"]}

    async def service_account(self, call: Call) -> dict[str, Any]:
        return {
            "kind": "storage#serviceAccount",
            "email_address": service_agent(call.path["projectId"]),
        }

    async def insert_notification(self, call: Call) -> dict[str, Any]:
        bucket = self._buckets.get(call.path["bucket"])
        wanted = notifications.check(call.body)
        topic = notifications.topic_path(wanted["topic"])
        await asyncio.to_thread(
            self._storage.publisher.check_topic, topic, service_agent(bucket.project)
        )
        self._buckets.get(bucket.name)
        created = self._storage.notifications.insert(bucket.name, wanted)
        log.info("notifications of bucket %s go to %s", bucket.name, topic)
        return created

    async def get_notification(self, call: Call) -> dict[str, Any]:
        self._buckets.get(call.path["bucket"])
        return self._storage.notifications.get(call.path["bucket"], call.path["notification"])

    async def list_notifications(self, call: Call) -> dict[str, Any]:
        self._buckets.get(call.path["bucket"])
        items = self._storage.notifications.list(call.path["bucket"])
        return {"kind": "storage#notifications"} | ({"items": items} if items else {})

    async def delete_notification(self, call: Call) -> None:
        self._buckets.get(call.path["bucket"])
        self._storage.notifications.delete(call.path["bucket"], call.path["notification"])


def _without_nulls(value: dict[str, Any]) -> dict[str, Any]:
    return bucket_settings.merge_patch({}, value)

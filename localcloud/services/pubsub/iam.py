"""Access policies of topics, subscriptions, snapshots and schemas.

They are kept and given back with etags as Google does; nobody is turned away here, because no one
proves who they are on this machine.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from google.iam.v1 import iam_policy_pb2, policy_pb2

from localcloud.services.pubsub.errors import aborted, invalid, not_found

if TYPE_CHECKING:
    from localcloud.services.pubsub.broker import Broker
    from localcloud.services.pubsub.snapshots import Snapshots

EMPTY_ETAG: Final = b"ACAB"


class Policies:
    """Handlers of `google.iam.v1.IAMPolicy`."""

    def __init__(self, broker: Broker, snapshots: Snapshots) -> None:
        self._broker = broker
        self._snapshots = snapshots

    async def set_iam_policy(
        self, request: iam_policy_pb2.SetIamPolicyRequest
    ) -> policy_pb2.Policy:
        self._check(request.resource)
        for binding in request.policy.bindings:
            if not binding.role.startswith(("roles/", "projects/", "organizations/")):
                raise invalid(
                    f"policy.bindings has the role {binding.role!r}; a role starts with roles/, "
                    "projects/ or organizations/."
                )
            for member in binding.members:
                if ":" not in member and member not in ("allUsers", "allAuthenticatedUsers"):
                    raise invalid(
                        f"policy.bindings[{binding.role}] has the member {member!r}; a member is "
                        "KIND:NAME, such as serviceAccount:NAME, or allUsers."
                    )
        current = await self._current(request.resource)
        if request.policy.etag and request.policy.etag != current.etag:
            raise aborted(
                "There were concurrent policy changes: the etag does not match. Read the policy, "
                "apply the change and write it again."
            )
        policy = policy_pb2.Policy()
        policy.CopyFrom(request.policy)
        policy.ClearField("etag")
        digest = hashlib.sha256(current.etag + policy.SerializeToString(deterministic=True))
        policy.etag = digest.digest()[:8]
        await self._broker.store.write(
            (
                "REPLACE INTO policies VALUES (?, ?)",
                [(request.resource, policy.SerializeToString())],
            )
        )
        return policy

    async def get_iam_policy(
        self, request: iam_policy_pb2.GetIamPolicyRequest
    ) -> policy_pb2.Policy:
        self._check(request.resource)
        return await self._current(request.resource)

    async def test_iam_permissions(
        self, request: iam_policy_pb2.TestIamPermissionsRequest
    ) -> iam_policy_pb2.TestIamPermissionsResponse:
        # Google answers with no permissions, not with an error, for a resource that is not there.
        held = request.permissions if self._exists(request.resource) else ()
        for permission in request.permissions:
            if "*" in permission or permission.count(".") < 2:
                raise invalid(
                    f"permissions has {permission!r}; expected SERVICE.RESOURCE.VERB without *."
                )
        return iam_policy_pb2.TestIamPermissionsResponse(permissions=held)

    async def _current(self, resource: str) -> policy_pb2.Policy:
        found = await self._broker.store.read(
            "SELECT body FROM policies WHERE resource = ?", (resource,)
        )
        if found:
            return policy_pb2.Policy.FromString(found[0][0])
        return policy_pb2.Policy(etag=EMPTY_ETAG)

    def _check(self, resource: str) -> None:
        if not self._exists(resource):
            raise not_found(resource)

    def _exists(self, resource: str) -> bool:
        return (
            resource in self._broker.topics
            or resource in self._broker.subscriptions
            or self._snapshots.exists(resource)
            or self._broker.schemas.exists(resource)
        )
